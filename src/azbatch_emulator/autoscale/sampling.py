"""The methods of sampled variables. Source: "Create an autoscale formula", obtain sample data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime

from azbatch_emulator.autoscale.errors import Unfit
from azbatch_emulator.autoscale.metrics import MetricHistory
from azbatch_emulator.autoscale.times import Interval, Timestamp
from azbatch_emulator.autoscale.values import Value

DEFAULT_PERCENT = 70.0


class NoSamples(Unfit):
    """Fewer samples than a formula demands: the evaluation fails, and the pool stays as it is."""


Method = Callable[[MetricHistory, str, Timestamp, list[Value]], Value]


def get_sample(history: MetricHistory, name: str, now: Timestamp, arguments: list[Value]) -> Value:
    """`GetSample(count)`, `GetSample(start[, percent])`, `GetSample(start, end[, percent])`."""
    moment = now.to_datetime()
    match arguments:
        case [float(count)] if not math.isnan(count):
            return history.last(name, int(max(0.0, min(count, len(history)))), moment)
        case [*bounds, float(percent)]:
            pass
        case bounds:
            percent = DEFAULT_PERCENT
    start, end = _window(now, bounds)
    received = history.percent(name, start, end, moment)
    if not received >= percent:
        raise NoSamples(f"Insufficient data from data set: {name} wanted {percent:.6g}%, received {received:.6g}%")
    return history.window(name, start, end, moment)


def get_sample_percent(history: MetricHistory, name: str, now: Timestamp, arguments: list[Value]) -> Value:
    """`GetSamplePercent(start[, end])`: 0 to 100."""
    return history.percent(name, *_window(now, arguments), now.to_datetime())


def _window(now: Timestamp, bounds: list[Value]) -> tuple[datetime, datetime]:
    """From one bound until now, or between two: timestamps, or intervals looking back. The documentation writes the
    nearer one first; either order means the same window."""
    if len(bounds) not in (1, 2):
        raise Unfit("A start time is expected, or a start and an end time")
    times = sorted([_instant(now, bound) for bound in bounds] + [now] * (2 - len(bounds)))
    return times[0].to_datetime(), times[1].to_datetime()


def _instant(now: Timestamp, bound: Value) -> Timestamp:
    if isinstance(bound, Interval):
        return Timestamp.of(now.ticks - bound.ticks)
    if isinstance(bound, Timestamp):
        return bound
    raise Unfit("A start or end time is a timestamp or timeinterval")


def _alone(method: Callable[[MetricHistory, str, Timestamp], Value]) -> Method:
    def apply(history: MetricHistory, name: str, now: Timestamp, arguments: list[Value]) -> Value:
        if arguments:
            raise Unfit("No arguments are expected")
        return method(history, name, now)

    return apply


METHODS: Mapping[str, Method] = {
    "Count": _alone(lambda history, name, now: float(history.count(name, now.to_datetime()))),
    "GetSample": get_sample,
    "GetSamplePercent": get_sample_percent,
    "GetSamplePeriod": _alone(lambda history, _name, _now: Interval.from_timedelta(history.period)),
    "HistoryBeginTime": _alone(
        lambda history, name, now: Timestamp.from_datetime(history.begin(name, now.to_datetime()))
    ),
}
