"""What each operation may be asked besides its path: the properties to filter by, to select and to expand. One table.

Source: "OData filters in Azure Batch" (properties, operators, types); docstrings of azure-batch 15.1.
To add an operation: write its row. `Field.get` takes a record and gives None where the property is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from azbatch_emulator.batch.odata import EQUALITY, ORDER, STARTS, Field, Fields, Getter, Type
from azbatch_emulator.batch.times import parse_stamp
from azbatch_emulator.records import AllocationState, JobScheduleState, JobState, NodeState, PoolState, TaskState

STATS = frozenset({"stats"})
_NAMED = ORDER | {STARTS}
_RESULTS = frozenset({"success", "failure"})
_RUNS = frozenset({"running", "completed"})


@dataclass(frozen=True, slots=True)
class Query:
    """None: the operation does not take that parameter. `pages` are asked for by maxresults and $skiptoken."""

    filter: Fields | None = None
    select: frozenset[str] | None = None
    expand: frozenset[str] | None = None
    pages: bool = False
    others: frozenset[str] = field(default_factory=frozenset)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _time(get: Getter) -> Field:
    return Field(get, Type.TIME)


def _state(states: type[StrEnum], signs: frozenset[str] = EQUALITY) -> Field:
    return Field(lambda r: r.state.value, Type.TEXT, signs, frozenset(states))


def _run(prefix: str, get: Callable[[Any], Any], equal_state: frozenset[str]) -> dict[str, Field]:
    """The properties of one execution of a start, preparation or release task."""

    def of(name: str) -> Getter:
        return lambda record: None if (run := get(record)) is None else getattr(run, name)

    return {
        f"{prefix}/state": Field(of("state"), Type.TEXT, equal_state, _RUNS),
        f"{prefix}/result": Field(of("result"), Type.TEXT, EQUALITY, _RESULTS),
        f"{prefix}/exitCode": Field(of("exit_code"), Type.NUMBER),
        f"{prefix}/startTime": _time(of("start_time")),
        f"{prefix}/endTime": _time(of("end_time")),
    }


def _scheduled(name: str) -> Getter:
    def get(schedule: Any) -> Any:
        text = (schedule.spec.get("schedule") or {}).get(name)
        return None if text is None else parse_stamp(text)

    return get


_CHANGES: Mapping[str, Field] = {
    "stateTransitionTime": _time(lambda r: r.state_since),
    "creationTime": _time(lambda r: r.created),
    "lastModified": _time(lambda r: r.last_modified),
}
_NAME_STARTS: Fields = {"name": Field(lambda file: file.name, Type.TEXT, frozenset({STARTS}))}

_POOLS: Fields = {
    "id": Field(lambda p: p.id, Type.TEXT, _NAMED),
    "state": _state(PoolState),
    **_CHANGES,
    "allocationState": Field(
        lambda p: p.allocation_state.value, Type.TEXT, frozenset({"eq"}), frozenset(AllocationState)
    ),
    "allocationStateTransitionTime": _time(lambda p: p.allocation_since),
    "enableAutoScale": Field(lambda p: p.autoscale_formula is not None, Type.BOOLEAN, EQUALITY),
    "vmSize": Field(lambda p: p.spec.get("vmSize"), Type.TEXT, EQUALITY),
    "enableInterNodeCommunication": Field(
        lambda p: p.spec.get("enableInterNodeCommunication", False), Type.BOOLEAN, EQUALITY
    ),
}
_SCHEDULED_JOBS: Fields = {
    "state": _state(JobState),
    **_CHANGES,
    "executionInfo/startTime": _time(lambda j: j.start_time),
    "executionInfo/endTime": _time(lambda j: j.end_time),
    "executionInfo/poolId": Field(lambda j: j.pool_id or None, Type.TEXT, _NAMED),
}
_JOBS: Fields = {"id": Field(lambda j: j.id, Type.TEXT, _NAMED), **_SCHEDULED_JOBS}
_SCHEDULES: Fields = {
    "id": Field(lambda s: s.id, Type.TEXT, _NAMED),
    "state": _state(JobScheduleState),
    **_CHANGES,
    "executionInfo/endTime": _time(lambda s: s.end_time),
    "schedule/doNotRunUntil": _time(_scheduled("doNotRunUntil")),
    "schedule/doNotRunAfter": _time(_scheduled("doNotRunAfter")),
}
_TASKS: Fields = {
    "id": Field(lambda t: t.id, Type.TEXT, _NAMED),
    "state": _state(TaskState),
    **_CHANGES,
    # The documentation names it so, alone among all lists.
    "lastModifiedTime": _CHANGES["lastModified"],
    "executionInfo/startTime": _time(lambda t: t.execution.start_time),
    "executionInfo/endTime": _time(lambda t: t.execution.end_time),
    "executionInfo/exitCode": Field(lambda t: t.execution.exit_code, Type.NUMBER),
    "executionInfo/result": Field(lambda t: t.execution.result, Type.TEXT, EQUALITY, _RESULTS),
}
_NODES: Fields = {
    "state": _state(NodeState),
    "stateTransitionTime": _CHANGES["stateTransitionTime"],
    "lastBootTime": _time(lambda n: n.last_boot_time),
    "allocationTime": _time(lambda n: n.allocation_time),
    **_run("startTaskInfo", lambda n: n.start_task, frozenset({"eq"})),
}
# Records of this list are (node, preparation, release).
_PREPARATIONS: Fields = {
    "poolId": Field(lambda r: r[0].pool_id, Type.TEXT, EQUALITY),
    "nodeId": Field(lambda r: r[0].id, Type.TEXT, EQUALITY),
    **_run("jobPreparationTaskExecutionInfo", lambda r: r[1], EQUALITY),
    **_run("jobReleaseTaskExecutionInfo", lambda r: r[2], EQUALITY),
}
_IMAGES: Fields = {
    name: Field(lambda image, name=name: image[name], Type.TEXT, EQUALITY)  # type: ignore[misc]
    for name in ("osType", "verificationType", "nodeAgentSKUId")
}

_POOL_NAMES = _names(
    "id displayName url eTag lastModified creationTime state stateTransitionTime allocationState "
    "allocationStateTransitionTime vmSize virtualMachineConfiguration resizeTimeout resizeErrors resourceTags "
    "currentDedicatedNodes currentLowPriorityNodes targetDedicatedNodes targetLowPriorityNodes enableAutoScale "
    "autoScaleFormula autoScaleEvaluationInterval autoScaleRun enableInterNodeCommunication networkConfiguration "
    "startTask applicationPackageReferences taskSlotsPerNode taskSchedulingPolicy userAccounts metadata stats "
    "mountConfiguration identity upgradePolicy certificateReferences applicationLicenses cloudServiceConfiguration "
    "targetNodeCommunicationMode currentNodeCommunicationMode"
)
_JOB_NAMES = _names(
    "id displayName usesTaskDependencies url eTag lastModified creationTime state stateTransitionTime previousState "
    "previousStateTransitionTime priority allowTaskPreemption maxParallelTasks constraints jobManagerTask "
    "jobPreparationTask jobReleaseTask commonEnvironmentSettings poolInfo onAllTasksComplete onTaskFailure "
    "networkConfiguration metadata executionInfo stats"
)
_SCHEDULE_NAMES = _names(
    "id displayName url eTag lastModified creationTime state stateTransitionTime previousState "
    "previousStateTransitionTime schedule jobSpecification executionInfo metadata stats"
)
_TASK_NAMES = _names(
    "id displayName url eTag lastModified creationTime exitConditions state stateTransitionTime previousState "
    "previousStateTransitionTime commandLine containerSettings resourceFiles outputFiles environmentSettings "
    "affinityInfo constraints requiredSlots userIdentity executionInfo nodeInfo multiInstanceSettings stats dependsOn "
    "applicationPackageReferences authenticationTokenSettings"
)
_NODE_NAMES = _names(
    "id url state schedulingState stateTransitionTime lastBootTime allocationTime ipAddress ipv6Address affinityId "
    "vmSize totalTasksRun runningTasksCount runningTaskSlotsCount totalTasksSucceeded recentTasks startTask "
    "startTaskInfo errors isDedicated endpointConfiguration nodeAgentInfo virtualMachineInfo certificateReferences"
)
_SUBTASK_NAMES = _names(
    "id nodeInfo startTime endTime exitCode containerInfo failureInfo state stateTransitionTime previousState "
    "previousStateTransitionTime result"
)
_EXTENSION_NAMES = _names("provisioningState vmExtension instanceView")
_PREPARATION_NAMES = _names("poolId nodeId nodeUrl jobPreparationTaskExecutionInfo jobReleaseTaskExecutionInfo")
_CERTIFICATE_NAMES = _names(
    "thumbprint thumbprintAlgorithm url state stateTransitionTime previousState previousStateTransitionTime "
    "publicData deleteCertificateError"
)
_FORCE = Query(others=frozenset({"force"}))
_RECURSIVE = frozenset({"recursive"})
_FILES = Query(filter=_NAME_STARTS, pages=True, others=_RECURSIVE)

QUERIES: Mapping[str, Query] = {
    "ListApplications": Query(pages=True),
    "ListPoolUsageMetrics": Query(
        filter={"poolId": Field(lambda m: m.pool_id, Type.TEXT, frozenset({"eq", "ge", "gt", "le", "lt", STARTS}))},
        pages=True,
        others=frozenset({"starttime", "endtime"}),
    ),
    "ListSupportedImages": Query(filter=_IMAGES, pages=True),
    "ListPoolNodeCounts": Query(
        filter={"poolId": Field(lambda pool: pool.id, Type.TEXT, frozenset({"eq"}))}, pages=True
    ),
    "ListPools": Query(_POOLS, _POOL_NAMES, STATS, pages=True),
    "GetPool": Query(select=_POOL_NAMES, expand=STATS),
    "ListNodes": Query(_NODES, _NODE_NAMES, pages=True),
    "GetNode": Query(select=_NODE_NAMES),
    "ListNodeExtensions": Query(select=_EXTENSION_NAMES, pages=True),
    "GetNodeExtension": Query(select=_EXTENSION_NAMES),
    "ListNodeFiles": _FILES,
    "DeleteNodeFile": Query(others=_RECURSIVE),
    "ListJobs": Query(_JOBS, _JOB_NAMES, STATS, pages=True),
    "GetJob": Query(select=_JOB_NAMES, expand=STATS),
    "DeleteJob": _FORCE,
    "TerminateJob": _FORCE,
    "ListJobPreparationAndReleaseTaskStatus": Query(_PREPARATIONS, _PREPARATION_NAMES, pages=True),
    "ListTasks": Query(_TASKS, _TASK_NAMES, STATS, pages=True),
    "GetTask": Query(select=_TASK_NAMES, expand=STATS),
    "ListSubTasks": Query(select=_SUBTASK_NAMES, pages=True),
    "ListTaskFiles": _FILES,
    "DeleteTaskFile": Query(others=_RECURSIVE),
    "ListJobSchedules": Query(_SCHEDULES, _SCHEDULE_NAMES, STATS, pages=True),
    "GetJobSchedule": Query(select=_SCHEDULE_NAMES, expand=STATS),
    "DeleteJobSchedule": _FORCE,
    "TerminateJobSchedule": _FORCE,
    "ListJobsFromSchedule": Query(_SCHEDULED_JOBS, _JOB_NAMES, STATS, pages=True),
    "ListCertificates": Query(
        filter={
            "state": Field(lambda c: c.state, Type.TEXT, EQUALITY),
            "stateTransitionTime": _CHANGES["stateTransitionTime"],
        },
        select=_CERTIFICATE_NAMES,
        pages=True,
    ),
    "GetCertificate": Query(select=_CERTIFICATE_NAMES),
}
NOTHING = Query()
