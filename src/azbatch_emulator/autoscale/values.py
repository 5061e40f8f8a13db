"""Values of the language, the operator table over their types, and how the service prints them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azbatch_emulator.autoscale.errors import Unfit
from azbatch_emulator.autoscale.times import Interval, Timestamp


@dataclass(frozen=True, slots=True)
class Metric:
    """A sampled variable: it has GetSample and its kin, and works as the number it is now."""

    name: str
    present: float


Value = float | str | list[float] | Timestamp | Interval | Metric

TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (float, "double"),
    (str, "string"),
    (list, "doubleVec"),
    (Timestamp, "timestamp"),
    (Interval, "timeinterval"),
)


def type_name(value: Value) -> str:
    plainly = plain(value)
    return next(name for kind, name in TYPE_NAMES if isinstance(plainly, kind))


def plain(value: Value) -> Value:
    """A metric as its present number; any other value as it is."""
    return value.present if isinstance(value, Metric) else value


def divide(left: float, right: float) -> float:
    """Division as in IEEE arithmetic: by zero it gives infinity or not-a-number, never an exception."""
    if right:
        return left / right
    return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _vectors(function: Callable[[float, float], float]) -> Callable[[list[float], list[float]], list[float]]:
    def apply(left: list[float], right: list[float]) -> list[float]:
        if len(left) != len(right):
            raise Unfit(f"Vectors of {len(left)} and {len(right)} elements do not combine")
        return [function(a, b) for a, b in zip(left, right, strict=True)]

    return apply


def _each(function: Callable[[float, float], float]) -> Callable[[list[float], float], list[float]]:
    return lambda items, number: [function(item, number) for item in items]


def _as_double(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], float]:
    return lambda left, right: float(compare(left, right))


def _operators() -> dict[tuple[str, str, str], Callable[[Any, Any], Value]]:
    table: dict[tuple[str, str, str], Callable[[Any, Any], Value]] = {
        ("double", "*", "timeinterval"): lambda a, b: Interval.of(a * b.ticks),
        ("timeinterval", "*", "double"): lambda a, b: Interval.of(a.ticks * b),
        ("timeinterval", "/", "double"): lambda a, b: Interval.of(divide(a.ticks, b)),
        ("timeinterval", "+", "timeinterval"): lambda a, b: Interval.of(a.ticks + b.ticks),
        ("timeinterval", "-", "timeinterval"): lambda a, b: Interval.of(a.ticks - b.ticks),
        ("timeinterval", "+", "timestamp"): lambda a, b: Timestamp.of(a.ticks + b.ticks),
        ("timestamp", "+", "timeinterval"): lambda a, b: Timestamp.of(a.ticks + b.ticks),
        ("timestamp", "-", "timestamp"): lambda a, b: Interval(a.ticks - b.ticks),
    }
    for sign, function in _ARITHMETIC.items():
        table[("double", sign, "double")] = function
        table[("doubleVec", sign, "doubleVec")] = _vectors(function)
        table[("doubleVec", sign, "double")] = _each(function)
    for sign, compare in _COMPARISONS.items():
        for kind in ("double", "string", "timestamp", "timeinterval"):
            table[(kind, sign, kind)] = _as_double(compare)
    for sign in ("&&", "||"):
        # The evaluator asks for the right side only where it matters.
        table[("double", sign, "double")] = lambda _, right: float(right != 0)
    return table


# Exactly the documented table. Source: "Create an autoscale formula", operations.
OPERATORS = _operators()


def combine(left: Value, sign: str, right: Value) -> Value:
    """`left sign right`. Raises Unfit for types that do not go together and results out of range."""
    left, right = plain(left), plain(right)
    function = OPERATORS.get((type_name(left), sign, type_name(right)))
    if function is None:
        raise Unfit(f"Operator '{sign}' does not take {type_name(left)} and {type_name(right)}")
    return function(left, right)


def negate(sign: str, value: Value) -> Value:
    """`-value` of a double or timeinterval, `!value` of a double. Raises Unfit."""
    value = plain(value)
    if isinstance(value, float):
        return -value if sign == "-" else float(value == 0)
    if isinstance(value, Interval) and sign == "-":
        return Interval(-value.ticks)
    raise Unfit(f"Operator '{sign}' does not take {type_name(value)}")


def printed(value: Value) -> str:
    """The value as results show it: six significant digits for numbers [recorded]."""
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ",".join(f"{item:.6g}" for item in value) + "]"
    return str(value)
