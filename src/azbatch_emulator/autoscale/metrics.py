"""The sampled variables of a pool: which there are, and their history as a formula may read it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime, timedelta

# Read-only service-defined variables. Source: "Create an autoscale formula", read-only variables.
OF_NODES: Mapping[str, str] = {
    "$CPUPercent": "average percentage of processor use",
    "$WallClockSeconds": "seconds consumed",
    "$MemoryBytes": "average number of megabytes used",
    "$DiskBytes": "average number of gigabytes used on the local disks",
    "$DiskReadBytes": "bytes read",
    "$DiskWriteBytes": "bytes written",
    "$DiskReadOps": "read operations",
    "$DiskWriteOps": "write operations",
    "$NetworkInBytes": "inbound bytes",
    "$NetworkOutBytes": "outbound bytes",
    "$SampleNodeCount": "nodes that gave samples",
}
VARIABLES: Mapping[str, str] = {
    **OF_NODES,
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
    """Samples of all variables of one pool. A sample is readable once it is older than `lag`.

    A time without a sample, or without this variable in it, is a gap.
    """

    def __init__(self, *, period: timedelta, lag: timedelta) -> None:
        self.period = period
        self.lag = lag
        self._times: list[datetime] = []
        self._values: list[Mapping[str, float]] = []

    def __len__(self) -> int:
        """How many samples are kept, readable or not."""
        return len(self._times)

    def record(self, timestamp: datetime, values: Mapping[str, float]) -> None:
        """Add a sample; timestamps do not decrease. Samples older than a day are dropped."""
        self._times.append(timestamp)
        self._values.append(values)
        old = bisect_right(self._times, timestamp - KEEP)
        if old:
            del self._times[:old], self._values[:old]

    def count(self, name: str, now: datetime) -> int:
        """How many samples are readable at `now`."""
        return sum(name in values for values in self._values[: self._readable(now)])

    def begin(self, name: str, now: datetime) -> datetime:
        """The time of the oldest readable sample; `now` where there is none."""
        readable = zip(self._times[: self._readable(now)], self._values, strict=False)
        return next((timestamp for timestamp, values in readable if name in values), now)

    def last(self, name: str, count: int, now: datetime) -> list[float]:
        """The newest `count` readable samples, oldest first; fewer where there are fewer."""
        found: list[float] = []
        for values in reversed(self._values[: self._readable(now)]):
            if len(found) >= count:
                break
            if name in values:
                found.append(values[name])
        return found[::-1]

    def window(self, name: str, start: datetime, end: datetime, now: datetime) -> list[float]:
        """Readable samples after `start` until `end`, oldest first: twenty in ten minutes, not twenty-one."""
        first, behind = bisect_right(self._times, start), min(bisect_right(self._times, end), self._readable(now))
        return [values[name] for values in self._values[first:behind] if name in values]

    def percent(self, name: str, start: datetime, end: datetime, now: datetime) -> float:
        """How much of the window is covered by readable samples, 0 to 100."""
        expected = max(1.0, (end - start) / self.period)
        return min(100.0, 100.0 * len(self.window(name, start, end, now)) / expected)

    def _readable(self, now: datetime) -> int:
        return bisect_right(self._times, now - self.lag)
