"""Bodies that their rules have read: what depends on more than one object is checked, defaults are filled in. Pure.

Types, lengths and bounds of single properties are the business of `batch.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator import durations
from azbatch_emulator.autoscale import FormulaError, parse
from azbatch_emulator.batch.images import is_supported
from azbatch_emulator.batch.rules import jobs as job_rules
from azbatch_emulator.batch.rules import pools as pool_rules
from azbatch_emulator.batch.rules import tasks as task_rules
from azbatch_emulator.batch.rules.refusals import invalid, missing, out_of_range
from azbatch_emulator.batch.times import parse_stamp
from azbatch_emulator.records import NodeUser, Refused
from azbatch_emulator.vm_sizes import cores_of

Body = dict[str, Any]

USER_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,19}$")
MAX_SPAN = 100_000  # ids of one range of dependencies; the emulator spells them out


def formula(text: Any) -> None:
    """Refuse what is no formula, with the place of the fault."""
    if not isinstance(text, str) or not text.strip():
        raise missing("autoScaleFormula")
    try:
        parse(text)
    except FormulaError as error:
        raise Refused(error.code, {"Message": str(error)}) from None


def start_task(body: Body) -> Body:
    """A start task with its defaults."""
    return pool_rules.START_TASK.fill(body)


def pool(body: Body) -> Body:
    """A pool to be added. Source: REST, Pools - Create Pool."""
    return _pool(pool_rules.POOL.fill(body), "")


def _pool(body: Body, prefix: str) -> Body:
    """A pool, or the specification of one, with its size and scaling checked."""
    _machine(body["virtualMachineConfiguration"], f"{prefix}virtualMachineConfiguration")
    most = min(4 * cores_of(body["vmSize"]), pool_rules.MAX_SLOTS)
    if body["taskSlotsPerNode"] > most:
        raise out_of_range(f"{prefix}taskSlotsPerNode", body["taskSlotsPerNode"], 1, most)
    if body["enableAutoScale"]:
        formula(body.get("autoScaleFormula"))
        for name in ("targetDedicatedNodes", "targetLowPriorityNodes", "resizeTimeout"):
            if name in body:
                raise invalid(f"{prefix}{name}", body[name], "The property cannot be set when enableAutoScale is true")
        return {"autoScaleEvaluationInterval": "PT15M", **body}
    if "autoScaleFormula" in body:
        raise invalid(f"{prefix}autoScaleFormula", "", "The property cannot be set when enableAutoScale is false")
    return {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 0, "resizeTimeout": "PT15M", **body}


def _machine(machine: Body, path: str) -> None:
    agent = machine["nodeAgentSKUId"]
    if not is_supported(machine["imageReference"], agent):
        reason = "The specified image reference and node agent SKU are not supported together; see the supported images"
        raise invalid(f"{path}.imageReference", machine["imageReference"], reason)
    if "windowsConfiguration" in machine and not agent.lower().startswith("batch.node.windows"):
        raise invalid(f"{path}.windowsConfiguration", "", "The property cannot be set for a Linux image")


def _task_constraints(body: Body, retries: int) -> Body:
    given = body.get("constraints") or {}
    return {"maxWallClockTime": durations.UNLIMITED, "retentionTime": "P7D", "maxTaskRetryCount": retries, **given}


def task(body: Body, job: Mapping[str, Any]) -> Body:
    """A task to be added to a job with that spec. Source: REST, Tasks - Create Task."""
    body = task_rules.TASK.fill(body)
    retries = int((job.get("constraints") or {}).get("maxTaskRetryCount", 0))
    body["constraints"] = _task_constraints(body, retries)
    for kind in ("JobPreparationTask", "JobReleaseTask"):
        reserved = (job.get(f"j{kind[1:]}") or {}).get("id")
        if reserved is not None and reserved.lower() == body["id"].lower():
            raise Refused(f"TaskIdSameAs{kind}")
    if "multiInstanceSettings" in body and body["requiredSlots"] != 1:
        raise invalid("requiredSlots", body["requiredSlots"], "The value is 1 for a multi-instance task")
    _dependencies(body.get("dependsOn") or {})
    if job.get("onTaskFailure", "noaction") == "noaction":
        for place, options in _exit_options(body.get("exitConditions") or {}):
            if "jobAction" in options:
                reason = "The property cannot be set where the job's onTaskFailure is noaction"
                raise invalid(f"exitConditions.{place}.jobAction", options["jobAction"], reason)
    return body


def _dependencies(depends: Body) -> None:
    if sum(len(other) + 1 for other in depends.get("taskIds") or ()) > task_rules.MAX_DEPENDENCIES:
        raise Refused("TaskDependencyListTooLong")
    for span in depends.get("taskIdRanges") or ():
        if span["end"] - span["start"] > MAX_SPAN:
            raise out_of_range("dependsOn.taskIdRanges", span["end"] - span["start"], 0, MAX_SPAN)


def _exit_options(conditions: Body) -> Iterator[tuple[str, Body]]:
    for name, value in conditions.items():
        if isinstance(value, list):
            yield from ((f"{name}[{number}].exitOptions", one["exitOptions"]) for number, one in enumerate(value))
        else:
            yield name, value


def job(body: Body) -> Body:
    """A job to be added. Source: REST, Jobs - Create Job."""
    return _job(job_rules.JOB.fill(body), "")


def _job(body: Body, prefix: str) -> Body:
    """A job, or the specification of one, with what its own tasks and its own pool need."""
    body = {**_job_settings(body, prefix), "constraints": _job_constraints(body)}
    if "jobPreparationTask" in body:
        preparation = body["jobPreparationTask"]
        body["jobPreparationTask"] = {**preparation, "constraints": _task_constraints(preparation, 0)}
    if "jobManagerTask" in body:
        body["jobManagerTask"] = task(body["jobManagerTask"], body)
    return body


def _job_constraints(body: Body) -> Body:
    given = body.get("constraints") or {}
    return {"maxWallClockTime": durations.UNLIMITED, "maxTaskRetryCount": 0, **given}


def _job_settings(body: Body, prefix: str = "") -> Body:
    """What may be changed later as well: an auto pool's specification is that of a pool."""
    automatic = (body.get("poolInfo") or {}).get("autoPoolSpecification")
    if automatic is None:
        return body
    path = f"{prefix}poolInfo.autoPoolSpecification.pool"
    if "pool" not in automatic:
        raise missing(path)
    made = _pool(automatic["pool"], f"{path}.")
    return {**body, "poolInfo": {"autoPoolSpecification": {**automatic, "pool": made}}}


# What a PATCH of a job may name; other properties are ignored as the service ignores them.
PATCHABLE_JOB = (
    "priority", "maxParallelTasks", "allowTaskPreemption", "onAllTasksComplete", "constraints", "poolInfo", "metadata",
    "networkConfiguration",
)  # fmt: skip


def job_changes(body: Body) -> Body:
    """The changes a PATCH asks for. Constraints are replaced whole: what is left out gets its default [recorded]."""
    filled = job_rules.JOB_UPDATE.fill(body)
    changes = {name: filled[name] for name in PATCHABLE_JOB if name in filled}
    if "constraints" in changes:
        changes["constraints"] = _job_constraints(changes)
    return _job_settings(changes)


def job_replacement(body: Body) -> Body:
    """The changes a PUT asks for: properties left out get their defaults, metadata is dropped [recorded]."""
    defaults: Body = {"priority": 0, "onAllTasksComplete": "noaction", "maxParallelTasks": -1, "metadata": None}
    return {**defaults, "constraints": _job_constraints(body), **job_changes(body)}


SCHEDULE_PARTS = ("schedule", "jobSpecification", "metadata")


def time(body: Body, name: str) -> datetime:
    """A time of the body. Raises Refused where it is missing."""
    if body.get(name) is None:
        raise missing(name)
    return parse_stamp(body[name])


def _job_specification(body: Body) -> Body:
    return _job(job_rules.JOB_SPECIFICATION.fill(body), "jobSpecification.")


def job_schedule(body: Body) -> Body:
    """A job schedule to be added. Source: REST, Job Schedules - Create Job Schedule."""
    return {**body, "jobSpecification": _job_specification(body["jobSpecification"])}


def job_schedule_changes(body: Body) -> Body:
    """The changes a PATCH asks for."""
    changes = {name: body[name] for name in SCHEDULE_PARTS if name in body}
    if "jobSpecification" in changes:
        changes["jobSpecification"] = _job_specification(changes["jobSpecification"])
    return changes


def job_schedule_replacement(body: Body) -> Body:
    """The changes a PUT asks for: what is left out gets its default."""
    return {"metadata": None, **job_schedule_changes(body)}


def node_user(body: Body, now: datetime) -> NodeUser:
    """An account on a node; without an expiry it is there for a day. The password goes no further."""
    name = body["name"]
    if not USER_NAME.match(name):
        raise invalid("name", name, "A user name has 1 to 20 letters, digits, hyphens, dots and underscores")
    if not body.get("password") and not body.get("sshPublicKey"):
        raise missing("password")
    expires = time(body, "expiryTime") if "expiryTime" in body else now + timedelta(days=1)
    if expires <= now:
        raise invalid("expiryTime", body["expiryTime"], "The expiry time has passed")
    return NodeUser(
        name=name,
        is_admin=body.get("isAdmin", False),
        expires=expires,
        ssh_public_key=body.get("sshPublicKey") or None,
    )
