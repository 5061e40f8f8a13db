"""Request bodies: types set right, properties checked, defaults filled in. Pure; refuses with the service's codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator import durations
from azbatch_emulator.autoscale import FormulaError, parse
from azbatch_emulator.batch.images import is_supported
from azbatch_emulator.batch.times import parse_stamp
from azbatch_emulator.records import NodeUser, Refused
from azbatch_emulator.vm_sizes import cores_of

Body = dict[str, Any]

ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
USER_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,19}$")
MAX_NODES = 100_000
HOST_PATHS = ("Shared", "Startup", "VfsMounts", "Task", "JobPrep", "Applications")

# Properties that are numbers or booleans; az CLI sends them as strings.
INTEGERS = frozenset(
    {
        "targetDedicatedNodes", "targetLowPriorityNodes", "taskSlotsPerNode", "maxTaskRetryCount", "priority",
        "maxParallelTasks", "requiredSlots", "numberOfInstances", "exitCode", "code", "start", "end", "lun",
        "diskSizeGB",
    }
)  # fmt: skip
BOOLEANS = frozenset(
    {
        "enableAutoScale", "enableInterNodeCommunication", "waitForSuccess", "usesTaskDependencies",
        "killJobOnCompletion",
        "runExclusive", "allowLowPriorityNode", "keepAlive", "rerunOnNodeRebootAfterSuccess", "allowTaskPreemption",
        "isAdmin", "isReadOnly",
    }
)  # fmt: skip
OBJECTS = frozenset(
    {
        "virtualMachineConfiguration", "imageReference", "networkConfiguration", "startTask", "taskSchedulingPolicy",
        "constraints", "poolInfo", "autoPoolSpecification", "pool", "jobPreparationTask", "jobReleaseTask",
        "jobManagerTask", "dependsOn", "exitConditions", "exitOptions", "default", "containerSettings", "userIdentity",
        "multiInstanceSettings", "containerConfiguration", "affinityInfo", "schedule", "jobSpecification",
        "registry", "identityReference",
    }
)  # fmt: skip
LISTS = frozenset(
    {
        "metadata", "resourceFiles", "outputFiles", "environmentSettings", "commonEnvironmentSettings", "nodeList",
        "taskIds", "taskIdRanges", "exitCodes", "exitCodeRanges", "applicationPackageReferences", "commonResourceFiles",
        "containerImageNames", "containerRegistries", "containerHostBatchBindMounts",
    }
)  # fmt: skip
LISTS_OF_OBJECTS = LISTS - {"nodeList", "taskIds", "containerImageNames"}
STRINGS = frozenset(
    {
        "commandLine",
        "coordinationCommandLine",
        "containerUrl",
        "vmSize",
        "autoScaleFormula",
        "poolId",
        "displayName",
        "httpUrl",
        "filePath",
    }
)
DURATIONS = frozenset(
    {
        "resizeTimeout",
        "autoScaleEvaluationInterval",
        "maxWallClockTime",
        "retentionTime",
        "recurrenceInterval",
        "startWindow",
    }
)


def _invalid(name: str, value: Any, reason: str) -> Refused:
    return Refused(
        "InvalidPropertyValue",
        {"PropertyName": name, "PropertyValue": str(value)[:200], "Reason": reason},
    )


def _missing(name: str) -> Refused:
    return Refused("MissingRequiredProperty", {"PropertyName": name})


def coerce(value: Any, name: str = "", depth: int = 0) -> Any:
    """Numbers, booleans and durations as such, nulls left out, at every level."""
    if depth > 40:
        raise Refused("InvalidRequestBody", {"Reason": "The request body is nested too deeply"})
    _check_type(name, value)
    if isinstance(value, dict):
        return {key: coerce(item, key, depth + 1) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [coerce(item, "", depth + 1) for item in value]
    if name in INTEGERS and not isinstance(value, bool):
        return _integer(name, value)
    if name in BOOLEANS and isinstance(value, str):
        if value.lower() not in {"true", "false"}:
            raise _invalid(name, value, "The value is not a boolean")
        return value.lower() == "true"
    if name in DURATIONS:
        return _duration(name, value)
    return value


def _check_type(name: str, value: Any) -> None:
    """Refuse a known property whose JSON is of another type."""
    for names, kind, wanted in (
        (OBJECTS, dict, "an object"),
        (LISTS, list, "a list"),
        (STRINGS, str, "a string"),
        (INTEGERS, int | float | str, "a number"),
    ):
        if name in names and not isinstance(value, kind):
            raise _invalid(name, value, f"The value is not {wanted}")
    if name in LISTS_OF_OBJECTS and not all(isinstance(item, dict) for item in value):
        raise _invalid(name, value, "The value is not a list of objects")


def _integer(name: str, value: Any) -> Any:
    # `start` and `end` of task id ranges and exit code ranges are numbers as well.
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise _invalid(name, value, "The value is not an integer") from None
    if isinstance(value, float) and value != number:
        raise _invalid(name, value, "The value is not an integer")
    if not -(2**31) <= number < 2**31:
        raise Refused("OutOfRangeInput", {"PropertyName": name, "PropertyValue": str(value)[:40]})
    return number


def _duration(name: str, value: Any) -> str:
    try:
        return durations.text(durations.parse(value))
    except ValueError:
        raise _invalid(name, value, "The value is not an ISO 8601 duration") from None


def _object(body: Body, name: str) -> Body:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(name, value, "The value is not an object")
    return value


def _id(body: Body, name: str = "id") -> None:
    if not body.get(name):
        raise _missing(name)
    if not isinstance(body[name], str) or not ID.match(body[name]):
        raise _invalid(name, body[name], "An id has 1 to 64 letters, digits, hyphens and underscores")


def _range(body: Body, name: str, low: int, high: int) -> None:
    if name in body and not low <= body[name] <= high:
        raise Refused(
            "OutOfRangeInput",
            {
                "PropertyName": name,
                "PropertyValue": str(body[name]),
                "MinimumValue": str(low),
                "MaximumValue": str(high),
            },
        )


def _at_least(body: Body, name: str, low: timedelta, high: timedelta) -> None:
    if name in body and not low <= durations.parse(body[name]) <= high:
        raise _invalid(name, body[name], f"The value is between {durations.text(low)} and {durations.text(high)}")


def formula(text: Any) -> None:
    """Refuse what is no formula, with the place of the fault."""
    if not isinstance(text, str) or not text.strip():
        raise _missing("autoScaleFormula")
    try:
        parse(text)
    except FormulaError as error:
        raise Refused(error.code, {"Message": str(error)}) from None


def resize_bounds(body: Body) -> None:
    """Limits common to creating, resizing and scaling a pool."""
    _range(body, "targetDedicatedNodes", 0, MAX_NODES)
    _range(body, "targetLowPriorityNodes", 0, MAX_NODES)
    _at_least(body, "resizeTimeout", timedelta(minutes=5), timedelta(days=7))
    _at_least(body, "autoScaleEvaluationInterval", timedelta(minutes=5), timedelta(hours=168))


def _command(body: Body, where: str) -> None:
    containers = _object(body, "containerSettings")
    # The empty command line is the image's own entry point.
    if not isinstance(body.get("commandLine"), str) or not (body["commandLine"].strip() or containers):
        raise _missing(f"{where}commandLine")
    if "containerSettings" in body:
        _containers(containers, f"{where}containerSettings.")
    _resource_files(body.get("resourceFiles") or (), f"{where}resourceFiles")
    for setting in body.get("environmentSettings") or ():
        if not setting.get("name"):
            raise _missing(f"{where}environmentSettings.name")


def _resource_files(entries: Iterable[Body], where: str) -> None:
    for entry in entries:
        sources = [n for n in ("httpUrl", "storageContainerUrl", "autoStorageContainerName") if entry.get(n)]
        if len(sources) != 1:
            raise _invalid(where, sources, "Exactly one source is needed for each resource file")
        if entry.get("httpUrl") and not entry.get("filePath"):
            raise _missing(f"{where}.filePath")


def _containers(settings: Body, where: str) -> None:
    if not settings.get("imageName"):
        raise _missing(f"{where}imageName")
    _choice(settings, where, "workingDirectory", ("taskWorkingDirectory", "containerImageDefault"))
    for mount in settings.get("containerHostBatchBindMounts") or ():
        _choice(mount, f"{where}containerHostBatchBindMounts.", "source", HOST_PATHS)


def _choice(body: Body, where: str, name: str, allowed: tuple[str, ...]) -> None:
    if name in body and str(body[name]).lower() not in {value.lower() for value in allowed}:
        raise _invalid(f"{where}{name}", body[name], f"The value is one of {', '.join(allowed)}")


def _user(body: Body) -> None:
    body.setdefault("userIdentity", {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}})


def start_task(body: Body) -> Body:
    """A start task with its defaults."""
    _command(body, "startTask.")
    _user(body)
    return {"maxTaskRetryCount": 0, "waitForSuccess": True, **body}


def pool(body: Body) -> Body:
    """A pool to be added. Source: REST, Pools - Create Pool."""
    _id(body)
    if not body.get("vmSize"):
        raise _missing("vmSize")
    machine = _object(body, "virtualMachineConfiguration")
    if not machine:
        raise _missing("virtualMachineConfiguration")
    for name in ("imageReference", "nodeAgentSKUId"):
        if not machine.get(name):
            raise _missing(f"virtualMachineConfiguration.{name}")
    if not isinstance(machine["imageReference"], dict) or not is_supported(
        machine["imageReference"], str(machine["nodeAgentSKUId"])
    ):
        reason = "The specified image reference and node agent SKU are not supported together; see the supported images"
        raise _invalid("virtualMachineConfiguration.imageReference", machine["imageReference"], reason)
    if "containerConfiguration" in machine:
        where = "virtualMachineConfiguration.containerConfiguration."
        if not machine["containerConfiguration"].get("type"):
            raise _missing(f"{where}type")
        _choice(machine["containerConfiguration"], where, "type", ("dockerCompatible", "criCompatible"))
    body = {"taskSlotsPerNode": 1, "enableInterNodeCommunication": False, "enableAutoScale": False, **body}
    _range(body, "taskSlotsPerNode", 1, min(4 * cores_of(str(body["vmSize"])), 256))
    resize_bounds(body)
    if body["enableAutoScale"]:
        formula(body.get("autoScaleFormula"))
        for name in ("targetDedicatedNodes", "targetLowPriorityNodes", "resizeTimeout"):
            if name in body:
                raise _invalid(name, body[name], "The property cannot be set when enableAutoScale is true")
        body.setdefault("autoScaleEvaluationInterval", "PT15M")
    else:
        if "autoScaleFormula" in body:
            raise _invalid("autoScaleFormula", "", "The property cannot be set when enableAutoScale is false")
        body = {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 0, "resizeTimeout": "PT15M", **body}
    body.setdefault("taskSchedulingPolicy", {"nodeFillType": "Spread"})
    if "startTask" in body:
        body["startTask"] = start_task(body["startTask"])
    return body


def _task_constraints(body: Body, retries: int) -> Body:
    given = _object(body, "constraints")
    _range(given, "maxTaskRetryCount", -1, 2**31 - 1)
    return {"maxWallClockTime": durations.UNLIMITED, "retentionTime": "P7D", "maxTaskRetryCount": retries, **given}


def task(body: Body, job: Mapping[str, Any]) -> Body:
    """A task to be added to a job with that spec. Source: REST, Tasks - Create Task."""
    _id(body)
    _command(body, "")
    _range(body, "requiredSlots", 1, 256)
    _user(body)
    retries = int((job.get("constraints") or {}).get("maxTaskRetryCount", 0))
    body["constraints"] = _task_constraints(body, retries)
    body.setdefault("requiredSlots", 1)
    _multi_instance(_object(body, "multiInstanceSettings"))
    depends = _object(body, "dependsOn")
    ids = depends.get("taskIds") or []
    if sum(len(str(other)) + 1 for other in ids) > 64_000:
        raise Refused("OutOfRangeInput", {"PropertyName": "dependsOn.taskIds"})
    for span in depends.get("taskIdRanges") or ():
        if (
            not isinstance(span.get("start"), int)
            or not isinstance(span.get("end"), int)
            or span["start"] > span["end"]
        ):
            raise _invalid("dependsOn.taskIdRanges", span, "A range has a start that is not above its end")
        if span["end"] - span["start"] > 100_000:
            raise Refused("OutOfRangeInput", {"PropertyName": "dependsOn.taskIdRanges"})
    return body


def _multi_instance(settings: Body) -> None:
    if not settings:
        return
    if not str(settings.get("coordinationCommandLine") or "").strip():
        raise _missing("multiInstanceSettings.coordinationCommandLine")
    _range(settings, "numberOfInstances", 1, MAX_NODES)
    _resource_files(settings.get("commonResourceFiles") or (), "multiInstanceSettings.commonResourceFiles")


def _job_task(body: Body, where: str, default_id: str) -> Body:
    _command(body, f"{where}.")
    _user(body)
    body.setdefault("id", default_id)
    _id(body)
    return body


def job(body: Body) -> Body:
    """A job to be added. Source: REST, Jobs - Create Job."""
    _id(body)
    info = _object(body, "poolInfo")
    if bool(info.get("poolId")) == bool(info.get("autoPoolSpecification")):
        if info.get("poolId"):
            raise _invalid("poolInfo", "", "Exactly one of poolId and autoPoolSpecification is needed")
        raise _missing("poolInfo")
    if info.get("autoPoolSpecification"):
        specification = dict(info["autoPoolSpecification"])
        specification["pool"] = pool({**_object(specification, "pool"), "id": "auto"})
        body["poolInfo"] = {"autoPoolSpecification": specification}
    body = {
        "priority": 0,
        "usesTaskDependencies": False,
        "onAllTasksComplete": "noaction",
        "onTaskFailure": "noaction",
        "allowTaskPreemption": False,
        "maxParallelTasks": -1,
        **body,
    }
    return _job_settings(body)


def _job_settings(body: Body) -> Body:
    _range(body, "priority", -1000, 1000)
    for name, allowed in _CHOICES.items():
        if name in body:
            body[name] = str(body[name]).lower()
            if body[name] not in allowed:
                raise _invalid(name, body[name], f"The value is one of {', '.join(allowed)}")
    if "constraints" in body:
        _range(body["constraints"], "maxTaskRetryCount", -1, 2**31 - 1)
    body["constraints"] = {
        "maxWallClockTime": durations.UNLIMITED,
        "maxTaskRetryCount": 0,
        **(body.get("constraints") or {}),
    }
    for name, default_id in (("jobPreparationTask", "jobpreparation"), ("jobReleaseTask", "jobrelease")):
        if name in body:
            body[name] = _job_task(_object(body, name), name, default_id)
    if "jobPreparationTask" in body:
        body["jobPreparationTask"] = {
            "waitForSuccess": True,
            "rerunOnNodeRebootAfterSuccess": True,
            **body["jobPreparationTask"],
        }
        body["jobPreparationTask"]["constraints"] = _task_constraints(body["jobPreparationTask"], 0)
    if "jobReleaseTask" in body and "jobPreparationTask" not in body:
        raise _missing("jobPreparationTask")
    if "jobManagerTask" in body:
        manager = task(_object(body, "jobManagerTask"), body)
        body["jobManagerTask"] = {"killJobOnCompletion": True, "runExclusive": True, **manager}
    return body


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "onAllTasksComplete": ("noaction", "terminatejob"),
    "onTaskFailure": ("noaction", "performexitoptionsjobaction"),
}

# What a PATCH of a job may name; other properties are ignored as the service ignores them.
PATCHABLE_JOB = (
    "priority", "maxParallelTasks", "allowTaskPreemption", "onAllTasksComplete", "constraints", "poolInfo", "metadata",
    "networkConfiguration",
)  # fmt: skip


def job_changes(body: Body) -> Body:
    """The changes a PATCH asks for. Constraints are replaced whole: what is left out gets its default [recorded]."""
    changes = {name: body[name] for name in PATCHABLE_JOB if name in body}
    if not changes:
        return {}
    checked = _job_settings(dict(changes))
    return {name: checked[name] for name in changes}


def job_replacement(body: Body) -> Body:
    """The changes a PUT asks for: properties left out get their defaults, metadata is dropped [recorded]."""
    if not _object(body, "poolInfo"):
        raise _missing("poolInfo")
    defaults: Body = {"priority": 0, "onAllTasksComplete": "noaction", "maxParallelTasks": -1, "metadata": None}
    given = {name: body[name] for name in PATCHABLE_JOB if name in body}
    checked = _job_settings(given)
    return {**defaults, **{name: checked[name] for name in (*given, "constraints")}}


_MINUTE = timedelta(minutes=1)
SCHEDULE_PARTS = ("displayName", "schedule", "jobSpecification", "metadata")


def _schedule(body: Body) -> Body:
    """The calendar of a job schedule, its times in one form."""
    found = dict(_object(body, "schedule"))
    for name in ("recurrenceInterval", "startWindow"):
        _at_least(found, name, _MINUTE, timedelta.max)
    for name in ("doNotRunUntil", "doNotRunAfter"):
        if name in found:
            found[name] = time(found, name).isoformat()
    return found


def time(body: Body, name: str) -> datetime:
    """A time of the body. Raises Refused where it is missing or none."""
    if body.get(name) is None:
        raise _missing(name)
    try:
        return parse_stamp(str(body[name]))
    except ValueError:
        raise _invalid(name, body[name], "The value is not an ISO 8601 time") from None


def _job_specification(body: Body) -> Body:
    """A job without an id, with a job's defaults."""
    given = _object(body, "jobSpecification")
    if not given:
        raise _missing("jobSpecification")
    return {name: value for name, value in job({**given, "id": "x"}).items() if name != "id"}


def job_schedule(body: Body) -> Body:
    """A job schedule to be added. Source: REST, Job Schedules - Create Job Schedule."""
    _id(body)
    if "schedule" not in body:
        raise _missing("schedule")
    return {**body, "schedule": _schedule(body), "jobSpecification": _job_specification(body)}


def job_schedule_changes(body: Body) -> Body:
    """The changes a PATCH asks for."""
    changes = {name: body[name] for name in SCHEDULE_PARTS if name in body and name != "displayName"}
    if "schedule" in changes:
        changes["schedule"] = _schedule(body)
    if "jobSpecification" in changes:
        changes["jobSpecification"] = _job_specification(body)
    return changes


def job_schedule_replacement(body: Body) -> Body:
    """The changes a PUT asks for: what is left out gets its default."""
    if "schedule" not in body:
        raise _missing("schedule")
    return {"metadata": None, **job_schedule_changes(body), "jobSpecification": _job_specification(body)}


def node_user(body: Body, now: datetime) -> NodeUser:
    """An account on a node; without an expiry it is there for a day. The password goes no further."""
    name = body.get("name")
    if not name:
        raise _missing("name")
    if not isinstance(name, str) or not USER_NAME.match(name):
        raise _invalid("name", name, "A user name has 1 to 20 letters, digits, hyphens, dots and underscores")
    if not body.get("password") and not body.get("sshPublicKey"):
        raise _missing("password")
    expires = time(body, "expiryTime") if "expiryTime" in body else now + timedelta(days=1)
    if expires <= now:
        raise _invalid("expiryTime", body["expiryTime"], "The expiry time has passed")
    key = body.get("sshPublicKey")
    return NodeUser(
        name=name, is_admin=bool(body.get("isAdmin", False)), expires=expires, ssh_public_key=str(key) if key else None
    )


Decoder = Callable[[Body], Body]
