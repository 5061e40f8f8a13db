"""Virtual time: hours of the service in parts of a second, as clients see them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Driver, connect, pool

FORMULA = "$TargetDedicatedNodes = min(4, max($PendingTasks.GetSample(1)));"


@pytest.fixture
def virtual() -> Iterator[Emulator]:
    """An emulator whose clock jumps."""
    with Emulator(runner="instant", storage=False, virtual_time=True) as emulator:
        yield emulator


@pytest.fixture
def driver(virtual: Emulator) -> Iterator[Driver]:
    made = connect(virtual, aio=False, tls=True)
    yield made
    made.close()


def clock(emulator: Emulator, **body: Any) -> datetime:
    return datetime.fromisoformat(emulator.control("clock", **body)["now"])


def autoscaled(driver: Driver) -> None:
    """A pool that is evaluated every five minutes."""
    body = pool("p", enableAutoScale=True, autoScaleFormula=FORMULA, autoScaleEvaluationInterval="PT5M")
    del body["targetDedicatedNodes"]
    driver.call("create_pool", body)


def test_an_hour_of_autoscaling_in_under_a_second(virtual: Emulator, driver: Driver) -> None:
    """At Azure's own delays: tasks are seen by the formula, nodes come, the tasks run, the nodes go."""
    begun = clock(virtual, pause=True)
    autoscaled(driver)
    driver.call("create_job", {"id": "j", "poolInfo": {"poolId": "p"}})
    for number in range(10):
        driver.call("create_task", "j", {"id": f"t{number}", "commandLine": "/bin/true"})
    assert driver.call("get_job_task_counts", "j").task_counts.active == 10
    wall = time.monotonic()
    clock(virtual, advance=330)
    scaled = driver.call("get_pool", "p")
    assert scaled.auto_scale_run.results.startswith("$TargetDedicatedNodes=4")
    clock(virtual, advance=3270)
    assert time.monotonic() - wall < 1.0
    assert clock(virtual) == begun + timedelta(hours=1)
    assert driver.call("get_job_task_counts", "j").task_counts.completed == 10
    found = driver.call("get_pool", "p")
    assert (found.current_dedicated_nodes, found.target_dedicated_nodes) == (0, 0)
    assert timedelta(0) <= begun + timedelta(hours=1) - found.auto_scale_run.timestamp <= timedelta(minutes=5)


def test_the_clock_jumps_by_itself(virtual: Emulator, driver: Driver) -> None:
    """A client that merely waits sees minutes of allocation, boot and evaluation go by in parts of a second."""
    begun, wall = clock(virtual), time.monotonic()
    autoscaled(driver)
    driver.call("create_job", {"id": "j", "poolInfo": {"poolId": "p"}})
    driver.call("create_task", "j", {"id": "t", "commandLine": "/bin/true"})
    driver.until(lambda: driver.call("get_task", "j", "t").state == "completed")
    driver.until(lambda: driver.call("get_pool", "p").current_dedicated_nodes == 0)
    assert time.monotonic() - wall < 10
    assert clock(virtual) - begun >= timedelta(minutes=5)


def test_a_paused_clock_stands_still(virtual: Emulator, driver: Driver) -> None:
    """Paused, nothing becomes due until it is advanced; it never goes backwards."""
    clock(virtual, pause=True)
    driver.call("create_pool", pool("p"))
    first = clock(virtual)
    assert clock(virtual) == first
    assert driver.call("get_pool", "p").allocation_state == "resizing"
    clock(virtual, advance=11.9)
    assert driver.all("list_nodes", "p") == []
    clock(virtual, advance=0.1)
    assert [node.state for node in driver.all("list_nodes", "p")] == ["starting"]
    clock(virtual, advance=15)
    assert [node.state for node in driver.all("list_nodes", "p")] == ["idle"]
    with pytest.raises(EmulatorError, match="backwards"):
        clock(virtual, advance=-1)
    with pytest.raises(EmulatorError, match="time is advanced by"):
        clock(virtual, advance=1e300)
    assert clock(virtual, pause=False) >= first + timedelta(seconds=27)


def test_while_a_task_runs_time_goes_on_as_outside(virtual: Emulator, driver: Driver) -> None:
    """What takes real time is not overtaken by jumps: a task's wall clock is the real one, unless it is advanced."""
    driver.call("create_pool", pool("p"))
    driver.call("create_job", {"id": "j", "poolInfo": {"poolId": "p"}})
    settings = [{"name": "AZBATCH_EMULATOR_EXIT_CODE", "value": "hold"}]
    driver.call("create_task", "j", {"id": "t", "commandLine": "x", "environmentSettings": settings})
    driver.until(lambda: driver.call("get_task", "j", "t").state == "running")
    wall, begun = time.monotonic(), clock(virtual)
    driver.call("get_task", "j", "t")
    passed = (clock(virtual) - begun).total_seconds()
    assert 0 < passed <= time.monotonic() - wall + 0.01
    later = clock(virtual, advance=7200)
    assert later - begun >= timedelta(hours=2)
    assert driver.call("get_task", "j", "t").state == "running"


def test_real_time_cannot_be_moved() -> None:
    """An emulator in real time says so."""
    with Emulator(runner="instant", storage=False) as emulator:
        assert emulator.control("clock")["virtual"] is False
        with pytest.raises(EmulatorError, match="--virtual-time"):
            emulator.control("clock", advance=5)


def test_a_seed_repeats_a_bad_day(tmp_path: Path) -> None:
    """The same profile and requests in virtual time: the same nodes, lost and restored at the same times."""
    file = tmp_path / "bad.yaml"
    file.write_text("seed: 4\npreemptions_per_hour: 2\nboot_failure: 0.3\nboot_seconds: [10, 100]\n")

    def day() -> list[tuple[str, str, timedelta]]:
        with Emulator(runner="instant", storage=False, virtual_time=True, profile=file) as emulator:
            begun = clock(emulator, pause=True)
            driver = connect(emulator, aio=False, tls=False)
            driver.call("create_pool", pool("p", targetDedicatedNodes=1, targetLowPriorityNodes=8))
            clock(emulator, advance=6 * 3600)
            nodes = driver.all("list_nodes", "p")
            driver.close()
            return [(node.id, node.state, node.state_transition_time - begun) for node in nodes]

    first = day()
    assert first == day()
    assert {"idle", "unusable"} <= {state for _, state, _ in first}
