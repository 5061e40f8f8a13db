"""Autoscale scenarios, run on the emulated service in virtual time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from azbatch.errors import ConfigurationError
from azbatch.pools.scenarios import Scaling, Scenario
from azbatch_emulator import events
from azbatch_emulator.records import TaskState
from tests.unit.worlds import Play

EVALUATION = timedelta(minutes=5)


def _scaled(scaling: Scaling, slots: int = 4) -> Play:
    """An empty pool that scales by the scenario, its first evaluation over."""
    play = Play()
    play.pool(0, slots=slots)
    play.do(events.EnableAutoScale(pool_id="p", formula=scaling.formula(), interval=EVALUATION))
    play.job()
    play.after(minutes=7)
    run = play.world.pool("p").autoscale_run
    assert run is not None
    assert run.error is None
    return play


def _finish(play: Play, at_most: int) -> int:
    """Run tasks two minutes each until all ended; the most nodes that were ever asked for."""
    asked = 0
    while play.running or play.world.pool("p").target_dedicated or play.world.pool("p").target_spot:
        pool = play.world.pool("p")
        asked = max(asked, pool.target_dedicated + pool.target_spot)
        assert asked <= at_most
        play.after(minutes=2)
        for run in list(play.running):
            play.end(run)
    return asked


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        ({"scenario": Scenario.PENDING_TASKS, "most": 50}, 10),
        ({"scenario": Scenario.PENDING_TASKS, "most": 3}, 3),
        ({"scenario": Scenario.PENDING_TASKS, "most": 50, "spot_share": 1.0}, 10),
        ({"scenario": Scenario.PENDING_TASKS, "most": 50, "spot_share": 0.5}, 10),
        ({"scenario": Scenario.WORKDAY, "most": 50, "daytime": 0}, 10),
        ({"scenario": Scenario.WORKDAY, "most": 50, "daytime": 2, "begin": 0, "end": 5}, 10),
        ({"scenario": Scenario.FIXED, "most": 6}, 6),
    ],
)
def test_from_nothing_up_and_back(options: dict[str, Any], nodes: int) -> None:
    """40 one-slot tasks on 4-slot nodes: up within one evaluation, never more than 10 nodes, and back to none."""
    play = _scaled(Scaling(**options))
    assert play.world.pool("p").target_dedicated == 0
    play.tasks(*(f"t{number}" for number in range(40)))
    # A sample can be read a minute after it was taken, so an evaluation sees tasks that came 90 s before.
    play.after(seconds=90)
    play.after(seconds=EVALUATION.total_seconds() + 30)
    pool = play.world.pool("p")
    assert pool.target_dedicated + pool.target_spot == nodes
    assert play.running
    assert _finish(play, nodes) == nodes
    play.after(minutes=10)
    assert not play.nodes()
    assert [task.state for task in play.world.tasks("j").values()] == [TaskState.COMPLETED] * 40


def test_tasks_that_take_several_slots() -> None:
    """With two slots a task, twice the nodes are asked for."""
    play = _scaled(Scaling(most=50, slots_per_task=2))
    play.tasks(*(f"t{number}" for number in range(40)), requiredSlots=2)
    play.after(minutes=7)
    assert play.world.pool("p").target_dedicated == 20


def test_by_day_some_nodes_stay() -> None:
    """It is Thursday noon: nodes are kept until 18 hours, and none by night; another time zone moves the hours."""
    play = _scaled(Scaling(scenario=Scenario.WORKDAY, most=9, daytime=2))
    assert play.world.pool("p").target_dedicated == 2
    play.after(hours=6, minutes=5)
    assert play.world.pool("p").target_dedicated == 0
    east = _scaled(Scaling(scenario=Scenario.WORKDAY, most=9, daytime=2, utc_offset=8))
    assert east.world.pool("p").target_dedicated == 0


def test_all_faults_of_a_scaling_come_at_once() -> None:
    """Numbers that make no sense are told together, in words."""
    wrong = Scaling(scenario=Scenario.WORKDAY, most=0, begin=20, end=8, spot_share=2, slots_per_task=0, utc_offset=99)
    with pytest.raises(ConfigurationError) as raised:
        wrong.formula()
    assert len(raised.value.faults) == 6


@pytest.mark.parametrize("scenario", list(Scenario))
def test_a_scenario_in_words(scenario: Scenario) -> None:
    """The user reads what will happen: how many nodes, of which kind, how often."""
    text = Scaling(scenario=scenario, most=7, spot_share=0.25, utc_offset=1).words()
    assert all(part in text for part in ("7 nodes", "25% spot", "5 minutes"))
