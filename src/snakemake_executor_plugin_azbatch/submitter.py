"""Tasks added in bulk, from a thread of their own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azbatch.errors import AzbatchError
from azbatch.jobs import TaskSpec

FLUSH_SECONDS = 0.3
FLUSH_TASKS = 100
STOP_SECONDS = 3.0

Put = tuple[Any, TaskSpec]  # the lane, and the task for it


@dataclass
class Submitter:
    """Adds queued tasks: at once after a pause, else every 0.3 s or 100 tasks."""

    add: Callable[[Any, Sequence[TaskSpec]], Mapping[str, str | None]]
    done: Callable[[str, str | None], None]  # (task id, why refused) for each, exactly once

    def __post_init__(self) -> None:
        self._queue: queue.Queue[Put | None] = queue.Queue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="azbatch-submit", daemon=True)
        self._thread.start()

    def put(self, lane: Any, tasks: Sequence[TaskSpec]) -> None:
        for task in tasks:
            self._queue.put((lane, task))

    def stop(self) -> None:
        """Add nothing more; what is still queued is dropped."""
        self._stopped.set()
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            # A call that the service does not answer must not hold up a Ctrl-C.
            self._thread.join(timeout=STOP_SECONDS)

    def _work(self) -> None:
        last = 0.0
        while (first := self._queue.get()) is not None and not self._stopped.is_set():
            group = self._gather(first, deadline=max(last + FLUSH_SECONDS, time.monotonic() + 0.02))
            if self._stopped.is_set():
                return
            last = time.monotonic()
            for lane in dict.fromkeys(id(lane) for lane, _ in group):
                mine = [(at, task) for at, task in group if id(at) == lane]
                self._flush(mine[0][0], [task for _, task in mine])

    def _gather(self, first: Put, deadline: float) -> list[Put]:
        group = [first]
        while len(group) < FLUSH_TASKS:
            try:
                following = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if following is None:
                break
            group.append(following)
        return group

    def _flush(self, lane: Any, group: Sequence[TaskSpec]) -> None:
        try:
            outcome = self.add(lane, group)
        except AzbatchError as error:
            outcome = {task.id: str(error) for task in group}
        for task in group:
            self.done(task.id, outcome.get(task.id, "the service gave no answer for the task"))
