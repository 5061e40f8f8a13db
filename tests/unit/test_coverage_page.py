"""The page that says what of the data plane is emulated."""

from __future__ import annotations

from pathlib import Path

from azbatch_emulator.batch import coverage
from azbatch_emulator.batch.routes import OPERATIONS


def test_the_page_is_current() -> None:
    """It is what the route table gives: `python -m azbatch_emulator.batch.coverage > docs/emulator-coverage.md`."""
    assert (Path(__file__).parents[2] / "docs" / "emulator-coverage.md").read_text() == coverage.page()


def test_every_note_is_of_an_operation() -> None:
    assert set(coverage.NOTES) <= {name for *_, name, _ in OPERATIONS}
