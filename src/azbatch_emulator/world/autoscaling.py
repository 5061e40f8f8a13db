"""Automatic scaling: sampling a pool's metrics, evaluating its formula, applying what it says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from azbatch_emulator.autoscale import EVALUATION, NO_SAMPLES, OF_NODES, VARIABLES, FormulaError, evaluate
from azbatch_emulator.lifecycle.pool import ALLOCATION, AllocationHappening
from azbatch_emulator.profile import happens
from azbatch_emulator.records import (
    AutoScaleRun,
    DeallocationOption,
    Fault,
    JobState,
    NodeState,
    Pool,
    PoolState,
)
from azbatch_emulator.world import pools
from azbatch_emulator.world.state import SCHEDULABLE, JobTasks, State

# Code of a failed evaluation and its message [recorded]. A syntax error counts among the evaluation errors.
ERRORS: Mapping[str, str] = {
    EVALUATION: "The specified auto-scaling formula has evaluation error",
    NO_SAMPLES: "Autoscale evaluation failed due to insufficient sample data",
}


def sample(state: State, key: str, created: datetime, now: datetime) -> None:
    """Record one sample of the pool and ask for the next; a pool made anew under the name has its own samples."""
    pool = state.pools.get(key)
    if pool is None or pool.created != created:
        return
    if not happens(state.profile.sample_loss, state.rng):
        values = metrics(state, pool)
        # Where no node is up, none tells how it fares.
        there = {name: value for name, value in values.items() if name not in OF_NODES or values["$UsableNodeCount"]}
        state.history[key].record(state.service_time(now), there)
    state.after(now, state.profile.sample_period / state.profile.speed, "sample", key, created)


def metrics(state: State, pool: Pool) -> dict[str, float]:
    """The service-defined variables of one pool at this moment."""
    members = list(state.nodes[pool.id.lower()].values())
    active = running = succeeded = failed = 0
    for job in state.jobs.values():
        if job.pool_id.lower() != pool.id.lower():
            continue
        book = state.tasks[job.id.lower()]
        running += book.tasks.running
        succeeded += book.tasks.succeeded
        failed += book.tasks.failed
        if job.state is JobState.ACTIVE:
            active += _ready(book)
    usable = sum(node.state in SCHEDULABLE for node in members)
    values = {
        "$ActiveTasks": active,
        "$RunningTasks": running,
        "$PendingTasks": active + running,
        "$SucceededTasks": succeeded,
        "$FailedTasks": failed,
        "$TaskSlotsPerNode": pool.slots_per_node,
        "$CurrentDedicatedNodes": sum(node.dedicated for node in members),
        "$CurrentLowPriorityNodes": sum(not node.dedicated for node in members),
        "$PreemptedNodeCount": sum(node.state is NodeState.PREEMPTED for node in members),
        "$UsableNodeCount": usable,
        "$SampleNodeCount": usable,
    }
    # Machine metrics: how busy the slots are stands for the processor; the rest has no source here and is level.
    busy = sum(node.slots_used for node in members)
    slots = sum(node.slots for node in members)
    values["$CPUPercent"] = 100 * busy // slots if slots else 0
    return {name: float(values.get(name, 0)) for name in VARIABLES}


def _ready(book: JobTasks) -> int:
    """$ActiveTasks of a job: without those that wait for dependencies, each instance of a task counted [documented]."""
    count = book.tasks.active + book.more_instances - len(book.blocked)
    if book.more_instances:
        count -= sum(max(0, book.all[key].instances - 1) for key in book.blocked)
    return count


def run(state: State, pool: Pool, formula: str, now: datetime, rng: random.Random) -> tuple[AutoScaleRun, Pool]:
    """Evaluate a formula against the pool's samples: the outcome, and the pool with the targets it asks for."""
    current = (pool.target_dedicated, pool.target_spot, str(pool.deallocation))
    values = metrics(state, pool)
    service_now = state.service_time(now)
    try:
        outcome = evaluate(
            formula,
            metrics=state.history[pool.id.lower()],
            present=values,
            now=service_now,
            random=rng,
            current=current,
        )
    except FormulaError as error:
        code = error.code if error.code in ERRORS else EVALUATION
        fault = Fault(code=code, message=ERRORS[code], details=(("Message", str(error)),))
        names = ("$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption")
        kept = ";".join(f"{name}={value}" for name, value in zip(names, current, strict=True))
        return AutoScaleRun(timestamp=now, results=kept, error=fault), pool
    wanted = replace(
        pool,
        target_dedicated=max(0, outcome.target_dedicated),
        target_spot=max(0, outcome.target_spot),
        deallocation=DeallocationOption(outcome.deallocation),
    )
    return AutoScaleRun(timestamp=now, results=outcome.results), wanted


def evaluate_now(state: State, key: str, stamp: datetime, now: datetime) -> None:
    """An evaluation is due: `stamp` tells whether the formula it was asked for is still the present one."""
    pool = state.pools.get(key)
    if pool is None or pool.autoscale_formula is None or pool.state is not PoolState.ACTIVE:
        return
    newest = state.autoscale_stamp.get(key)
    if newest is not None and stamp < newest:
        return
    state.autoscale_stamp[key] = stamp
    state.after(now, pool.autoscale_interval / state.profile.speed, "autoscale", key, stamp)
    if ALLOCATION.step(pool.allocation_state, AllocationHappening.SCALE) is None:
        return
    outcome, wanted = run(state, pool, pool.autoscale_formula, now, state.rng)
    changed = (wanted.target_dedicated, wanted.target_spot) != (pool.target_dedicated, pool.target_spot)
    wanted = replace(wanted, autoscale_run=outcome)
    state.pools[key] = wanted
    if changed:
        pools.begin_resize(state, wanted, now, AllocationHappening.SCALE)
