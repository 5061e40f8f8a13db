"""Usage metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.batch.usage import INTERVAL, metrics
from azbatch_emulator.world import PastNode

START = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def test_core_hours_are_summed_in_half_hours() -> None:
    """A node of four cores that is there for 45 minutes from 12:15 on."""
    node = PastNode("p", "standard_d4s_v5", START + timedelta(minutes=15), START + timedelta(hours=1))
    found = metrics([node, node], START, START + timedelta(hours=2))
    assert [(one.began - START, one.core_hours) for one in found] == [(timedelta(0), 2.0), (INTERVAL, 4.0)]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=5), st.integers(0, 20))
def test_nothing_is_lost_and_nothing_counted_twice(spans: list[tuple[int, int]], hours: int) -> None:
    """Over whole half hours the sum is what all machines were there."""
    until = START + timedelta(hours=hours)
    machines = [
        PastNode("p", "standard_d1_v2", START + timedelta(minutes=a), START + timedelta(minutes=a + b))
        for a, b in spans
    ]
    there = sum((max(timedelta(0), min(one.ended, until) - one.began) for one in machines), timedelta(0))
    total = sum(one.core_hours for one in metrics(machines, START, until))
    assert total == pytest.approx(there / timedelta(hours=1))
