"""How long the service takes for things and how often they fail, as data."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Delays and failures of the service. The defaults are Azure's own delays [recorded, documented], and no failures.

    A delay is `x` to `x + x_spread`, each as likely. `speed` divides every delay but the run time of tasks.
    """

    allocation: timedelta = timedelta(seconds=12)  # resize accepted -> nodes exist
    allocation_spread: timedelta = timedelta(0)
    boot: timedelta = timedelta(seconds=15)  # node exists -> start task or idle
    boot_spread: timedelta = timedelta(0)
    image_pull: timedelta = timedelta(0)  # more boot for each container image of the pool
    image_pull_spread: timedelta = timedelta(0)
    restore: timedelta = timedelta(minutes=2)  # preempted -> capacity is found again
    restore_spread: timedelta = timedelta(0)
    sample_period: timedelta = timedelta(seconds=30)
    sample_lag: timedelta = timedelta(seconds=30)  # a sample is readable only after this
    sample_loss: float = 0.0  # how likely a sample is missing
    enable_autoscale_pause: timedelta = timedelta(seconds=30)
    allocation_failure: float = 0.0  # how likely a resize gets no node
    boot_failure: float = 0.0  # how likely a node is unusable
    image_pull_failure: float = 0.0  # how likely each image of the pool is not to be had
    preemptions_per_hour: float = 0.0  # of a spot node, in service time
    speed: float = 1.0

    def scaled(self, speed: float) -> Profile:
        """This profile with every delay divided by `speed` (> 0); sampling is scaled by service time instead."""
        if speed <= 0:
            raise ValueError(f"speed must be above zero, not {speed}")
        delays: dict[str, Any] = {
            field.name: value / speed
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), timedelta)
            and field.name not in {"sample_period", "sample_lag"}
        }
        return replace(self, speed=speed, **delays)


def drawn(delay: timedelta, spread: timedelta, rng: Random) -> timedelta:
    """A delay out of its range; where there is no spread nothing is drawn."""
    return delay + spread * rng.random() if spread else delay


def happens(probability: float, rng: Random) -> bool:
    """Whether something comes about; where it is impossible nothing is drawn."""
    return probability > 0 and rng.random() < probability
