"""What a formula reads of a pool's past: counts, windows, percentages, gaps and the lag."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.autoscale import NO_SAMPLES, Evaluation, FormulaError, MetricHistory, evaluate
from tests.unit.formulas import LAG, PERIOD, history

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


def _run(text: str, samples: MetricHistory) -> Evaluation:
    return evaluate(text, metrics=samples, present={}, now=NOW, random=random.Random(1), current=(7, 1, "requeue"))


def _read(expression: str, samples: MetricHistory) -> str:
    return _run(f"x = {expression};", samples).results.split("x=")[1]


# 0 twenty minutes ago to 40 now, which is not readable yet.
FULL = history(list(range(41)), NOW)
GAPS = history([value if value % 2 else None for value in range(41)], NOW)
FIVE, TEN, TWO = (f"TimeInterval_Minute * {minutes}" for minutes in (5, 10, 2))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$PendingTasks.GetSample(1)", "[39]"),
        ("$PendingTasks.GetSample(3.9)", "[37,38,39]"),
        ("$PendingTasks.GetSample(0)", "[]"),
        ("$PendingTasks.GetSample(-1)", "[]"),
        ("len($PendingTasks.GetSample(1e9))", "40"),
        ("$PendingTasks.Count()", "40"),
        ("$PendingTasks.GetSamplePeriod()", "00:00:30"),
        ("$PendingTasks.HistoryBeginTime()", "2026-11-25T14:10:00.000Z"),
        (f"len($PendingTasks.GetSample({TEN}))", "19"),
        (f"$PendingTasks.GetSamplePercent({TEN})", "95"),
        (f"$PendingTasks.GetSamplePercent({FIVE}, {TWO})", "100"),
        (f"$PendingTasks.GetSamplePercent({TWO}, {FIVE})", "100"),
        (f"len($PendingTasks.GetSample({TWO}, {FIVE}))", "6"),
        (f"$PendingTasks.GetSample(TimeInterval_Minute, {TWO}, 75)", "[37,38]"),
        ('$PendingTasks.GetSample(time("2026-11-25T14:28Z"), time("2026-11-25T14:29Z"))', "[37,38]"),
        (f'$PendingTasks.GetSample(time("2026-11-25T14:28Z"), {FIVE})', "[31,32,33,34,35,36]"),
        ('len($PendingTasks.GetSample(time("2026-11-25T14:20Z"), 90))', "19"),
        ("$PendingTasks.GetSamplePercent(TimeInterval_Zero)", "0"),
        ("$PendingTasks.GetSamplePercent(-TimeInterval_Hour)", "0"),
        ("$PendingTasks.GetSamplePercent(TimeInterval_Hour)", "33.3333"),
        ("$RunningTasks.Count()", "0"),
        ("$RunningTasks.HistoryBeginTime() == time()", "1"),
        ("$RunningTasks.GetSample(5)", "[]"),
    ],
)
def test_overloads(expression: str, value: str) -> None:
    """Each overload of the documentation; ten minutes are twenty samples, of which the youngest are not there yet."""
    assert _read(expression, FULL) == value


def test_the_documented_ten_minutes() -> None:
    """The documentation's own numbers: twenty samples; eighteen, 90 %, where the last minute is missing."""
    late = MetricHistory(period=PERIOD, lag=timedelta(seconds=60))
    for back in range(40, -1, -1):
        late.record(NOW - back * PERIOD, {"$CPUPercent": 0.5})
    call = "$CPUPercent.GetSample(TimeInterval_Minute * 10, {})"
    assert _read(f"len({call.format(80)})", late) == "18"
    with pytest.raises(FormulaError, match="wanted 95%, received 90%"):
        _read(call.format(95), late)
    window = "$CPUPercent.GetSample(1 * TimeInterval_Minute, 6 * TimeInterval_Minute)"
    assert _read(f"len({window})", late) == "10"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # As the service told them: its REST reference, its SDK's tests, Batch Shipyard's issue 138.
        (
            "totalNodes=min($CPUPercent.GetSample(TimeInterval_Minute*0,TimeInterval_Minute*10,10));",
            "Line 1, Col 37: Insufficient data from data set: $CPUPercent wanted 10%, received 0%",
        ),
        (
            "$RunningTasks.GetSample(10 * TimeInterval_Second, 0 * TimeInterval_Second, 100);",
            "Line 1, Col 24: Insufficient data from data set: $RunningTasks wanted 100%, received 0%",
        ),
        (
            """lastsample = val($PendingTasks.GetSample(1), 0);
samplevecavg = avg($PendingTasks.GetSample(TimeInterval_Minute * 10))""",
            "Line 2, Col 43: Insufficient data from data set: $PendingTasks wanted 70%, received 0%",
        ),
    ],
)
def test_too_few_samples_as_the_service_words_it(text: str, said: str) -> None:
    """A code of its own, and the place of the call's parenthesis; without a percentage 70 are wanted."""
    with pytest.raises(FormulaError) as raised:
        _run(text, history([], NOW))
    assert (str(raised.value), raised.value.code) == (said, NO_SAMPLES)


def test_gaps() -> None:
    """Samples that were not recorded are missing from windows and percentages; a count goes further back."""
    assert _read(f"$PendingTasks.GetSamplePercent({TEN})", GAPS) == "50"
    assert _read(f"len($PendingTasks.GetSample({TEN}, 50))", GAPS) == "10"
    assert _read("$PendingTasks.GetSample(2)", GAPS) == "[37,39]"
    with pytest.raises(FormulaError, match="wanted 51%, received 50%"):
        _read(f"$PendingTasks.GetSample({TEN}, 51)", GAPS)


@pytest.mark.parametrize(
    "call",
    [
        "GetSample()",
        'GetSample("x")',
        "GetSample(0 / 0)",
        "GetSample(1, 2)",
        "GetSample(TimeInterval_Minute, TimeInterval_Hour, TimeInterval_Day)",
        "GetSample(TimeInterval_Minute, TimeInterval_Hour, 1, 2)",
        "GetSample(TimeInterval_Year * 9000)",
        "GetSamplePercent()",
        "GetSamplePercent(1)",
        "GetSamplePercent(TimeInterval_Minute, 50)",
        "GetSamplePeriod(1)",
        "Count(1)",
        "HistoryBeginTime(time())",
    ],
)
def test_what_is_no_overload(call: str) -> None:
    """Other arguments are a fault at the call."""
    with pytest.raises(FormulaError) as raised:
        _read(f"$PendingTasks.{call}", FULL)
    assert raised.value.column == len("x = $PendingTasks.") + call.index("(") + 1


_VALUES = st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=60)


@given(_VALUES, st.integers(0, 40), st.integers(0, 40), st.integers(0, 9))
def test_laws_of_windows(values: list[int | None], one: int, other: int, count: int) -> None:
    """A window holds the readable samples between its bounds, in order, whichever bound comes first; its percentage is
    their share of the possible ones; a count takes from the end."""
    samples = history(values, NOW)
    ago = {len(values) - 1 - place: float(value) for place, value in enumerate(values) if value is not None}
    readable = {back: value for back, value in ago.items() if back * PERIOD >= LAG}
    near, far = sorted((one, other))
    inside = [value for back, value in sorted(readable.items(), reverse=True) if near <= back < far]
    bounds = f"{one} * TimeInterval_Second * 30, TimeInterval_Second * 30 * {other}"
    assert _read(f"len($PendingTasks.GetSample({bounds}, 0))", samples) == str(len(inside))
    assert _read(f"$PendingTasks.GetSample({bounds}, 0)", samples) == f"[{','.join(f'{v:.6g}' for v in inside)}]"
    share = 100 * len(inside) / max(1, far - near)
    assert _read(f"$PendingTasks.GetSamplePercent({bounds})", samples) == f"{share:.6g}"
    newest = [value for _, value in sorted(readable.items(), reverse=True)][max(0, len(readable) - count) :]
    assert _read(f"$PendingTasks.GetSample({count})", samples) == f"[{','.join(f'{v:.6g}' for v in newest)}]"
    assert _read("$PendingTasks.Count()", samples) == str(len(readable))


def test_a_day_is_kept() -> None:
    """Older samples are dropped, so that a pool's history does not grow for ever."""
    samples = history([1.0] * 4000, NOW)
    assert len(samples) == 2880
    assert _read("$PendingTasks.HistoryBeginTime()", samples) == "2026-11-24T14:30:30.000Z"
