"""Pools: adding, changing, resizing, autoscale switches, deletion; and the allocation that follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator import durations, events
from azbatch_emulator.autoscale import MetricHistory
from azbatch_emulator.faults import ALLOCATION_FAILED
from azbatch_emulator.lifecycle.pool import ALLOCATION, AllocationHappening
from azbatch_emulator.lifecycle.refusals import refusal
from azbatch_emulator.profile import drawn, happens
from azbatch_emulator.records import (
    AllocationState,
    DeallocationOption,
    Fault,
    Node,
    NodeState,
    Pool,
    PoolState,
    Refused,
)
from azbatch_emulator.schedule import FreeSlots, ReadyTasks
from azbatch_emulator.vm_sizes import cores_of
from azbatch_emulator.world import nodes
from azbatch_emulator.world.state import State, touched

DEFAULT_INTERVAL = timedelta(minutes=15)


def _live(state: State, pool_id: str) -> Pool:
    pool = state.pool(pool_id)
    if pool.state is PoolState.DELETING:
        raise refusal("pool", "change", pool.state)
    return pool


def _put(state: State, pool: Pool, now: datetime, /, **changes: Any) -> Pool:
    """Store the pool with changes that alter its eTag."""
    pool = replace(pool, last_modified=touched(pool.last_modified, now), **changes)
    state.pools[pool.id.lower()] = pool
    return pool


def add(state: State, event: events.AddPool, now: datetime) -> Pool:
    spec = event.spec
    key = str(spec["id"]).lower()
    if key in state.pools:
        raise refusal("pool", "add", state.pools[key].state)
    automatic = bool(spec.get("enableAutoScale"))
    pool = Pool(
        id=spec["id"],
        spec=spec,
        created=now,
        last_modified=now,
        state_since=now,
        allocation_since=now,
        target_dedicated=0 if automatic else int(spec.get("targetDedicatedNodes") or 0),
        target_spot=0 if automatic else int(spec.get("targetLowPriorityNodes") or 0),
        resize_timeout=durations.parse(spec.get("resizeTimeout") or "PT15M"),
        autoscale_formula=spec.get("autoScaleFormula") if automatic else None,
        autoscale_interval=durations.parse(spec.get("autoScaleEvaluationInterval") or "PT15M"),
    )
    state.pools[key] = pool
    state.nodes[key] = {}
    state.free[key] = FreeSlots()
    state.ready[key] = ReadyTasks()
    state.history[key] = MetricHistory(period=state.profile.sample_period, lag=state.profile.sample_lag)
    state.after(now, state.profile.sample_period / state.profile.speed, "sample", key, pool.created)
    if automatic:
        _start_autoscale(state, pool, now)
    if pool.target_dedicated or pool.target_spot:
        begin_resize(state, pool, now)
    return state.pools[key]


def patch(state: State, event: events.PatchPool, now: datetime) -> Pool:
    pool = _live(state, event.pool_id)
    spec = {name: value for name, value in {**pool.spec, **event.changes}.items() if value is not None}
    return _put(state, pool, now, spec=spec)


def delete(state: State, event: events.DeletePool, now: datetime) -> None:
    pool = _live(state, event.pool_id)
    pool = _put(
        state,
        pool,
        now,
        state=PoolState.DELETING,
        state_since=now,
        target_dedicated=0,
        target_spot=0,
        autoscale_formula=None,
        deallocation=DeallocationOption.REQUEUE,
    )
    begin_resize(state, pool, now, AllocationHappening.DELETE)


def resize(state: State, event: events.ResizePool, now: datetime) -> Pool:
    pool = _live(state, event.pool_id)
    if pool.autoscale_formula is not None:
        raise Refused("OperationInvalidForCurrentState", message="The pool scales automatically; disable that first.")
    if ALLOCATION.step(pool.allocation_state, AllocationHappening.RESIZE) is None:
        raise refusal("pool", "resize", pool.allocation_state)
    pool = _put(
        state,
        pool,
        now,
        target_dedicated=pool.target_dedicated if event.dedicated is None else event.dedicated,
        target_spot=pool.target_spot if event.spot is None else event.spot,
        resize_timeout=event.timeout,
        deallocation=event.deallocation,
    )
    return begin_resize(state, pool, now)


def begin_resize(
    state: State, pool: Pool, now: datetime, happening: AllocationHappening = AllocationHappening.RESIZE
) -> Pool:
    """Targets are set; nodes follow after the allocation delay."""
    after = ALLOCATION.step(pool.allocation_state, happening)
    assert after is not None
    pool = replace(pool, allocation_state=after, allocation_since=now, resize_errors=())
    state.pools[pool.id.lower()] = pool
    delay = drawn(state.profile.allocation, state.profile.allocation_spread, state.rng)
    state.after(now, delay, "allocate", pool.id.lower(), now)
    return pool


def stop_resize(state: State, event: events.StopResize, now: datetime) -> None:
    pool = _live(state, event.pool_id)
    after = ALLOCATION.step(pool.allocation_state, AllocationHappening.STOP_RESIZE)
    if after is None:
        raise Refused("OperationInvalidForCurrentState", message="The pool is not being resized.")
    # A stopped resize keeps its targets and leaves ResizeStopped [recorded]; the eTag stays.
    fault = Fault(
        code="ResizeStopped",
        message="Desired number of nodes could not be allocated as the resize operation was stopped",
    )
    pool = replace(pool, allocation_state=after, allocation_since=now, resize_errors=(fault,))
    state.pools[pool.id.lower()] = pool
    state.after(now, timedelta(0), "settle", pool.id.lower())


def remove_nodes(state: State, event: events.RemoveNodes, now: datetime) -> None:
    pool = _live(state, event.pool_id)
    if pool.autoscale_formula is not None:
        raise Refused("OperationInvalidForCurrentState", message="The pool scales automatically; disable that first.")
    if ALLOCATION.step(pool.allocation_state, AllocationHappening.REMOVE_NODES) is None:
        raise refusal("pool", "resize", pool.allocation_state)
    chosen = [state.node(event.pool_id, node_id) for node_id in event.node_ids]
    gone = {node.id for node in chosen}
    rest = [node for node in state.nodes[pool.id.lower()].values() if node.id not in gone]
    pool = _put(
        state,
        pool,
        now,
        target_dedicated=sum(node.dedicated for node in rest),
        target_spot=sum(not node.dedicated for node in rest),
        resize_timeout=event.timeout,
        deallocation=event.deallocation,
    )
    begin_resize(state, pool, now, AllocationHappening.REMOVE_NODES)
    for node in chosen:
        nodes.leave(state, node, event.deallocation, now)


def enable_autoscale(state: State, event: events.EnableAutoScale, now: datetime) -> Pool:
    pool = _live(state, event.pool_id)
    if event.formula is None and pool.autoscale_formula is None:
        raise Refused("MissingRequiredProperty", {"PropertyName": "autoScaleFormula"})
    if event.formula is None and event.interval is None:
        raise Refused("MissingRequiredProperty", {"PropertyName": "autoScaleFormula"})
    if pool.autoscale_formula is None and pool.allocation_state is not AllocationState.STEADY:
        raise refusal("pool", "resize", pool.allocation_state)
    last = pool.autoscale_enabled
    if last is not None and now - last < state.profile.enable_autoscale_pause:
        raise Refused("TooManyEnableAutoScaleRequests")
    present = DEFAULT_INTERVAL if pool.autoscale_formula is None else pool.autoscale_interval
    pool = _put(
        state,
        pool,
        now,
        autoscale_formula=event.formula if event.formula is not None else pool.autoscale_formula,
        autoscale_interval=event.interval or present,
        autoscale_enabled=now,
    )
    _start_autoscale(state, pool, now)
    return state.pools[pool.id.lower()]


def _start_autoscale(state: State, pool: Pool, now: datetime) -> None:
    state.after(now, timedelta(0), "autoscale", pool.id.lower(), pool.last_modified)


def disable_autoscale(state: State, event: events.DisableAutoScale, now: datetime) -> Pool:
    pool = _live(state, event.pool_id)
    if pool.autoscale_formula is None:
        raise Refused("OperationInvalidForCurrentState", message="The pool does not scale automatically.")
    return _put(state, pool, now, autoscale_formula=None)


def allocate(state: State, key: str, begun: datetime, now: datetime) -> None:
    """The allocation delay is over: nodes leave or come, as the targets and the quota want."""
    pool = state.pools.get(key)
    if pool is None or pool.allocation_state is not AllocationState.RESIZING or pool.allocation_since != begun:
        return
    faults: list[Fault] = []
    failed: Fault | None = None
    for dedicated in (True, False):
        target = pool.target_dedicated if dedicated else pool.target_spot
        present = [
            node
            for node in state.nodes[key].values()
            if node.dedicated is dedicated and node.state is not NodeState.LEAVING_POOL
        ]
        for node in sorted(present, key=_expendable)[: max(0, len(present) - target)]:
            nodes.leave(state, node, pool.deallocation, now)
        wanted = max(0, target - len(present))
        granted = min(wanted, _within_quota(state, pool, dedicated))
        if granted and failed is None:
            failed = _failure(state, key)
            faults += [failed] if failed else []
        if failed is not None:
            continue
        for _ in range(granted):
            nodes.create(state, pool, dedicated, now)
        if granted < wanted:
            faults.append(_quota_fault(dedicated))
    pool = state.pools[key]
    state.pools[key] = replace(pool, resize_errors=tuple(faults))
    state.after(now, pool.resize_timeout / state.profile.speed, "timeout", key, begun)
    settle(state, key, now)


def _failure(state: State, key: str) -> Fault | None:
    """Why this resize gets no node."""
    failing = state.failing_resizes.get(key)
    if failing:
        return failing.pop(0)
    return ALLOCATION_FAILED if happens(state.profile.allocation_failure, state.rng) else None


def fail_resizes(state: State, event: events.FailResizes, _now: datetime) -> None:
    pool = state.pool(event.pool_id)
    state.failing_resizes.setdefault(pool.id.lower(), []).extend([event.fault] * event.count)


def _expendable(node: Node) -> tuple[int, int]:
    """Nodes that do no work leave first."""
    broken = node.state in {
        NodeState.UNUSABLE,
        NodeState.START_TASK_FAILED,
        NodeState.PREEMPTED,
        NodeState.UNKNOWN,
    }
    rank = 0 if broken else 1 if node.state not in {NodeState.IDLE, NodeState.RUNNING} else 2
    return rank, node.slots_used


def _within_quota(state: State, pool: Pool, dedicated: bool) -> int:
    limit = state.quota_dedicated if dedicated else state.quota_spot
    cores = cores_of(str(pool.spec.get("vmSize", "")))
    if limit is None:
        return 1_000_000
    used = sum(
        cores_of(node.vm_size)
        for members in state.nodes.values()
        for node in members.values()
        if node.dedicated is dedicated
    )
    return max(0, (limit - used) // cores)


def _quota_fault(dedicated: bool) -> Fault:
    if dedicated:
        return Fault(code="AccountCoreQuotaReached", message="The specified account has reached core quota")
    return Fault(
        code="AccountLowPriorityCoreQuotaReached",
        message="The specified account has reached low priority core quota",
    )


def settle(state: State, key: str, now: datetime) -> None:
    """Steady once no node is leaving any more; a deleted pool is gone then."""
    pool = state.pools.get(key)
    if pool is None or pool.allocation_state is AllocationState.STEADY:
        return
    if any(node.state is NodeState.LEAVING_POOL for node in state.nodes[key].values()):
        return
    if pool.state is PoolState.DELETING:
        if not state.nodes[key]:
            for table in (
                state.pools,
                state.nodes,
                state.free,
                state.ready,
                state.history,
                state.failing_starts,
                state.failing_boots,
                state.failing_resizes,
                state.autoscale_stamp,
            ):
                table.pop(key, None)
        return
    # Becoming steady does not change the eTag [recorded].
    state.pools[key] = replace(pool, allocation_state=AllocationState.STEADY, allocation_since=now)


def time_out(state: State, key: str, begun: datetime, now: datetime) -> None:
    """The resize took longer than its resizeTimeout: it ends with what there is."""
    pool = state.pools.get(key)
    if pool is None or pool.allocation_state is not AllocationState.RESIZING or pool.allocation_since != begun:
        return
    if pool.state is PoolState.DELETING:
        return
    fault = Fault(code="AllocationTimedOut", message="Desired number of dedicated nodes could not be allocated")
    state.pools[key] = replace(
        pool,
        allocation_state=AllocationState.STEADY,
        allocation_since=now,
        resize_errors=(*pool.resize_errors, fault),
    )
