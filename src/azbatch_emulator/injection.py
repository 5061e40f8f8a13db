"""Faults of the wire, as data: which requests are answered wrongly, late, or not at all. The choice is pure."""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from azbatch_emulator.errors import EmulatorError


class Kind(StrEnum):
    STATUS = "status"  # refused with an HTTP status, before anything is done
    RESET_BEFORE = "reset-before"  # the connection is reset, and nothing was done
    RESET_AFTER = "reset-after"  # the connection is reset, although all was done
    SLOW = "slow"  # done, after a while
    PARTIAL = "partial"  # a collection call of which a part is answered as the server's error


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`operation` is a pattern such as `CreateTaskCollection` or `List*`, `*` for all.

    It strikes with `probability`, at most `times` times (None: always). `status` and `retry_after` (seconds) are for
    STATUS, `seconds` for SLOW, `share` of the items for PARTIAL.
    """

    kind: Kind
    operation: str = "*"
    probability: float = 1.0
    times: int | None = 1
    status: int = 503
    retry_after: float | None = None
    seconds: float = 1.0
    share: float = 0.5

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Rule:
        """From JSON. Raises EmulatorError."""
        known = set(cls.__dataclass_fields__)
        strange = sorted(set(body) - known)
        if strange:
            raise EmulatorError(f"'{strange[0]}' is no property of a fault; there are {', '.join(sorted(known))}.")
        try:
            rule = cls(**{**body, "kind": Kind(str(body.get("kind")))})
        except ValueError:
            kinds = ", ".join(Kind)
            raise EmulatorError(f"'{body.get('kind')}' is no kind of fault; there are {kinds}.") from None
        if not 0 < rule.probability <= 1 or not 0 <= rule.share <= 1 or not 400 <= rule.status <= 599:
            raise EmulatorError("A fault's probability and share are between 0 and 1, its status is 4xx or 5xx.")
        return rule


class Injector:
    """The rules in force; the first that matches strikes. The same seed and requests give the same faults."""

    def __init__(self, seed: int = 0) -> None:
        self.rules: list[Rule] = []
        self.struck: dict[str, int] = {}
        self._rng = random.Random(seed)  # noqa: S311 - faults, no secrets

    def set(self, rules: list[Rule], seed: int = 0) -> None:
        self.rules, self.struck = rules, {}
        self._rng.seed(seed)

    def strike(self, operation: str) -> Rule | None:
        """The fault for a request of this operation, if there is one."""
        for place, rule in enumerate(self.rules):
            if rule.times == 0 or not fnmatch.fnmatchcase(operation, rule.operation):
                continue
            if rule.probability < 1 and self._rng.random() >= rule.probability:
                continue
            if rule.times is not None:
                self.rules[place] = replace(rule, times=rule.times - 1)
            self.struck[rule.kind] = self.struck.get(rule.kind, 0) + 1
            return rule
        return None

    def keep(self, share: float, items: list[Any]) -> tuple[list[Any], list[Any]]:
        """(handled, failed) of a collection's items."""
        failed = [item for item in items if self._rng.random() < share]
        return [item for item in items if item not in failed], failed
