"""The rules of request bodies: which operation takes which body, and the one way to read it.

To add an operation with a body: write its shape beside its kin, and its row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azbatch_emulator.batch.rules import jobs, nodes, pools, tasks
from azbatch_emulator.batch.rules.kinds import LENIENT, SECRET, TEXT, Choice, Context, Shape

__all__ = ["BODIES", "LENIENT", "Context", "Shape", "read"]

_NOTHING = Shape("Empty")
_CERTIFICATE = Shape(
    "Certificate",
    # Whatever is said of one, it is not taken any more.
    optional={
        "thumbprint": TEXT,
        "thumbprintAlgorithm": TEXT,
        "data": SECRET,
        "certificateFormat": Choice("pfx", "cer"),
        "password": SECRET,
    },
)
BODIES: Mapping[str, Shape] = {
    "CreatePool": pools.POOL,
    "UpdatePool": pools.POOL_UPDATE,
    "ResizePool": pools.RESIZE,
    "StopPoolResize": _NOTHING,
    "EnablePoolAutoScale": pools.ENABLE_AUTOSCALE,
    "DisablePoolAutoScale": _NOTHING,
    "EvaluatePoolAutoScale": pools.EVALUATE_AUTOSCALE,
    "ReplacePoolProperties": pools.POOL_PROPERTIES,
    "RemoveNodes": pools.REMOVE_NODES,
    "RebootNode": nodes.REBOOT,
    "ReimageNode": nodes.REIMAGE,
    "StartNode": _NOTHING,
    "DeallocateNode": nodes.DEALLOCATE,
    "DisableNodeScheduling": nodes.DISABLE_SCHEDULING,
    "EnableNodeScheduling": _NOTHING,
    "UploadNodeLogs": nodes.UPLOAD_LOGS,
    "CreateNodeUser": nodes.NODE_USER,
    "ReplaceNodeUser": nodes.NODE_USER_UPDATE,
    "CreateJob": jobs.JOB,
    "ReplaceJob": jobs.JOB_REPLACEMENT,
    "UpdateJob": jobs.JOB_UPDATE,
    "DisableJob": jobs.JOB_DISABLE,
    "EnableJob": _NOTHING,
    "TerminateJob": jobs.JOB_TERMINATE,
    "CreateTask": tasks.TASK,
    "CreateTaskCollection": tasks.TASKS,
    "ReplaceTask": tasks.TASK_UPDATE,
    "TerminateTask": _NOTHING,
    "ReactivateTask": _NOTHING,
    "CreateJobSchedule": jobs.JOB_SCHEDULE,
    "ReplaceJobSchedule": jobs.JOB_SCHEDULE_REPLACEMENT,
    "UpdateJobSchedule": jobs.JOB_SCHEDULE_UPDATE,
    "DisableJobSchedule": _NOTHING,
    "EnableJobSchedule": _NOTHING,
    "TerminateJobSchedule": _NOTHING,
    "AddCertificate": _CERTIFICATE,
    "CancelCertificateDeletion": _NOTHING,
}


def read(operation: str, body: Mapping[str, Any], context: Context = LENIENT) -> dict[str, Any]:
    """The body of an operation as the service keeps it. Raises Refused; a body nobody knows is kept as it comes."""
    return BODIES.get(operation, _NOTHING).read(body, "", context)
