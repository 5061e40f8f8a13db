"""Lists as the unchanged client asks for them: statistics, selections, filters of every kind, pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.core.exceptions import HttpResponseError

from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Driver, connect, now, pool


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(runner="instant", storage=False, speed=600, strict=True) as running:
        yield running


@pytest.fixture(scope="module")
def driver(emulator: Emulator) -> Iterator[Driver]:
    """A job `j` of 25 tasks, all of which have ended."""
    made = connect(emulator, aio=False, tls=False)
    made.call("create_pool", pool("p"))
    made.call("create_job", {"id": "j", "poolInfo": {"poolId": "p"}})
    made.call("create_tasks", "j", [{"id": f"t{number:02d}", "commandLine": "x"} for number in range(25)])
    made.until(lambda: len(made.all("list_tasks", "j", filter="state eq 'completed'")) == 25)
    yield made
    made.close()


def test_statistics(driver: Driver) -> None:
    """$expand=stats gives the client's own types: counts and times of pools, jobs and tasks; nothing without it."""
    job = driver.call("get_job", "j", expand=["stats"])
    found = job.job_statistics
    assert (found.succeeded_tasks_count, found.failed_tasks_count, found.task_retries_count) == (25, 0, 0)
    assert timedelta(0) <= found.wait_time < timedelta(hours=1)
    assert found.start_time == job.creation_time
    (found_pool,) = driver.all("list_pools", expand=["stats"], filter="id eq 'p'")
    assert found_pool.pool_statistics.usage_statistics.dedicated_core_time > timedelta(0)
    task = driver.call("get_task", "j", "t00", expand=["stats"])
    assert timedelta(0) <= task.task_statistics.wall_clock_time < timedelta(hours=1)
    assert driver.call("get_task", "j", "t00").task_statistics is None


@pytest.mark.parametrize(
    ("operation", "arguments", "filter"),
    [
        ("list_tasks", ["j"], "executionInfo/exitCode eq 0 and executionInfo/result eq 'success'"),
        ("list_tasks", ["j"], "startswith(id, 'T') and not (id lt 't00')"),
        ("list_tasks", ["j"], "executionInfo/endTime ge executionInfo/startTime or state ne 'active'"),
        ("list_tasks", ["j"], "'completed' eq state and lastModifiedTime gt datetime'2020-01-01T00:00:00Z'"),
        ("list_jobs", [], "executionInfo/poolId eq 'P' and state eq 'active'"),
        ("list_pools", [], "enableAutoScale eq false and vmSize eq 'STANDARD_D2S_V5' and allocationState eq 'steady'"),
        ("list_nodes", ["p"], "state eq 'idle' and lastBootTime gt 2020-01-01T00:00:00.0000000Z"),
        ("list_supported_images", [], "osType eq 'linux' and verificationType eq 'verified'"),
        ("list_pool_node_counts", [], "poolId eq 'p'"),
    ],
)
def test_filters(driver: Driver, operation: str, arguments: list[str], filter: str) -> None:
    """What Azure's list of filters allows selects; two properties against each other it does not allow."""
    if "endTime ge executionInfo" in filter:
        with pytest.raises(HttpResponseError, match="InvalidQueryParameterValue"):
            driver.all(operation, *arguments, filter=filter)
    else:
        assert driver.all(operation, *arguments, filter=filter)


def test_times_select(driver: Driver) -> None:
    """A filter by time divides what was before from what was after."""
    later = (now() + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert driver.all("list_tasks", "j", filter=f"stateTransitionTime gt {later}") == []
    assert len(driver.all("list_tasks", "j", filter=f"stateTransitionTime lt datetime'{later}'")) == 25


def test_selections(driver: Driver) -> None:
    """Only what is selected comes; an unknown name is refused, in an empty list as well."""
    (first, *_) = driver.all("list_tasks", "j", select=["id", "executionInfo/exitCode"])
    assert set(first.as_dict()) == {"id", "executionInfo"}
    with pytest.raises(HttpResponseError, match="InvalidQueryParameterValue"):
        driver.all("list_job_schedules", select=["nothing"])
    with pytest.raises(HttpResponseError, match="InvalidQueryParameterValue"):
        driver.call("get_job", "j", expand=["tasks"])


def test_pages(driver: Driver) -> None:
    """Pages of any size give each task once, also while tasks go and come, filtered or not."""
    for filter in (None, "state eq 'completed'"):
        pages = driver.client.list_tasks("j", max_results=7, filter=filter).by_page()
        seen = [[task.id for task in next(pages)]]
        driver.call("create_task", "j", {"id": f"new{filter is None}", "commandLine": "x"})
        driver.call("delete_task", "j", f"t0{3 if filter else 4}")
        seen += [[task.id for task in one] for one in pages]
        found = [name for page in seen for name in page if name.startswith("t")]
        assert len(found) == len(set(found))
        assert {task.id for task in driver.all("list_tasks", "j", filter="startswith(id,'t')")} <= set(found)
        assert [len(page) for page in seen[:-1]] == [7] * (len(seen) - 1)
