"""How what was called compares with what was planted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

Call = tuple[str, int, str, str]  # chromosome, position from 1, reference, alternative; normalised alike on both sides


@dataclass(frozen=True, slots=True)
class Score:
    """Variants found rightly, wrongly, and missed."""

    right: int
    wrong: int
    missed: int

    @property
    def recall(self) -> float:
        """Part of the planted variants that was found; 1 where none was planted."""
        planted = self.right + self.missed
        return self.right / planted if planted else 1.0

    @property
    def precision(self) -> float:
        """Part of the found variants that was planted; 1 where none was found."""
        found = self.right + self.wrong
        return self.right / found if found else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)


def score(truth: Set[Call], found: Set[Call]) -> Score:
    return Score(len(truth & found), len(found - truth), len(truth - found))


def score_all(truth: Mapping[str, Set[Call]], found: Mapping[str, Set[Call]]) -> dict[str, Score]:
    """The score of each sample of the truth."""
    return {sample: score(calls, found.get(sample, set())) for sample, calls in truth.items()}
