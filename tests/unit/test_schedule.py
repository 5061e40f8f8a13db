"""Which task goes where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.schedule import Fill, FreeSlots, ReadyTasks


@pytest.mark.parametrize(("fill", "node"), [(Fill.SPREAD, "roomy"), (Fill.PACK, "tight")])
def test_spread_takes_the_emptiest_and_pack_the_fullest(fill: Fill, node: str) -> None:
    """nodeFillType decides between nodes that both have room."""
    free = FreeSlots()
    free.set("roomy", 4)
    free.set("tight", 2)
    free.set("full", 0)
    free.set("gone", 9)
    free.set("gone", None)
    assert free.choose(2, fill) == node
    assert free.choose(5, fill) is None
    assert free.largest == 4


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 8)))), st.integers(1, 8))
def test_free_slots_are_what_was_set_last(changes: list[tuple[str, int | None]], required: int) -> None:
    """However nodes change, one with room is found exactly when there is one."""
    free, truth = FreeSlots(), {}
    for node, slots in changes:
        free.set(node, slots)
        truth[node] = slots
    fitting = {node for node, slots in truth.items() if slots is not None and slots >= required}
    for fill in Fill:
        chosen = free.choose(required, fill)
        assert (chosen in fitting) if fitting else chosen is None


def _served(ready: ReadyTasks, room: int, live: set[str] | None = None) -> list[str]:
    left, order = [room], []

    def place(_job: str, task: str, required: int) -> bool:
        left[0] -= required
        order.append(task)
        return True

    ready.dispatch(lambda: left[0], lambda _job, task: live is None or task in live, place)
    return order


def test_priority_then_age_then_order() -> None:
    """Jobs of higher priority first, older ones before younger, tasks as they came, requeued ones in front."""
    ready = ReadyTasks()
    for job, priority, task in (("old", 0, "a"), ("new", 0, "b"), ("high", 9, "c"), ("old", 0, "d")):
        ready.add(job, priority, task, 1)
    ready.add("old", 0, "again", 1, front=True)
    assert _served(ready, 99) == ["c", "again", "a", "d", "b"]
    assert _served(ready, 99) == []


def test_a_wide_task_does_not_hold_up_narrow_ones() -> None:
    """What does not fit waits; what fits runs."""
    ready = ReadyTasks()
    ready.add("j", 0, "wide", 4)
    ready.add("j", 0, "narrow", 1)
    assert _served(ready, 2) == ["narrow"]
    assert _served(ready, 4) == ["wide"]


def test_a_declined_task_stays() -> None:
    """A task that no node may take goes back to its place, and the next job is asked."""
    ready = ReadyTasks()
    ready.add("j", 1, "x", 1)
    ready.add("k", 0, "y", 1)
    placed: list[str] = []

    def place(job: str, task: str, _required: int) -> bool:
        placed.append(task)
        return job == "k"

    ready.dispatch(lambda: 9, lambda *_: True, place)
    assert placed == ["x", "y"]
    assert _served(ready, 9) == ["x"]
    assert _served(ready, 9, live=set()) == []


@given(st.lists(st.tuples(st.sampled_from("jk"), st.integers(1, 5)), max_size=40), st.integers(0, 20))
def test_no_task_is_lost_or_served_twice(tasks: list[tuple[str, int]], room: int) -> None:
    """Served in rounds of any room, every task that fits comes exactly once, and room is never exceeded."""
    ready = ReadyTasks()
    for number, (job, required) in enumerate(tasks):
        ready.add(job, 0, str(number), required)
    served: list[str] = []
    while round_ := _served(ready, room):
        assert sum(tasks[int(task)][1] for task in round_) <= room
        served += round_
    assert sorted(served, key=int) == [str(n) for n, (_, required) in enumerate(tasks) if required <= room]
