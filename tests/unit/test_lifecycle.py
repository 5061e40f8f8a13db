"""The lifecycle tables, and the page drawn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from azbatch_emulator.lifecycle import TABLES, page
from azbatch_emulator.lifecycle.table import Table

# States of Azure's that the emulator never enters; they are in the enumerations because clients know them.
NOT_EMULATED = {"unknown", "upgradingos", "deallocating", "deallocated", "enabling"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_state_can_be_reached(table: Table[Any, Any]) -> None:
    """No state of a table stands alone, but those the emulator does not have."""
    reached: set[Any] = {table.start}
    seen: set[Any] = set()
    while reached - seen:
        state = (reached - seen).pop()
        seen.add(state)
        reached |= {after for before, _, after in table if before is state}
    assert {state.value for state in type(table.start)} - {state.value for state in reached} <= NOT_EMULATED


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_is_not_in_the_table_does_not_happen(table: Table[Any, Any]) -> None:
    """step answers None for a pair without a row, and the row's state for one with."""
    rows = {(before, happening): after for before, happening, after in table}
    happenings = {happening for _, happening, _ in table}
    for state in type(table.start):
        for happening in happenings:
            assert table.step(state, happening) is rows.get((state, happening))


def test_the_page_is_current() -> None:
    """docs/lifecycles.md is what `python -m azbatch_emulator.lifecycle` prints."""
    assert (Path(__file__).parents[2] / "docs" / "lifecycles.md").read_text() == page()
