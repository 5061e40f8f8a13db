"""A pytest fixture: one emulator for the whole session, started by the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azbatch_emulator.launcher import Emulator


@pytest.fixture(scope="session")
def azbatch_emulator() -> Iterator[Emulator]:
    """A running `Emulator` with storage and real processes, in a temporary state folder."""
    from azbatch_emulator.launcher import Emulator

    with Emulator() as emulator:
        yield emulator
