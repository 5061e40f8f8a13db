"""Automatic scaling in the world: what is sampled, when a formula is evaluated, what it does to the pool."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azbatch_emulator import events
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import AllocationState, AutoScaleRun, NodeState, Refused, TaskState
from tests.unit.worlds import Play


def _scaled(formula: str, *, interval: timedelta | None = timedelta(minutes=5), nodes: int = 0, **profile: Any) -> Play:
    play = Play(profile=Profile(**profile))
    play.pool(nodes)
    play.job(usesTaskDependencies=True)
    _enable(play, formula, interval)
    return play


def _enable(play: Play, formula: str | None, interval: timedelta | None = None) -> None:
    play.do(events.EnableAutoScale(pool_id="p", formula=formula, interval=interval))
    play.after(seconds=0)


def _run(play: Play) -> AutoScaleRun:
    run = play.world.pool("p").autoscale_run
    assert run is not None
    return run


def _now(play: Play, expression: str) -> str:
    """What an expression is at this moment."""
    found = play.world.evaluate("p", f"x = {expression};", play.now)
    assert found.error is None, found.error
    return found.results.split("x=")[1]


def test_it_is_evaluated_with_the_request_and_at_each_interval() -> None:
    """The first run bears the time of the request [recorded]; the following ones come by the interval."""
    play = _scaled("$TargetDedicatedNodes = 2")
    enabled = play.now
    assert _run(play).timestamp == enabled
    assert play.world.pool("p").allocation_state is AllocationState.RESIZING
    assert _run(play).results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    for number in range(1, 4):
        play.after(minutes=5)
        assert _run(play).timestamp == enabled + number * timedelta(minutes=5)


def test_a_failed_evaluation_keeps_the_targets() -> None:
    """Too few samples: the service's code and words, its results are the present targets, and nothing is resized."""
    hour = "$PendingTasks.GetSample(TimeInterval_Hour)"
    play = _scaled(f"$TargetDedicatedNodes = 9; $TargetDedicatedNodes = avg({hour})", nodes=2)
    play.after(minutes=5)
    run = _run(play)
    assert run.results == "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    assert run.error is not None
    assert run.error.code == "InsufficientSampleData"
    assert run.error.message == "Autoscale evaluation failed due to insufficient sample data"
    ((name, said),) = run.error.details
    assert name == "Message"
    assert said.startswith("Line 1, Col 79: Insufficient data from data set: $PendingTasks wanted 70%, received ")
    assert len(play.nodes()) == play.world.pool("p").target_dedicated == 2
    play.after(hours=1)
    assert _run(play).error is None
    assert play.world.pool("p").target_dedicated == 0


def test_a_formula_scales_while_nodes_drain() -> None:
    """A pool that waits for a task before it loses its node grows meanwhile; a client's resize would be refused."""
    play = Play()
    play.pool(1)
    play.job(usesTaskDependencies=True)
    play.tasks("a")
    text = "$TargetDedicatedNodes = $ActiveTasks > 0 ? 3 : 0; $NodeDeallocationOption = taskcompletion;"
    _enable(play, text, timedelta(minutes=5))
    play.after(minutes=1)
    assert play.states() == [NodeState.LEAVING_POOL]
    play.tasks("b")
    assert play.task("b").state is TaskState.ACTIVE
    play.after(minutes=5)
    assert (play.world.pool("p").target_dedicated, play.task("b").state) == (3, TaskState.RUNNING)
    assert sorted(play.states()) == ["idle", "idle", "leavingpool", "running"]
    assert play.world.pool("p").allocation_state is AllocationState.RESIZING
    play.end_task("a")
    play.after(seconds=1)
    assert play.world.pool("p").allocation_state is AllocationState.STEADY


def test_enabling_has_a_pause_of_its_own() -> None:
    """Creation does not count, nor does a periodic evaluation; a second request within 30 s is refused, and so is one
    after a request to disable; a refused one does not prolong the pause."""
    play = Play()
    play.pool(0, pool_id="q", enableAutoScale=True, autoScaleFormula="x = 1")
    play.after(minutes=14, seconds=-1)
    enable = events.EnableAutoScale(pool_id="q", formula="x = 2", interval=None)
    play.do(enable)
    play.after(seconds=20)
    with pytest.raises(Refused, match="TooManyEnableAutoScaleRequests"):
        play.do(enable)
    play.do(events.DisableAutoScale(pool_id="q"))
    with pytest.raises(Refused, match="TooManyEnableAutoScaleRequests"):
        play.do(enable)
    play.after(seconds=10)
    play.do(enable)


def test_the_interval_is_kept_until_it_is_disabled() -> None:
    """A new formula keeps the interval and a new interval the formula; enabled anew, it is fifteen minutes again."""
    play = _scaled("x = 1", interval=timedelta(minutes=7))
    play.after(minutes=1)
    _enable(play, "x = 2")
    assert play.world.pool("p").autoscale_interval == timedelta(minutes=7)
    play.after(minutes=1)
    _enable(play, None, timedelta(minutes=8))
    pool = play.world.pool("p")
    assert (pool.autoscale_formula, pool.autoscale_interval) == ("x = 2", timedelta(minutes=8))
    begun = play.now
    play.after(minutes=8)
    assert _run(play).timestamp == begun + timedelta(minutes=8)
    play.do(events.DisableAutoScale(pool_id="p"))
    play.after(minutes=1)
    _enable(play, "x = 3")
    assert play.world.pool("p").autoscale_interval == timedelta(minutes=15)


def test_old_schedules_end() -> None:
    """However often it is enabled, there is one evaluation for each interval."""
    play = _scaled("x = 1")
    for _ in range(3):
        play.after(minutes=1)
        _enable(play, "x = 2")
    seen = set()
    for _ in range(60):
        play.after(seconds=10)
        seen.add(_run(play).timestamp)
    assert len(seen) == 3


def test_what_is_sampled() -> None:
    """Task and node counts; a node's own measures have a gap where no node is up."""
    play = _scaled("$TargetDedicatedNodes = 0")
    play.after(minutes=5)
    assert _now(play, "$CPUPercent.Count()") == _now(play, "$SampleNodeCount.Count()") == "0"
    assert int(_now(play, "$PendingTasks.Count()")) >= 9
    play.after(seconds=30)
    _enable(play, "$TargetDedicatedNodes = 2; $TargetLowPriorityNodes = 1")
    play.tasks("a", "b", "c")
    play.tasks("d", dependsOn={"taskIds": ["a"]})
    assert _now(play, "vec($ActiveTasks, $RunningTasks, $PendingTasks)") == "[3,0,3]"
    play.after(minutes=2)
    assert _now(play, "vec($ActiveTasks, $RunningTasks, $PendingTasks)") == "[0,3,3]"
    assert _now(play, "vec($CurrentDedicatedNodes, $CurrentLowPriorityNodes, $UsableNodeCount)") == "[2,1,3]"
    assert _now(play, "vec($TaskSlotsPerNode, $CPUPercent, $PreemptedNodeCount)") == "[2,50,0]"
    play.end_task("a")
    play.end_task("b", 1)
    assert _now(play, "vec($SucceededTasks, $FailedTasks, $RunningTasks)") == "[1,1,2]"
    play.after(minutes=1)
    assert _now(play, "$RunningTasks.GetSample(1)") == "[2]"
    assert 0 < int(_now(play, "$CPUPercent.Count()")) < int(_now(play, "$PendingTasks.Count()"))


def test_instances_count_as_active_tasks() -> None:
    """$ActiveTasks has each instance of a task that waits for nodes, not of one that waits for other tasks."""
    play = _scaled("$TargetDedicatedNodes = 0")
    several: dict[str, Any] = {"multiInstanceSettings": {"numberOfInstances": 4, "coordinationCommandLine": "x"}}
    play.tasks("a", **several)
    play.tasks("b")
    assert _now(play, "$ActiveTasks") == "5"
    play.tasks("c", dependsOn={"taskIds": ["b"]}, **several)
    assert play.task("c").instances == 4
    assert _now(play, "$ActiveTasks") == "5"
    play.do(events.TerminateTask(job_id="j", task_id="a"))
    assert _now(play, "$ActiveTasks") == "1"


def test_samples_get_lost() -> None:
    """A profile can lose samples: the percentage tells."""
    play = _scaled("x = 1", sample_loss=0.4)
    play.after(hours=2)
    assert 40 < float(_now(play, "$PendingTasks.GetSamplePercent(TimeInterval_Hour)")) < 80
    play = _scaled("x = 1", sample_loss=1.0)
    play.after(hours=2)
    assert _now(play, "$PendingTasks.Count()") == "0"


def test_asking_draws_no_dice() -> None:
    """rand() in a formula that is only asked about leaves the world as it is, which the journal relies on."""
    play = _scaled("x = 1")
    first = _now(play, "rand()")
    assert _now(play, "rand()") == first
    play.after(minutes=1)
    _enable(play, "x = rand()")
    assert _run(play).results.split("x=")[1] == first
    assert _now(play, "rand()") != first
