"""Pools and nodes of the emulated world."""

from __future__ import annotations

from typing import Any

import pytest

from azbatch_emulator import events
from azbatch_emulator.commands import MakeNode, RemoveNode
from azbatch_emulator.records import AllocationState, DeallocationOption, Fault, NodeState, Refused, TaskState
from tests.unit.worlds import Play


def test_a_pool_grows_and_its_nodes_boot() -> None:
    """Resizing until the nodes exist, then steady; nodes are idle after their boot."""
    play = Play()
    play.do(events.AddPool(spec={"id": "P", "vmSize": "Standard_D2s_v5", "targetDedicatedNodes": 2}))
    assert play.world.pool("p").allocation_state is AllocationState.RESIZING
    play.after(seconds=13)
    assert play.world.pool("P").allocation_state is AllocationState.STEADY
    assert play.states() == [NodeState.STARTING] * 2
    play.after(seconds=16)
    assert play.states() == [NodeState.IDLE] * 2
    assert sum(isinstance(command, MakeNode) for command in play.asked) == 2


def test_steadiness_keeps_the_etag_and_changes_do_not() -> None:
    """lastModified, of which the eTag is made, changes with the resize and not with its end [recorded]."""
    play = Play()
    play.pool(0)
    before = play.world.pool("p").last_modified
    play.do(events.ResizePool(pool_id="p", dedicated=1, spot=None))
    resized = play.world.pool("p").last_modified
    assert resized > before
    play.after(seconds=60)
    assert play.world.pool("p").last_modified == resized


@pytest.mark.parametrize(
    ("option", "state", "stays"),
    [
        (DeallocationOption.REQUEUE, TaskState.ACTIVE, False),
        (DeallocationOption.TERMINATE, TaskState.COMPLETED, False),
        (DeallocationOption.TASK_COMPLETION, TaskState.RUNNING, True),
    ],
)
def test_shrinking_by_each_option(option: DeallocationOption, state: TaskState, stays: bool) -> None:
    """A running task is requeued, terminated, or waited for; the node leaves accordingly."""
    play = Play()
    play.pool(1)
    play.job()
    play.tasks("a")
    play.do(events.ResizePool(pool_id="p", dedicated=0, spot=0, deallocation=option))
    play.after(seconds=20)
    assert play.task("a").state is state
    assert bool(play.nodes()) is stays
    if stays:
        assert play.states() == [NodeState.LEAVING_POOL]
        play.end_task("a")
        play.after(seconds=1)
        assert not play.nodes()
    assert play.world.pool("p").allocation_state is AllocationState.STEADY
    assert any(isinstance(command, RemoveNode) for command in play.asked)


def test_quota_leaves_a_resize_error() -> None:
    """Core quota shows as a resize error and a smaller pool, never as a refused request."""
    play = Play()
    play.do(events.SetQuota(dedicated_cores=3))
    play.pool(3)
    assert len(play.nodes()) == 1
    assert [fault.code for fault in play.world.pool("p").resize_errors] == ["AccountCoreQuotaReached"]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (events.ResizePool(pool_id="none", dedicated=1, spot=None), "PoolNotFound"),
        (events.AddPool(spec={"id": "P"}), "PoolExists"),
        (events.StopResize(pool_id="p"), "OperationInvalidForCurrentState"),
        (events.DisableAutoScale(pool_id="p"), "OperationInvalidForCurrentState"),
        (events.RemoveNodes(pool_id="p", node_ids=["none"]), "NodeNotFound"),
        (events.EnableAutoScale(pool_id="p", formula=None, interval=None), "MissingRequiredProperty"),
    ],
)
def test_refusals_change_nothing(event: events.Event, code: str) -> None:
    """What the service refuses has the service's code and no effect."""
    play = Play()
    play.pool(1)
    before = (dict(play.world.pools), dict(play.world.nodes["p"]))
    with pytest.raises(Refused) as raised:
        play.do(event)
    assert raised.value.code == code
    assert (dict(play.world.pools), dict(play.world.nodes["p"])) == before


def test_a_start_task_runs_is_retried_and_fails() -> None:
    """The node waits for its start task, tries it again, and is unusable for tasks when it fails for good."""
    play = Play()
    play.pool(1, startTask={"commandLine": "x", "waitForSuccess": True, "maxTaskRetryCount": 1})
    assert play.states() == [NodeState.WAITING_FOR_START_TASK]
    play.end(next(iter(play.running)), 1)
    assert play.states() == [NodeState.WAITING_FOR_START_TASK]
    play.end(next(iter(play.running)), 2)
    (node,) = play.nodes()
    assert node.state is NodeState.START_TASK_FAILED
    assert node.start_task is not None
    assert (node.start_task.exit_code, node.start_task.retry_count) == (2, 1)
    play.job()
    play.tasks("a")
    assert play.task("a").state is TaskState.ACTIVE
    play.do(events.RebootNode(pool_id="p", node_id=node.id))
    play.after(seconds=20)
    play.end(next(iter(play.running)))
    assert play.task("a").state is TaskState.RUNNING


def test_start_tasks_can_be_made_to_fail() -> None:
    """The fault asked for fails so many start tasks, without running them."""
    play = Play()
    play.do(events.AddPool(spec={"id": "p", "vmSize": "Standard_D2s_v5", "startTask": {"commandLine": "x"}}))
    play.do(events.FailStartTasks(pool_id="p", count=1, exit_code=9))
    play.do(events.ResizePool(pool_id="p", dedicated=1, spot=None))
    play.after(seconds=60)
    assert play.states() == [NodeState.START_TASK_FAILED]
    assert not play.running


@pytest.mark.parametrize(
    ("containers", "task", "code"),
    [
        (True, True, None),
        (False, False, None),
        (False, True, "ContainerPoolNotSupported"),
        (True, False, "ContainerTaskSettingsNotFound"),
    ],
)
def test_containers_of_pools_and_tasks_go_together(containers: bool, task: bool, code: str | None) -> None:
    """A task that its pool cannot run is taken, ends at once with the service's code, and its slot is free again."""
    play = Play()
    machine: dict[str, Any] = {"virtualMachineConfiguration": {"containerConfiguration": {}}}
    play.pool(1, slots=1, **(machine if containers else {}))
    if containers:
        play.end(next(iter(play.running)))
    play.job()
    settings: dict[str, Any] = {"containerSettings": {"imageName": "i"}}
    play.tasks("a", "b", **(settings if task else {}))
    if code is None:
        assert [run.task_id for run in play.running.values()] == ["a"]
        return
    assert not play.running
    for name in "ab":
        failure = play.task(name).execution.failure
        assert (play.task(name).state, play.task(name).node_id) == (TaskState.COMPLETED, play.nodes()[0].id)
        assert failure is not None
        assert (failure.code, failure.category) == (code, "usererror")
    assert play.states() == [NodeState.IDLE]


def test_other_tasks_of_a_container_pool_may_run_on_the_host() -> None:
    """Start and preparation tasks need no container settings; a pool without containers refuses theirs too."""
    host, inside = {"commandLine": "x"}, {"commandLine": "x", "containerSettings": {"imageName": "i"}}
    play = Play()
    play.pool(1, startTask=host, virtualMachineConfiguration={"containerConfiguration": {}})
    assert [run.kind for run in play.running.values()] == ["pull"]
    play.end(next(iter(play.running)))
    assert [run.kind for run in play.running.values()] == ["start"]
    play.end(next(iter(play.running)))
    play.job(jobPreparationTask=host)
    play.tasks("a", containerSettings={"imageName": "i"})
    assert [run.kind for run in play.running.values()] == ["preparation"]
    other = Play()
    other.pool(1, startTask=inside)
    assert other.states() == [NodeState.START_TASK_FAILED]
    info = other.nodes()[0].start_task
    assert info is not None
    assert info.failure is not None
    assert info.failure.code == "ContainerPoolNotSupported"


def test_a_node_without_its_images_is_unusable() -> None:
    """The start task waits for the images; where one is not to be had the node says why, and its task never runs."""
    play = Play()
    configuration = {"containerConfiguration": {"containerImageNames": ["i"]}}
    play.pool(1, startTask={"commandLine": "x"}, virtualMachineConfiguration=configuration)
    (pull,) = play.running
    fault = Fault(code="ContainerInvalidImage", message="m")
    del play.running[pull]
    play.do(events.RunEnded(run=pull, exit_code=None, failure=fault))
    assert (play.states(), play.nodes()[0].errors) == ([NodeState.UNUSABLE], (fault,))
    assert not play.running
    play.do(events.RebootNode(pool_id="p", node_id=play.nodes()[0].id))
    play.after(seconds=60)
    play.end(next(iter(play.running)))
    assert play.states() == [NodeState.WAITING_FOR_START_TASK]


def test_a_node_pulls_once_though_it_boots_twice_at_a_time() -> None:
    """Broken and rebooted within the instant in which it began to boot, it has two timers, and one pull."""
    play = Play()
    play.pool(1, virtualMachineConfiguration={"containerConfiguration": {}})
    play.end(next(iter(play.running)))
    node = play.nodes()[0].id
    for _ in range(2):
        play.do(events.BreakNode(pool_id="p", node_id=node, fault=Fault(code="x", message="x")))
        play.do(events.RebootNode(pool_id="p", node_id=node))
    play.after(seconds=60)
    assert [run.kind for run in play.running.values()] == ["pull"]


@pytest.mark.parametrize("pulling", [True, False])
def test_after_a_restart_a_node_that_was_coming_up_comes_up(pulling: bool) -> None:
    """What it did, pulling images or running its start task, begins again."""
    play = Play()
    machine: dict[str, Any] = {"virtualMachineConfiguration": {"containerConfiguration": {}}}
    play.pool(1, startTask={"commandLine": "x"}, **(machine if pulling else {}))
    play.do(events.Restart())
    for kind in ["pull", "start"] if pulling else ["start"]:
        (run,) = play.running.values()
        assert run.kind == kind
        play.end(run.run)
    assert play.states() == [NodeState.IDLE]


def test_a_preempted_node_comes_back() -> None:
    """Its tasks are requeued at once, and the node starts anew when there is capacity."""
    play = Play()
    play.pool(0, spot=1)
    play.job()
    play.tasks("a")
    (node,) = play.nodes()
    play.do(events.PreemptNode(pool_id="p", node_id=node.id))
    assert play.states() == [NodeState.PREEMPTED]
    assert (play.task("a").state, play.task("a").execution.requeue_count) == (TaskState.ACTIVE, 1)
    play.after(minutes=3)
    assert play.states() == [NodeState.RUNNING]
    assert play.task("a").execution.retry_count == 0


def test_only_spot_nodes_are_preempted() -> None:
    """Dedicated nodes are not taken away."""
    play = Play()
    play.pool(1)
    with pytest.raises(Refused):
        play.do(events.PreemptNode(pool_id="p", node_id=play.nodes()[0].id))


def test_a_broken_node_says_why() -> None:
    """An unusable node keeps its error and runs nothing."""
    play = Play()
    play.pool(1)
    fault = Fault(code="DiskFull", message="full")
    play.do(events.BreakNode(pool_id="p", node_id=play.nodes()[0].id, fault=fault))
    (node,) = play.nodes()
    assert (node.state, node.errors) == (NodeState.UNUSABLE, (fault,))


def test_scheduling_off_and_on() -> None:
    """An offline node takes no task; enabled again it does."""
    play = Play()
    play.pool(1)
    (node,) = play.nodes()
    play.do(events.SetNodeScheduling(pool_id="p", node_id=node.id, enabled=False))
    play.job()
    play.tasks("a")
    assert (play.states(), play.task("a").state) == ([NodeState.OFFLINE], TaskState.ACTIVE)
    play.do(events.SetNodeScheduling(pool_id="p", node_id=node.id, enabled=True))
    assert play.task("a").state is TaskState.RUNNING


def test_a_deleted_pool_requeues_and_goes() -> None:
    """Its tasks go back to the job, which waits for a pool of that name."""
    play = Play()
    play.pool(1)
    play.job()
    play.tasks("a")
    play.do(events.DeletePool(pool_id="p"))
    with pytest.raises(Refused, match="PoolBeingDeleted"):
        play.do(events.DeletePool(pool_id="p"))
    play.after(seconds=30)
    assert not play.world.pools
    assert play.task("a").state is TaskState.ACTIVE
    play.pool(1)
    assert play.task("a").state is TaskState.RUNNING


def test_autoscale_follows_the_tasks() -> None:
    """The formula is evaluated at once and at each interval, on sampled metrics; a fault keeps the pool as it is."""
    play = Play()
    play.pool(0)
    play.job()
    play.tasks("a", "b", "c")
    text = "$TargetDedicatedNodes = min(5, $PendingTasks.GetSample(1));"
    play.do(events.EnableAutoScale(pool_id="p", formula=text, interval=None))
    play.after(seconds=1)
    run = play.world.pool("p").autoscale_run
    assert run is not None
    assert run.error is None
    play.after(minutes=20)
    assert len(play.nodes()) == 3
    play.do(events.EnableAutoScale(pool_id="p", formula="$TargetDedicatedNodes = $nope;", interval=None))
    play.after(seconds=1)
    run = play.world.pool("p").autoscale_run
    assert run is not None
    assert run.error is not None
    assert run.error.details == (("Message", "Line 1, Col 25: Undefined symbol: $nope"),)
    assert len(play.nodes()) == 3
    with pytest.raises(Refused, match="scales automatically"):
        play.do(events.ResizePool(pool_id="p", dedicated=0, spot=0))


def test_a_resize_times_out() -> None:
    """A node that is waited for beyond resizeTimeout ends the resize with AllocationTimedOut."""
    play = Play()
    play.pool(1)
    play.job()
    play.tasks("a")
    play.do(events.ResizePool(pool_id="p", dedicated=0, spot=0, deallocation=DeallocationOption.TASK_COMPLETION))
    play.after(minutes=20)
    pool = play.world.pool("p")
    assert pool.allocation_state is AllocationState.STEADY
    assert [fault.code for fault in pool.resize_errors] == ["AllocationTimedOut"]
