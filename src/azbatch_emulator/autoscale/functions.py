"""The functions, constants and attributes of the language, a table each."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from azbatch_emulator.autoscale.values import Value, divide, plain

CONSTANTS: Mapping[str, timedelta] = {
    "TimeInterval_Zero": timedelta(0),
    "TimeInterval_100ns": timedelta(microseconds=0.1),
    "TimeInterval_Microsecond": timedelta(microseconds=1),
    "TimeInterval_Millisecond": timedelta(milliseconds=1),
    "TimeInterval_Second": timedelta(seconds=1),
    "TimeInterval_Minute": timedelta(minutes=1),
    "TimeInterval_Hour": timedelta(hours=1),
    "TimeInterval_Day": timedelta(days=1),
    "TimeInterval_Week": timedelta(weeks=1),
    "TimeInterval_Year": timedelta(days=365),
}
DEALLOCATION_OPTIONS = ("requeue", "terminate", "taskcompletion", "retaineddata")

TIMESTAMP_ATTRIBUTES: Mapping[str, Callable[[datetime], float]] = {
    "year": lambda t: float(t.year),
    "month": lambda t: float(t.month),
    "day": lambda t: float(t.day),
    # Sunday is 0, as in .NET's DayOfWeek.
    "weekday": lambda t: float((t.weekday() + 1) % 7),
    "hour": lambda t: float(t.hour),
    "minute": lambda t: float(t.minute),
    "second": lambda t: float(t.second),
}


def _vector(value: Value) -> list[float]:
    value = plain(value)
    if isinstance(value, list):
        return value
    return [_number(value)]


def _number(value: Value) -> float:
    value = plain(value)
    if not isinstance(value, float):
        raise TypeError("a number is expected")
    return value


def _all(arguments: tuple[Value, ...]) -> list[float]:
    """The elements of all arguments, vectors spelled out: `max(0, $x.GetSample(1))` is common."""
    return [item for argument in arguments for item in _vector(argument)]


def _average(items: list[float]) -> float:
    return divide(math.fsum(items), len(items)) if items else 0.0


def _deviation(items: list[float]) -> float:
    """The standard deviation of a sample; 0 for fewer than two values."""
    if len(items) < 2:
        return 0.0
    mean = sum(items) / len(items)
    return math.sqrt(sum((item - mean) ** 2 for item in items) / (len(items) - 1))


def _percentile(items: list[float], percent: float) -> float:
    if not 0 <= percent <= 100:
        raise ValueError(f"A percentile is between 0 and 100, not {percent:g}")
    if not items:
        return 0.0
    ordered = sorted(items)
    position = (len(ordered) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _at(items: list[float], position: float) -> float:
    index = int(position)
    if not 0 <= index < len(items):
        raise ValueError(f"Index {index} is outside a vector of {len(items)} elements")
    return items[index]


def _logarithm(function: Callable[[float], float]) -> Callable[..., Value]:
    def apply(value: Value) -> Value:
        value = plain(value)
        if isinstance(value, list):
            return [_log_of(item, function) for item in value]
        return _log_of(_number(value), function)

    return apply


def _log_of(number: float, function: Callable[[float], float]) -> float:
    if number > 0:
        return function(number)
    return -math.inf if number == 0 else math.nan


def _rounded(function: Callable[[float], float]) -> Callable[..., Value]:
    def apply(value: Value) -> Value:
        number = _number(value)
        return number if not math.isfinite(number) else float(function(number))

    return apply


def _half_up(number: float) -> float:
    return math.copysign(math.floor(abs(number) + 0.5), number)


def parse_time(text: str) -> datetime:
    """A time given as text, UTC unless it says otherwise. Raises ValueError."""
    when = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


# name -> (fewest arguments, most arguments, function of values)
FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Value]]] = {
    "avg": (1, 99, lambda *a: _average(_all(a))),
    "ceil": (1, 1, _rounded(math.ceil)),
    "floor": (1, 1, _rounded(math.floor)),
    "round": (1, 1, _rounded(_half_up)),
    "len": (1, 1, lambda v: float(len(_vector(v)))),
    "lg": (1, 1, _logarithm(math.log2)),
    "ln": (1, 1, _logarithm(math.log)),
    "log": (1, 1, _logarithm(math.log10)),
    "max": (1, 99, lambda *a: max(_all(a), default=0.0)),
    "min": (1, 99, lambda *a: min(_all(a), default=0.0)),
    "norm": (1, 1, lambda v: math.hypot(*_vector(v))),
    "percentile": (2, 2, lambda v, p: _percentile(_vector(v), _number(p))),
    "range": (1, 1, lambda v: max(_vector(v), default=0.0) - min(_vector(v), default=0.0)),
    "std": (1, 1, lambda v: _deviation(_vector(v))),
    "sum": (1, 99, lambda *a: math.fsum(_all(a))),
    "val": (2, 2, lambda v, i: _at(_vector(v), _number(i))),
}


def with_context(now: datetime, rng: random.Random) -> Mapping[str, tuple[int, int, Callable[..., Value]]]:
    """The functions that depend on when and with which dice a formula is evaluated."""

    def time(text: Value | None = None) -> Value:
        if text is None:
            return now
        if not isinstance(text, str):
            raise TypeError("time() takes a string")
        return parse_time(text)

    return {"time": (0, 1, time), "rand": (0, 0, lambda: rng.random())}
