"""Task. Source: REST, Tasks - Get Task (BatchTaskState)."""

from __future__ import annotations

from enum import StrEnum

from azbatch_emulator.lifecycle.table import Table, each
from azbatch_emulator.records import TaskState as T


class TaskHappening(StrEnum):
    PREPARE = "node needs the job preparation task"
    START = "start"
    REQUEUE = "node lost or job disabled"
    RETRY = "retry after a failure"
    END = "end"
    TERMINATE = "terminate"
    REACTIVATE = "reactivate"


H = TaskHappening
_ON_NODE = (T.PREPARING, T.RUNNING)
TASK = Table(
    "task",
    T.ACTIVE,
    {
        (T.ACTIVE, H.PREPARE): T.PREPARING,
        **each((T.ACTIVE, T.PREPARING), H.START, T.RUNNING),
        **each(_ON_NODE, H.REQUEUE, T.ACTIVE),
        (T.RUNNING, H.RETRY): T.ACTIVE,
        (T.RUNNING, H.END): T.COMPLETED,
        **each((T.ACTIVE, *_ON_NODE), H.TERMINATE, T.COMPLETED),
        (T.COMPLETED, H.REACTIVATE): T.ACTIVE,
    },
)
