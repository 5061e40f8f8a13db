"""A lifecycle as data: (state, happening) -> state. What is not in the table does not happen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S", bound=StrEnum)
H = TypeVar("H", bound=StrEnum)


class Table(Generic[S, H]):
    """The transitions of one kind of thing; `step` is total over what the table names and None elsewhere."""

    def __init__(self, name: str, start: S, rows: Mapping[tuple[S, H], S]) -> None:
        self.name = name
        self.start = start
        self._rows = dict(rows)

    def step(self, state: S, happening: H) -> S | None:
        """The state after `happening`, or None where it is refused or meaningless in `state`."""
        return self._rows.get((state, happening))

    def __iter__(self) -> Iterator[tuple[S, H, S]]:
        return ((before, happening, after) for (before, happening), after in self._rows.items())

    def mermaid(self) -> str:
        """The table as a Mermaid state diagram; several happenings between two states share an arrow."""
        arrows: dict[tuple[S, S], list[str]] = {}
        for before, happening, after in self:
            arrows.setdefault((before, after), []).append(happening.value)
        lines = [f"    {before} --> {after}: {', '.join(labels)}" for (before, after), labels in arrows.items()]
        return "\n".join(["stateDiagram-v2", f"    [*] --> {self.start}", *lines])


def each(states: Iterable[S], happening: H, after: S) -> dict[tuple[S, H], S]:
    """Rows for a happening that leads from several states to one."""
    return {(state, happening): after for state in states}
