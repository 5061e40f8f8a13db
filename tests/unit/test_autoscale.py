"""The autoscale formula language: its types, operators, functions, variables, faults and limits."""

from __future__ import annotations

import inspect
import math
import random
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azbatch_emulator.autoscale import VARIABLES, Evaluation, FormulaError, evaluate, parse
from azbatch_emulator.autoscale.errors import Unfit
from azbatch_emulator.autoscale.times import Interval, Timestamp, parse_time
from azbatch_emulator.autoscale.values import OPERATORS
from tests.unit.formulas import history

NOW = datetime(2026, 11, 25, 14, 30, 5, 250_000, tzinfo=UTC)  # a Wednesday


def _run(text: str, values: list[float] | None = None, present: float = 0.0, seed: int = 1) -> Evaluation:
    return evaluate(
        text,
        metrics=history(values or [], NOW),
        present={"$PendingTasks": present, "$TaskSlotsPerNode": 4.0},
        now=NOW,
        random=random.Random(seed),
        current=(7, 1, "requeue"),
    )


def _value(expression: str, **options: Any) -> str:
    return _run(f"x = {expression};", **options).results.split("x=")[1]


def _fault(text: str) -> FormulaError:
    with pytest.raises(FormulaError) as raised:
        _run(text)
    return raised.value


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
        ("0 ? 1 : 0 ? 2 : 3", "3"),
        ("1 ? 0 ? 1 : 2 : 3", "2"),
        ("2 - -3", "5"),
        ("1000000", "1e+06"),
        ("!0.5", "0"),
        ("0 && $nope", "0"),
        ("5 || $nope", "1"),
        ('"a" < "b" && "b" != "c"', "1"),
        ("TimeInterval_Minute * 5", "00:05:00"),
        ("1.5 * TimeInterval_Day", "1.12:00:00"),
        ("-TimeInterval_Millisecond", "-00:00:00.0010000"),
        ("TimeInterval_Microsecond + TimeInterval_100ns", "00:00:00.0000011"),
        ("TimeInterval_Week - TimeInterval_Day", "6.00:00:00"),
        ("TimeInterval_Year / 365 == TimeInterval_Day", "1"),
        ("TimeInterval_Zero < TimeInterval_Second", "1"),
        ("time() + -1 * TimeInterval_Hour", "2026-11-25T13:30:05.250Z"),
        ("TimeInterval_Hour + time()", "2026-11-25T15:30:05.250Z"),
        ('time() - time("2026-11-25")', "14:30:05.2500000"),
        ("time().year + time().month + time().minute + time().second", "2072"),
        ('time("Sun, 29 Nov 2026 00:00:00 GMT").weekday', "0"),
        ('time("2026-11-30").weekday', "1"),
        ('time() == time("")', "1"),
        ("time().hour", "14"),
        ("time().weekday", "3"),
        ('time("2026-01-02T03:04:05Z").day', "2"),
        ('time("2026-01-02") < time()', "1"),
        ("[1, 2, 3] * 2", "[2,4,6]"),
        ("[1, 2] + [3, 4]", "[4,6]"),
        ("[8, 6] / 2 - [1, 1]", "[3,2]"),
        ("vec(1, [2, 3], 4)", "[1,2,3,4]"),
        ("vec()", "[]"),
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
        ("percentile([1, 2, 3, 4], 50)", "2"),
        ("percentile([4, 3, 2, 1], 51)", "3"),
        ("percentile([4, 3], 0) + percentile([4, 3], 100)", "7"),
        ("val([4, 5], 1)", "5"),
        ("val($PendingTasks.GetSample(1), 0)", "0"),
        ("avg() + max() + min() + sum() + len()", "0"),
        ("lg(8)", "3"),
        ("ln(1)", "0"),
        ("log(1000)", "3"),
        ("log(vec(1000))", "[3]"),
        ("lg([2, 4], 8)", "[1,2,3]"),
        ("ln(0)", "-inf"),
        ("ceil(1.2) + floor(1.8) + round(2.5)", "6"),
        ("round(-2.5)", "-3"),
        ("round([0.4, 0.5])", "[0,1]"),
        ("rand() >= 0 && rand() < 1", "1"),
        ("$TargetDedicatedNodes + $TargetLowPriorityNodes", "8"),
        ("$PendingTasks + 1", "1"),
        ("requeue", "requeue"),
        ("$NodeDeallocationOption == taskcompletion", "0"),
    ],
)
def test_expressions(expression: str, value: str) -> None:
    """Operators by precedence and type, functions, constants, attributes, and how values print."""
    assert _value(expression) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$something_useless", "Line 1, Col 1: Undefined symbol: $something_useless"),
        ("a = 1;\nb = nope;", "Line 2, Col 5: Undefined symbol: nope"),
        ("a = foo(1);", "Line 1, Col 5: Undefined symbol: foo"),
        ("a = 1;\n  # comment", "Line 2, Col 3: Invalid character: #"),
        ("a = 1 %  2;", "Line 1, Col 7: Invalid character: %"),
        ('a = "1', 'Line 1, Col 5: Invalid character: "'),
        ("a = (1 + ;", "Line 1, Col 10: Expected an expression, found ';'"),
        ("a = 1 b = 2;", "Line 1, Col 7: Expected ';', found 'b'"),
        ("a = 1 ? 2;", "Line 1, Col 10: Expected ':', found ';'"),
        ("a = [1][0];", "Line 1, Col 8: Expected ';', found '['"),
        ("a = +1;", "Line 1, Col 5: Expected an expression, found '+'"),
        ("a = time(", "Line 1, Col 10: Expected an expression, found end of formula"),
        ('a = 1 + "x";', "Line 1, Col 7: Operator '+' does not take double and string"),
        ("a = -[1];", "Line 1, Col 5: Operator '-' does not take doubleVec"),
        ("a = [1, 2] + [1];", "Line 1, Col 12: Vectors of 2 and 1 elements do not combine"),
        ("a = [1] && 1;", "Line 1, Col 9: Expected a double, found a doubleVec"),
        ("a = time() ? 1 : 2;", "Line 1, Col 12: Expected a double, found a timestamp"),
        ('a = avg("x");', "Line 1, Col 8: A double or doubleVec is expected, not string"),
        ("a = rand(1);", "Line 1, Col 9: rand() takes no arguments"),
        ("a = time(1);", "Line 1, Col 9: time() takes a string or nothing"),
        ('a = time("yesterday");', 'Line 1, Col 9: Invalid date and time: "yesterday"'),
        ("a = percentile([1], 101);", "Line 1, Col 15: A percentile is between 0 and 100, not 101"),
        ("a = percentile([1]);", "Line 1, Col 15: A doubleVec and a double are expected"),
        ("a = val([1], 3);", "Line 1, Col 8: Index 3 is outside a doubleVec of 1 elements"),
        ("a = time().century;", "Line 1, Col 12: Undefined symbol: century"),
        ("a = $PendingTasks.Sample(1);", "Line 1, Col 19: Undefined symbol: Sample"),
        ("a = 1; b = a.Count();", "Line 1, Col 14: Undefined symbol: Count"),
        ("$CPUPercent = 1;", "Line 1, Col 1: $CPUPercent is read-only"),
        ('$NodeDeallocationOption = "soon";', "Line 1, Col 1: Invalid value for $NodeDeallocationOption: soon"),
        (
            "$TargetDedicatedNodes = 1 / 0;",
            "Line 1, Col 1: $TargetDedicatedNodes must be a finite number of nodes, not inf",
        ),
        (
            "$TargetLowPriority = [2];",
            "Line 1, Col 1: $TargetLowPriorityNodes must be a finite number of nodes, not [2]",
        ),
        ("a = TimeInterval_Year * 1e9;", "Line 1, Col 23: The time interval is out of range"),
        ("a = time() + TimeInterval_Year * 9000;", "Line 1, Col 12: The timestamp is out of range"),
    ],
)
def test_faults_say_where(text: str, said: str) -> None:
    """Each kind of fault names its line and column: a symbol at its first character, a call at its parenthesis."""
    assert str(_fault(text)) == said


TYPES = {
    "double": "2",
    "doubleVec": "[2]",
    "string": '"2"',
    "timestamp": "time()",
    "timeinterval": "TimeInterval_Second",
}
DOCUMENTED = {
    ("double", "double"): "+ - * / < <= == >= > != && ||",
    ("double", "timeinterval"): "*",
    ("doubleVec", "double"): "+ - * /",
    ("doubleVec", "doubleVec"): "+ - * /",
    ("timeinterval", "double"): "* /",
    ("timeinterval", "timeinterval"): "+ - < <= == >= > !=",
    ("timeinterval", "timestamp"): "+",
    ("timestamp", "timeinterval"): "+",
    ("timestamp", "timestamp"): "- < <= == >= > !=",
    ("string", "string"): "< <= == >= > !=",
}


def test_operators_are_the_documented_ones() -> None:
    """Every pair of types and operator: it works where the service's table has it, and is a fault where not."""
    wanted = {(left, sign, right) for (left, right), signs in DOCUMENTED.items() for sign in signs.split()}
    assert set(OPERATORS) == wanted
    signs = ["+", "-", "*", "/", "<", "<=", "==", ">=", ">", "!=", "&&", "||"]
    cases = {(left, sign, right) for left in TYPES for sign in signs for right in TYPES}
    for left, sign, right in cases:
        text = f"x = {TYPES[left]} {sign} {TYPES[right]};"
        if (left, sign, right) in wanted:
            _run(text)
        elif (left, sign) != ("double", "||"):  # whose right side is never looked at
            assert "Operator" in (said := _fault(text).message) or said.startswith("Expected a double"), text


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("$TargetDedicatedNodes = 2.9;", (2, 1, "requeue")),
        ("$TargetDedicated = 3; $TargetLowPriority = 4;", (3, 4, "requeue")),
        ("$TargetDedicatedNodes = 3; $TargetDedicated = 4;", (3, 1, "requeue")),
        ("$TargetDedicated = 4; $TargetDedicatedNodes = 3;", (3, 1, "requeue")),
        ("$TargetDedicated = 4; $TargetDedicated = 5;", (5, 1, "requeue")),
        ("$TargetDedicatedNodes = $PendingTasks;", (0, 1, "requeue")),
        ("$TargetDedicatedNodes = -1;", (0, 1, "requeue")),
        ("$NodeDeallocationOption = requeue;", (7, 1, "requeue")),
        ("$NodeDeallocationOption = terminate;", (7, 1, "terminate")),
        ("$NodeDeallocationOption = taskcompletion;", (7, 1, "taskcompletion")),
        ("$NodeDeallocationOption = retaineddata;", (7, 1, "retaineddata")),
        ("$TargetDedicatedNodes = 5; stop(); $TargetDedicatedNodes = 6;", (5, 1, "requeue")),
        ("// nothing\n", (7, 1, "requeue")),
    ],
)
def test_targets(text: str, targets: tuple[int, int, str]) -> None:
    """Targets are truncated and never negative; a full name goes before its alias; what is not set stays as it is."""
    done = _run(text)
    assert (done.target_dedicated, done.target_spot, done.deallocation) == targets
    names = ("$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption")
    assert done.results == ";".join(f"{name}={value}" for name, value in zip(names, targets, strict=True))


def test_results_name_the_users_variables_in_order() -> None:
    """Targets first, then the user's variables by name, whatever the order in the formula."""
    done = _run("tasks = 1/3; $b = time(); a = [1, 2]; $TargetDedicatedNodes = 1; Z = 0;")
    assert done.results == (
        "$TargetDedicatedNodes=1;$TargetLowPriorityNodes=1;$NodeDeallocationOption=requeue;"
        "$b=2026-11-25T14:30:05.250Z;Z=0;a=[1,2];tasks=0.333333"
    )


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_a_number_and_has_its_methods(name: str) -> None:
    """Each read-only variable of the documentation works bare and with each method."""
    methods = "Count() GetSample(1) GetSamplePercent(TimeInterval_Hour) GetSamplePeriod() HistoryBeginTime()"
    _run(f"x = {name} + 1;" + "".join(f"x = {name}.{method};" for method in methods.split()))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026", "2026-01-01T00:00:00.000Z"),
        ("2026-11", "2026-11-01T00:00:00.000Z"),
        ("2026-11-25", "2026-11-25T00:00:00.000Z"),
        ("2026-11-25T14:00Z", "2026-11-25T14:00:00.000Z"),
        ("2026-11-25T14:00:01+01:00", "2026-11-25T13:00:01.000Z"),
        ("2026-11-25T14:00:01.1234567-05:30", "2026-11-25T19:30:01.123Z"),
        ("Wed, 25 Nov 2026 14:00:00 GMT", "2026-11-25T14:00:00.000Z"),
        ("25 Nov 2026 14:00 +0100", "2026-11-25T13:00:00.000Z"),
        ("2026-11-25T14:00:01.123456789Z", None),  # the nanoseconds of a newer Java, refused by the service [issue]
        ("2026-11-25T14:00:01", None),
        ("2026-11-25 14:00:01Z", None),
        ("2026-13-01", None),
        ("0000-01-01", None),
        ("0001-01-01T00:00+01:00", None),
        ("2026-11-25T14:00+15:00", None),
        ("Tue, 25 Nov 2026 14:00:00 GMT", None),
        ("Wed, 25 Noo 2026 14:00:00 GMT", None),
        ("Wed, 25 Nov 2026 14:00:00 PST", None),
        ("２０２６", None),
    ],
)
def test_times_are_w3c_or_rfc_1123(text: str, meant: str | None) -> None:
    """The two documented forms, and nothing else."""
    if meant is not None:
        assert str(parse_time(text)) == meant
        return
    with pytest.raises(Unfit):
        parse_time(text)


_MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)).map(lambda when: when.replace(tzinfo=UTC))


@given(_MOMENTS, st.integers(-(10**15), 10**15))
def test_laws_of_time(when: datetime, ticks: int) -> None:
    """Both text forms read back; (t + i) - t is i; the order is that of the ticks."""
    moment = Timestamp.from_datetime(when)
    assert moment.to_datetime() == when
    assert parse_time(str(moment)).ticks == moment.ticks // 10_000 * 10_000
    assert parse_time(format_datetime(when, usegmt=True)).ticks == moment.ticks // 10_000_000 * 10_000_000
    later = Timestamp.of(max(0, min(moment.ticks + ticks, 3 * 10**18)))
    assert OPERATORS["timestamp", "+", "timeinterval"](moment, Interval(later.ticks - moment.ticks)) == later
    assert OPERATORS["timestamp", "-", "timestamp"](later, moment) == Interval(later.ticks - moment.ticks)
    assert (moment < later) is (moment.ticks < later.ticks)


_NUMBERS = st.lists(st.integers(-1000, 1000), min_size=1, max_size=8)


@given(_NUMBERS, st.integers(-1000, 1000), st.integers(0, 100))
def test_laws_of_lists(items: list[int], more: int, percent: int) -> None:
    """A vector and a number are one list; range, average, norm, deviation and percentile are what they are called."""
    vector = f"[{', '.join(map(str, items))}]"
    done = _run(
        f"v = {vector}; w = vec(v, {more});"
        + "".join(
            f"{name} = {name}(v, {more}) == {name}(w) && {name}(w) == {name}({', '.join(map(str, [*items, more]))});"
            for name in ("avg", "len", "max", "min", "norm", "range", "std", "sum")
        )
        + f"p = percentile(w, {percent}); top = max(w); bottom = min(w); mean = avg(w);"
        + "width = range(w); root = norm(w);"
    )
    found, whole = done.variables, [*items, more]
    for name in ("avg", "len", "max", "min", "norm", "range", "std", "sum"):
        assert found[name] == 1.0, name
    assert (found["top"], found["bottom"]) == (max(whole), min(whole))
    assert found["width"] == max(whole) - min(whole)
    assert found["mean"] == pytest.approx(sum(whole) / len(whole))
    assert found["root"] == pytest.approx(math.sqrt(sum(item * item for item in whole)))
    assert found["p"] in whole
    at_most = sum(item <= float(str(found["p"])) for item in whole)
    assert at_most * 100 >= percent * len(whole)


_SUMS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=8,
)
_COMPARED = st.tuples(_SUMS, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), _SUMS).map(" ".join)


@given(_SUMS, st.lists(st.tuples(_COMPARED, st.sampled_from(["and", "or"])), max_size=4), _COMPARED)
def test_precedence_is_the_usual_one(total: str, joined: list[tuple[str, str]], last: str) -> None:
    """Signs, products, sums, comparisons, "&&", "||" bind in this order and from the left, as Python's do."""
    condition = "".join(f"{compared} {sign} " for compared, sign in joined) + last
    text = condition.replace("and", "&&").replace("or", "||")
    found = _run(f"total = {total}; truth = {text}; chosen = {text} ? {total} : -1;").variables
    # Python reads the same text.
    meant, truth = float(eval(total)), bool(eval(condition))
    assert (found["total"], found["truth"]) == (meant, float(truth))
    assert found["chosen"] == (meant if truth else -1.0)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_formula_or_a_fault(text: str) -> None:
    """Nothing but FormulaError comes out of the parser."""
    try:
        parse(text)
    except FormulaError as error:
        assert error.line >= 1
        assert error.column >= 1


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "(" * 55 + "x" + (".y" * 59 + ")") * 55 + ";",
        "a = \ud800;",
        "(" * 4000,
        "a = " + "-" * 4000 + "1;",
        "a = " + "1+" * 3000 + "1;",
        "a = x" + ".y" * 3000,
        "a = " + "0?2:" * 1500 + "3;",
    ],
)
def test_depth_is_bounded(text: str) -> None:
    """Deep nesting is a fault, a long sum or table of conditions is not, and neither overflows the stack."""
    try:
        _run(text)
    except FormulaError:
        assert "1+" not in text
        assert "0?" not in text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("max(", ")"),
        ("(", ")"),
        ("-max(", ")"),
        ("[max(", ")]"),
        ("1+vec(1,", ")"),
        ("1?max(1?", ":1):1"),
        ("1-(", ")"),
    ],
)
def test_the_deepest_formula_leaves_stack_to_its_caller(before: str, after: str) -> None:
    """Whatever is nested, as deep as it may be: 720 frames are enough, of the thousand that Python allows."""
    used, allowed = len(inspect.stack(0)), sys.getrecursionlimit()
    refused = 0
    sys.setrecursionlimit(used + 720)
    try:
        for depth in range(5, 60):
            try:
                _run(f"x = {before * depth}1{after * depth};")
            except FormulaError as error:
                refused += "nested too deeply" in error.message
    finally:
        sys.setrecursionlimit(allowed)
    assert 0 < refused < 55


def test_limits() -> None:
    """8,192 characters and 100 statements; vectors and work have limits of our own."""
    parse("//" + "é" * 8190)
    with pytest.raises(FormulaError) as raised:
        parse("//" + "x" * 8191)
    assert raised.value.code == "AutoScalingFormulaTooLong"
    assert "at most 10000 elements" in _fault("x = [1, 2]; " + "x = vec(x, x);" * 20).message
    assert (
        "too long to evaluate" in _fault("x = vec(1, 2, 3, 4);" + "x = vec(x, x);" * 11 + "y = x" + "*x" * 500).message
    )
    parse("a=1;" * 100)
    with pytest.raises(FormulaError, match="100 statements"):
        parse("a=1;" * 101)
