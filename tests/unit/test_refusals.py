"""Which request is refused in which state, and how: the whole matrix, against the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

import pytest

from azbatch_emulator import events
from azbatch_emulator.batch.errors import ERRORS
from azbatch_emulator.lifecycle.refusals import REFUSALS
from azbatch_emulator.records import (
    AllocationState,
    DeallocationOption,
    JobScheduleState,
    JobState,
    NodeState,
    PoolState,
    Refused,
    TaskState,
)
from tests.unit.worlds import Play

J, T, N = JobState, TaskState, NodeState
OPTION = DeallocationOption.REQUEUE


def _answer(play: Play, event: events.Event) -> str | None:
    """The code of the refusal; None where the request is done."""
    try:
        results = play.do(event).results
    except Refused as refusal:
        return refusal.code
    return next((one.code for one in results if isinstance(one, Refused)), None)


JOBS: dict[str, tuple[Callable[[], events.Event], dict[JobState, str]]] = {
    "add": (lambda: events.AddJob(spec={"id": "J"}), {**dict.fromkeys(J, "JobExists"), J.DELETING: "JobBeingDeleted"}),
    "patch": (
        lambda: events.PatchJob(job_id="j", changes={"priority": 1}),
        {J.TERMINATING: "JobBeingTerminated", J.COMPLETED: "JobCompleted", J.DELETING: "JobBeingDeleted"},
    ),
    "disable": (
        lambda: events.DisableJob(job_id="j", tasks=OPTION),
        {J.TERMINATING: "JobBeingTerminated", J.COMPLETED: "JobCompleted", J.DELETING: "JobBeingDeleted"},
    ),
    "enable": (
        lambda: events.EnableJob(job_id="j"),
        {
            J.ACTIVE: "OperationInvalidForCurrentState",
            J.ENABLING: "OperationInvalidForCurrentState",
            J.TERMINATING: "JobBeingTerminated",
            J.COMPLETED: "JobCompleted",
            J.DELETING: "JobBeingDeleted",
        },
    ),
    "terminate": (
        lambda: events.TerminateJob(job_id="j", reason="x"),
        {J.TERMINATING: "JobBeingTerminated", J.COMPLETED: "JobCompleted", J.DELETING: "JobBeingDeleted"},
    ),
    "delete": (lambda: events.DeleteJob(job_id="j"), {J.DELETING: "JobBeingDeleted"}),
    "add tasks": (
        lambda: events.AddTasks(job_id="j", specs=[{"id": "new", "commandLine": "x"}]),
        {J.TERMINATING: "JobBeingTerminated", J.COMPLETED: "JobCompleted", J.DELETING: "JobBeingDeleted"},
    ),
    "reactivate task": (
        lambda: events.ReactivateTask(job_id="j", task_id="failed"),
        {J.TERMINATING: "JobNotActive", J.COMPLETED: "JobCompleted", J.DELETING: "JobNotActive"},
    ),
}


@pytest.mark.parametrize("state", J)
@pytest.mark.parametrize("request_name", JOBS)
def test_jobs(request_name: str, state: JobState) -> None:
    """Each request to a job, in each of its states."""
    play = Play()
    play.pool(1)
    play.job()
    play.tasks("failed")
    play.end_task("failed", 1)
    play.world._state.jobs["j"] = replace(play.world.job("j"), state=state)
    event, refused = JOBS[request_name]
    assert _answer(play, event()) == refused.get(state)


TASKS: dict[str, tuple[Callable[[], events.Event], dict[str, str]]] = {
    "terminate": (
        lambda: events.TerminateTask(job_id="j", task_id="t"),
        {"failed": "TaskCompleted", "done": "TaskCompleted"},
    ),
    "change": (
        lambda: events.ReplaceTask(job_id="j", task_id="t", constraints={}),
        {"failed": "TaskCompleted", "done": "TaskCompleted"},
    ),
    "reactivate": (
        lambda: events.ReactivateTask(job_id="j", task_id="t"),
        {"waiting": "TaskNotCompleted", "running": "TaskNotCompleted", "done": "TaskSucceeded"},
    ),
    "delete": (lambda: events.DeleteTask(job_id="j", task_id="t"), {}),
}


@pytest.mark.parametrize("state", ["waiting", "running", "failed", "done"])
@pytest.mark.parametrize("request_name", TASKS)
def test_tasks(request_name: str, state: str) -> None:
    """Each request to a task that waits, runs, has failed, or has succeeded."""
    play = Play()
    play.pool(0 if state == "waiting" else 1)
    play.job()
    play.tasks("t")
    if state in {"failed", "done"}:
        play.end_task("t", int(state == "failed"))
    event, refused = TASKS[request_name]
    assert _answer(play, event()) == refused.get(state)


POOLS: dict[str, tuple[Callable[[], events.Event], dict[StrEnum, str]]] = {
    "add": (
        lambda: events.AddPool(spec={"id": "P", "vmSize": "s"}),
        {PoolState.ACTIVE: "PoolExists", PoolState.DELETING: "PoolBeingDeleted"},
    ),
    "patch": (lambda: events.PatchPool(pool_id="p", changes={}), {PoolState.DELETING: "PoolBeingDeleted"}),
    "delete": (lambda: events.DeletePool(pool_id="p"), {PoolState.DELETING: "PoolBeingDeleted"}),
    "resize": (
        lambda: events.ResizePool(pool_id="p", dedicated=2, spot=None),
        {
            PoolState.DELETING: "PoolBeingDeleted",
            AllocationState.RESIZING: "PoolBeingResized",
            AllocationState.STOPPING: "PoolBeingResized",
        },
    ),
    "remove nodes": (
        lambda: events.RemoveNodes(pool_id="p", node_ids=[]),
        {
            PoolState.DELETING: "PoolBeingDeleted",
            AllocationState.RESIZING: "PoolBeingResized",
            AllocationState.STOPPING: "PoolBeingResized",
        },
    ),
    "enable autoscale": (
        lambda: events.EnableAutoScale(pool_id="p", formula="$TargetDedicatedNodes=1;", interval=None),
        {
            PoolState.DELETING: "PoolBeingDeleted",
            AllocationState.RESIZING: "PoolBeingResized",
            AllocationState.STOPPING: "PoolBeingResized",
        },
    ),
}


@pytest.mark.parametrize("state", [*PoolState, *AllocationState])
@pytest.mark.parametrize("request_name", POOLS)
def test_pools(request_name: str, state: StrEnum) -> None:
    """Each request to a pool, in each of its states and allocation states."""
    play = Play()
    play.pool(1)
    change = {"state": state} if isinstance(state, PoolState) else {"allocation_state": state}
    play.world._state.pools["p"] = replace(play.world.pool("p"), **change)
    event, refused = POOLS[request_name]
    refused = {**dict.fromkeys(AllocationState, refused.get(PoolState.ACTIVE, "")), **refused}
    assert _answer(play, event()) == (refused.get(state) or None)


BUSY = {
    N.CREATING: "NodeBeingCreated",
    N.STARTING: "NodeBeingStarted",
    N.WAITING_FOR_START_TASK: "NodeBeingStarted",
    N.REBOOTING: "NodeBeingRebooted",
    N.REIMAGING: "NodeBeingReimaged",
}
OTHERS = dict.fromkeys(
    (N.UNKNOWN, N.LEAVING_POOL, N.PREEMPTED, N.UPGRADING_OS, N.DEALLOCATING, N.DEALLOCATED),
    "OperationInvalidForCurrentState",
)
NODES: dict[str, tuple[Callable[[str], events.Event], dict[NodeState, str]]] = {
    "reboot": (lambda node: events.RebootNode(pool_id="p", node_id=node, option=OPTION, reimage=False), BUSY | OTHERS),
    "reimage": (lambda node: events.RebootNode(pool_id="p", node_id=node, option=OPTION, reimage=True), BUSY | OTHERS),
    "deallocate": (lambda node: events.DeallocateNode(pool_id="p", node_id=node, option=OPTION), BUSY | OTHERS),
    "start": (
        lambda node: events.StartNode(pool_id="p", node_id=node),
        {
            **dict.fromkeys(N, "OperationInvalidForCurrentState"),
            **BUSY,
            N.UNUSABLE: "NodeStateUnusable",
            N.DEALLOCATED: "",
        },
    ),
}


@pytest.mark.parametrize("state", N)
@pytest.mark.parametrize("request_name", NODES)
def test_nodes(request_name: str, state: NodeState) -> None:
    """Each request to a node, in each of its states."""
    play = Play()
    play.pool(1)
    (node,) = play.nodes()
    play.world._state.put_node(replace(node, state=state))
    event, refused = NODES[request_name]
    assert _answer(play, event(node.id)) == (refused.get(state) or None)


S = JobScheduleState
ENDED = {
    S.COMPLETED: "JobScheduleCompleted",
    S.TERMINATING: "JobScheduleBeingTerminated",
    S.DELETING: "JobScheduleBeingDeleted",
}
SCHEDULES: dict[str, tuple[Callable[[], events.Event], dict[JobScheduleState, str]]] = {
    "add": (
        lambda: events.AddJobSchedule(spec={"id": "S", "schedule": {}, "jobSpecification": {}}),
        {**dict.fromkeys(S, "JobScheduleExists"), S.DELETING: "JobScheduleBeingDeleted"},
    ),
    "patch": (lambda: events.PatchJobSchedule(schedule_id="s", changes={}), ENDED),
    "disable": (lambda: events.DisableJobSchedule(schedule_id="s"), ENDED),
    "enable": (lambda: events.EnableJobSchedule(schedule_id="s"), ENDED),
    "terminate": (lambda: events.TerminateJobSchedule(schedule_id="s"), ENDED),
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("request_name", SCHEDULES)
def test_schedules(request_name: str, state: JobScheduleState) -> None:
    """Each request to a job schedule, in each of its states."""
    play = Play()
    specification = {"poolInfo": {"poolId": "p"}}
    play.do(events.AddJobSchedule(spec={"id": "s", "schedule": {}, "jobSpecification": specification}))
    play.world._state.schedules["s"] = replace(play.world.schedule("s"), state=state)
    event, refused = SCHEDULES[request_name]
    assert _answer(play, event()) == refused.get(state)


def test_the_table_has_codes_of_the_service() -> None:
    """Each code of the table is a conflict that the wire knows."""
    codes = {code for requests in REFUSALS.values() for rows in requests.values() for code in rows.values()}
    assert {ERRORS[code][0] for code in codes} == {409}
