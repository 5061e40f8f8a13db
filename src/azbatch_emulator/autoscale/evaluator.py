"""Evaluation of a formula against a pool's samples. Pure: time and dice are arguments."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from azbatch_emulator.autoscale import functions, sampling, times
from azbatch_emulator.autoscale.errors import EVALUATION, NO_SAMPLES, FormulaError, Unfit
from azbatch_emulator.autoscale.metrics import VARIABLES, MetricHistory
from azbatch_emulator.autoscale.parser import (
    Assignment,
    Call,
    Chain,
    Conditional,
    Formula,
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
from azbatch_emulator.autoscale.values import Metric, Value, combine, negate, plain, printed, type_name

DEDICATED, SPOT, DEALLOCATION = "$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"
WRITABLE = (DEDICATED, SPOT, DEALLOCATION)
ALIASES: Mapping[str, str] = {
    "$TargetDedicated": DEDICATED,
    "$TargetLowPriority": SPOT,
    "$CurrentDedicated": "$CurrentDedicatedNodes",
    "$CurrentLowPriority": "$CurrentLowPriorityNodes",
}
MOST_NODES = 2**31 - 1
MOST_WORK = 2_000_000


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
    deallocation option). Raises FormulaError. Takes bounded time and memory, whatever the formula.
    """
    tree = parse(formula) if isinstance(formula, str) else formula
    scope = _Scope(metrics, present, functions.Moment(times.Timestamp.from_datetime(now), random), current)
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
    moment: functions.Moment
    current: tuple[int, int, str]
    variables: dict[str, Value] = field(default_factory=dict)
    by_full_name: set[str] = field(default_factory=set)
    work: int = 0

    def outcome(self) -> Evaluation:
        dedicated, spot = (
            int(target) if isinstance(target := self.variables.get(name), float) else present
            for name, present in zip((DEDICATED, SPOT), self.current[:2], strict=True)
        )
        option = str(self.variables.get(DEALLOCATION, self.current[2]))
        # The user's variables come by name, not in the order of the formula [documented examples].
        own = {name: value for name, value in sorted(self.variables.items()) if name not in WRITABLE}
        parts = [f"{DEDICATED}={dedicated}", f"{SPOT}={spot}", f"{DEALLOCATION}={option}"]
        parts += [f"{name}={printed(value)}" for name, value in own.items()]
        return Evaluation(dedicated, spot, option, own, ";".join(parts))

    def assign(self, target: Token, value: Value) -> None:
        name = ALIASES.get(target.text, target.text)
        value = plain(value)
        # A kept vector is printed with the results, which is worth some work.
        self._charge(target, 10 * len(value) if isinstance(value, list) else 1)
        if name in (DEDICATED, SPOT):
            if not isinstance(value, float) or not math.isfinite(value) or abs(value) > MOST_NODES:
                raise _fault(target, f"{name} must be a finite number of nodes, not {printed(value)}")
            # Targets are truncated, not rounded [recorded]; a negative one means none.
            value = float(max(0, int(value)))
        elif name == DEALLOCATION:
            if value not in functions.DEALLOCATION_OPTIONS:
                raise _fault(target, f"Invalid value for {name}: {printed(value)}")
        elif name in VARIABLES:
            raise _fault(target, f"{name} is read-only")
        if target.text == name:
            self.by_full_name.add(name)
        elif name in self.by_full_name:
            # Where both are set, the full name goes first [documented].
            return
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
            case Unary(at=at, operator=sign, operand=operand):
                value = self.value(operand)
                return self._told(at, lambda: negate(sign, value))
            case Chain():
                return self._chain(node)
            case Conditional(branches=branches, otherwise=otherwise):
                for at, condition, then in branches:
                    if self._double(at, self.value(condition)):
                        return self.value(then)
                return self.value(otherwise)
            case Call():
                return self._call(node)
            case Member():
                return self._member(node)

    def _name(self, node: Name) -> Value:
        name = ALIASES.get(node.name, node.name)
        if name in self.variables:
            return self.variables[name]
        if name in VARIABLES:
            return Metric(name, self.present.get(name, 0.0))
        if name in times.CONSTANTS:
            return times.CONSTANTS[name]
        if name in (DEDICATED, SPOT):
            return float(self.current[name == SPOT])
        if name == DEALLOCATION:
            return self.current[2]
        if name in functions.DEALLOCATION_OPTIONS:
            return name
        raise _undefined(node.at)

    def _double(self, at: Token, value: Value) -> float:
        value = plain(value)
        if isinstance(value, float):
            return value
        raise _fault(at, f"Expected a double, found a {type_name(value)}")

    def _chain(self, node: Chain) -> Value:
        result = self.value(node.first)
        for at, operand in node.rest:
            if at.text in {"&&", "||"} and bool(self._double(at, result)) is (at.text == "||"):
                result = float(at.text == "||")
                continue
            result = self._combined(at, result, self.value(operand))
        return result

    def _combined(self, at: Token, left: Value, right: Value) -> Value:
        self._charge(at, max(len(side) if isinstance(side, list) else 1 for side in (left, right)))
        return self._told(at, lambda: combine(left, at.text, right))

    def _call(self, node: Call) -> Value:
        if node.function == "stop" and not node.arguments.items:
            raise _Stop
        function = functions.FUNCTIONS.get(node.function)
        if function is None:
            raise _undefined(node.at)
        arguments = tuple(self.value(argument) for argument in node.arguments.items)
        at = node.arguments.at
        self._charge(at, sum(len(item) if isinstance(item, list) else 1 for item in arguments))
        return self._told(at, lambda: function(self.moment, arguments))

    def _member(self, node: Member) -> Value:
        owner = self.value(node.owner)
        if node.arguments is None:
            attribute = times.ATTRIBUTES.get(node.name)
            if isinstance(owner, times.Timestamp) and attribute is not None:
                return attribute(owner)
            raise _undefined(node.at)
        method = sampling.METHODS.get(node.name)
        if not isinstance(owner, Metric) or method is None:
            raise _undefined(node.at)
        arguments = [plain(self.value(argument)) for argument in node.arguments.items]
        at = node.arguments.at
        self._charge(at, len(self.metrics))
        return self._told(at, lambda: method(self.metrics, owner.name, self.moment.now, arguments))

    def _told(self, at: Token, operation: Callable[[], Value]) -> Value:
        """The outcome of an operation, or its fault with the place `at`."""
        try:
            return operation()
        except Unfit as error:
            code = NO_SAMPLES if isinstance(error, sampling.NoSamples) else EVALUATION
            raise FormulaError(str(error), at.line, at.column, code) from None

    def _charge(self, at: Token, work: int) -> None:
        """Count elements touched, so that no formula takes more than about a second."""
        self.work += work
        if self.work > MOST_WORK:
            raise _fault(at, "The formula takes too long to evaluate")


def _fault(at: Token, message: str) -> FormulaError:
    return FormulaError(message, at.line, at.column)


def _undefined(at: Token) -> FormulaError:
    return _fault(at, f"Undefined symbol: {at.text}")
