"""The autoscale formula language."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azbatch.pools import formula as texts
from azbatch_emulator.autoscale import VARIABLES, Evaluation, FormulaError, MetricHistory, evaluate, parse

NOW = datetime(2026, 11, 25, 14, 30, 5, tzinfo=UTC)  # a Wednesday
PERIOD, LAG = timedelta(seconds=30), timedelta(seconds=60)


def _history(values: list[float], name: str = "$PendingTasks", every: timedelta = PERIOD) -> MetricHistory:
    """Samples up to now, one each period."""
    history = MetricHistory(period=PERIOD, lag=LAG)
    for back, value in zip(range(len(values) - 1, -1, -1), values, strict=True):
        history.record(NOW - back * every, {name: value})
    return history


def _run(text: str, values: list[float] | None = None, present: float = 0.0, seed: int = 1) -> Evaluation:
    return evaluate(
        text,
        metrics=_history(values or []),
        present={"$PendingTasks": present, "$TaskSlotsPerNode": 4.0},
        now=NOW,
        random=random.Random(seed),
        current=(7, 1, "requeue"),
    )


def _value(expression: str, **options: Any) -> str:
    return _run(f"x = {expression};", **options).results.split("x=")[1]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 - 2 - 1", "4"),
        ("8 / 2 / 2", "2"),
        ("-2 * -3", "6"),
        ("!0 + !5", "1"),
        ("1 < 2 && 2 < 1 || 3 >= 3", "1"),
        ("1 == 1 ? 2 : 3 ? 4 : 5", "2"),
        ("0 ? 1 / 0 : 6", "6"),
        ("1 / 3", "0.333333"),
        ("1e3 + .5", "1000.5"),
        ("1 / 0", "inf"),
        ("TimeInterval_Minute * 5", "00:05:00"),
        ("TimeInterval_Hour / TimeInterval_Minute", "60"),
        ("time() - TimeInterval_Hour", "2026-11-25T13:30:05Z"),
        ("time().hour", "14"),
        ("time().weekday", "3"),
        ('time("2026-01-02T03:04:05Z").day', "2"),
        ('time("2026-01-02") < time()', "1"),
        ("[1, 2, 3] * 2", "[2,4,6]"),
        ("[1, 2] + [3, 4]", "[4,6]"),
        ("[5, 6, 7][1]", "6"),
        ("avg([1, 2, 6])", "3"),
        ("max(0, [3, 9], 4)", "9"),
        ("min([3, 9])", "3"),
        ("len([3, 9])", "2"),
        ("sum([3, 9])", "12"),
        ("range([3, 9])", "6"),
        ("std([2, 4, 4, 4, 5, 5, 7, 9])", "2.13809"),
        ("std([0 / 0, 1])", "nan"),
        ("std([5])", "0"),
        ("norm([3, 4])", "5"),
        ("percentile([1, 2, 3, 4], 50)", "2.5"),
        ("val([4, 5], 1)", "5"),
        ("lg(8)", "3"),
        ("ln(1)", "0"),
        ("log(1000)", "3"),
        ("ceil(1.2) + floor(1.8) + round(2.5)", "6"),
        ("$TargetDedicatedNodes + $TargetLowPriorityNodes", "8"),
        ("$PendingTasks + 1", "1"),
    ],
)
def test_expressions(expression: str, value: str) -> None:
    """Operators by precedence and type, functions, constants, attributes, and how values print."""
    assert _value(expression) == value


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("y = $x;", "Line 1, Col 5", "Undefined symbol: $x"),
        ("a = 1;\nb = nope;", "Line 2, Col 5", "Undefined symbol: nope"),
        ("a = 1;\n  # comment", "Line 2, Col 3", "Invalid character: #"),
        ("a = (1 + ;", "Line 1, Col 10", "Expected an expression"),
        ("a = 1 b = 2;", "Line 1, Col 7", "Expected ';'"),
        ("a = max();", "Line 1, Col 5", "does not take 0 arguments"),
        ('a = 1 + "x";', "Line 1, Col 7", "does not take double and string"),
        ("$CPUPercent = 1;", "Line 1, Col 1", "is read-only"),
        ('$NodeDeallocationOption = "soon";', "Line 1, Col 1", "Invalid value"),
        ("$TargetDedicatedNodes = 1 / 0;", "Line 1, Col 1", "finite"),
        ("a = val([1], 3);", "Line 1, Col 5", "Index 3"),
        ("a = $PendingTasks.GetSample(TimeInterval_Minute * 5);", "Line 1, Col 19", "Insufficient samples"),
        ("a = 1 %  2;", "Line 1, Col 7", "Invalid character: %"),
        ("a = time().century;", "Line 1, Col 12", "no attribute century"),
    ],
)
def test_faults_say_where(text: str, place: str, said: str) -> None:
    """Each kind of fault names its line and column."""
    with pytest.raises(FormulaError) as raised:
        _run(text)
    assert str(raised.value).startswith(place)
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("$TargetDedicatedNodes = 2.9;", (2, 1, "requeue")),
        ("$TargetDedicated = 3; $TargetLowPriority = 4;", (3, 4, "requeue")),
        ("$TargetDedicatedNodes = -1;", (0, 1, "requeue")),
        ("$NodeDeallocationOption = taskcompletion;", (7, 1, "taskcompletion")),
        ("$TargetDedicatedNodes = 5; stop(); $TargetDedicatedNodes = 6;", (5, 1, "requeue")),
        ("// nothing\n", (7, 1, "requeue")),
    ],
)
def test_targets(text: str, targets: tuple[int, int, str]) -> None:
    """Targets are truncated and never negative; what is not assigned stays as it is."""
    done = _run(text)
    assert (done.target_dedicated, done.target_spot, done.deallocation) == targets
    names = ("$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption")
    assert done.results == ";".join(f"{name}={value}" for name, value in zip(names, targets, strict=True))


def test_samples_are_readable_after_their_lag() -> None:
    """The newest samples are not there yet; a count takes what there is, without an error."""
    assert _value("$PendingTasks.GetSample(1)", values=[1, 2, 3, 4, 5]) == "[3]"
    assert _value("$PendingTasks.GetSample(99)", values=[1, 2, 3, 4, 5]) == "[1,2,3]"
    assert _value("$PendingTasks.GetSample(1)") == "[]"
    assert _value("$PendingTasks.Count()", values=[1] * 5) == "3"
    assert _value("$PendingTasks.GetSamplePeriod()") == "00:00:30"


def test_windows_demand_their_percentage() -> None:
    """A window needs 70 % of its samples, or the percentage given; below that the evaluation fails."""
    five = "TimeInterval_Minute * 5"
    assert _value(f"avg($PendingTasks.GetSample({five}))", values=[4] * 30) == "4"
    assert _value(f"$PendingTasks.GetSamplePercent({five})", values=[4] * 30) == "90"
    with pytest.raises(FormulaError, match="95 % are needed"):
        _value(f"$PendingTasks.GetSample({five}, 95)", values=[4] * 30)
    window = f"$PendingTasks.GetSample({five}, TimeInterval_Minute * 2, 50)"
    assert _value(f"len({window})", values=[4] * 30) == "7"


def test_the_documented_order_of_bounds() -> None:
    """The nearer bound first or last: the same window."""
    near_first = "$PendingTasks.GetSamplePercent(TimeInterval_Minute * 1, TimeInterval_Minute * 6)"
    assert _value(near_first, values=[4] * 30) == "100"
    assert _value(near_first.replace("1,", "6,").replace("* 6)", "* 1)"), values=[4] * 30) == "100"


def test_user_variables_may_begin_with_a_dollar() -> None:
    """As in Microsoft's own examples; they are listed with the results."""
    done = _run("$curTime = time(); $isWeekday = $curTime.weekday < 6; $TargetDedicatedNodes = $isWeekday ? 3 : 1;")
    assert done.target_dedicated == 3
    assert done.results.endswith("$isWeekday=1")


IDIOM = """
startingNumberOfVMs = 1;
maxNumberofVMs = 25;
pendingTaskSamplePercent = $PendingTasks.GetSamplePercent(180 * TimeInterval_Second);
pendingTaskSamples = pendingTaskSamplePercent < 70 ? startingNumberOfVMs
  : avg($PendingTasks.GetSample(180 * TimeInterval_Second));
$TargetDedicatedNodes = min(maxNumberofVMs, pendingTaskSamples);
$NodeDeallocationOption = taskcompletion;
"""


@pytest.mark.parametrize(("values", "nodes"), [([], 1), ([1.0] * 2, 1), ([8.0] * 20, 8), ([99.0] * 20, 25)])
def test_the_documented_idiom(values: list[float], nodes: int) -> None:
    """Microsoft's usual formula: a start value without samples, then as many nodes as pending tasks, up to a limit."""
    assert _run(IDIOM, values).target_dedicated == nodes


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
    done = _run(texts.pending_tasks(most=20, **options), values)
    assert (done.target_dedicated, done.target_spot) == targets


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_formula_or_a_fault(text: str) -> None:
    """Nothing but FormulaError comes out of the parser."""
    try:
        parse(text)
    except FormulaError as error:
        assert error.line >= 1
        assert error.column >= 1


_ATOMS = st.one_of(
    st.integers(0, 99).map(str),
    st.sampled_from(
        ["$PendingTasks", "TimeInterval_Minute", "time()", '"s"', "[1,2]", "rand()", "x", *list(VARIABLES)]
    ),
)
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "<", "==", "&&", "||"]), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-{}".format),
        st.tuples(inner, inner, inner).map(lambda parts: "{} ? {} : {}".format(*parts)),
        st.tuples(st.sampled_from(["avg", "max", "val", "lg", "len", "percentile", "round"]), inner).map(
            lambda parts: "{}({})".format(*parts)
        ),
        inner.map("{}.GetSample(3)".format),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(_EXPRESSIONS, max_size=4), st.integers(0, 9))
def test_evaluation_gives_targets_or_a_fault_and_the_same_again(expressions: list[str], seed: int) -> None:
    """Whatever the operands, the outcome is targets or a FormulaError, and depends on nothing but its arguments."""
    text = "x = 1;" + "".join(f"x = {e}; $TargetDedicatedNodes = {e};" for e in expressions)

    def outcome() -> str:
        try:
            return _run(text, [3.0] * 10, seed=seed).results
        except FormulaError as error:
            return str(error)

    assert outcome() == outcome()


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "(" * 55 + "x" + (".y" * 59 + ")") * 55 + ";",
        "a = \ud800;",
        "(" * 4000,
        "a = " + "-" * 4000 + "1;",
        "a = " + "1+" * 3000 + "1;",
        "a = x" + ".y" * 3000,
    ],
)
def test_depth_is_bounded(text: str) -> None:
    """Deep nesting is a fault, a long sum is not, and neither overflows the stack."""
    try:
        _run(text)
    except FormulaError:
        assert "1+" not in text


def test_limits() -> None:
    """8 KB and 100 statements."""
    with pytest.raises(FormulaError) as raised:
        parse("//" + "x" * 9000)
    assert raised.value.code == "AutoScalingFormulaTooLong"
    parse("a=1;" * 100)
    with pytest.raises(FormulaError, match="100 statements"):
        parse("a=1;" * 101)
