"""Which task goes to which node's slots. Pure bookkeeping; each call costs by what it places, not by what waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Fill(StrEnum):
    """taskSchedulingPolicy.nodeFillType."""

    SPREAD = "spread"
    PACK = "pack"


class FreeSlots:
    """Free task slots of the schedulable nodes of one pool."""

    def __init__(self) -> None:
        self._free: dict[str, int] = {}
        self._buckets: dict[int, dict[str, None]] = {}

    def set(self, node_id: str, free: int | None) -> None:
        """The node now has `free` slots; None takes it out of scheduling."""
        before = self._free.pop(node_id, None)
        if before is not None:
            del self._buckets[before][node_id]
            if not self._buckets[before]:
                del self._buckets[before]
        if free is not None:
            self._free[node_id] = free
            self._buckets.setdefault(free, {})[node_id] = None

    @property
    def largest(self) -> int:
        """The most slots free on any one node; 0 where none is."""
        return max(self._buckets, default=0)

    def choose(self, required: int, fill: Fill, allowed: Callable[[str], bool] | None = None) -> str | None:
        """A node with `required` slots free: the emptiest (spread) or the fullest (pack)."""
        sizes = sorted((size for size in self._buckets if size >= required), reverse=fill is Fill.SPREAD)
        for size in sizes:
            for node_id in self._buckets[size]:
                if allowed is None or allowed(node_id):
                    return node_id
        return None

    def choose_several(
        self, number: int, required: int, fill: Fill, allowed: Callable[[str], bool] | None = None
    ) -> list[str] | None:
        """`number` different nodes with `required` slots free each; None where there are not as many."""
        chosen: list[str] = []

        def another(node_id: str) -> bool:
            return node_id not in chosen and (allowed is None or allowed(node_id))

        while len(chosen) < number:
            found = self.choose(required, fill, another)
            if found is None:
                return None
            chosen.append(found)
        return chosen


@dataclass(slots=True)
class _JobQueue:
    priority: int
    order: int
    waiting: dict[int, deque[tuple[int, str]]] = field(default_factory=dict)  # required slots -> (sequence, task)


class ReadyTasks:
    """The tasks of one pool that wait for slots: by job priority, then age of the job, then order of arrival."""

    def __init__(self) -> None:
        self._jobs: dict[str, _JobQueue] = {}
        self._sequence = 0
        self._front = 0
        self._orders = 0

    def add(self, job: str, priority: int, task: str, required: int, *, front: bool = False) -> None:
        """Queue a task; `front` puts one that ran before ahead of those that never did."""
        queue = self._jobs.get(job)
        if queue is None:
            self._orders += 1
            queue = self._jobs[job] = _JobQueue(priority, self._orders)
        line = queue.waiting.setdefault(required, deque())
        if front:
            self._front -= 1
            line.appendleft((self._front, task))
        else:
            self._sequence += 1
            line.append((self._sequence, task))

    def set_priority(self, job: str, priority: int) -> None:
        if job in self._jobs:
            self._jobs[job].priority = priority

    def drop_job(self, job: str) -> None:
        self._jobs.pop(job, None)

    def dispatch(
        self,
        largest: Callable[[], int],
        live: Callable[[str, str], bool],
        place: Callable[[str, str, int], bool],
    ) -> None:
        """Offer tasks in order of service to `place(job, task, required)`, as long as they fit `largest()` slots.

        A task that `live` denies is dropped; one that `place` declines goes back, and its job waits.
        """
        for job in sorted(self._jobs, key=lambda name: (-self._jobs[name].priority, self._jobs[name].order)):
            queue = self._jobs[job]
            while (required := self._next_line(job, queue, largest(), live)) is not None:
                entry = queue.waiting[required].popleft()
                if not place(job, entry[1], required):
                    queue.waiting[required].appendleft(entry)
                    break

    @staticmethod
    def _next_line(job: str, queue: _JobQueue, largest: int, live: Callable[[str, str], bool]) -> int | None:
        best: int | None = None
        for required, line in queue.waiting.items():
            if required > largest:
                continue
            while line and not live(job, line[0][1]):
                line.popleft()
            if line and (best is None or line[0][0] < queue.waiting[best][0][0]):
                best = required
        return best
