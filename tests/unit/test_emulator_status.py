"""What `azbatch emulator status` draws: a cell for each node, with a letter besides its colour."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from azbatch.cli.emulator_status import MOST_CELLS, MOST_JOBS, NODES, TASKS, gathered, shares, view
from azbatch_emulator.records import NodeState


def status(pools: list[dict[str, Any]] | None = None, jobs: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    """A status with these pools and jobs."""
    return {
        "pid": 1, "runner": "process", "profile": "fast", "tasks_run_as": "batch", "state": "/s", "remote": False,
        "listen": "127.0.0.1", "https_url": "https://a", "http_url": "http://a", "blob_url": None,
        "storage_failure": None, "requests": {"GetPool": 1200}, "accounts": {},
        "pools": pools or [], "jobs": jobs or [], **more,
    }  # fmt: skip


def pool(states: list[str], name: str = "p") -> dict[str, Any]:
    wanted = {"target_dedicated": len(states), "target_spot": 0}
    return {"id": name, "state": "active", "allocation_state": "steady", "node_states": states, **wanted}


def job(name: str, **tasks: int) -> dict[str, Any]:
    counts = dict.fromkeys(("active", "running", "completed", "succeeded", "failed"), 0) | tasks
    return {"id": name, "state": "active", "pool_id": "p", "tasks": counts}


def drawn(found: Any, width: int = 80, *, colours: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=colours, color_system="256", highlight=False)
    if not colours:
        console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(view(found, width))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_every_state_has_a_cell_of_its_own() -> None:
    """No node state of the emulator is without letter and colour, and no two share one."""
    assert set(NODES) == {state.value for state in NodeState}
    for table in (NODES, TASKS):
        assert (
            len({cell.letter for cell in table.values()}) == len({cell.style for cell in table.values()}) == len(table)
        )


@given(st.lists(st.sampled_from(list(NODES)), max_size=300), st.integers(60, 200))
def test_without_colours_the_letters_say_it_all(states: list[str], width: int) -> None:
    """In a pipe the map has as many of each letter as there are nodes in that state, and no escape sequence."""
    text = drawn(status([pool(states)]), width)
    assert "\x1b" not in text
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Pool p"))
    end = next(n for n, line in enumerate(lines) if line.startswith("Nodes")) if states else len(lines)
    rows = [line.strip() for line in lines[start:end] if line.startswith("  ")]
    assert Counter("".join(rows)) == Counter(NODES[state].letter for state in states)
    assert all(len(line) <= width for line in lines)


def test_a_thousand_nodes_fit_a_terminal() -> None:
    """On 80 columns and 40 lines, each with a cell of its own, with legend and jobs."""
    states = ["running"] * 990 + ["unusable"] * 10
    text = drawn(status([pool(states)], [job("j", active=5)]))
    assert len(text.splitlines()) <= 40
    assert text.count("U") >= 10
    assert "unusable 10" in text
    assert "running 990" in text


def test_colours_are_there_for_a_terminal() -> None:
    """The same letters on coloured ground."""
    assert "\x1b[" in drawn(status([pool(["running", "unusable"])]), colours=True)


@given(st.lists(st.sampled_from(list(NODES)), min_size=1, max_size=5000))
def test_a_cell_for_several_nodes_shows_the_one_in_need(states: list[str]) -> None:
    """However large the pool, the map stays small, and an unusable node is seen."""
    cells, each = gathered(states)
    assert len(cells) <= MOST_CELLS
    assert (each == 1) == (len(states) <= MOST_CELLS)
    assert ("unusable" in cells) == ("unusable" in states)


@given(st.lists(st.integers(0, 10**6), min_size=4, max_size=4), st.integers(4, 60))
def test_a_bar_is_full_and_hides_nothing(counts: list[int], cells: int) -> None:
    """All cells are used where there is a task, and one failed task among a million has a cell."""
    given = shares(counts, cells)
    assert sum(given) == (cells if sum(counts) else 0)
    assert all((share > 0) == (count > 0) for share, count in zip(given, counts, strict=True))


def test_jobs_with_work_left_come_first_and_the_rest_is_counted() -> None:
    """Of many jobs those that matter are shown; nothing is left out silently."""
    jobs = [job(f"done{n}", succeeded=1, completed=1) for n in range(MOST_JOBS + 5)] + [
        job("busy", active=3, running=1)
    ]
    text = drawn(status(jobs=jobs), 120)
    rows = [line for line in text.splitlines() if line.startswith(("busy", "done"))]
    assert rows[0].startswith("busy")
    assert len(rows) == MOST_JOBS
    assert "6 more jobs" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_accounts_of_the_tenant_are_shown_by_name(width: int) -> None:
    """Pools and jobs of other Batch accounts stand beside the built-in one's."""
    found = status(accounts={"lab": {"pools": [pool(["idle"], "q")], "jobs": [job("k", running=2)]}})
    text = drawn(found, width)
    assert "Pool lab/q" in text
    assert "lab/k" in text
    assert "1,200" in text
