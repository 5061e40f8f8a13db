"""Usage metrics: core hours by pool and size in half hours. Source: REST, Pools - List Pool Usage Metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azbatch_emulator.batch.call import Call, Reply, page, wanted_filter
from azbatch_emulator.batch.odata import bad_query
from azbatch_emulator.batch.times import parse_stamp, stamp
from azbatch_emulator.vm_sizes import cores_of
from azbatch_emulator.world import PastNode

INTERVAL = timedelta(minutes=30)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Usage:
    """Core hours of the nodes of one size in a pool in one half hour."""

    pool_id: str
    vm_size: str
    began: datetime
    core_hours: float


def _floor(when: datetime) -> datetime:
    return _EPOCH + (when - _EPOCH) // INTERVAL * INTERVAL


def metrics(machines: Iterable[PastNode], since: datetime, until: datetime) -> list[Usage]:
    """What nodes used in the half hours that lie whole between two times, in order. Pure."""
    first, last = -(-(since - _EPOCH) // INTERVAL), (until - _EPOCH) // INTERVAL
    found: dict[tuple[datetime, str, str], float] = {}
    for machine in machines:
        for began in _half_hours(machine, _EPOCH + first * INTERVAL, _EPOCH + last * INTERVAL):
            there = min(machine.ended, began + INTERVAL) - max(machine.began, began)
            key = (began, machine.pool_id, machine.vm_size)
            found[key] = found.get(key, 0.0) + cores_of(machine.vm_size) * (there / timedelta(hours=1))
    return [Usage(pool, size, began, hours) for (began, pool, size), hours in sorted(found.items())]


def _half_hours(machine: PastNode, first: datetime, last: datetime) -> Iterator[datetime]:
    began, end = max(_floor(machine.began), first), min(machine.ended, last)
    while began < end:
        yield began
        began += INTERVAL


def list_(call: Call) -> Reply:
    """Of the half hours that have passed; without times the latest one."""
    until = _time(call, "endtime", _floor(call.now))
    since = _time(call, "starttime", until - INTERVAL)
    if since > until:
        raise bad_query("starttime", stamp(since), "It lies after endtime")
    wanted = wanted_filter(call)
    usages = metrics(call.world.machines(call.now), since, min(until, call.now))

    def entry(usage: Usage) -> dict[str, Any]:
        return {
            "poolId": usage.pool_id,
            "startTime": stamp(usage.began),
            "endTime": stamp(usage.began + INTERVAL),
            "vmSize": usage.vm_size,
            "totalCoreHours": round(usage.core_hours, 6),
        }

    def key(usage: Usage) -> str:
        return f"{usage.began.isoformat()}/{usage.pool_id.lower()}/{usage.vm_size}"

    return page(call, usages, entry, key, test=wanted.test if wanted else None)


def _time(call: Call, name: str, default: datetime) -> datetime:
    text = call.query.get(name)
    if text is None:
        return default
    try:
        when = parse_stamp(text)
    except ValueError:
        raise bad_query(name, text, "It is not an ISO 8601 time") from None
    if when < _EPOCH:
        raise bad_query(name, text, "It lies before there was a service")
    return when
