"""Formulas of the documentation and of known products, with what they ask for."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from azbatch.pools import formula as texts
from azbatch_emulator.autoscale import Evaluation, FormulaError, MetricHistory, evaluate
from tests.unit.formulas import LAG, PERIOD

WEDNESDAY = datetime(2026, 11, 25, 14, 30, 5, 805_000, tzinfo=UTC)
Targets = tuple[int, int, str]


def _run(
    text: str,
    samples: Mapping[str, list[float]] | None = None,
    *,
    now: datetime = WEDNESDAY,
    present: Mapping[str, float] | None = None,
    current: Targets = (4, 2, "requeue"),
) -> Evaluation:
    """`samples` end now; the newest is not readable yet."""
    history = MetricHistory(period=PERIOD, lag=LAG)
    longest = max((len(values) for values in (samples or {}).values()), default=0)
    for back in range(longest - 1, -1, -1):
        there = {name: values[-1 - back] for name, values in (samples or {}).items() if back < len(values)}
        history.record(now - back * PERIOD, there)
    return evaluate(text, metrics=history, present=present or {}, now=now, random=random.Random(1), current=current)


def _targets(done: Evaluation) -> Targets:
    return done.target_dedicated, done.target_spot, done.deallocation


PENDING = """
startingNumberOfVMs = 1;
maxNumberofVMs = 25;
pendingTaskSamplePercent = $PendingTasks.GetSamplePercent(180 * TimeInterval_Second);
pendingTaskSamples = pendingTaskSamplePercent < 70 ? startingNumberOfVMs
  : avg($PendingTasks.GetSample(180 * TimeInterval_Second));
$TargetDedicatedNodes = min(maxNumberofVMs, pendingTaskSamples);
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("values", "nodes"), [([], 1), ([8.0] * 3, 1), ([8.0] * 20, 8), ([99.0] * 20, 25), ([0.0] * 20, 0)]
)
def test_pending_tasks(values: list[float], nodes: int) -> None:
    """A start value without samples, then as many nodes as pending tasks, up to a limit."""
    assert _targets(_run(PENDING, {"$PendingTasks": values})) == (nodes, 2, "taskcompletion")


PREEMPTED = """
maxNumberofVMs = 25;
$TargetDedicatedNodes = min(maxNumberofVMs, $PreemptedNodeCount.GetSample(180 * TimeInterval_Second));
$TargetLowPriorityNodes = min(maxNumberofVMs , maxNumberofVMs - $TargetDedicatedNodes);
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("values", "targets"),
    [([0.0] * 9, (0, 25)), ([3.0] * 9, (3, 22)), ([5.0, 5.0, 5.0, 5.0, 1.0, 5.0, 5.0], (1, 24)), ([40.0] * 9, (25, 0))],
)
def test_preempted_nodes(values: list[float], targets: tuple[int, int]) -> None:
    """Each preempted node is replaced by a dedicated one; the least of a vector and a number is one minimum."""
    assert _targets(_run(PREEMPTED, {"$PreemptedNodeCount": values})) == (*targets, "taskcompletion")


PROCESSOR = """
$totalDedicatedNodes =
    (min($CPUPercent.GetSample(TimeInterval_Minute * 10)) > 0.7) ?
    ($CurrentDedicatedNodes * 1.1) : $CurrentDedicatedNodes;
$totalDedicatedNodes =
    (avg($CPUPercent.GetSample(TimeInterval_Minute * 60)) < 0.2) ?
    ($CurrentDedicatedNodes * 0.9) : $totalDedicatedNodes;
$TargetDedicatedNodes = min(400, $totalDedicatedNodes)
"""


@pytest.mark.parametrize(("load", "nodes"), [(0.9, 22), (0.5, 20), (0.1, 18)])
def test_processor_load(load: float, nodes: int) -> None:
    """A tenth more under load, a tenth less without; the last statement needs no semicolon."""
    done = _run(PROCESSOR, {"$CPUPercent": [load] * 125}, present={"$CurrentDedicatedNodes": 20.0})
    assert done.target_dedicated == nodes
    assert (
        _run(PROCESSOR, {"$CPUPercent": [0.9] * 125}, present={"$CurrentDedicatedNodes": 399.0}).target_dedicated == 400
    )


def test_an_hour_needs_an_hour_of_samples() -> None:
    """Ten minutes after its creation a pool cannot answer for an hour: the evaluation fails."""
    with pytest.raises(FormulaError, match=r"Line 6, Col 31.*wanted 70%, received 20%"):
        _run(PROCESSOR, {"$CPUPercent": [0.5] * 25}, present={"$CurrentDedicatedNodes": 20.0})


WORKDAY = """
$curTime = time();
$workHours = $curTime.hour >= 8 && $curTime.hour < 18;
$isWeekday = $curTime.weekday >= 1 && $curTime.weekday <= 5;
$isWorkingWeekdayHour = $workHours && $isWeekday;
$TargetDedicatedNodes = $isWorkingWeekdayHour ? 20:10;
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("now", "nodes"),
    [
        (WEDNESDAY, 20),
        (WEDNESDAY.replace(hour=8, minute=0, second=0), 20),
        (WEDNESDAY.replace(hour=7, minute=59), 10),
        (WEDNESDAY.replace(hour=18), 10),
        (WEDNESDAY + timedelta(days=3), 10),
        (WEDNESDAY + timedelta(days=4), 10),
        (WEDNESDAY + timedelta(days=5), 20),
    ],
)
def test_time_of_day(now: datetime, nodes: int) -> None:
    """Twenty nodes in working hours, ten else; Saturday and Sunday are no working days."""
    assert _run(WORKDAY, now=now).target_dedicated == nodes


def test_results_as_the_documentation_shows_them() -> None:
    """The user's variables by name, times to the millisecond, truth as 1 and 0."""
    now = datetime(2016, 10, 13, 19, 18, 47, 805_000, tzinfo=UTC)
    text = WORKDAY.replace("$NodeDeallocationOption = taskcompletion;", "")
    assert _run(text, now=now, current=(0, 0, "requeue")).results == (
        "$TargetDedicatedNodes=10;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;"
        "$curTime=2016-10-13T19:18:47.805Z;$isWeekday=1;$isWorkingWeekdayHour=0;$workHours=0"
    )


def test_another_time_zone() -> None:
    """The documented way to local time: the offset is added."""
    text = WORKDAY.replace("time();", "time() + (-6 * TimeInterval_Hour);")
    assert _run(text, now=WEDNESDAY.replace(hour=13)).target_dedicated == 10
    assert _run(text, now=WEDNESDAY.replace(hour=14)).target_dedicated == 20


def test_mondays() -> None:
    """The one-liner of the SDK examples."""
    text = "$TargetDedicatedNodes = (time().weekday == 1 ? 5:1);"
    assert [_run(text, now=WEDNESDAY + timedelta(days=day)).target_dedicated for day in range(7)] == [
        1,
        1,
        1,
        1,
        1,
        5,
        1,
    ]


TASKS = """
// Get pending tasks for the past 15 minutes.
$samples = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 15);
$tasks = $samples < 70 ? max(0,$PendingTasks.GetSample(1))
  : max( $PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 15)));
$targetVMs = $tasks > 0? $tasks:max(0, $TargetDedicatedNodes/2);
// Capped.
$TargetDedicatedNodes = max(0, min($targetVMs, 20));
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("values", "nodes"),
    [
        ([], 2),  # half of the present four
        ([0.0] * 40, 2),
        ([6.0, 6.0], 6),
        ([5.0] * 40, 5),
        ([10.0] * 20 + [0.0] * 20, 3),  # the average of twenty-nine samples, ten of them at ten
        ([0.0] * 38 + [30.0, 30.0], 20),
    ],
)
def test_task_based(values: list[float], nodes: int) -> None:
    """The larger of the last sample and the average; without tasks the pool halves; never above twenty."""
    assert _targets(_run(TASKS, {"$PendingTasks": values})) == (nodes, 2, "taskcompletion")


PARALLEL = """
$samples = $ActiveTasks.GetSamplePercent(TimeInterval_Minute * 15);
$tasks = $samples < 70 ? max(0,$ActiveTasks.GetSample(1))
  : max( $ActiveTasks.GetSample(1),avg($ActiveTasks.GetSample(TimeInterval_Minute * 15)));
$cores = $TargetDedicatedNodes * 4;
$extraVMs = (($tasks - $cores) + 3) / 4;
$targetVMs = ($TargetDedicatedNodes + $extraVMs);
$TargetDedicatedNodes = max(0,min($targetVMs,3));
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(("tasks", "nodes"), [(0.0, 0), (1.0, 1), (4.0, 1), (5.0, 2), (8.0, 2), (9.0, 3), (99.0, 3)])
def test_parallel_tasks(tasks: float, nodes: int) -> None:
    """A quarter of the active tasks, rounded up by hand since targets are truncated."""
    assert _run(PARALLEL, {"$ActiveTasks": [tasks] * 40}, current=(1, 0, "requeue")).target_dedicated == nodes


INITIAL = """
$TargetDedicatedNodes = 4;
lifespan = time() - time("{created}");
span = TimeInterval_Minute * 60;
startup = TimeInterval_Minute * 10;
ratio = 50;
$TargetDedicatedNodes = (lifespan > startup
  ? (max($RunningTasks.GetSample(span, ratio), $ActiveTasks.GetSample(span, ratio)) == 0
    ? 0 : $TargetDedicatedNodes) : 4);
"""


@pytest.mark.parametrize(
    ("minutes", "values", "nodes"),
    [(5, [], 4), (10, [], 4), (61, [0.0] * 122, 0), (61, [0.0] * 121 + [1.0], 0), (61, [0.0, 1.0] * 61, 4)],
)
def test_initial_size(minutes: int, values: list[float], nodes: int) -> None:
    """Four nodes for ten minutes, whatever the samples (`?:` reads only the side it takes); then none if idle."""
    created = (WEDNESDAY - timedelta(minutes=minutes)).replace(microsecond=805_000)
    text = INITIAL.format(created=f"{created:%a, %d %b %Y %H:%M:%S} GMT")
    quiet: dict[str, list[float]] = {"$RunningTasks": values, "$ActiveTasks": [0.0] * len(values)}
    assert _run(text, quiet, now=WEDNESDAY.replace(microsecond=0)).target_dedicated == nodes


def test_initial_size_fails_without_half_of_the_samples() -> None:
    """After the start the hour is needed by half."""
    text = INITIAL.format(created="2026-11-25T14:00:00Z")
    with pytest.raises(FormulaError, match="wanted 50%, received 0%"):
        _run(text)


SHELL = """totalNodes=($CPUPercent.GetSamplePercent(TimeInterval_Minute*0,TimeInterval_Minute*10)<0.7?5:
(min($CPUPercent.GetSample(TimeInterval_Minute*0, TimeInterval_Minute*10))>0.8
?($CurrentDedicated*1.1):$CurrentDedicated));
$TargetDedicated=min(100,totalNodes);"""


def test_old_names() -> None:
    """The PowerShell example: old names, the nearer bound first, results under the full names."""
    assert _run(SHELL, current=(0, 0, "requeue")).results == (
        "$TargetDedicatedNodes=5;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;totalNodes=5"
    )
    loaded = _run(SHELL, {"$CPUPercent": [0.9] * 25}, present={"$CurrentDedicatedNodes": 20.0})
    assert loaded.target_dedicated == 22


NEXTFLOW = """
lifespan = time() - time("{created}");
interval = TimeInterval_Minute * 5;
$samples = $PendingTasks.GetSamplePercent(interval);
$tasks = $samples < 70 ? max(0, $PendingTasks.GetSample(1))
  : max( $PendingTasks.GetSample(1), avg($PendingTasks.GetSample(interval)));
$targetVMs = $tasks > 0 ? $tasks : max(0, $TargetDedicatedNodes/2);
targetPoolSize = max(0, min($targetVMs, 10));
$TargetDedicatedNodes = lifespan < interval ? 3 : targetPoolSize;
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(
    ("created", "values", "nodes"),
    [
        ("2026-11-25T14:29:05.123456Z", [7.0] * 12, 3),
        ("2026-11-25T14:20:05.123456Z", [7.0] * 12, 7),
        ("2026-11-25T14:20:05.1Z", [70.0] * 12, 10),
        ("2026-11-25T14:20:05Z", [0.0] * 12, 2),
    ],
)
def test_nextflow(created: str, values: list[float], nodes: int) -> None:
    """Nextflow's formula: a first size for one interval, then the pending tasks."""
    assert _run(NEXTFLOW.format(created=created), {"$PendingTasks": values}).target_dedicated == nodes


def test_nextflow_with_too_many_decimals() -> None:
    """What broke with a newer Java: nine decimals are no time [nextflow issue 3866]."""
    with pytest.raises(FormulaError, match="Line 2, Col 25: Invalid date and time"):
        _run(NEXTFLOW.format(created="2026-11-25T14:20:05.123456789Z"))


@pytest.mark.parametrize(
    ("values", "options", "targets"),
    [
        ([], {"first": 2}, (2, 0)),
        ([0.0] * 20, {}, (0, 0)),
        ([1.0] * 20, {}, (1, 0)),
        ([40.0] * 20, {}, (10, 0)),
        ([41.0] * 20, {}, (11, 0)),
        ([40.0] * 20, {"slots_per_task": 2.0}, (20, 0)),
        ([4000.0] * 20, {}, (20, 0)),
        ([0.0] * 20, {"least": 3}, (3, 0)),
        ([40.0] * 20, {"spot_share": 1}, (0, 10)),
        ([4.0] * 20, {"spot_share": 0.5}, (0, 1)),
        ([40.0] * 20, {"spot_share": 0.5}, (5, 5)),
    ],
)
def test_our_own_formula(values: list[float], options: dict[str, Any], targets: tuple[int, int]) -> None:
    """azbatch's formula counts slots (4 a node here), not tasks, from 0, within its bounds, by spot share."""
    done = _run(texts.pending_tasks(most=20, **options), {"$PendingTasks": values}, present={"$TaskSlotsPerNode": 4.0})
    assert (done.target_dedicated, done.target_spot) == targets
