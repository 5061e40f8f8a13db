"""Evaluation of a formula against a pool's samples. Pure: time and dice are arguments."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from azbatch_emulator.autoscale import functions
from azbatch_emulator.autoscale.errors import FormulaError
from azbatch_emulator.autoscale.metrics import VARIABLES, MetricHistory
from azbatch_emulator.autoscale.parser import (
    Assignment,
    Call,
    Chain,
    Conditional,
    Formula,
    Index,
    Member,
    Name,
    Node,
    Number,
    Text,
    Unary,
    Vector,
    parse,
)
from azbatch_emulator.autoscale.tokens import Token
from azbatch_emulator.autoscale.values import Metric, Value, combine, plain, printed, type_name

DEDICATED, SPOT, DEALLOCATION = "$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"
WRITABLE = (DEDICATED, SPOT, DEALLOCATION)
ALIASES: Mapping[str, str] = {
    "$TargetDedicated": DEDICATED,
    "$TargetLowPriority": SPOT,
    "$CurrentDedicated": "$CurrentDedicatedNodes",
    "$CurrentLowPriority": "$CurrentLowPriorityNodes",
}
DEFAULT_PERCENT = 70.0
MOST_NODES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a formula asks for; targets it does not set are the present ones. `results` is the service's text."""

    target_dedicated: int
    target_spot: int
    deallocation: str
    variables: Mapping[str, Value]
    results: str


class _Stop(Exception):
    """stop() was called."""


def evaluate(
    formula: Formula | str,
    *,
    metrics: MetricHistory,
    present: Mapping[str, float],
    now: datetime,
    random: random.Random,
    current: tuple[int, int, str],
) -> Evaluation:
    """Evaluate a formula (or its text).

    `present` holds the metrics' numbers at this moment, `current` the pool's (dedicated target, spot target,
    deallocation option). Raises FormulaError.
    """
    tree = parse(formula) if isinstance(formula, str) else formula
    scope = _Scope(metrics, present, now, random, current)
    for statement in tree.statements:
        try:
            if isinstance(statement, Assignment):
                scope.assign(statement.target, scope.value(statement.value))
            else:
                scope.value(statement.value)
        except _Stop:
            break
    return scope.outcome()


@dataclass(slots=True)
class _Scope:
    metrics: MetricHistory
    present: Mapping[str, float]
    now: datetime
    rng: random.Random
    current: tuple[int, int, str]
    variables: dict[str, Value] = field(default_factory=dict)

    def outcome(self) -> Evaluation:
        dedicated = self.variables.get(DEDICATED, float(self.current[0]))
        spot = self.variables.get(SPOT, float(self.current[1]))
        option = str(self.variables.get(DEALLOCATION, self.current[2]))
        targets = [int(target) if isinstance(target, float) else 0 for target in (dedicated, spot)]
        own = {name: value for name, value in self.variables.items() if name not in WRITABLE}
        parts = [f"{DEDICATED}={targets[0]}", f"{SPOT}={targets[1]}", f"{DEALLOCATION}={option}"]
        parts += [f"{name}={printed(value)}" for name, value in own.items()]
        return Evaluation(targets[0], targets[1], option, own, ";".join(parts))

    def assign(self, target: Token, value: Value) -> None:
        name = ALIASES.get(target.text, target.text)
        value = plain(value)
        if name in (DEDICATED, SPOT):
            if not isinstance(value, float) or not math.isfinite(value) or abs(value) > MOST_NODES:
                raise _at(target, f"{name} must be a finite number of nodes, not {printed(value)}")
            # Targets are truncated, not rounded [recorded]; a negative one means none.
            value = float(max(0, int(value)))
        elif name == DEALLOCATION:
            if value not in functions.DEALLOCATION_OPTIONS:
                raise _at(target, f"Invalid value for {name}: {printed(value)}")
        elif name in VARIABLES:
            raise _at(target, f"{name} is read-only")
        self.variables[name] = value

    def value(self, node: Node) -> Value:
        match node:
            case Number(value=number):
                return number
            case Text(value=text):
                return text
            case Name():
                return self._name(node)
            case Vector(at=at, items=items):
                return [self._double(at, self.value(item)) for item in items]
            case Unary():
                return self._unary(node)
            case Chain():
                return self._chain(node)
            case Conditional(at=at, condition=condition, then=then, otherwise=otherwise):
                chosen = then if self._double(at, self.value(condition)) else otherwise
                return self.value(chosen)
            case Call():
                return self._call(node)
            case Member():
                return self._member(node)
            case Index(at=at, owner=owner, index=index):
                return self._apply(at, functions.FUNCTIONS["val"][2], (self.value(owner), self.value(index)))

    def _name(self, node: Name) -> Value:
        name = ALIASES.get(node.name, node.name)
        if name in self.variables:
            return self.variables[name]
        if name in VARIABLES:
            return Metric(name, self.present.get(name, 0.0))
        if name in functions.CONSTANTS:
            return functions.CONSTANTS[name]
        if name in (DEDICATED, SPOT):
            return float(self.current[name == SPOT])
        if name == DEALLOCATION:
            return self.current[2]
        if name in functions.DEALLOCATION_OPTIONS:
            return name
        raise _at(node.at, f"Undefined symbol: {node.name}")

    def _double(self, at: Token, value: Value) -> float:
        value = plain(value)
        if isinstance(value, float):
            return value
        raise _at(at, f"Expected a double, found a {type_name(value)}")

    def _unary(self, node: Unary) -> Value:
        value = plain(self.value(node.operand))
        if node.operator == "!":
            return float(not self._double(node.at, value))
        if isinstance(value, timedelta):
            return value if node.operator == "+" else -value
        if isinstance(value, list):
            return value if node.operator == "+" else [-item for item in value]
        number = self._double(node.at, value)
        return number if node.operator == "+" else -number

    def _chain(self, node: Chain) -> Value:
        result = self.value(node.first)
        for operator, operand in node.rest:
            if operator.text in {"&&", "||"}:
                left = bool(self._double(operator, result))
                decided = left is (operator.text == "||")
                result = float(left if decided else bool(self._double(operator, self.value(operand))))
            else:
                result = self._apply(operator, combine, (result, operator.text, self.value(operand)))
        return result

    def _apply(self, at: Token, function: object, arguments: tuple[object, ...]) -> Value:
        assert callable(function)
        try:
            result: Value = function(*arguments)
        except (TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise _at(at, str(error) or "The operands are out of range") from None
        return result

    def _call(self, node: Call) -> Value:
        if node.function == "stop" and not node.arguments:
            raise _Stop
        known = {**functions.FUNCTIONS, **functions.with_context(self.now, self.rng)}
        if node.function not in known:
            raise _at(node.at, f"Undefined symbol: {node.function}")
        fewest, most, function = known[node.function]
        if not fewest <= len(node.arguments) <= most:
            raise _at(node.at, f"{node.function}() does not take {len(node.arguments)} arguments")
        return self._apply(node.at, function, tuple(self.value(argument) for argument in node.arguments))

    def _member(self, node: Member) -> Value:
        owner = self.value(node.owner)
        if node.arguments is None:
            attribute = functions.TIMESTAMP_ATTRIBUTES.get(node.name)
            if isinstance(owner, datetime) and attribute is not None:
                return attribute(owner)
            raise _at(node.at, f"A {type_name(owner)} has no attribute {node.name}")
        if not isinstance(owner, Metric):
            raise _at(node.at, f"A {type_name(owner)} has no method {node.name}")
        arguments = [plain(self.value(argument)) for argument in node.arguments]
        return self._sample(node, owner, arguments)

    def _sample(self, node: Member, metric: Metric, arguments: list[Value]) -> Value:
        match node.name, arguments:
            case "Count", []:
                return float(self.metrics.count(self.now))
            case "HistoryBeginTime", []:
                return self.metrics.begin(self.now)
            case "GetSamplePeriod", []:
                return self.metrics.period
            case "GetSample", [float(count)] if math.isfinite(count):
                return self.metrics.last(metric.name, max(0, int(count)), self.now)
            case "GetSample", [*_]:
                start, end, percent = self._window(node, arguments)
                covered = self.metrics.percent(start, end, self.now)
                if covered < percent:
                    raise _at(
                        node.at,
                        f"Insufficient samples of {metric.name}: {covered:.6g} % are there, {percent:.6g} % are needed",
                    )
                return self.metrics.window(metric.name, start, end, self.now)
            case "GetSamplePercent", [*_]:
                start, end, _ = self._window(node, arguments)
                return self.metrics.percent(start, end, self.now)
        raise _at(node.at, f"{metric.name} has no method {node.name} with these arguments")

    def _window(self, node: Member, arguments: list[Value]) -> tuple[datetime, datetime, float]:
        """(start), (start, end), (start, percent) or (start, end, percent), looking back from now."""
        bounds: list[datetime] = []
        percent = DEFAULT_PERCENT
        for position, argument in enumerate(arguments):
            if isinstance(argument, timedelta) and len(bounds) == position < 2:
                bounds.append(self._apply(node.at, combine, (self.now, "-", argument)))  # type: ignore[arg-type]
            elif isinstance(argument, datetime) and len(bounds) == position < 2:
                bounds.append(argument)
            elif isinstance(argument, float) and bounds and position == len(arguments) - 1:
                percent = argument
            else:
                raise _at(node.at, f"{node.name}() takes intervals and a percentage")
        if not bounds:
            raise _at(node.at, f"{node.name}() needs an interval")
        # The documentation writes the nearer bound first; either order means the same window.
        end = bounds[1] if len(bounds) > 1 else self.now
        return min(bounds[0], end), max(bounds[0], end), percent


def _at(token: Token, message: str) -> FormulaError:
    return FormulaError(message, token.line, token.column)
