"""What a job's task is called, so that a later driver knows it again. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

# Differ between jobs of one rule, or between drivers, without changing what the job does to its outputs.
OWN = ("--target-jobs", "--unneeded-temp-files")
PASSING = ("--attempt", "--local-groupid", "--unneeded-temp-files")
_RULE = 36  # letters of the rule's name in an id


def options(tokens: Iterable[str]) -> list[tuple[str, ...]]:
    """The tokens of a command in groups, each an option with its values."""
    groups: list[list[str]] = []
    for token in tokens:
        if token.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(token)
    return [tuple(group) for group in groups]


def split(tokens: Sequence[str]) -> tuple[list[str], list[str]]:
    """(common, own): what all jobs of a rule share, and what is this job's."""
    common: list[str] = []
    own: list[str] = []
    for group in options(tokens):
        (own if group[0] in OWN else common).extend(group)
    return common, own


def digest(*texts: str) -> str:
    """Twelve hexadecimal digits for texts in this order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def base(rule: str, tokens: Iterable[str]) -> str:
    """The first part of a task's id: the rule, and a digest of what is asked of Snakemake.

    Options and their values count in any order, since Snakemake writes some from sets, which have none.
    """
    told = sorted("\0".join((group[0], *sorted(group[1:]))) for group in options(tokens) if group[0] not in PASSING)
    clean = re.sub(r"[^A-Za-z0-9_]+", "_", rule)[:_RULE] or "job"
    return f"{clean}-{digest(*told)}"


def task_id(base: str, number: int) -> str:
    """A Batch task id: at most 64 letters, digits, hyphens and underscores."""
    return f"{base}-{number}"


def parse(task_id: str) -> tuple[str, int] | None:
    """(base, number) of an id made here; None for any other."""
    found = re.fullmatch(r"(\w{1,36}-[0-9a-f]{12})-(\d+)", task_id)
    return (found[1], int(found[2])) if found else None


class Numbers:
    """The next number for each base: above all that were given or seen."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def saw(self, base: str, number: int) -> None:
        self._last[base] = max(number, self._last.get(base, 0))

    def following(self, base: str) -> int:
        self._last[base] = self._last.get(base, 0) + 1
        return self._last[base]
