"""Rules that say which requests go wrong. Pure: the same seed and the same requests give the same faults."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class FaultKind(StrEnum):
    """What happens to a request."""

    STATUS = "status"  # refused with an HTTP status, before anything is done
    RESET_BEFORE = "reset-before"  # the connection is reset, and nothing was done
    RESET_AFTER = "reset-after"  # the connection is reset, although all was done
    SLOW = "slow"  # the answer comes, `seconds` late
    PARTIAL = "partial"  # some items of a collection are not taken and answer serverError


class Plane(StrEnum):
    """Which surface a rule is about."""

    BATCH = "batch"
    ARM = "arm"
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One rule.

    Patterns have `*` and `?`, and ignore case; `operation` is a name of the data plane, as `CreateJob`. Of the requests
    that match, the first `skip` pass; each of the others is hit with `probability`, until `times` have been (None:
    always). `seconds` is how late a slow answer is, on the wall clock; `status` is 4xx or 5xx, and `retry_after`
    (seconds) goes into that header, by default 30 for 429 and 503, as the service's; `share` is how likely
    each item of a collection fails.
    """

    kind: FaultKind
    plane: Plane = Plane.BATCH
    operation: str = "*"
    method: str = "*"
    path: str = "*"
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    seconds: float = 1.0
    status: int = 503
    retry_after: float | None = None
    share: float = 0.5

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> FaultRule:
        """A rule from JSON or YAML. Raises ValueError that names everything wrong with it."""
        wrong: list[str] = []
        values: dict[str, Any] = {}
        known = {field.name for field in fields(cls)}
        wrong += [
            f"'{name}' is no property of a fault (known: {', '.join(sorted(known))})" for name in given.keys() - known
        ]
        for name in sorted(given.keys() & known):
            try:
                values[name] = _READERS[name](given[name])
            except (ValueError, TypeError) as error:
                wrong.append(f"{name}: {error}")
        if "kind" not in given:
            wrong.append(f"kind is missing: one of {', '.join(FaultKind)}")
        if wrong:
            raise ValueError(f"The fault rule is not valid: {'; '.join(wrong)}.")
        return cls(**values)

    def matches(self, plane: Plane, operation: str, method: str, path: str) -> bool:
        """Whether a request is of the kind the rule is about. A partial failure needs a collection."""
        if self.plane not in {Plane.ANY, plane}:
            return False
        if self.kind is FaultKind.PARTIAL and operation != "CreateTaskCollection":
            return False
        pairs = ((self.operation, operation), (self.method, method), (self.path, path))
        return all(fnmatchcase(value.lower(), pattern.lower()) for pattern, value in pairs)


@dataclass(slots=True)
class Armed:
    """A rule at work: how often it matched and hit."""

    id: str
    rule: FaultRule
    rng: random.Random
    matched: int = 0
    hit: int = 0

    def strikes(self) -> bool:
        """Whether the next request that matches is hit. Counts it."""
        self.matched += 1
        rule = self.rule
        if self.matched <= rule.skip or (rule.times is not None and self.hit >= rule.times):
            return False
        if rule.probability < 1.0 and self.rng.random() >= rule.probability:
            return False
        self.hit += 1
        return True

    def told(self) -> dict[str, Any]:
        rule = {field.name: getattr(self.rule, field.name) for field in fields(self.rule)}
        return {"id": self.id, **rule, "matched": self.matched, "hit": self.hit}


@dataclass(frozen=True, slots=True)
class Hit:
    """What happens to one request; `rng` chooses the items of a partial failure."""

    rule: FaultRule
    rng: random.Random


class Faults:
    """The rules of one emulator, in order of adding. All methods belong to the event loop's thread.

    `always` are the rules of a profile: `reset` returns to them.
    """

    def __init__(self, always: tuple[FaultRule, ...] = ()) -> None:
        self._always = always
        self._armed: dict[str, Armed] = {}
        self._number = 0
        self.struck: Counter[str] = Counter()  # by kind, since the rules were set
        self.reset()

    def __bool__(self) -> bool:
        return bool(self._armed)

    def add(self, rule: FaultRule, seed: int = 0) -> str:
        """Returns the id by which the rule is cleared."""
        self._number += 1
        name = str(self._number)
        rng = random.Random(f"{seed}/{rule.seed}/{len(self._armed)}")  # noqa: S311 - to be repeatable
        self._armed[name] = Armed(name, rule, rng)
        return name

    def set(self, rules: Sequence[FaultRule], seed: int = 0) -> list[str]:
        """These rules instead of those before, with counts from zero: their ids."""
        self._armed.clear()
        self.struck.clear()
        return [self.add(rule, seed) for rule in rules]

    def listed(self) -> list[dict[str, Any]]:
        return [armed.told() for armed in self._armed.values()]

    def clear(self, rule_id: str | None = None) -> int:
        """Forget one rule, or all: how many were. Raises KeyError for a rule that is not there."""
        if rule_id is not None:
            if rule_id not in self._armed:
                raise KeyError(f"there is no fault rule {rule_id}")
            del self._armed[rule_id]
            return 1
        count = len(self._armed)
        self._armed.clear()
        return count

    def reset(self) -> None:
        """The rules of the profile, as at the start."""
        self._number = 0
        self.set(self._always)

    def strike(self, plane: Plane, operation: str, method: str, path: str) -> list[Hit]:
        """What befalls a request: all that is slow, and the first of the other rules that strikes."""
        hits: list[Hit] = []
        ended = False
        for armed in self._armed.values():
            slow = armed.rule.kind is FaultKind.SLOW
            if (ended and not slow) or not armed.rule.matches(plane, operation, method, path):
                continue
            if armed.strikes():
                self.struck[armed.rule.kind.value] += 1
                hits.append(Hit(armed.rule, armed.rng))
                ended = ended or not slow
        return hits


def _whole(low: int) -> Any:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"a whole number from {low} on, not {value!r}")
        return value

    return read


def _number(low: float, high: float) -> Any:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"a number between {low:g} and {high:g}, not {value!r}")
        return float(value)

    return read


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError(f"4xx or 5xx, not {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a pattern, not {value!r}")
    return value


def _one_of(kind: type[StrEnum], what: str) -> Any:
    def read(value: Any) -> StrEnum:
        if value not in list(kind):
            raise ValueError(f"'{value}' is no kind of {what}; there are {', '.join(kind)}")
        return kind(value)

    return read


_READERS: Mapping[str, Any] = {
    "kind": _one_of(FaultKind, "fault"),
    "plane": _one_of(Plane, "plane"),
    "operation": _text,
    "method": _text,
    "path": _text,
    "times": lambda value: None if value is None else _whole(1)(value),
    "skip": _whole(0),
    "probability": _number(0, 1),
    "seed": _whole(0),
    "seconds": _number(0, 3600),
    "status": _status,
    "retry_after": lambda value: None if value is None else _number(0, 86400)(value),
    "share": _number(0, 1),
}
