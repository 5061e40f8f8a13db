"""How long the service takes for things, as data; speed divides every delay but the run time of tasks."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Delays of the service. The defaults are Azure's own [recorded, documented]."""

    allocation: timedelta = timedelta(seconds=12)  # resize accepted -> nodes exist
    boot: timedelta = timedelta(seconds=15)  # node exists -> start task or idle
    restore: timedelta = timedelta(minutes=2)  # preempted -> capacity is found again
    sample_period: timedelta = timedelta(seconds=30)
    sample_lag: timedelta = timedelta(seconds=60)  # a sample is readable only after this
    enable_autoscale_pause: timedelta = timedelta(seconds=30)
    speed: float = 1.0

    def scaled(self, speed: float) -> Profile:
        """This profile with every delay divided by `speed` (> 0); sampling is scaled by service time instead."""
        if speed <= 0:
            raise ValueError(f"speed must be above zero, not {speed}")
        delays = {
            field.name: getattr(self, field.name) / speed
            for field in fields(self)
            if field.name not in {"speed", "sample_period", "sample_lag"}
        }
        return replace(self, speed=speed, **delays)
