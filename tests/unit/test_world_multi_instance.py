"""Multi-instance tasks of the emulated world."""

from __future__ import annotations

from typing import Any

import pytest

from azbatch_emulator import events
from azbatch_emulator.commands import DropDirectory, Run
from azbatch_emulator.records import DeallocationOption, NodeState, TaskState
from tests.unit.worlds import Play

MULTI = {"numberOfInstances": 3, "coordinationCommandLine": "coordinate"}


@pytest.fixture
def play() -> Play:
    """Three nodes that may talk to each other, and one job."""
    made = Play()
    made.pool(3, slots=1, enableInterNodeCommunication=True)
    made.job()
    return made


def _coordinating(play: Play) -> list[Run]:
    return [run for run in play.running.values() if run.kind == "coordination"]


def _coordinate(play: Play) -> None:
    for run in _coordinating(play):
        play.end(run.run)


def _node_states(play: Play) -> list[NodeState]:
    return [node.state for node in play.world.nodes["p"].values()]


def test_all_instances_coordinate_then_the_primary_runs(play: Play) -> None:
    play.tasks("m", multiInstanceSettings=MULTI, environmentSettings=[{"name": "a", "value": "b"}])
    runs = _coordinating(play)
    assert [run.spec["commandLine"] for run in runs] == ["coordinate"] * 3
    assert [run.directory for run in runs] == [f"workitems/j/job-1/m{tail}" for tail in ("", "/1", "/2")]
    assert {run.shared_directory for run in runs} == {"workitems/j/job-1/m"}
    hosts = [play.world.node("p", run.node_id).ip for run in runs]
    assert len(set(hosts)) == 3
    assert {run.environment["AZ_BATCH_NODE_LIST"] for run in runs} == {";".join(hosts)}
    assert [run.environment["AZ_BATCH_IS_CURRENT_NODE_MASTER"] for run in runs] == ["true", "false", "false"]
    play.end(runs[1].run)
    play.end(runs[0].run)
    assert {run.kind for run in play.running.values()} == {"coordination"}
    play.end(runs[2].run)
    (primary,) = play.running.values()
    assert (primary.kind, primary.node_id, primary.fresh) == ("task", runs[0].node_id, False)
    play.end_task("m")
    done = play.task("m")
    assert (done.state, done.execution.exit_code) == (TaskState.COMPLETED, 0)
    assert [(one.id, one.state, one.execution.exit_code) for one in done.subtasks] == [
        (1, TaskState.COMPLETED, 0),
        (2, TaskState.COMPLETED, 0),
    ]
    assert _node_states(play) == [NodeState.IDLE] * 3
    assert not play.lingering


def test_it_waits_for_as_many_nodes_as_it_has_instances(play: Play) -> None:
    play.tasks("a")
    play.tasks("m", multiInstanceSettings=MULTI)
    assert play.task("m").state is TaskState.ACTIVE
    play.end_task("a")
    assert play.task("m").state is TaskState.RUNNING


@pytest.mark.parametrize("pool", [{"slots": 2, "enableInterNodeCommunication": True}, {"slots": 1}])
def test_on_another_kind_of_pool_it_is_never_scheduled(pool: dict[str, Any]) -> None:
    play = Play()
    play.pool(3, **pool)
    play.job()
    play.tasks("m", multiInstanceSettings={**MULTI, "numberOfInstances": 1})
    play.after(hours=1)
    assert play.task("m").state is TaskState.ACTIVE


@pytest.mark.parametrize("coordinated", [False, True])
@pytest.mark.parametrize("lost", [0, 1])
def test_the_loss_of_any_node_sends_all_of_it_back(play: Play, coordinated: bool, lost: int) -> None:
    """Whether its coordination or its primary runs, and whichever node it is."""
    play.tasks("m", multiInstanceSettings=MULTI)
    chosen = _coordinating(play)[lost].node_id
    if coordinated:
        _coordinate(play)
    play.do(events.RebootNode(pool_id="p", node_id=chosen))
    waiting = play.task("m")
    assert (waiting.state, waiting.execution.requeue_count, waiting.subtasks) == (TaskState.ACTIVE, 1, ())
    assert (play.running, play.lingering) == ({}, {})
    play.after(seconds=60)
    _coordinate(play)
    play.end_task("m")
    assert play.task("m").execution.result == "success"
    assert _node_states(play) == [NodeState.IDLE] * 3


def test_a_coordination_that_fails_is_a_failed_attempt(play: Play) -> None:
    play.tasks("m", multiInstanceSettings=MULTI, constraints={"maxTaskRetryCount": 1})
    play.end(_coordinating(play)[2].run, 7)
    assert play.task("m").execution.retry_count == 1
    play.end(_coordinating(play)[1].run, 8)
    done = play.task("m")
    assert (done.state, done.execution.exit_code, done.execution.result) == (TaskState.COMPLETED, 8, "failure")
    assert (play.running, play.lingering) == ({}, {})
    assert _node_states(play) == [NodeState.IDLE] * 3


@pytest.mark.parametrize("coordinated", [False, True])
@pytest.mark.parametrize(
    "end",
    [
        events.TerminateTask(job_id="j", task_id="m"),
        events.DeleteTask(job_id="j", task_id="m"),
        events.TerminateJob(job_id="j"),
        events.DeleteJob(job_id="j"),
        events.DisableJob(job_id="j", tasks=DeallocationOption.TERMINATE),
        events.DisableJob(job_id="j", tasks=DeallocationOption.REQUEUE),
        events.DeletePool(pool_id="p"),
    ],
)
def test_whatever_ends_it_leaves_nothing_running(play: Play, coordinated: bool, end: events.Event) -> None:
    play.tasks("m", multiInstanceSettings=MULTI)
    if coordinated:
        _coordinate(play)
    play.do(end)
    play.after(seconds=60)
    assert (play.running, play.lingering) == ({}, {})
    if not isinstance(end, events.DeletePool):
        assert _node_states(play) == [NodeState.IDLE] * 3
    else:
        assert not play.world.pools


def test_every_node_is_prepared_for_the_job_first() -> None:
    play = Play()
    play.pool(3, slots=1, enableInterNodeCommunication=True)
    play.job(jobPreparationTask={"commandLine": "prepare"})
    play.tasks("m", multiInstanceSettings=MULTI)
    runs = list(play.running)
    assert [play.running[run].kind for run in runs] == ["preparation"] * 3
    for run in runs:
        assert play.task("m").state is TaskState.PREPARING
        play.end(run)
    assert play.task("m").state is TaskState.RUNNING
    _coordinate(play)
    play.end_task("m")
    assert play.task("m").execution.result == "success"


def test_its_directories_go_with_it_on_every_node(play: Play) -> None:
    play.tasks("m", multiInstanceSettings=MULTI)
    _coordinate(play)
    play.end_task("m")
    before = len(play.asked)
    play.do(events.DeleteTask(job_id="j", task_id="m"))
    dropped = [one for one in play.asked[before:] if isinstance(one, DropDirectory)]
    assert len({one.node_id for one in dropped}) == 3
