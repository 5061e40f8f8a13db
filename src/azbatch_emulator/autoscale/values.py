"""Values of the language, the operator table over their types, and how the service prints them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Metric:
    """A sampled variable: it has GetSample and its kin, and works as the number it is now."""

    name: str
    present: float


Value = float | str | list[float] | datetime | timedelta | Metric

TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (float, "double"),
    (str, "string"),
    (list, "doubleVec"),
    (datetime, "timestamp"),
    (timedelta, "timeinterval"),
    (Metric, "doubleVec"),
)


def type_name(value: Value) -> str:
    return next(name for kind, name in TYPE_NAMES if isinstance(value, kind))


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
            raise ValueError(f"Vectors of {len(left)} and {len(right)} elements do not combine")
        return [function(a, b) for a, b in zip(left, right, strict=True)]

    return apply


def _each_left(function: Callable[[float, float], float]) -> Callable[[list[float], float], list[float]]:
    return lambda items, number: [function(item, number) for item in items]


def _each_right(function: Callable[[float, float], float]) -> Callable[[float, list[float]], list[float]]:
    return lambda number, items: [function(number, item) for item in items]


def _as_double(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], float]:
    return lambda left, right: float(compare(left, right))


def _operators() -> dict[tuple[str, str, str], Callable[[Any, Any], Value]]:
    table: dict[tuple[str, str, str], Callable[[Any, Any], Value]] = {
        ("timeinterval", "*", "double"): lambda a, b: a * b,
        ("double", "*", "timeinterval"): lambda a, b: b * a,
        ("timeinterval", "/", "double"): lambda a, b: a / b,
        ("timeinterval", "/", "timeinterval"): lambda a, b: a / b,
        ("timeinterval", "+", "timeinterval"): operator.add,
        ("timeinterval", "-", "timeinterval"): operator.sub,
        ("timeinterval", "+", "timestamp"): lambda a, b: b + a,
        ("timestamp", "+", "timeinterval"): operator.add,
        ("timestamp", "-", "timeinterval"): operator.sub,
        ("timestamp", "-", "timestamp"): operator.sub,
    }
    for sign, function in _ARITHMETIC.items():
        table[("double", sign, "double")] = function
        table[("doubleVec", sign, "doubleVec")] = _vectors(function)
        table[("doubleVec", sign, "double")] = _each_left(function)
        table[("double", sign, "doubleVec")] = _each_right(function)
    for sign, compare in _COMPARISONS.items():
        for kind in ("double", "string", "timestamp", "timeinterval"):
            table[(kind, sign, kind)] = _as_double(compare)
    return table


OPERATORS = _operators()


def combine(left: Value, sign: str, right: Value) -> Value:
    """`left sign right`. Raises TypeError for types that do not go together, ValueError or OverflowError."""
    left, right = plain(left), plain(right)
    function = OPERATORS.get((type_name(left), sign, type_name(right)))
    if function is None:
        raise TypeError(f"Operator '{sign}' does not take {type_name(left)} and {type_name(right)}")
    return function(left, right)


def printed(value: Value) -> str:
    """The value as results show it: six significant digits for numbers [recorded]."""
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ",".join(f"{item:.6g}" for item in value) + "]"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        hours, rest = divmod(abs(seconds), 3600)
        return f"{'-' if seconds < 0 else ''}{int(hours):02d}:{int(rest // 60):02d}:{int(rest % 60):02d}"
    return str(value)
