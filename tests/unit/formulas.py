"""Formulas for tests: a grammar that knows the types, one that does not care, and damage done to their text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from azbatch_emulator.autoscale import VARIABLES, MetricHistory

T = TypeVar("T")
Make = Callable[["Writer"], str]
SIZES = ("0", "1", "2", "7", "100", "0.5", "1e3", "1e308", "1e-308", "9999999999999999", "1e999", ".5", "3.")
INTERVALS = ("Zero", "100ns", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "Day", "Week", "Year")
TIMES = (
    "2026-11-25T14:00:00Z",
    "2026",
    "2026-11-25",
    "2026-11-25T14:00+01:00",
    "2026-11-25T14:00:00.1234567-05:00",
    "Wed, 25 Nov 2026 14:00:00 GMT",
    "",
)
OF_LIST = ("avg", "len", "max", "min", "norm", "range", "std", "sum")
OF_EACH = ("ceil", "floor", "lg", "ln", "log", "round")
METRICS = tuple(VARIABLES)

PERIOD = LAG = timedelta(seconds=30)


def history(values: Sequence[float | None], now: datetime, name: str = "$PendingTasks") -> MetricHistory:
    """Samples of one variable until now, one each period; None is a gap."""
    made = MetricHistory(period=PERIOD, lag=LAG)
    for back, value in zip(range(len(values) - 1, -1, -1), values, strict=True):
        if value is not None:
            made.record(now - back * PERIOD, {name: float(value)})
    return made


class Writer:
    """Writes random formulas. `typed()` ones are right by the documented types, though numbers may be out of range;
    `wild()` ones follow the grammar only; `damaged()` ones not even that."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.depth = 0
        self.known: dict[str, list[str]] = {kind: [] for kind in RULES}

    def typed(self) -> str:
        """Statements that assign values of known types, then the targets; variables are used after they are set."""
        self.known = {kind: [] for kind in RULES}
        lines = []
        for number in range(self.random.randrange(6)):
            kind = self.one(list(RULES))
            lines.append(f"{self.one(('', '$'))}v{number} = {self.of(kind)}")
            self.known[kind].append(lines[-1].split(" ")[0])
        lines.append(f"$TargetDedicatedNodes = min(9, max(0, {self.of('double')}))")
        lines.append(
            f"$NodeDeallocationOption = {self.one(('requeue', 'terminate', 'taskcompletion', 'retaineddata'))}"
        )
        return self.one((";", ";\n", " ; // done\n")).join(lines) + self.one((";", ""))

    def wild(self) -> str:
        """Anything where an expression may stand."""
        kinds = list(RULES)
        self.known = {kind: ["x", "$y", "$TargetDedicated", "requeue", "$nope"] for kind in kinds}
        names = (
            "x",
            "$y",
            "$TargetDedicatedNodes",
            "$TargetLowPriority",
            "$NodeDeallocationOption",
            "$CPUPercent",
            "time",
        )
        lines = ["x = 1; $y = [1]"] if self.random.random() < 0.8 else []
        for _ in range(self.random.randrange(1, 4)):
            text = self.mixed()
            lines.append(text if self.random.random() < 0.2 else f"{self.one(names)} = {text}")
        return ";".join(lines)

    def mixed(self) -> str:
        """An expression put together without regard for types."""
        kind, other = self.one(list(RULES)), self.one(list(RULES))
        sign = self.one(("+", "-", "*", "/", "<", "<=", "==", "!=", ">=", ">", "&&", "||"))
        function = self.one((*OF_LIST, *OF_EACH, "val", "percentile", "time", "rand", "stop", "vec"))
        method = self.one(("GetSample", "Count", "GetSamplePercent", "hour"))
        return str(
            self.one(
                (
                    self.of(kind),
                    self.of("double"),
                    f"{self.of(kind)} {sign} {self.of(other)}",
                    f"{self.one('-!')}{self.of(kind)}",
                    f"{function}({self.of(kind)})",
                    f"{self.of(kind)}.{method}",
                    f"{self.metric()}.GetSample({self.of(kind)}, {self.of(other)})",
                    f"{self.of(kind)} ? {self.of(other)} : {self.of(kind)}",
                )
            )
        )

    def damaged(self) -> str:
        """A formula after a few bites: parts gone, doubled, moved or replaced."""
        text = self.typed() if self.random.random() < 0.5 else self.wild()
        for _ in range(self.random.randrange(1, 4)):
            start = self.random.randrange(len(text) + 1)
            end = min(len(text), start + self.random.choice((0, 1, 2, 10)))
            stuff = self.one(
                ("", "(", ")", ";", "[", "#", "%", "\n", '"', "$", "é", "\x00", "=", "..", "//", text[start:end] * 2)
            )
            text = text[:start] + stuff + text[end:]
        return text

    def heavy(self) -> str:
        """What asks for depth, length or work without end."""
        number = self.random.randrange(1, 3000)
        return self.one(
            (
                "x = " + "(" * number + "1" + ")" * number,
                "x = " + "-" * number + "1",
                "x = " + "1+" * number + "1",
                "x = " + "1?" * number + "1",
                "x = " + "0?1:" * min(number, 1900) + "2",
                "x = " + "[" * number,
                "x = t" + ".y" * number,
                "x = " + "max(" * number,
                "x = vec(1,2,3);" + "x = vec(x, x);" * min(number, 97),
                "x = $PendingTasks.GetSample(1e9);"
                + "x = vec(x, x);" * 3
                + "y = avg(x)"
                + "+avg(x)" * min(number, 1000),
                "x = " + "9" * number + "*" + "9" * number,
                "x = TimeInterval_Year * 1e300",
                "x = time() + TimeInterval_Year * 9000",
                "x = $PendingTasks.GetSample(TimeInterval_Year * 9000, 0)",
                "x = [" + "1," * number + "1]; y = x" + "*x" * min(number, 1500),
                '"' * number,
                "//" + "x" * number,
                ";" * number,
            )
        )

    def one(self, choices: Sequence[T]) -> T:
        return self.random.choice(choices)

    def metric(self) -> str:
        return str(self.one(METRICS))

    def of(self, kind: str) -> str:
        """An expression of the kind; near the bottom a plain one."""
        rules = RULES[kind]
        self.depth += 1
        chosen = rules[0] if self.depth > 4 else self.one(rules)
        text: str = self.one(self.known[kind]) if self.known[kind] and self.random.random() < 0.2 else chosen(self)
        self.depth -= 1
        return text

    def list_(self) -> str:
        """A doubleVecList."""
        return ", ".join(self.of(self.one(("double", "doubleVec"))) for _ in range(self.random.randrange(4)))

    def bound(self) -> str:
        """A start or end time."""
        return self.one((f"TimeInterval_Minute * {self.random.randrange(30)}", "time()", self.of("timeinterval")))


RULES: dict[str, Sequence[Make]] = {
    "double": (
        lambda w: str(w.one(SIZES)),
        lambda w: w.metric(),
        lambda w: str(w.one(("$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$CurrentDedicated", "rand()"))),
        lambda w: f"({w.of('double')} {w.one('+-*/')} {w.of('double')})",
        lambda w: f"({w.of('double')} {w.one(('&&', '||'))} {w.of('double')})",
        lambda w: f"{w.one('-!')}({w.of('double')})",
        lambda w: f"({w.of('double')} ? {w.of('double')} : {w.of('double')})",
        lambda w: f"{w.one(OF_LIST)}({w.list_()})",
        lambda w: f"{w.one(OF_EACH)}({w.of('double')})",
        lambda w: f"percentile({w.of('doubleVec')}, {w.random.randrange(101)})",
        lambda w: f"val(vec({w.of('double')}), 0)",
        lambda w: f"{w.metric()}.Count()",
        lambda w: f"{w.metric()}.GetSamplePercent({w.bound()})",
        lambda w: f"{w.metric()}.GetSamplePercent({w.bound()}, {w.bound()})",
        lambda w: f"time().{w.one(('year', 'month', 'day', 'weekday', 'hour', 'minute', 'second'))}",
        *(
            lambda w, kind=kind: f"({w.of(kind)} {w.one(('<', '<=', '==', '>=', '>', '!='))} {w.of(kind)})"
            for kind in ("double", "string", "timestamp", "timeinterval")
        ),
    ),
    "doubleVec": (
        lambda w: str(w.one(("[1, 2, 3]", "[]", "[0.5]", "vec()"))),
        lambda w: f"vec({w.list_()})",
        lambda w: f"({w.of('doubleVec')} {w.one('+-*/')} {w.of('double')})",
        lambda w: f"([1, {w.of('double')}] {w.one('+-*/')} [{w.of('double')}, 2])",
        lambda w: f"{w.one(OF_EACH)}(vec({w.list_()}))",
        lambda w: f"{w.metric()}.GetSample({w.random.randrange(9)})",
        lambda w: f"{w.metric()}.GetSample({w.bound()}, 0)",
        lambda w: f"{w.metric()}.GetSample({w.bound()}, {w.bound()}, 0)",
    ),
    "string": (lambda w: f'"{w.one(TIMES)}"',),
    "timestamp": (
        lambda w: "time()",
        lambda w: f'time("{w.one(TIMES)}")',
        lambda w: f"({w.of('timestamp')} + {w.of('timeinterval')})",
        lambda w: f"({w.of('timeinterval')} + {w.of('timestamp')})",
        lambda w: f"{w.metric()}.HistoryBeginTime()",
        lambda w: f"({w.of('double')} ? {w.of('timestamp')} : {w.of('timestamp')})",
    ),
    "timeinterval": (
        lambda w: f"TimeInterval_{w.one(INTERVALS)}",
        lambda w: f"(TimeInterval_{w.one(INTERVALS)} * {w.of('double')})",
        lambda w: f"({w.of('double')} * TimeInterval_{w.one(INTERVALS)})",
        lambda w: f"({w.of('timeinterval')} / {w.of('double')})",
        lambda w: f"({w.of('timeinterval')} {w.one('+-')} {w.of('timeinterval')})",
        lambda w: f"({w.of('timestamp')} - {w.of('timestamp')})",
        lambda w: f"-{w.of('timeinterval')}",
        lambda w: f"{w.metric()}.GetSamplePeriod()",
    ),
}
