"""Autoscale scenarios by name: what a formula is for, its text, and what it will do in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from azbatch.errors import ConfigurationError
from azbatch.pools import formula


class Scenario(StrEnum):
    """`PENDING_TASKS`: nodes follow the waiting tasks. `WORKDAY`: so too, and some stay in working hours. `FIXED`: all
    nodes while there are tasks, none else."""

    PENDING_TASKS = "pending-tasks"
    WORKDAY = "workday"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """A scenario with its numbers. `begin` and `end` are hours of the day at `utc_offset` from UTC; `daytime` nodes are
    kept then, Monday to Friday. `slots_per_task` is what a task takes on average; `spot_share` is 0 to 1."""

    scenario: Scenario = Scenario.PENDING_TASKS
    most: int = 10
    daytime: int = 1
    begin: int = 8
    end: int = 18
    utc_offset: float = 0.0
    spot_share: float = 0.0
    slots_per_task: float = 1.0

    def faults(self) -> list[str]:
        """All that is wrong, a sentence each."""
        found = []
        if self.most < 1:
            found.append(f"A pool that scales needs at least one node to scale to, not {self.most}.")
        if not 0 <= self.spot_share <= 1:
            found.append(f"The spot share is between 0 and 1, not {self.spot_share:g}.")
        if self.slots_per_task <= 0:
            found.append(f"A task takes more than {self.slots_per_task:g} slots.")
        if self.scenario is Scenario.WORKDAY:
            if not 0 <= self.begin < self.end <= 24:
                found.append(f"Working hours run from 0 to 24, the beginning first, not {self.begin} to {self.end}.")
            if not 0 <= self.daytime <= self.most:
                found.append(f"By day {self.daytime} nodes cannot be kept where at most {self.most} are allowed.")
            if not -14 <= self.utc_offset <= 14:
                found.append(f"{self.utc_offset:g} hours is no offset from UTC.")
        return found

    def formula(self) -> str:
        """The formula's text. Raises ConfigurationError with all faults."""
        faults = self.faults()
        if faults:
            raise ConfigurationError(faults)
        if self.scenario is Scenario.FIXED:
            return formula.fixed(nodes=self.most, spot_share=self.spot_share)
        if self.scenario is Scenario.WORKDAY:
            return formula.workday(
                most=self.most,
                daytime=self.daytime,
                begin=self.begin,
                end=self.end,
                utc_offset=timedelta(hours=self.utc_offset),
                spot_share=self.spot_share,
                slots_per_task=self.slots_per_task,
            )
        return formula.pending_tasks(most=self.most, spot_share=self.spot_share, slots_per_task=self.slots_per_task)

    def words(self) -> str:
        """What it will do, for the user."""
        kinds = {0.0: "dedicated", 1.0: "spot"}.get(self.spot_share, f"{self.spot_share:.0%} spot")
        if self.scenario is Scenario.FIXED:
            return f"{self.most} nodes ({kinds}) while tasks wait or run, none else; looked at every 5 minutes."
        text = f"0 to {self.most} nodes ({kinds}), as many as the waiting and running tasks fill; every 5 minutes"
        if self.scenario is Scenario.WORKDAY:
            zone = f"UTC{self.utc_offset:+g}" if self.utc_offset else "UTC"
            text += f"; at least {self.daytime} from {self.begin}:00 to {self.end}:00 {zone}, Monday to Friday"
        return f"{text}."
