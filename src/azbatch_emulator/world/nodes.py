"""Compute nodes: coming, booting, start tasks, leaving, and the faults that befall them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator import events, faults
from azbatch_emulator.commands import Kill, MakeNode, RemoveNode, Run
from azbatch_emulator.lifecycle.node import NODE, NodeHappening
from azbatch_emulator.lifecycle.refusals import refusal
from azbatch_emulator.profile import drawn, happens
from azbatch_emulator.records import (
    DeallocationOption,
    Execution,
    Fault,
    Node,
    NodeState,
    Pool,
    Refused,
    SchedulingState,
)
from azbatch_emulator.world import containers, pools, tasks
from azbatch_emulator.world.state import ActiveRun, State

BOOTING = frozenset({NodeState.STARTING, NodeState.REBOOTING, NodeState.REIMAGING})


def step(state: State, node: Node, happening: NodeHappening, now: datetime, /, **changes: Any) -> Node | None:
    """Take the node along its table and store it; None, and nothing changed, where the table has no such row."""
    after = NODE.step(node.state, happening)
    if after is None:
        return None
    since = node.state_since if after is node.state else now
    node = replace(node, state=after, state_since=since, **changes)
    state.put_node(node)
    return node


def create(state: State, pool: Pool, dedicated: bool, now: datetime) -> None:
    suffix = "d" if dedicated else "p"
    number = state.rng.getrandbits(256)
    node = Node(
        pool_id=pool.id,
        id=f"tvmps_{number:064x}_{suffix}",
        dedicated=dedicated,
        ip=f"10.0.{number >> 8 & 255}.{4 + number % 250}",
        vm_size=str(pool.spec.get("vmSize", "")).lower(),
        slots=pool.slots_per_node,
        state_since=now,
        allocation_time=now,
    )
    state.put_node(node)
    state.out.append(MakeNode(pool_id=pool.id, node_id=node.id))
    step(state, node, NodeHappening.ALLOCATED, now)
    _boot_later(state, node, now)
    _evict_later(state, node, now)


def _boot_later(state: State, node: Node, now: datetime) -> None:
    profile, pool = state.profile, state.pools[node.pool_id.lower()]
    delay = drawn(profile.boot, profile.boot_spread, state.rng)
    for _ in containers.images(pool.spec):
        delay += drawn(profile.image_pull, profile.image_pull_spread, state.rng)
    state.after(now, delay, "booted", node.pool_id.lower(), node.id, now)


def _evict_later(state: State, node: Node, now: datetime) -> None:
    """Draw how long a spot node keeps its machine."""
    rate = state.profile.preemptions_per_hour
    if node.dedicated or rate <= 0:
        return
    key = (node.pool_id.lower(), node.id.lower())
    delay = timedelta(hours=state.rng.expovariate(rate)) / state.profile.speed
    state.evictions[key] = now + delay
    state.after(now, delay, "evicted", *key, now + delay)


def evicted(state: State, pool: str, node_id: str, due: datetime, now: datetime) -> None:
    """Azure needs the machine. One that the node has lost meanwhile is not taken again."""
    node = _current(state, pool, node_id)
    if node is None or state.evictions.get((pool, node_id)) != due:
        return
    if NODE.step(node.state, NodeHappening.PREEMPTED) is not None:
        preempt(state, events.PreemptNode(pool_id=node.pool_id, node_id=node.id), now)


def _current(state: State, pool: str, node_id: str) -> Node | None:
    return state.nodes.get(pool, {}).get(node_id.lower())


def booted(state: State, pool: str, node_id: str, since: datetime, now: datetime) -> None:
    """The machine is up: it pulls its container images, if any. A boot that was overtaken is ignored."""
    node = _current(state, pool, node_id)
    if node is None or node.state not in BOOTING or node.state_since != since or _is_pulling(state, node):
        return
    failing = state.failing_boots.get(pool)
    if failing or happens(state.profile.boot_failure, state.rng):
        unusable = failing.pop(0) if failing else faults.NODE_UNUSABLE
        step(state, node, NodeHappening.BROKEN, now, errors=(unusable,))
        return
    _pull_images(state, node, now)


def _is_pulling(state: State, node: Node) -> bool:
    runs = state.node_runs.get((node.pool_id.lower(), node.id.lower()), {})
    return any(state.runs[name].kind == "pull" for name in runs)


def _pull_images(state: State, node: Node, now: datetime) -> None:
    """Have the images of the pool's containerConfiguration pulled; the profile says how often one is not to be had."""
    pool = state.pools[node.pool_id.lower()].spec
    configuration = containers.configuration(pool)
    if configuration is None:
        _up(state, node, now)
        return
    for image in containers.images(pool):
        if happens(state.profile.image_pull_failure, state.rng):
            fault = replace(faults.IMAGE_NOT_FOUND, details=(("ContainerImage", image),))
            step(state, node, NodeHappening.BROKEN, now, errors=(fault,))
            return
    state.out.append(
        Run(
            run=state.new_run(ActiveRun("pull", node.pool_id.lower(), node.id.lower())),
            kind="pull",
            pool_id=node.pool_id,
            node_id=node.id,
            job_id=None,
            task_id=None,
            spec=configuration,
            directory="",
            preparation_directory=None,
            environment=environment(node),
            max_wall_clock=None,
        )
    )


def images_pulled(state: State, name: str, _exit_code: int | None, failure: Fault | None, now: datetime) -> None:
    """The node's images are there, or one is not to be had: the service gives such a node up."""
    run = state.end_run(name)
    node = _current(state, run.pool, run.node) if run else None
    if node is None or node.state not in BOOTING:
        return
    if failure is not None:
        step(state, node, NodeHappening.BROKEN, now, errors=(failure,))
        return
    _up(state, node, now)


def _up(state: State, node: Node, now: datetime) -> None:
    """The machine has all it needs: its start task runs, or it is ready."""
    spec = state.pools[node.pool_id.lower()].spec.get("startTask")
    prepared = {job: run for job, run in node.jobs_prepared.items() if run.result == "success"}
    node = replace(node, last_boot_time=now, jobs_prepared=prepared, start_task=None)
    if not spec:
        step(state, node, NodeHappening.READY, now)
        return
    _run_start_task(state, node, spec, now, Execution())


def _run_start_task(state: State, node: Node, spec: Any, now: datetime, before: Execution) -> None:
    execution = replace(
        before,
        state="running",
        start_time=now,
        end_time=None,
        exit_code=None,
        result=None,
        failure=None,
        container=None,
    )
    waits = spec.get("waitForSuccess", True)
    happening = NodeHappening.START_TASK_BEGINS if waits else NodeHappening.READY
    moved = step(state, node, happening, now, start_task=execution)
    if moved is None:
        moved = replace(node, start_task=execution)
        state.put_node(moved)
    name = state.new_run(ActiveRun("start", node.pool_id.lower(), node.id.lower()))
    failing = state.failing_starts.get(node.pool_id.lower())
    if failing:
        exit_code = failing.pop(0)
        start_task_ended(state, name, exit_code, faults.exit_code(exit_code), now)
        return
    state.ask(
        Run(
            run=name,
            kind="start",
            pool_id=node.pool_id,
            node_id=node.id,
            job_id=None,
            task_id=None,
            spec=spec,
            directory="startup",
            preparation_directory=None,
            environment=environment(node),
            max_wall_clock=None,
            pool=state.pools[node.pool_id.lower()].spec,
        )
    )


def environment(node: Node) -> dict[str, str]:
    """Batch's own variables that are no paths and belong to every command on the node."""
    return {
        "AZ_BATCH_POOL_ID": node.pool_id,
        "AZ_BATCH_NODE_ID": node.id,
        "AZ_BATCH_NODE_IS_DEDICATED": "true" if node.dedicated else "false",
    }


def start_task_ended(state: State, name: str, exit_code: int | None, failure: Fault | None, now: datetime) -> None:
    run = state.end_run(name)
    node = _current(state, run.pool, run.node) if run else None
    if run is None or node is None or node.start_task is None:
        return
    spec = state.pools[run.pool].spec.get("startTask") or {}
    good = exit_code == 0 and failure is None
    execution = replace(
        node.start_task,
        state="completed",
        end_time=now,
        exit_code=exit_code,
        failure=failure,
        result="success" if good else "failure",
    )
    retries = int(spec.get("maxTaskRetryCount", 0))
    if not good and exit_code is not None and (retries == -1 or execution.retry_count < retries):
        execution = replace(execution, retry_count=execution.retry_count + 1, last_retry_time=now)
        _run_start_task(state, node, spec, now, execution)
        return
    if node.state is not NodeState.WAITING_FOR_START_TASK:
        state.put_node(replace(node, start_task=execution))
    else:
        step(
            state,
            node,
            NodeHappening.READY if good else NodeHappening.START_TASK_FAILED,
            now,
            start_task=execution,
        )


# Leaving and faults


def leave(state: State, node: Node, option: DeallocationOption, now: datetime) -> None:
    """Take the node out of its pool; with `taskcompletion` only after its tasks have ended."""
    waits = option in {DeallocationOption.TASK_COMPLETION, DeallocationOption.RETAINED_DATA}
    left = step(state, node, NodeHappening.LEAVE, now)
    if left is None:
        return
    if not (waits and left.running_tasks):
        lose_tasks(state, left, now, terminate=option is DeallocationOption.TERMINATE)
        state.after(now, timedelta(0), "left", left.pool_id.lower(), left.id)


def left(state: State, pool: str, node_id: str, now: datetime) -> None:
    node = _current(state, pool, node_id)
    if node is None or node.state is not NodeState.LEAVING_POOL:
        return
    lose_tasks(state, node, now)
    node = _current(state, pool, node_id)
    assert node is not None
    state.drop_node(node, now)
    state.out.append(RemoveNode(pool_id=node.pool_id, node_id=node.id))
    pools.settle(state, pool, now)


COMING_UP = frozenset({"pull", "start"})  # what a node runs for itself


def lose_tasks(
    state: State, node: Node, now: datetime, *, terminate: bool = False, but: frozenset[str] = frozenset()
) -> None:
    """End what runs on the node, kinds in `but` excepted: its tasks go back to the queue, or are terminated."""
    for name in list(state.node_runs.get((node.pool_id.lower(), node.id.lower()), {})):
        if name not in state.runs or state.runs[name].kind in but:
            continue  # else it went with another instance of its task
        state.out.append(Kill(run=name))
        tasks.lost(state, name, now, terminate=terminate)
    tasks.requeue_preparing(state, node, now)


def preempt(state: State, event: events.PreemptNode, now: datetime) -> None:
    node = state.node(event.pool_id, event.node_id)
    if node.dedicated:
        raise Refused("OperationInvalidForCurrentState", message="Only spot nodes are preempted.")
    if step(state, node, NodeHappening.PREEMPTED, now) is None:
        raise Refused("OperationInvalidForCurrentState")
    lose_tasks(state, state.node(event.pool_id, event.node_id), now)
    state.evictions.pop((node.pool_id.lower(), node.id.lower()), None)
    delay = drawn(state.profile.restore, state.profile.restore_spread, state.rng)
    state.after(now, delay, "restored", node.pool_id.lower(), node.id)


def restored(state: State, pool: str, node_id: str, now: datetime) -> None:
    """Capacity is back: the preempted node is a new machine with the same name."""
    node = _current(state, pool, node_id)
    if node is None or node.state is not NodeState.PREEMPTED:
        return
    state.out.append(RemoveNode(pool_id=node.pool_id, node_id=node.id))
    state.out.append(MakeNode(pool_id=node.pool_id, node_id=node.id))
    moved = step(state, replace(node, jobs_prepared={}), NodeHappening.RESTORED, now)
    assert moved is not None
    _boot_later(state, moved, now)
    _evict_later(state, moved, now)


def break_node(state: State, event: events.BreakNode, now: datetime) -> None:
    node = state.node(event.pool_id, event.node_id)
    if step(state, node, NodeHappening.BROKEN, now, errors=(event.fault,)) is None:
        raise Refused("OperationInvalidForCurrentState")
    lose_tasks(state, state.node(event.pool_id, event.node_id), now)


def fail_start_tasks(state: State, event: events.FailStartTasks, _now: datetime) -> None:
    pool = state.pool(event.pool_id)
    state.failing_starts.setdefault(pool.id.lower(), []).extend([event.exit_code] * event.count)


def fail_nodes(state: State, event: events.FailNodes, _now: datetime) -> None:
    pool = state.pool(event.pool_id)
    state.failing_boots.setdefault(pool.id.lower(), []).extend([event.fault] * event.count)


def reboot(state: State, event: events.RebootNode, now: datetime) -> None:
    node = state.node(event.pool_id, event.node_id)
    happening = NodeHappening.REIMAGE if event.reimage else NodeHappening.REBOOT
    if NODE.step(node.state, happening) is None:
        raise refusal("node", happening, node.state)
    lose_tasks(state, node, now, terminate=event.option is DeallocationOption.TERMINATE)
    node = state.node(event.pool_id, event.node_id)
    if event.reimage:
        state.out.append(RemoveNode(pool_id=node.pool_id, node_id=node.id))
        state.out.append(MakeNode(pool_id=node.pool_id, node_id=node.id))
        node = replace(node, jobs_prepared={}, recent=(), users={})
    moved = step(state, node, happening, now, errors=())
    assert moved is not None
    _boot_later(state, moved, now)


def deallocate(state: State, event: events.DeallocateNode, now: datetime) -> None:
    """Give the machine back and keep the node; with `taskcompletion` only after its tasks have ended."""
    node = state.node(event.pool_id, event.node_id)
    waits = event.option in {DeallocationOption.TASK_COMPLETION, DeallocationOption.RETAINED_DATA}
    moved = step(state, node, NodeHappening.DEALLOCATE, now)
    if moved is None:
        raise refusal("node", NodeHappening.DEALLOCATE, node.state)
    if waits and moved.running_tasks:
        return
    lose_tasks(state, moved, now, terminate=event.option is DeallocationOption.TERMINATE)
    _deallocate_later(state, state.node(event.pool_id, event.node_id), now)


def _deallocate_later(state: State, node: Node, now: datetime) -> None:
    delay = drawn(state.profile.boot, state.profile.boot_spread, state.rng)
    state.after(now, delay, "deallocated", node.pool_id.lower(), node.id, node.state_since)


def deallocated(state: State, pool: str, node_id: str, since: datetime, now: datetime) -> None:
    node = _current(state, pool, node_id)
    if node is not None and node.state is NodeState.DEALLOCATING and node.state_since == since:
        step(state, node, NodeHappening.DEALLOCATED, now, errors=())


def start(state: State, event: events.StartNode, now: datetime) -> None:
    """Boot a deallocated node."""
    node = state.node(event.pool_id, event.node_id)
    moved = step(state, node, NodeHappening.START, now)
    if moved is None:
        raise refusal("node", NodeHappening.START, node.state)
    _boot_later(state, moved, now)


def restart(state: State, _event: events.Restart, now: datetime) -> None:
    """All machines lost power: what ran on them goes back to the queue, and they boot."""
    for node in [node for pool in state.nodes.values() for node in pool.values()]:
        state.out.append(MakeNode(pool_id=node.pool_id, node_id=node.id))
        pulling = _is_pulling(state, node)
        lose_tasks(state, node, now)
        node = state.node(node.pool_id, node.id)
        if node.state is NodeState.LEAVING_POOL:
            state.after(now, timedelta(0), "left", node.pool_id.lower(), node.id)
            continue
        if node.state is NodeState.DEALLOCATING:
            _deallocate_later(state, node, now)
            continue
        # Neither has a timer that would bring it on.
        if pulling:
            _pull_images(state, node, now)
            continue
        if node.state is NodeState.WAITING_FOR_START_TASK:
            _up(state, node, now)
            continue
        moved = step(state, node, NodeHappening.REBOOT, now)
        if moved is not None:
            _boot_later(state, moved, now)


def set_scheduling(state: State, event: events.SetNodeScheduling, now: datetime) -> None:
    node = state.node(event.pool_id, event.node_id)
    wanted = SchedulingState.ENABLED if event.enabled else SchedulingState.DISABLED
    if node.scheduling is wanted:
        raise Refused("NodeAlreadyInTargetSchedulingState")
    if event.enabled:
        if NODE.step(node.state, NodeHappening.ENABLED) is None:
            state.put_node(replace(node, scheduling=wanted))
            return
        moved = step(state, node, NodeHappening.ENABLED, now, scheduling=wanted)
        if moved is not None and moved.running_tasks:
            step(state, moved, NodeHappening.TASK_PLACED, now)
        return
    state.put_node(replace(node, scheduling=wanted))
    if event.option is not DeallocationOption.TASK_COMPLETION:
        lose_tasks(
            state,
            state.node(event.pool_id, event.node_id),
            now,
            terminate=event.option is DeallocationOption.TERMINATE,
            but=COMING_UP,
        )
    step(state, state.node(event.pool_id, event.node_id), NodeHappening.DISABLED, now)


def loaded(state: State, node: Node, slots: int, count: int, now: datetime, **changes: Any) -> Node:
    """The node took up (or gave back) slots and tasks."""
    node = replace(node, slots_used=node.slots_used + slots, running_tasks=node.running_tasks + count, **changes)
    happening = NodeHappening.LAST_TASK_ENDED if node.running_tasks == 0 else NodeHappening.TASK_PLACED
    moved = step(state, node, happening, now)
    if moved is None:
        state.put_node(node)
        return node
    if moved.state is NodeState.LEAVING_POOL:
        state.after(now, timedelta(0), "left", moved.pool_id.lower(), moved.id)
    if moved.state is NodeState.DEALLOCATING:
        _deallocate_later(state, moved, now)
    return moved
