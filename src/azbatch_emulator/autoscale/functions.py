"""The functions of the language, one table. Source: "Create an autoscale formula", functions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from azbatch_emulator.autoscale.errors import Unfit
from azbatch_emulator.autoscale.times import Timestamp, parse_time
from azbatch_emulator.autoscale.values import Value, divide, plain, type_name

DEALLOCATION_OPTIONS = ("requeue", "terminate", "taskcompletion", "retaineddata")
MOST_ELEMENTS = 10_000


@dataclass(frozen=True, slots=True)
class Moment:
    """What a function may depend on beside its arguments: when it is evaluated and with which dice."""

    now: Timestamp
    random: random.Random


Function = Callable[[Moment, tuple[Value, ...]], Value]


def joined(arguments: tuple[Value, ...]) -> list[float]:
    """A doubleVecList as one vector: `(1, [2, 3], 4)` is `[1, 2, 3, 4]`. Raises Unfit."""
    items: list[float] = []
    for argument in arguments:
        value = plain(argument)
        if isinstance(value, list):
            items += value
        elif isinstance(value, float):
            items.append(value)
        else:
            raise Unfit(f"A double or doubleVec is expected, not {type_name(value)}")
        if len(items) > MOST_ELEMENTS:
            raise Unfit(f"A doubleVec has at most {MOST_ELEMENTS} elements")
    return items


def _of_list(function: Callable[[list[float]], Value]) -> Function:
    return lambda _, arguments: function(joined(arguments))


def _of_each(function: Callable[[float], float]) -> Function:
    """Of one double a double; of anything else, component-wise, a doubleVec."""

    def apply(_: Moment, arguments: tuple[Value, ...]) -> Value:
        values = [function(item) for item in joined(arguments)]
        return values[0] if len(arguments) == 1 and type_name(arguments[0]) == "double" else values

    return apply


def _of_vector_and_double(function: Callable[[list[float], float], Value]) -> Function:
    def apply(_: Moment, arguments: tuple[Value, ...]) -> Value:
        if len(arguments) != 2 or not isinstance(number := plain(arguments[1]), float):
            raise Unfit("A doubleVec and a double are expected")
        return function(joined(arguments[:1]), number)

    return apply


def _deviation(items: list[float]) -> float:
    """The standard deviation of a sample; 0 for fewer than two values."""
    if len(items) < 2:
        return 0.0
    mean = sum(items) / len(items)
    return math.sqrt(sum((item - mean) * (item - mean) for item in items) / (len(items) - 1))


def _percentile(items: list[float], percent: float) -> float:
    """The element at or below which `percent` of the elements are."""
    if not 0 <= percent <= 100:
        raise Unfit(f"A percentile is between 0 and 100, not {percent:g}")
    if not items:
        return 0.0
    return sorted(items)[max(0, math.ceil(len(items) * percent / 100) - 1)]


def _at(items: list[float], position: float) -> float:
    if not items and position == 0:
        # A formula that takes the first of no samples goes on [recorded].
        return 0.0
    if not 0 <= position < len(items):
        raise Unfit(f"Index {position:g} is outside a doubleVec of {len(items)} elements")
    return items[int(position)]


def _logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda number: function(number) if number > 0 else -math.inf if number == 0 else math.nan


def _whole(function: Callable[[float], float]) -> Callable[[float], float]:
    return lambda number: float(function(number)) if math.isfinite(number) else number


def _half_away_from_zero(number: float) -> float:
    whole = math.floor(abs(number))
    return math.copysign(whole + (abs(number) - whole >= 0.5), number)


def _rand(moment: Moment, arguments: tuple[Value, ...]) -> Value:
    if arguments:
        raise Unfit("rand() takes no arguments")
    return moment.random.random()


def _time(moment: Moment, arguments: tuple[Value, ...]) -> Value:
    if len(arguments) > 1 or not all(isinstance(argument, str) for argument in arguments):
        raise Unfit("time() takes a string or nothing")
    text = str(arguments[0]) if arguments else ""
    return parse_time(text) if text else moment.now


FUNCTIONS: Mapping[str, Function] = {
    "avg": _of_list(lambda items: divide(sum(items), len(items)) if items else 0.0),
    "ceil": _of_each(_whole(math.ceil)),
    "floor": _of_each(_whole(math.floor)),
    "len": _of_list(lambda items: float(len(items))),
    "lg": _of_each(_logarithm(math.log2)),
    "ln": _of_each(_logarithm(math.log)),
    "log": _of_each(_logarithm(math.log10)),
    "max": _of_list(lambda items: max(items, default=0.0)),
    "min": _of_list(lambda items: min(items, default=0.0)),
    "norm": _of_list(lambda items: math.hypot(*items)),
    "percentile": _of_vector_and_double(_percentile),
    "rand": _rand,
    "range": _of_list(lambda items: max(items, default=0.0) - min(items, default=0.0)),
    "round": _of_each(_whole(_half_away_from_zero)),
    "std": _of_list(_deviation),
    "sum": _of_list(lambda items: float(sum(items))),
    "time": _time,
    "val": _of_vector_and_double(_at),
    "vec": _of_list(lambda items: items),
}
