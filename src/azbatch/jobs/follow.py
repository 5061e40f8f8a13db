"""Following what runs: the tasks of a job as they end, and a task's output as it is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from azbatch.errors import ServiceError
from azbatch.jobs.monitor import Monitor
from azbatch.jobs.outcome import explain
from azbatch.jobs.ports import JobPort

Json = dict[str, Any]
PAUSE = 1.0  # seconds
_NOT_YET = frozenset({"FileNotFound", "TaskFilesUnavailable", "TaskFilesCleanedup", "NodeNotFound", "NodeNotReady"})


class FollowPort(JobPort, Protocol):
    """What following needs of a Batch account."""

    def get_task(self, job_id: str, task_id: str) -> Json: ...

    def read_task_file_from(self, job_id: str, task_id: str, path: str, first: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended, in a sentence."""

    succeeded: bool
    sentence: str


def ended(port: FollowPort, job_id: str, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Ended]:
    """The tasks of a job as they end, those added meanwhile too, until none is left. Raises ServiceError."""
    monitor = Monitor(job_id)
    while True:
        monitor.expect(_unfinished(port, job_id) - monitor.awaited)
        if not monitor.awaited:
            return
        for finished in monitor.look(port):
            if finished.succeeded:
                node = ((finished.task or {}).get("nodeInfo") or {}).get("nodeId")
                yield Ended(True, f"Task '{finished.id}' ended well on node {node}.")
            else:
                yield Ended(False, explain(port, job_id, finished.id, finished.task).reason)
        sleep(PAUSE)


def _unfinished(port: JobPort, job_id: str) -> set[str]:
    return {
        str(task["id"])
        for task in port.list_tasks(job_id, filter="state ne 'completed'", select="id,state")
        if task.get("state") != "completed"
    }


def written(
    port: FollowPort, job_id: str, task_id: str, name: str, *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Pieces of a task's file as they are written; ends with the task. Raises ServiceError."""
    first = 0
    while True:
        over = port.get_task(job_id, task_id).get("state") == "completed"
        try:
            piece = port.read_task_file_from(job_id, task_id, name, first)
        except ServiceError as error:
            if over or error.code not in _NOT_YET:
                raise
            piece = b""
        if piece:
            first += len(piece)
            yield piece
        elif over:
            return
        else:
            sleep(PAUSE)
