"""What runs that died left on an account: jobs and pools that are ours by their metadata. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Json = Mapping[str, Any]
WORKFLOW, KEPT, OWNER = "azbatch-workflow", "azbatch-kept", "azbatch-owner"
_LEASE = re.compile(r'time\("(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z"\)')


@dataclass(frozen=True, slots=True)
class Leftover:
    """`kind` is job or pool; `dead` whether its run is known to be over, `why` says how that is known, or not."""

    kind: str
    id: str
    age: timedelta
    state: str
    dead: bool
    why: str


def find(
    jobs: Sequence[Json], pools: Sequence[Json], *, now: datetime, alive: Callable[[str], bool | None]
) -> list[Leftover]:
    """All of ours, the oldest first. `alive` tells whether a run's process lives, None where that is not known."""
    ours = {str(pool["id"]): pool for pool in pools if _tags(pool).keys() & {WORKFLOW, OWNER}}
    found = [_pool(pool, now, alive) for pool in ours.values() if pool.get("state") != "deleting"]
    dead = {one.id for one in found if one.dead}
    existing = {str(pool["id"]) for pool in pools}
    found += [
        _job(job, now, dead, existing)
        for job in jobs
        if WORKFLOW in _tags(job) and job.get("state") not in {"deleting", "terminating"}
    ]
    return sorted(found, key=lambda one: -one.age)


def _pool(pool: Json, now: datetime, alive: Callable[[str], bool | None]) -> Leftover:
    tags = _tags(pool)
    dead, why = False, "its run may be going on"
    lease = _LEASE.search(str(pool.get("autoScaleFormula", "")))
    lives = alive(tags[OWNER]) if OWNER in tags else None
    if KEPT in tags:
        why = "kept on purpose; it has no nodes while nothing runs"
    elif lives is not None:
        dead, why = not lives, "its run is going on" if lives else "its run's process is gone"
    elif lease is not None:
        until = datetime.fromisoformat(f"{lease[1]}+00:00")
        dead = until < now
        why = f"its run {'renewed it last for' if dead else 'holds it until'} {lease[1].replace('T', ' ')} UTC"
    return Leftover("pool", str(pool["id"]), now - _created(pool), str(pool.get("state")), dead, why)


def _job(job: Json, now: datetime, dead: set[str], existing: set[str]) -> Leftover:
    pool = str((job.get("poolInfo") or {}).get("poolId"))
    over, why = False, "its run may be going on"
    if job.get("state") == "completed":
        over, why = True, "it has ended"
    elif pool in dead:
        over, why = True, "the run of its pool is over"
    elif pool not in existing:
        over, why = True, "its pool is gone"
    return Leftover("job", str(job["id"]), now - _created(job), str(job.get("state")), over, why)


def _tags(thing: Json) -> dict[str, str]:
    return {str(item.get("name")): str(item.get("value")) for item in thing.get("metadata") or ()}


def _created(thing: Json) -> datetime:
    return datetime.fromisoformat(f"{str(thing['creationTime'])[:19]}+00:00")
