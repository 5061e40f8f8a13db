"""What `azbatch emulator status` shows: addresses, a map with one cell for each node, the tasks of each job. Pure.

Every cell has a letter besides its colour, so that a pipe, a log and people who see no red read the same.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

MOST_CELLS = 2000  # of one pool; beyond, a cell stands for several nodes
MOST_JOBS = 20
BAR, LEAST_BAR, WITHOUT_BAR = 30, 12, 82  # cells of a job's bar, and of the rest of its line


class Cell(NamedTuple):
    letter: str
    style: str


# In order of urgency: where a cell stands for several nodes, it shows the first of these that one of them is in.
NODES: Mapping[str, Cell] = {
    "unusable": Cell("U", "bold white on red3"),
    "starttaskfailed": Cell("F", "bold white on dark_red"),
    "unknown": Cell("?", "bold grey3 on bright_red"),
    "offline": Cell("O", "grey3 on orange3"),
    "preempted": Cell("P", "grey3 on magenta"),
    "creating": Cell("c", "grey3 on grey62"),
    "starting": Cell("s", "grey3 on yellow"),
    "waitingforstarttask": Cell("w", "grey3 on gold3"),
    "rebooting": Cell("b", "grey3 on khaki3"),
    "reimaging": Cell("m", "grey3 on light_goldenrod2"),
    "upgradingos": Cell("u", "grey3 on wheat1"),
    "leavingpool": Cell("l", "white on grey37"),
    "deallocating": Cell("d", "white on grey30"),
    "deallocated": Cell("D", "grey62 on grey15"),
    "running": Cell("R", "grey93 on green4"),
    "idle": Cell("i", "grey3 on sky_blue3"),
}
UNHEARD_OF = Cell("*", "reverse")
TASKS: Mapping[str, Cell] = {
    "succeeded": Cell("S", "grey93 on green4"),
    "failed": Cell("F", "bold white on red3"),
    "running": Cell("R", "grey3 on sky_blue3"),
    "active": Cell("a", "grey3 on grey62"),
}


def view(found: Mapping[str, Any], width: int) -> RenderableType:
    """All of a running emulator's status, for a terminal `width` cells wide."""
    worlds = {"": found, **{f"{name}/": world for name, world in found.get("accounts", {}).items()}}
    pools = [(prefix + pool["id"], pool) for prefix, world in worlds.items() for pool in world["pools"]]
    jobs = [(prefix + job["id"], job) for prefix, world in worlds.items() for job in world["jobs"]]
    parts: list[RenderableType] = [_head(found)]
    for name, pool in pools:
        parts += ["", *_pool(name, pool, width)]
    if pools:
        states = Counter(state for _, pool in pools for state in pool["node_states"])
        if states:
            parts += ["", *_legend("Nodes", NODES, states, width)]
    else:
        parts += ["", Text("There is no pool.", style="dim")]
    if jobs:
        parts += ["", _jobs(jobs, width)]
        if len(jobs) > MOST_JOBS:
            parts.append(Text(f"{len(jobs) - MOST_JOBS} more jobs; --json shows all.", style="dim"))
        totals = Counter({state: sum(job["tasks"][state] for _, job in jobs) for state in TASKS})
        parts += ["", *_legend("Tasks", TASKS, totals, width)]
    return Group(*parts)


def _head(found: Mapping[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    rows = [
        ("Emulator", f"process {found['pid']}, {found['runner']} runner, profile {found['profile']}"),
        ("Tasks run as", found["tasks_run_as"] or "nobody: each ends at once"),
        ("State folder", found["state"]),
        ("Batch", f"{found['https_url']}  {found['http_url']}"),
        ("Blob storage", found["storage_failure"] or found["blob_url"] or "none"),
        ("Requests", f"{sum(found['requests'].values()):,}"),
    ]
    if found["remote"]:
        rows.append(("Open to", f"other machines, at {found['listen']}"))
    for label, value in rows:
        table.add_row(Text(label, style="bold"), Text(value, overflow="fold"))
    return table


def _pool(name: str, pool: Mapping[str, Any], width: int) -> Iterator[RenderableType]:
    states = pool["node_states"]
    wanted = f"{pool['target_dedicated']} dedicated, {pool['target_spot']} spot wanted"
    line = Text.assemble(
        ("Pool ", "bold"),
        (name, "bold cyan"),
        f"  {pool['state']}, {pool['allocation_state']}, {wanted}; ",
        f"{len(states)} nodes" if len(states) != 1 else "1 node",
    )
    yield line
    cells, each = gathered(states)
    if each > 1:
        yield Text(f"Each cell is {each} nodes, and shows the one most in need.", style="dim")
    yield from _lines(cells, max(10, width - 2))


def gathered(states: Sequence[str], most: int = MOST_CELLS) -> tuple[list[str], int]:
    """States to draw, at most `most`, and how many nodes each stands for. Pure."""
    each = max(1, -(-len(states) // most))
    urgency = {state: rank for rank, state in enumerate(NODES)}
    groups = (states[at : at + each] for at in range(0, len(states), each))
    return [min(group, key=lambda state: urgency.get(state, -1)) for group in groups], each


def _lines(states: Sequence[str], width: int) -> Iterator[Text]:
    for at in range(0, len(states), width):
        line = Text("  ", no_wrap=True)
        for state, same in itertools.groupby(states[at : at + width]):
            cell = NODES.get(state, UNHEARD_OF)
            line.append(cell.letter * len(list(same)), cell.style)
        yield line


def _legend(title: str, cells: Mapping[str, Cell], counts: Mapping[str, int], width: int) -> Iterator[Text]:
    """What the letters mean, the most frequent first; an entry is never broken in two."""
    line = Text.assemble((f"{title} ", "bold"))
    for state, count in sorted(counts.items(), key=lambda item: -item[1]):
        if count:
            cell = cells.get(state, UNHEARD_OF)
            entry = Text.assemble("  ", (f" {cell.letter} ", cell.style), f" {state} {count:,}")
            if len(line) + len(entry) > width:
                yield line
                line = Text(" " * (len(title) + 1))
            line.append_text(entry)
    yield line


def _jobs(jobs: Iterable[tuple[str, Mapping[str, Any]]], width: int) -> Table:
    """The jobs with most left to do first."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Job", overflow="fold", style="cyan", min_width=8)
    table.add_column("State", no_wrap=True)
    table.add_column("Pool", overflow="fold", min_width=8)
    for heading in ("Active", "Running", "Succeeded", "Failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    bar = min(BAR, width - WITHOUT_BAR)
    ordered = sorted(jobs, key=lambda one: -(one[1]["tasks"]["active"] + one[1]["tasks"]["running"]))
    for name, job in ordered[:MOST_JOBS]:
        tasks = job["tasks"]
        counts = (f"{tasks[state]:,}" for state in ("active", "running", "succeeded", "failed"))
        table.add_row(name, job["state"], job["pool_id"], *counts, _bar(tasks, bar) if bar >= LEAST_BAR else "")
    return table


def shares(counts: Sequence[int], cells: int) -> list[int]:
    """How many of `cells` each count gets: in proportion, at least one where it is not zero, all used up. Pure."""
    total = sum(counts)
    if not total:
        return [0] * len(counts)
    given = [max(1, count * cells // total) if count else 0 for count in counts]
    while (over := sum(given) - cells) != 0:
        largest = max(range(len(given)), key=lambda n: (given[n], counts[n]))
        given[largest] -= 1 if over > 0 else -1
    return given


def _bar(tasks: Mapping[str, int], cells: int) -> Text:
    bar = Text()
    for (_, cell), share in zip(TASKS.items(), shares([tasks[state] for state in TASKS], cells), strict=True):
        bar.append(cell.letter * share, cell.style)
    return bar
