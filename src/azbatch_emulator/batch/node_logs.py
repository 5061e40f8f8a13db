"""The upload of a node's service logs. Source: REST, Nodes - Upload Node Logs."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from azbatch_emulator.batch import decode, encode
from azbatch_emulator.batch.call import Call, Reply
from azbatch_emulator.batch.times import stamp
from azbatch_emulator.commands import PutFile
from azbatch_emulator.records import Execution, Fault, Node, Refused


def upload(call: Call) -> Reply:
    """What is known of the node in the span, as one file; answered before it is written, as the service does."""
    node = call.world.node(call.path["poolId"], call.path["nodeId"])
    container, since = str(call.required("containerUrl")), decode.time(call.body, "startTime")
    until = decode.time(call.body, "endTime") if "endTime" in call.body else call.now
    if urlsplit(container).scheme not in {"http", "https"}:
        raise Refused(
            "InvalidPropertyValue", {"PropertyName": "containerUrl", "Reason": "It is not the URL of a blob container"}
        )
    if until < since:
        raise Refused("InvalidPropertyValue", {"PropertyName": "endTime", "Reason": "It lies before startTime"})
    directory = f"{node.pool_id}/{node.id}/{call.now:%Y%m%dT%H%M%S}"
    identity = str((call.body.get("identityReference") or {}).get("resourceId") or "")
    content = "".join(f"{line}\n" for line in lines(node, since, until)).encode()
    sent = call.engine.runner.put_file(
        PutFile(container_url=container, identity=identity, name=f"{directory}/agent-debug.log", content=content)
    )
    return Reply(200, {"virtualDirectoryName": directory, "numberOfFilesUploaded": int(sent)})


def lines(node: Node, since: datetime, until: datetime) -> list[str]:
    """One line for each thing that is known to have happened to the node between two times, oldest first. Pure."""
    found: list[tuple[datetime, str]] = [
        (node.allocation_time, "allocated"),
        (node.state_since, f"state is {node.state.value}"),
    ]
    if node.last_boot_time is not None:
        found.append((node.last_boot_time, "booted"))
    if node.start_task is not None:
        found += _run("start task", node.start_task)
    for kind, runs in (("preparation", node.jobs_prepared), ("release", node.jobs_released)):
        for job, run in runs.items():
            found += _run(f"{kind} task of job {job}", run)
    for entry in node.recent:
        found += _run(f"task {entry.task_id} of job {entry.job_id}", entry.execution)
    found += [(node.state_since, f"error {_told(fault)}") for fault in node.errors]
    return [f"{stamp(when)} {text}" for when, text in sorted(found) if since <= when <= until]


def _run(what: str, run: Execution) -> list[tuple[datetime, str]]:
    found = []
    if run.start_time is not None:
        found.append((run.start_time, f"{what} started"))
    if run.end_time is not None:
        failure = f", {_told(run.failure)}" if run.failure else ""
        found.append((run.end_time, f"{what} ended, exit code {run.exit_code}{failure}"))
    return found


def _told(fault: Fault) -> str:
    body = encode.error(fault)
    return f"{body['code']}: {body['message']}"
