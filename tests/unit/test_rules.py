"""The rules of request bodies: each constraint with the service's code, and laws over all shapes."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

import pytest
from azure.batch import models
from azure.batch.models import _models
from hypothesis import assume, given
from hypothesis import strategies as st

from azbatch_emulator.batch import decode, rules
from azbatch_emulator.batch.errors import ERRORS
from azbatch_emulator.batch.routes import OPERATIONS, RETIRED
from azbatch_emulator.batch.rules import BODIES, Context, kinds
from azbatch_emulator.records import Refused
from tests.unit.bodies import JSON, MACHINE, REQUESTS, spoiled

POOL = {"id": "p", "vmSize": "Standard_D2s_v5", "virtualMachineConfiguration": MACHINE}
JOB = {"id": "j", "poolInfo": {"poolId": "p"}}
TASK = {"id": "t", "commandLine": "x"}
OLD = "2024-02-01.19.0"


def _nat(*pools: dict[str, Any]) -> dict[str, Any]:
    made = [
        {
            "name": f"n{number}",
            "protocol": "tcp",
            "backendPort": 8000 + number,
            "frontendPortRangeStart": 1000 + 100 * number,
            "frontendPortRangeEnd": 1099 + 100 * number,
            **changes,
        }
        for number, changes in enumerate(pools)
    ]
    return {**POOL, "networkConfiguration": {"endpointConfiguration": {"inboundNATPools": made}}}


def _rules(*priorities: int) -> dict[str, Any]:
    rules = [{"priority": one, "access": "deny", "sourceAddressPrefix": "*"} for one in priorities]
    return {"networkSecurityGroupRules": rules}


def _machine(**changes: Any) -> dict[str, Any]:
    return {**POOL, "virtualMachineConfiguration": {**MACHINE, **changes}}


def _file(**changes: Any) -> dict[str, Any]:
    return {**TASK, "resourceFiles": [{"httpUrl": "https://x/y?sig=secret", "filePath": "y", **changes}]}


CASES: list[tuple[str, dict[str, Any], str, str]] = [
    # operation, body, code, the property it names
    ("CreatePool", {}, "MissingRequiredProperty", "id"),
    ("CreatePool", {**POOL, "id": ""}, "MissingRequiredProperty", "id"),
    ("CreatePool", {**POOL, "id": "has space"}, "InvalidPropertyValue", "id"),
    ("CreatePool", {**POOL, "id": "x" * 65}, "InvalidPropertyValue", "id"),
    ("CreatePool", {**POOL, "id": "x\n"}, "InvalidPropertyValue", "id"),
    ("CreatePool", {"id": "p", "vmSize": "s"}, "MissingRequiredProperty", "virtualMachineConfiguration"),
    ("CreatePool", {**POOL, "displayName": "x" * 1025}, "InvalidPropertyValue", "displayName"),
    ("CreatePool", {**POOL, "taskSlotsPerNode": 0}, "OutOfRangeInput", "taskSlotsPerNode"),
    ("CreatePool", {**POOL, "taskSlotsPerNode": 257}, "OutOfRangeInput", "taskSlotsPerNode"),
    ("CreatePool", {**POOL, "targetDedicatedNodes": -1}, "OutOfRangeInput", "targetDedicatedNodes"),
    ("CreatePool", {**POOL, "resizeTimeout": "PT4M59S"}, "InvalidPropertyValue", "resizeTimeout"),
    ("CreatePool", {**POOL, "resizeTimeout": "P7DT1S"}, "InvalidPropertyValue", "resizeTimeout"),
    (
        "CreatePool",
        {**POOL, "autoScaleEvaluationInterval": "PT1M"},
        "InvalidPropertyValue",
        "autoScaleEvaluationInterval",
    ),
    ("CreatePool", {**POOL, "startTask": {}}, "MissingRequiredProperty", "commandLine"),
    ("CreatePool", {**POOL, "startTask": {"commandLine": " "}}, "InvalidPropertyValue", "commandLine"),
    (
        "CreatePool",
        {**POOL, "startTask": {"commandLine": "x", "maxTaskRetryCount": -2}},
        "OutOfRangeInput",
        "maxTaskRetryCount",
    ),
    ("CreatePool", {**POOL, "metadata": [{"name": "a"}]}, "MissingRequiredProperty", "value"),
    (
        "CreatePool",
        {**POOL, "applicationPackageReferences": [{"applicationId": "a"}] * 11},
        "OutOfRangeInput",
        "applicationPackageReferences",
    ),
    ("CreatePool", {**POOL, "userAccounts": [{"name": "x" * 21, "password": "p"}]}, "InvalidPropertyValue", "name"),
    (
        "CreatePool",
        {**POOL, "userAccounts": [{"name": "u", "password": "p", "linuxUserConfiguration": {"uid": 5}}]},
        "MissingRequiredProperty",
        "gid",
    ),
    ("CreatePool", {**POOL, "taskSchedulingPolicy": {"nodeFillType": "heap"}}, "InvalidPropertyValue", "nodeFillType"),
    ("CreatePool", {**POOL, "mountConfiguration": [{}]}, "MissingRequiredProperty", "azureBlobFileSystemConfiguration"),
    (
        "CreatePool",
        {**POOL, "upgradePolicy": {"mode": "rolling", "rollingUpgradePolicy": {"maxBatchInstancePercent": 4}}},
        "OutOfRangeInput",
        "maxBatchInstancePercent",
    ),
    ("CreatePool", _machine(imageReference={}), "MissingRequiredProperty", "publisher"),
    (
        "CreatePool",
        _machine(imageReference={"publisher": "x", "virtualMachineImageId": "/y"}),
        "InvalidPropertyValue",
        "virtualMachineImageId",
    ),
    ("CreatePool", _machine(dataDisks=[{"lun": 64, "diskSizeGB": 1}]), "OutOfRangeInput", "lun"),
    ("CreatePool", _machine(dataDisks=[{"lun": 1, "diskSizeGB": 1}] * 2), "InvalidPropertyValue", "lun"),
    ("CreatePool", _machine(securityProfile={"uefiSettings": {}}), "MissingRequiredProperty", "securityType"),
    ("CreatePool", _nat(*[{}] * 6), "OutOfRangeInput", "inboundNATPools"),
    ("CreatePool", _nat({"backendPort": 29876}), "InvalidPropertyValue", "backendPort"),
    ("CreatePool", _nat({"backendPort": 0}), "OutOfRangeInput", "backendPort"),
    ("CreatePool", _nat({"name": "-x"}), "InvalidPropertyValue", "name"),
    ("CreatePool", _nat({"name": "x" * 78}), "InvalidPropertyValue", "name"),
    ("CreatePool", _nat({}, {"name": "N0"}), "InvalidPropertyValue", "name"),
    ("CreatePool", _nat({}, {"backendPort": 8000}), "InvalidPropertyValue", "backendPort"),
    ("CreatePool", _nat({"frontendPortRangeEnd": 1038}), "InvalidPropertyValue", "frontendPortRangeEnd"),
    ("CreatePool", _nat({"frontendPortRangeEnd": 65535}), "OutOfRangeInput", "frontendPortRangeEnd"),
    (
        "CreatePool",
        _nat({"frontendPortRangeStart": 50100, "frontendPortRangeEnd": 50200}),
        "InvalidPropertyValue",
        "frontendPortRangeStart",
    ),
    (
        "CreatePool",
        _nat({"frontendPortRangeStart": 49000, "frontendPortRangeEnd": 56000}),
        "InvalidPropertyValue",
        "frontendPortRangeStart",
    ),
    ("CreatePool", _nat({}, {"frontendPortRangeStart": 1050}), "InvalidPropertyValue", "frontendPortRangeStart"),
    ("CreatePool", _nat(_rules(149)), "OutOfRangeInput", "priority"),
    ("CreatePool", _nat(_rules(150), _rules(150)), "InvalidPropertyValue", "priority"),
    (
        "CreatePool",
        _nat(_rules(*range(200, 213)), _rules(*range(300, 313))),
        "OutOfRangeInput",
        "networkSecurityGroupRules",
    ),
    ("ResizePool", {}, "MissingRequiredProperty", "targetDedicatedNodes"),
    (
        "ResizePool",
        {"targetDedicatedNodes": 1, "nodeDeallocationOption": "maybe"},
        "InvalidPropertyValue",
        "nodeDeallocationOption",
    ),
    ("RemoveNodes", {"nodeList": []}, "MissingRequiredProperty", "nodeList"),
    ("RemoveNodes", {"nodeList": ["n"] * 101}, "OutOfRangeInput", "nodeList"),
    ("EvaluatePoolAutoScale", {}, "MissingRequiredProperty", "autoScaleFormula"),
    ("CreateJob", {"id": "j"}, "MissingRequiredProperty", "poolInfo"),
    ("CreateJob", {"id": "j", "poolInfo": {}}, "MissingRequiredProperty", "poolId"),
    ("CreateJob", {**JOB, "priority": 1001}, "OutOfRangeInput", "priority"),
    ("CreateJob", {**JOB, "priority": -1001}, "OutOfRangeInput", "priority"),
    ("CreateJob", {**JOB, "maxParallelTasks": 0}, "InvalidPropertyValue", "maxParallelTasks"),
    ("CreateJob", {**JOB, "maxParallelTasks": -2}, "OutOfRangeInput", "maxParallelTasks"),
    ("CreateJob", {**JOB, "onAllTasksComplete": "explode"}, "InvalidPropertyValue", "onAllTasksComplete"),
    ("CreateJob", {**JOB, "constraints": {"maxTaskRetryCount": -2}}, "OutOfRangeInput", "maxTaskRetryCount"),
    ("CreateJob", {**JOB, "constraints": {"maxWallClockTime": "-PT1M"}}, "InvalidPropertyValue", "maxWallClockTime"),
    ("CreateJob", {**JOB, "jobReleaseTask": {"commandLine": "x"}}, "MissingRequiredProperty", "jobPreparationTask"),
    (
        "CreateJob",
        {
            **JOB,
            "jobPreparationTask": {"commandLine": "x"},
            "jobReleaseTask": {"commandLine": "x", "maxWallClockTime": "PT16M"},
        },
        "InvalidPropertyValue",
        "maxWallClockTime",
    ),
    ("CreateJob", {**JOB, "jobManagerTask": {"commandLine": "x"}}, "MissingRequiredProperty", "id"),
    (
        "CreateJob",
        {"id": "j", "poolInfo": {"autoPoolSpecification": {}}},
        "MissingRequiredProperty",
        "poolLifetimeOption",
    ),
    (
        "CreateJob",
        {"id": "j", "poolInfo": {"autoPoolSpecification": {"poolLifetimeOption": "job", "autoPoolIdPrefix": "x" * 21}}},
        "InvalidPropertyValue",
        "autoPoolIdPrefix",
    ),
    ("DisableJob", {}, "MissingRequiredProperty", "disableTasks"),
    ("ReplaceJob", {}, "MissingRequiredProperty", "poolInfo"),
    ("CreateTask", {"id": "t"}, "MissingRequiredProperty", "commandLine"),
    ("CreateTask", {**TASK, "requiredSlots": 0}, "OutOfRangeInput", "requiredSlots"),
    ("CreateTask", _file(httpUrl=None), "MissingRequiredProperty", "httpUrl"),
    ("CreateTask", _file(filePath=None), "MissingRequiredProperty", "filePath"),
    ("CreateTask", _file(autoStorageContainerName="x"), "InvalidPropertyValue", "autoStorageContainerName"),
    ("CreateTask", {**TASK, "environmentSettings": [{"value": "x"}]}, "MissingRequiredProperty", "name"),
    ("CreateTask", {**TASK, "userIdentity": {}}, "MissingRequiredProperty", "autoUser"),
    ("CreateTask", {**TASK, "outputFiles": [{"filePattern": "*"}]}, "MissingRequiredProperty", "destination"),
    ("CreateTask", {**TASK, "containerSettings": {}}, "MissingRequiredProperty", "imageName"),
    ("CreateTask", {**TASK, "dependsOn": {"taskIdRanges": [{"start": 5, "end": 4}]}}, "InvalidPropertyValue", "start"),
    ("CreateTask", {**TASK, "multiInstanceSettings": {}}, "MissingRequiredProperty", "coordinationCommandLine"),
    ("CreateTask", {**TASK, "exitConditions": {"exitCodes": [{"code": 1}]}}, "MissingRequiredProperty", "exitOptions"),
    ("CreateTaskCollection", {"value": [TASK] * 101}, "OutOfRangeInput", "value"),
    (
        "CreateJobSchedule",
        {"id": "s", "schedule": {"recurrenceInterval": "PT59S"}, "jobSpecification": JOB},
        "InvalidPropertyValue",
        "recurrenceInterval",
    ),
    ("UploadNodeLogs", {"containerUrl": "https://x"}, "MissingRequiredProperty", "startTime"),
]


@pytest.mark.parametrize(("operation", "body", "code", "name"), CASES)
def test_what_is_refused(operation: str, body: dict[str, Any], code: str, name: str) -> None:
    """Each constraint has the service's code and names the property; no answer shows a secret."""
    with pytest.raises(Refused) as raised:
        rules.read(operation, body)
    assert (raised.value.code, raised.value.values["PropertyName"]) == (code, name)
    assert "secret" not in str(raised.value.values)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**POOL, "taskSlotsPerNode": 9}, "OutOfRangeInput"),
        (_machine(nodeAgentSKUId="batch.node.ubuntu 16.04"), "InvalidPropertyValue"),
        (_machine(windowsConfiguration={}), "InvalidPropertyValue"),
        ({**POOL, "enableAutoScale": True}, "MissingRequiredProperty"),
        ({**POOL, "enableAutoScale": True, "autoScaleFormula": "a = ;"}, "AutoScalingFormulaSyntaxError"),
        ({**POOL, "autoScaleFormula": "a=1;"}, "InvalidPropertyValue"),
        (
            {**POOL, "enableAutoScale": True, "autoScaleFormula": "a=1;", "targetDedicatedNodes": 1},
            "InvalidPropertyValue",
        ),
    ],
)
def test_pools_that_do_not_hang_together(body: dict[str, Any], code: str) -> None:
    """What depends on the machine or the scaling has the service's code, in an auto pool's specification as well."""
    with pytest.raises(Refused) as raised:
        decode.pool(rules.read("CreatePool", body))
    assert raised.value.code == code
    specification = {"poolLifetimeOption": "job", "pool": {key: one for key, one in body.items() if key != "id"}}
    given_job = {"id": "j", "poolInfo": {"autoPoolSpecification": specification}}
    with pytest.raises(Refused) as raised:
        decode.job(rules.read("CreateJob", given_job))
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("body", "job", "code"),
    [
        (
            {**TASK, "id": "JobPreparation"},
            {"jobPreparationTask": {"id": "jobpreparation"}},
            "TaskIdSameAsJobPreparationTask",
        ),
        ({**TASK, "id": "r"}, {"jobReleaseTask": {"id": "r"}}, "TaskIdSameAsJobReleaseTask"),
        (
            {**TASK, "requiredSlots": 2, "multiInstanceSettings": {"coordinationCommandLine": "x"}},
            {},
            "InvalidPropertyValue",
        ),
        ({**TASK, "dependsOn": {"taskIds": ["x" * 63] * 1001}}, {}, "TaskDependencyListTooLong"),
        ({**TASK, "exitConditions": {"default": {"jobAction": "disable"}}}, {}, "InvalidPropertyValue"),
        (
            {**TASK, "exitConditions": {"exitCodes": [{"code": 1, "exitOptions": {"jobAction": "none"}}]}},
            {},
            "InvalidPropertyValue",
        ),
    ],
)
def test_tasks_that_do_not_fit_their_job(body: dict[str, Any], job: dict[str, Any], code: str) -> None:
    """What depends on the job, or on several properties, has the service's code."""
    with pytest.raises(Refused) as raised:
        decode.task(rules.read("CreateTask", body), job)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("operation", "body", "edm"),
    [
        ("CreateTask", {**TASK, "commandLine": 5}, "Edm.String"),
        ("CreateJob", {**JOB, "priority": "many"}, "Edm.Int32"),
        ("CreateJob", {**JOB, "priority": 1.5}, "Edm.Int32"),
        ("CreateJob", {**JOB, "priority": True}, "Edm.Int32"),
        ("CreateJob", {**JOB, "priority": 2**31}, "Edm.Int32"),
        ("CreatePool", {**POOL, "enableAutoScale": "perhaps"}, "Edm.Boolean"),
        ("CreatePool", {**POOL, "enableAutoScale": 1}, "Edm.Boolean"),
        ("CreatePool", {**POOL, "resizeTimeout": "5 minutes"}, "Edm.Time"),
        ("UploadNodeLogs", {"containerUrl": "https://x", "startTime": "yesterday"}, "Edm.DateTime"),
        ("CreateJob", {**JOB, "priority": [1]}, "StartArray"),
        ("CreateJob", {**JOB, "constraints": []}, "StartObject"),
        ("CreatePool", {**POOL, "metadata": {}}, "StartArray"),
        ("CreatePool", {**POOL, "metadata": ["x"]}, "StartObject"),
        ("RemoveNodes", {"nodeList": [None]}, "Edm.String"),
    ],
)
def test_json_of_another_type(operation: str, body: dict[str, Any], edm: str) -> None:
    """JSON of another type than the property's is a body that cannot be read, with the type that was expected."""
    with pytest.raises(Refused) as raised:
        rules.read(operation, body)
    assert raised.value.code == "InvalidRequestBody"
    assert edm in raised.value.values["Reason"]


def test_numbers_and_booleans_may_be_strings() -> None:
    """az CLI sends numbers and booleans as text; nulls count as left out, enumerations in any capitals."""
    given_body = {
        "targetDedicatedNodes": "3",
        "enableAutoScale": "False",
        "displayName": None,
        "resizeTimeout": "PT900S",
    }
    read = rules.read("CreatePool", {**POOL, **given_body, "taskSchedulingPolicy": {"nodeFillType": "PACK"}})
    assert read == {
        **POOL,
        "targetDedicatedNodes": 3,
        "enableAutoScale": False,
        "resizeTimeout": "PT15M",
        "taskSchedulingPolicy": {"nodeFillType": "Pack"},
    }


def test_strangers_are_kept_or_refused() -> None:
    """Lenient, an unknown property is kept as it came; strict, it is refused as the service words it, at any depth."""
    body = {**POOL, "startTask": {"commandLine": "x", "colour": {"red": [1, None]}}}
    assert rules.read("CreatePool", body)["startTask"]["colour"] == {"red": [1, None]}
    with pytest.raises(Refused) as raised:
        rules.read("CreatePool", body, Context(strict=True))
    assert raised.value.code == "InvalidRequestBody"
    assert raised.value.values["Reason"].startswith(
        "The property 'colour' does not exist on type 'Microsoft.Azure.Batch."
    )


def test_rules_follow_the_version() -> None:
    """Ports 22 and 3389 are reserved, and certificates known, in api-versions before 2025 only."""
    rules.read("CreatePool", _nat({"backendPort": 22}))
    with pytest.raises(Refused, match="InvalidPropertyValue"):
        rules.read("CreatePool", _nat({"backendPort": 22}), Context(version=OLD))
    body = {**POOL, "certificateReferences": []}
    assert rules.read("CreatePool", body, Context(strict=True, version=OLD)) == body
    with pytest.raises(Refused, match="InvalidRequestBody"):
        rules.read("CreatePool", body, Context(strict=True))


def test_every_operation_with_a_body_has_its_rules() -> None:
    """POST, PUT and PATCH: each has a row, and no row is left over."""
    named = {name for method, _, name, *_ in (*OPERATIONS, *RETIRED) if method in {"POST", "PUT", "PATCH"}}
    assert set(BODIES) == named


SDK = {
    "CreatePool": "BatchPoolCreateOptions",
    "UpdatePool": "BatchPoolUpdateOptions",
    "ResizePool": "BatchPoolResizeOptions",
    "EnablePoolAutoScale": "BatchPoolEnableAutoScaleOptions",
    "EvaluatePoolAutoScale": "BatchPoolEvaluateAutoScaleOptions",
    "ReplacePoolProperties": "BatchPoolReplaceOptions",
    "RemoveNodes": "BatchNodeRemoveOptions",
    "CreateJob": "BatchJobCreateOptions",
    "UpdateJob": "BatchJobUpdateOptions",
    "DisableJob": "BatchJobDisableOptions",
    "TerminateJob": "BatchJobTerminateOptions",
    "CreateTask": "BatchTaskCreateOptions",
    "CreateJobSchedule": "BatchJobScheduleCreateOptions",
    "UpdateJobSchedule": "BatchJobScheduleUpdateOptions",
    "CreateNodeUser": "BatchNodeUserCreateOptions",
    "ReplaceNodeUser": "BatchNodeUserReplaceOptions",
    "UploadNodeLogs": "UploadBatchServiceLogsOptions",
    "RebootNode": "BatchNodeRebootOptions",
    "ReimageNode": "BatchNodeReimageOptions",
    "DeallocateNode": "BatchNodeDeallocateOptions",
    "DisableNodeScheduling": "BatchNodeDisableSchedulingOptions",
}
_TYPES = {
    "str": kinds.Text,
    "int": kinds.Integer,
    "bool": kinds.Boolean,
    "timedelta": kinds.Duration,
    "datetime": kinds.Time,
}


_NAMES = types.SimpleNamespace(**{**vars(models), **vars(_models), "_enums": models._enums})
READ_ONLY = {"exactVersion"}  # read-only in the client, sent back by some


def _differences(model: Any, shape: kinds.Shape, path: str) -> list[str]:
    """Properties that only one side has, and those of another type."""
    model({})  # makes the model's fields known
    hints = typing.get_type_hints(model, vars(_models) | {"_models": _NAMES})
    fields = {
        field._rest_name: hints[name]
        for name, field in model._attr_to_rest_field.items()
        if field._visibility != ["read"]
    }
    known = set(shape.properties) - set(shape.retired) - READ_ONLY
    found = [f"{path}.{name}" for name in sorted(known ^ set(fields))]
    for name in known & set(fields):
        found += _type_differences(fields[name], shape.properties[name], f"{path}.{name}")
    return found


def _type_differences(hint: Any, kind: kinds.Kind, path: str) -> list[str]:
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        enums = [part for part in parts if part is not str]
        if len(parts) == 2 and str in parts:
            values = {str(getattr(one, "value", one)).lower() for one in enums[0]}
            same = isinstance(kind, kinds.Choice) and {word.lower() for word in kind.words} == values
            return [] if same else [f"{path}: {sorted(values)}"]
        return _type_differences(parts[0], kind, path)
    if typing.get_origin(hint) is list:
        if isinstance(kind, kinds.ListOf):
            return _type_differences(parts[0], kind.item, f"{path}[]")
        return [] if type(kind).__name__ == "PortRanges" else [f"{path}: a list"]
    if getattr(hint, "__module__", "").startswith("azure.batch.models") and hasattr(hint, "as_dict"):
        return _differences(hint, kind, path) if isinstance(kind, kinds.Shape) else [f"{path}: an object"]
    wanted = _TYPES.get(getattr(hint, "__name__", ""))
    loose = type(kind).__name__ in {"Address", "Anything", "Words"} or (path.endswith("licenseType"))
    return [] if loose or (wanted is not None and isinstance(kind, wanted)) else [f"{path}: {hint}"]


@pytest.mark.parametrize("operation", sorted(SDK))
def test_the_rules_know_every_property_of_the_client(operation: str) -> None:
    """The bodies of azure-batch 15.1 and ours have the same properties, at every depth, of the same types and words."""
    assert _differences(getattr(_models, SDK[operation]), BODIES[operation], "") == []


@given(REQUESTS)
def test_what_the_rules_allow_is_kept(request: tuple[str, dict[str, Any]]) -> None:
    """A body made from the rules is read as it is, again and again, strict or lenient; only relations refuse some."""
    operation, body = request
    try:
        read = rules.read(operation, body, Context(strict=True))
    except Refused as refusal:
        assert refusal.code in {"InvalidPropertyValue", "MissingRequiredProperty", "OutOfRangeInput"}
        assume(False)
    assert rules.read(operation, body) == read
    assert rules.read(operation, read, Context(strict=True)) == read
    filled = BODIES[operation].fill(read)
    assert rules.read(operation, filled, Context(strict=True)) == filled
    assert BODIES[operation].fill(filled) == filled


@given(REQUESTS, st.integers(0, 2**32), JSON, st.booleans())
def test_any_body_is_taken_or_refused(request: tuple[str, dict[str, Any]], seed: int, bad: Any, strict: bool) -> None:
    """Whatever JSON comes, the answer is a body or the service's refusal, from the rules and from what follows them."""
    operation, body = request
    followers: dict[str, Any] = {
        "CreatePool": decode.pool,
        "CreateJob": decode.job,
        "UpdateJob": decode.job_changes,
        "ReplaceJob": decode.job_replacement,
        "CreateTask": lambda body: decode.task(body, {}),
        "CreateJobSchedule": decode.job_schedule,
        "UpdateJobSchedule": decode.job_schedule_changes,
        "ReplaceJobSchedule": decode.job_schedule_replacement,
    }
    try:
        followers.get(operation, lambda body: body)(
            rules.read(operation, spoiled(body, seed, bad), Context(strict=strict))
        )
    except Refused as refusal:
        assert refusal.code in ERRORS
        assert all(isinstance(value, str) for value in refusal.values.values())


def test_an_id_is_an_id() -> None:
    """Letters, digits, hyphens and underscores, 1 to 64 of them, and nothing that Unicode calls a letter or digit."""
    for text in ("a", "A-_9", "x" * 64):
        assert rules.read("CreateTask", {**TASK, "id": text})["id"] == text
    for text in ("é", "٣", "a b", "a.b", "a/b", "x" * 65, "a\x00"):
        with pytest.raises(Refused, match="InvalidPropertyValue"):
            rules.read("CreateTask", {**TASK, "id": text})
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", "a\n") is None
