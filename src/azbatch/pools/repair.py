"""What to do about a pool that is not well: broken nodes removed, resize errors waited out, or given up. Pure.

Source: "Check for pool and node errors": unusable nodes stay as they are, and are billed, until someone removes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from azbatch.pools.watch import Verdict, assess

Json = Mapping[str, Any]
BROKEN = frozenset({"unusable", "starttaskfailed"})
MOST_REMOVED = 100  # nodes a call takes
# A later try may succeed; quota errors stay until a person asks for more.
PASSING = frozenset({"AllocationFailed", "AllocationTimedOut", "ResizeStopped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repairs:
    """What was done so far; `since` is when (seconds of the caller's clock) a passing resize error was first seen."""

    removals: int = 0
    since: float | None = None
    told: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove these nodes, their tasks requeued; `why` says what was wrong with them."""

    nodes: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The pool's formula asks again by itself; `why` is told once."""

    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing will run here."""

    why: str


Action = Remove | Wait | GiveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often broken nodes are removed, and how many seconds a pool without any node waits out resize errors."""

    removals: int = 3
    patience: float = 3600.0


DEFAULT = Limits()
NONE = Limits(removals=0, patience=0.0)  # for a pool that is someone else's


def decide(
    pool: Json, nodes: Sequence[Json], done: Repairs, now: float, limits: Limits = DEFAULT
) -> tuple[Action | None, Repairs]:
    """The next thing to do, and the new account of what was done."""
    broken = [dict(node) for node in nodes if node.get("state") in BROKEN]
    steady = pool.get("allocationState") == "steady"
    if broken and done.removals < limits.removals:
        if not steady:
            return None, done
        names = tuple(str(node["id"]) for node in broken[:MOST_REMOVED])
        why = " ".join(assess({**pool, "resizeErrors": [], "autoScaleRun": None}, broken).lines[1:])
        return Remove(names, why), replace(done, removals=done.removals + 1)
    judged = assess(dict(pool), [dict(node) for node in nodes])
    errors = {str(error.get("code")) for error in pool.get("resizeErrors") or ()}
    if not errors:
        done = replace(done, since=None, told="")
    if judged.verdict is not Verdict.FAILED:
        return None, done
    why = " ".join(judged.lines)
    if errors and errors <= PASSING:
        since = now if done.since is None else done.since
        if now - since < limits.patience:
            return (Wait(why) if why != done.told else None), replace(done, since=since, told=why)
    return GiveUp(why), done
