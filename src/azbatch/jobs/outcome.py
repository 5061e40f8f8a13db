"""Why a task failed: the service's reason, the node, and the end of what the task wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azbatch.errors import ServiceError
from azbatch.jobs.ports import JobPort

Json = dict[str, Any]
TAIL = 8 * 1024

# failureInfo code -> what to do, where there is something to do
REMEDIES = {
    "CommandProgramNotFound": "the program does not exist on the node: check the command or the image",
    "BlobNotFound": "a blob the task needs is not there",
    "BlobAccessDenied": "the node may not read a blob the task needs: check its identity's role, or an expired SAS",
    "BlobDownloadTimedOut": "a blob could not be read in time: check the network of the nodes",
    "DiskFull": "the node's disk is full: choose a size with a larger disk, or declare disk_mb",
    "TaskEnded": "it was ended by request or by its time limit",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` is one sentence; `output` the end of stderr (or stdout), empty where there is none."""

    reason: str
    node: str | None
    exit_code: int | None
    output: str


def explain(port: JobPort, job_id: str, task_id: str, task: Json | None) -> Outcome:
    """Explain a task that did not succeed; `task` as listed, None where the service knows it no more."""
    if task is None:
        return Outcome(f"Task '{task_id}' is gone from job '{job_id}': it was deleted by someone.", None, None, "")
    info = task.get("executionInfo") or {}
    failure = info.get("failureInfo") or {}
    node = (task.get("nodeInfo") or {}).get("nodeId")
    code = info.get("exitCode")
    reason = _sentence(task_id, node, code, failure, info)
    output = _output(port, job_id, task_id) if node else ""
    return Outcome(reason, node, code, output)


def _sentence(task_id: str, node: str | None, code: int | None, failure: Json, info: Json) -> str:
    where = f" on node {node}" if node else " before it ran"
    how = f"with exit code {code}" if code is not None else f"({failure.get('code', 'no exit code')})"
    again = info.get("retryCount") or 0
    times = f" after {again + 1} attempts" if again else ""
    lost = info.get("requeueCount") or 0
    requeued = f", requeued {lost} times" if lost else ""
    text = f"Batch task '{task_id}' failed {how}{where}{times}{requeued}"
    kind = str(failure.get("code", ""))
    details = "; ".join(str(d.get("value")) for d in failure.get("details") or () if code is None)
    if kind in REMEDIES:
        text += f": {REMEDIES[kind]}"
    elif kind and kind != "FailureExitCode":
        text += f": {failure.get('message')}"
    return text + (f" ({details})." if details else ".")


def _output(port: JobPort, job_id: str, task_id: str) -> str:
    """The end of stderr, else of stdout; a sentence where the node can give neither."""
    for name in ("stderr.txt", "stdout.txt"):
        try:
            text = port.read_task_file(job_id, task_id, name, TAIL).decode(errors="replace").strip()
        except ServiceError as error:
            return f"(its output cannot be read any more: {error})"
        if text:
            return text
    return ""
