"""The sampled variables of a pool: which there are, and their history as a formula may read it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta

# Read-only service-defined variables. Source: "Create an autoscale formula", read-only variables.
VARIABLES: Mapping[str, str] = {
    "$CPUPercent": "average percentage of processor use",
    "$WallClockSeconds": "seconds consumed",
    "$MemoryBytes": "average number of bytes used",
    "$DiskBytes": "average number of bytes used on the local disks",
    "$DiskReadBytes": "bytes read",
    "$DiskWriteBytes": "bytes written",
    "$DiskReadOps": "read operations",
    "$DiskWriteOps": "write operations",
    "$NetworkInBytes": "inbound bytes",
    "$NetworkOutBytes": "outbound bytes",
    "$SampleNodeCount": "nodes that gave samples",
    "$ActiveTasks": "tasks ready to run and not running; not those that wait for dependencies",
    "$RunningTasks": "tasks running",
    "$PendingTasks": "active and running tasks",
    "$SucceededTasks": "tasks that succeeded",
    "$FailedTasks": "tasks that failed",
    "$TaskSlotsPerNode": "task slots of a node",
    "$CurrentDedicatedNodes": "dedicated nodes now",
    "$CurrentLowPriorityNodes": "spot nodes now, preempted ones included",
    "$PreemptedNodeCount": "preempted nodes",
    "$UsableNodeCount": "usable nodes",
}
KEEP = timedelta(hours=24)


class MetricHistory:
    """Samples of all variables of one pool. A sample is readable once it is older than `lag`."""

    def __init__(self, *, period: timedelta, lag: timedelta) -> None:
        self.period = period
        self.lag = lag
        self._samples: deque[tuple[datetime, Mapping[str, float]]] = deque()

    def record(self, timestamp: datetime, values: Mapping[str, float]) -> None:
        """Add a sample; timestamps do not decrease. Samples older than a day are dropped."""
        self._samples.append((timestamp, values))
        while self._samples[0][0] < timestamp - KEEP:
            self._samples.popleft()

    def count(self, now: datetime) -> int:
        """How many samples are readable at `now`."""
        return sum(timestamp <= now - self.lag for timestamp, _ in self._samples)

    def begin(self, now: datetime) -> datetime:
        """The time of the oldest readable sample; `now` where there is none."""
        return self._samples[0][0] if self._samples and self._samples[0][0] <= now - self.lag else now

    def last(self, name: str, count: int, now: datetime) -> list[float]:
        """The newest `count` readable samples, oldest first; fewer where there are fewer."""
        found: list[float] = []
        for timestamp, values in reversed(self._samples):
            if len(found) >= count:
                break
            if timestamp <= now - self.lag:
                found.append(values.get(name, 0.0))
        return found[::-1]

    def window(self, name: str, start: datetime, end: datetime, now: datetime) -> list[float]:
        """Readable samples from `start` to `end`, oldest first."""
        newest = min(end, now - self.lag)
        found: list[float] = []
        for timestamp, values in reversed(self._samples):
            if timestamp < start:
                break
            if timestamp <= newest:
                found.append(values.get(name, 0.0))
        return found[::-1]

    def percent(self, start: datetime, end: datetime, now: datetime) -> float:
        """How much of the window is covered by readable samples, 0 to 100."""
        expected = max(1.0, (end - start) / self.period)
        return min(100.0, 100.0 * len(self.window("", start, end, now)) / expected)
