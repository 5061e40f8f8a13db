"""Autoscale formulas as text. Pure. Language: "Create a formula to automatically scale compute nodes"."""

from __future__ import annotations

from datetime import datetime, timedelta

INTERVAL = "PT5M"  # the shortest the service allows


def pending_tasks(
    *,
    most: int,
    least: int = 0,
    first: int = 0,
    spot_share: float = 0.0,
    slots_per_task: float = 1.0,
    until: datetime | None = None,
) -> str:
    """As many nodes as the waiting and running tasks need slots for, between `least` and `most`.

    Counts slots, not tasks: `slots_per_task` is what a task takes on average, and the node's slots are read from the
    pool. `first` nodes are asked for while there are no samples yet, since the first evaluation has none and the next
    is an interval away. `least` counts until the moment `until` (UTC), where one is given. Nodes leave only when their
    tasks have ended.
    """
    if not 0 <= least <= most:
        raise ValueError(f"least {least} and most {most} are no range of nodes")
    if not 0 <= spot_share <= 1:
        raise ValueError(f"the spot share is between 0 and 1, not {spot_share}")
    return "\n".join(
        (
            *_recent(),
            *_needed(slots_per_task, first),
            f"least = {least};" if until is None else f"least = {_before(until)} ? {least} : 0;",
            f"wanted = max(least, min({most}, needed));",
            *_targets(spot_share),
            "$NodeDeallocationOption = taskcompletion;",
        )
    )


def workday(
    *,
    most: int,
    daytime: int,
    begin: int,
    end: int,
    utc_offset: timedelta = timedelta(),
    spot_share: float = 0.0,
    slots_per_task: float = 1.0,
) -> str:
    """`pending_tasks`, but at least `daytime` nodes from hour `begin` to `end`, Monday to Friday, at `utc_offset`."""
    if not 0 <= daytime <= most:
        raise ValueError(f"daytime {daytime} and most {most} are no range of nodes")
    if not 0 <= begin < end <= 24:
        raise ValueError(f"{begin} to {end} are no working hours")
    return "\n".join(
        (
            *_recent(),
            *_needed(slots_per_task, 0),
            # The service's clock is UTC.
            f"here = time() + TimeInterval_Minute * {utc_offset.total_seconds() / 60:g};",
            f"atWork = here.weekday >= 1 && here.weekday <= 5 && here.hour >= {begin} && here.hour < {end};",
            f"wanted = max(atWork ? {daytime} : 0, min({most}, needed));",
            *_targets(spot_share),
            "$NodeDeallocationOption = taskcompletion;",
        )
    )


def fixed(*, nodes: int, spot_share: float = 0.0, until: datetime | None = None) -> str:
    """All `nodes` until the moment `until` (UTC) and while tasks wait or run, none after five minutes without."""
    if nodes < 1:
        raise ValueError(f"{nodes} nodes are too few")
    return "\n".join(
        (
            *_recent(),
            f"busy = known && recent > 0{f' || {_before(until)}' if until else ''};",
            f"wanted = busy ? {nodes} : 0;",
            *_targets(spot_share),
            "$NodeDeallocationOption = taskcompletion;",
        )
    )


def _before(moment: datetime) -> str:
    return f'time() < time("{moment:%Y-%m-%dT%H:%M:%SZ}")'


def _recent() -> tuple[str, ...]:
    """`known`: whether there are samples; `recent`: tasks waiting or running, the larger of now and five minutes."""
    return (
        "known = $PendingTasks.Count() > 0;",
        "recent = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5) < 70",
        "  ? max(0, $PendingTasks.GetSample(1))",
        "  : max($PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 5)));",
    )


def _needed(slots_per_task: float, first: int) -> tuple[str, ...]:
    return (
        f"slotsPerTask = {slots_per_task:g};",
        # Targets are truncated, so nearly one is added to round up.
        f"needed = known ? recent * slotsPerTask / $TaskSlotsPerNode + 0.999 : {first};",
    )


def _targets(spot_share: float) -> tuple[str, str]:
    """Both kinds of node from `wanted`; each is truncated by the service, so a share rounds the spot nodes."""
    if spot_share in (0, 1):
        kinds = ("wanted", "0") if spot_share == 0 else ("0", "wanted")
        return f"$TargetDedicatedNodes = {kinds[0]};", f"$TargetLowPriorityNodes = {kinds[1]};"
    return (
        f"$TargetDedicatedNodes = wanted * {1 - spot_share:g};",
        f"$TargetLowPriorityNodes = wanted * {spot_share:g} + 0.5;",
    )
