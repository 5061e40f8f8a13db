"""The fixtures that other projects use: running emulators, each test with an empty one of the kind it asks for."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
import requests
from azure.batch import BatchClient
from azure.batch.models import BatchPoolCreateOptions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential

from azbatch_emulator import Emulator, EmulatorError
from azbatch_emulator.testing import BatchClock, BatchFaults
from tests.contract.sdk import connect, pool

pytestmark = pytest.mark.batch_emulator(runner="instant", speed=600)
_seen: dict[str, Any] = {}


def _client(endpoint: str, key: tuple[str, str]) -> BatchClient:
    return BatchClient(endpoint=endpoint, credential=AzureNamedKeyCredential(*key))


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_an_empty_emulator(
    batch_emulator: Emulator,
    batch_endpoint: str,
    batch_shared_key: tuple[str, str],
    batch_faults: BatchFaults,
    turn: int,
) -> None:
    """The same emulator, since it asks for the same, without what the test before made, broke or counted."""
    assert _seen.setdefault("emulator", batch_emulator) is batch_emulator
    assert batch_faults.struck() == {}
    with _client(batch_endpoint, batch_shared_key) as client:
        assert list(client.list_pools()) == []
        client.create_pool(BatchPoolCreateOptions(pool("left-behind")))
        batch_faults.add("status", operation="GetPool", status=400, times=None)
        with pytest.raises(HttpResponseError):
            client.get_pool("left-behind")
        assert batch_faults.struck() == {"status": 1}


def test_without_blobs_unless_asked_for(batch_emulator: Emulator) -> None:
    """Tests that want no storage need no Node.js."""
    assert batch_emulator.control("status")["blob_url"] is None
    with pytest.raises(AttributeError, match="without storage"):
        _ = batch_emulator.storage_connection_string


def test_asking_for_blobs_starts_them(batch_emulator: Emulator, batch_blob_url: str, batch_ca_bundle: str) -> None:
    """Another emulator, with the marker's options too; its address is trusted by the bundle."""
    assert batch_emulator is not _seen.get("emulator")
    assert batch_emulator.control("status")["runner"] == "instant"
    answer = requests.get(f"{batch_blob_url}?comp=list", verify=batch_ca_bundle, timeout=10)
    assert answer.status_code == 403


@pytest.mark.batch_emulator(account="mine")
def test_the_closest_marker_has_the_last_word(batch_shared_key: tuple[str, str], batch_emulator: Emulator) -> None:
    """Markers of module and test add up."""
    assert batch_shared_key == ("mine", batch_emulator.account_key)
    assert batch_emulator.control("status")["runner"] == "instant"


def test_the_environment_is_set_for_one_test(batch_environment: dict[str, str], batch_emulator: Emulator) -> None:
    """DefaultAzureCredential opens the account; the variables are the process's own."""
    assert batch_environment.items() <= os.environ.items()
    with BatchClient(endpoint=os.environ["AZBATCH_ACCOUNT_URL"], credential=DefaultAzureCredential()) as client:
        assert list(client.list_pools()) == []


@pytest.mark.parametrize("turn", [1, 2])
def test_time_is_the_tests_own(batch_clock: BatchClock, batch_emulator: Emulator, turn: int) -> None:
    """Paused it stands still, by hand it moves by exactly that much; the next test finds it running."""
    assert batch_emulator.control("clock")["paused"] is False
    batch_clock.pause()
    before = batch_clock.now()
    assert batch_clock.now() == before
    assert batch_clock.advance(90) == before + timedelta(seconds=90)
    assert batch_clock.advance(timedelta(hours=1)) == before + timedelta(seconds=3690)
    with pytest.raises(EmulatorError, match="never backwards"):
        batch_clock.advance(-1)
    batch_clock.resume()
    batch_clock.pause()


def test_all_faults_can_be_caused(batch_emulator: Emulator, batch_faults: BatchFaults) -> None:
    """Each method has its effect on the service, and one that makes no sense says why."""
    driver = connect(batch_emulator, aio=False, tls=False)

    def states(pool_id: str) -> list[str]:
        return sorted(node.state.value for node in driver.all("list_nodes", pool_id))

    def errors(pool_id: str) -> list[str]:
        return [error.code for error in driver.call("get_pool", pool_id).resize_errors or ()]

    try:
        driver.call("create_pool", pool("p", targetDedicatedNodes=1, targetLowPriorityNodes=1))
        driver.until(lambda: states("p") == ["idle", "idle"])
        dedicated, spot = sorted(driver.all("list_nodes", "p"), key=lambda node: not node.is_dedicated)
        batch_faults.break_node("p", dedicated.id, code="DiskFull")
        assert driver.call("get_node", "p", dedicated.id).errors[0].code == "DiskFull"
        batch_faults.preempt("p", spot.id)
        assert "preempted" in states("p")
        with pytest.raises(EmulatorError, match="OperationInvalidForCurrentState"):
            batch_faults.preempt("p", dedicated.id)

        start = {"commandLine": "/bin/true", "waitForSuccess": True}
        driver.call("create_pool", pool("s", targetDedicatedNodes=0, startTask=start))
        batch_faults.fail_start_tasks("s", exit_code=3)
        batch_faults.fail_nodes("s", code="Broken")
        driver.done("begin_resize_pool", "s", {"targetDedicatedNodes": 2})
        driver.until(lambda: states("s") == ["starttaskfailed", "unusable"])

        driver.call("create_pool", pool("r", targetDedicatedNodes=0))
        batch_faults.fail_resizes("r", code="NoMachines")
        driver.done("begin_resize_pool", "r", {"targetDedicatedNodes": 1})
        driver.until(lambda: errors("r") == ["NoMachines"])

        batch_faults.quota(dedicated_cores=0)
        driver.call("create_pool", pool("q"))
        driver.until(lambda: errors("q") == ["AccountCoreQuotaReached"])

        rule = batch_faults.add("slow", seconds=0, times=None)
        batch_faults.clear(rule)
        with pytest.raises(EmulatorError, match="no kind of fault"):
            batch_faults.add("sloow")
    finally:
        driver.close()
