"""Faults of the HTTP surface, by rules, as the unchanged azure-batch meets them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.batch.models import BatchTaskCreateOptions
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Driver, Token, connect, pool

_numbers = itertools.count()


@pytest.fixture(scope="module")
def instant() -> Iterator[Emulator]:
    """An emulator without storage or processes."""
    with Emulator(runner="instant", storage=False, speed=1000) as emulator:
        yield emulator


@pytest.fixture(params=["http", "tls"])
def driver(request: pytest.FixtureRequest, instant: Emulator) -> Iterator[Driver]:
    """A client of each kind; the rules are cleared after the test."""
    made = connect(instant, aio=False, tls=request.param == "tls")
    yield made
    made.close()
    instant.control("faults/clear")


@pytest.fixture
def name(driver: Driver) -> str:
    """A job that no other test uses."""
    name = f"j{next(_numbers)}"
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": "none"}})
    return name


def rules(emulator: Emulator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = emulator.control("faults")["rules"]
    return found


@pytest.mark.parametrize(
    ("status", "code", "given", "header"),
    [
        (429, "TooManyRequests", 7, "7"),
        (503, "ServerBusy", None, "30"),
        (500, "InternalError", None, None),
    ],
)
def test_refusals(
    driver: Driver, name: str, instant: Emulator, status: int, code: str, given: int | None, header: str | None
) -> None:
    """A client without retries gets the service's status, code and Retry-After; other operations are left alone."""
    instant.control("faults/add", kind="status", status=status, operation="GetJob", retry_after=given)
    with pytest.raises(HttpResponseError) as caught:
        driver.call("get_job", name, retry_total=0)
    answer: Any = caught.value.response
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, header)
    assert f'"code": "{code}"' in answer.text()
    assert name in [job.id for job in driver.all("list_jobs")]


def test_a_client_that_retries_gets_through(driver: Driver, name: str, instant: Emulator) -> None:
    """A rule with a count hits that many requests, and no more."""
    instant.control("faults/add", kind="status", operation="getjob", times=1, retry_after=0)
    assert driver.call("get_job", name).id == name
    assert [(rule["matched"], rule["hit"]) for rule in rules(instant)] == [(2, 1)]


@pytest.mark.parametrize(("kind", "there"), [("reset-before", False), ("reset-after", True)])
def test_resets(driver: Driver, name: str, instant: Emulator, kind: str, there: bool) -> None:
    """The connection is reset: before the request is handled, or when it is committed but the client cannot know."""
    instant.control("faults/add", kind=kind, method="POST", path=f"/jobs/{name}/tasks", times=1)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        driver.call("create_task", name, {"id": "t", "commandLine": "/bin/true"}, retry_total=0)
    assert [task.id for task in driver.all("list_tasks", name)] == (["t"] if there else [])


def test_a_slow_answer(driver: Driver, name: str, instant: Emulator) -> None:
    """The answer is right, but late; a client that does not wait so long gives up."""
    instant.control("faults/add", kind="slow", operation="GetJob", seconds=0.3, times=2)
    begun = time.monotonic()
    assert driver.call("get_job", name).id == name
    assert time.monotonic() - begun >= 0.3
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        driver.call("get_job", name, read_timeout=0.05, retry_total=0)


def test_a_collection_fails_in_part(driver: Driver, name: str, instant: Emulator) -> None:
    """The failed items answer serverError and are not there; the SDK adds them again until all are.

    The SDK does so only for tasks given as models: with dicts it fails with an AttributeError [azure-batch 15.1].
    """
    body = [BatchTaskCreateOptions(id=f"t{number}", command_line="/bin/true") for number in range(150)]
    instant.control("faults/add", kind="partial", share=0.3, seed=1, times=3)
    results = driver.call(
        "create_task_collection", name, {"value": [task.as_dict() for task in body[:20]]}
    ).result_values
    failed = {result.task_id for result in results if result.status == "servererror"}
    assert len(results) == 20
    assert 0 < len(failed) < 20
    assert {task.id for task in driver.all("list_tasks", name)} == {task.id for task in body[:20]} - failed
    driver.call("create_tasks", name, body[20:])
    assert len(list(driver.all("list_tasks", name))) == 150 - len(failed)
    assert rules(instant)[0]["hit"] == 3


def test_probability_is_seeded(driver: Driver, name: str, instant: Emulator) -> None:
    """The same seed hits the same requests."""

    def outcomes() -> list[bool]:
        instant.control("faults/clear")
        instant.control(
            "faults/add", kind="status", status=500, times=None, operation="GetJob", probability=0.5, seed=3
        )
        found = []
        for _ in range(20):
            try:
                driver.call("get_job", name, retry_total=0)
                found.append(True)
            except HttpResponseError:
                found.append(False)
        return found

    first = outcomes()
    assert first == outcomes()
    assert set(first) == {True, False}


def test_rules_are_listed_and_cleared(driver: Driver, instant: Emulator) -> None:
    """Rules have ids; one is cleared by its id, all without; a faulty rule changes nothing and says everything."""
    first, second = instant.control("faults/add", rules=[{"kind": "reset-before"}, {"kind": "slow", "plane": "arm"}])[
        "ids"
    ]
    assert instant.control("faults/clear", id=first) == {"cleared": 1}
    assert [rule["id"] for rule in rules(instant)] == [second]
    with pytest.raises(
        EmulatorError, match=r"'colour' is no property.*probability: a number between 0 and 1.*times: a whole.*kind is"
    ):
        instant.control("faults/add", rules=[{"kind": "slow"}, {"times": 0, "probability": 2, "colour": "red"}])
    assert len(rules(instant)) == 1
    assert instant.control("faults/clear") == {"cleared": 1}
    with pytest.raises(EmulatorError, match="no fault rule 99"):
        instant.control("faults/clear", id="99")


def test_resource_manager_fails_too(driver: Driver, instant: Emulator) -> None:
    """Rules of the plane `arm` hit Resource Manager, with its errors; control calls and tokens are never hit."""
    instant.control("faults/add", kind="status", status=429, plane="any", retry_after=3)
    token = Token(instant).get_token("https://management.azure.com/.default").token
    answer = requests.get(
        f"{instant.https_url}/subscriptions",
        params={"api-version": "2022-12-01"},
        headers={"Authorization": f"Bearer {token}"},
        verify=str(instant.ca_bundle),
        timeout=10,
    )
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert answer.json()["error"]["code"] == "TooManyRequests"


def test_reset_of_the_emulator_forgets_rules() -> None:
    """After a reset nothing is faulty any more."""
    with Emulator(runner="instant", storage=False) as emulator:
        emulator.control("faults/add", kind="status", status=500, times=None)
        emulator.control("reset")
        assert rules(emulator) == []
        driver = connect(emulator, aio=False, tls=False)
        driver.call("create_pool", pool("p"))
        driver.close()


def test_faults_of_nodes_and_resizes(instant: Emulator) -> None:
    """A resize that gets nothing, then recovers; images that are not found; a full disk: as the client reads them."""
    driver = connect(instant, aio=False, tls=False)
    driver.call("create_pool", pool("sick", targetDedicatedNodes=0))
    driver.until(lambda: driver.call("get_pool", "sick").allocation_state == "steady")
    instant.control("fail-resizes", pool_id="sick")
    instant.control("fail-nodes", pool_id="sick", count=1)
    driver.done("begin_resize_pool", "sick", {"targetDedicatedNodes": 2})
    assert [error.code for error in driver.call("get_pool", "sick").resize_errors] == ["AllocationFailed"]
    driver.done("begin_resize_pool", "sick", {"targetDedicatedNodes": 2})
    driver.until(lambda: sorted(node.state for node in driver.all("list_nodes", "sick")) == ["idle", "unusable"])
    well, ill = sorted(driver.all("list_nodes", "sick"), key=lambda node: node.state)
    assert [error.code for error in ill.errors] == ["ContainerInvalidImage"]
    instant.control("fill-disk", pool_id="sick", node_id=well.id)
    full = driver.call("get_node", "sick", well.id)
    assert (full.state, [error.code for error in full.errors]) == ("unusable", ["DiskFull"])
    with pytest.raises(EmulatorError, match="PoolNotFound"):
        instant.control("fail-nodes", pool_id="nowhere")
    driver.close()


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    """Its speed, its rules (which a reset brings back) and its node failures are in force."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "speed: 500\nboot_failure: 1\nhttp: [{kind: status, operation: GetJob, retry_after: 0, times: 1}]\n"
    )
    with Emulator(runner="instant", storage=False, profile=file) as emulator:
        told = emulator.control("status")
        assert (told["profile"], told["speed"]) == ("mine", 500)
        driver = connect(emulator, aio=False, tls=False)
        driver.call("create_job", {"id": "j", "poolInfo": {"poolId": "none"}})
        with pytest.raises(HttpResponseError, match="ServerBusy"):
            driver.call("get_job", "j", retry_total=0)
        assert driver.call("get_job", "j").id == "j"
        emulator.control("reset")
        assert [rule["hit"] for rule in rules(emulator)] == [0]
        driver.call("create_pool", pool("p"))
        driver.until(lambda: [node.state for node in driver.all("list_nodes", "p")] == ["unusable"])
        driver.close()
    file.write_text("speed: 0\n")
    with pytest.raises(EmulatorError, match="speed: a number above 0"):
        Emulator(profile=file)
