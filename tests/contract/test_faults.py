"""Faults of the wire that the emulator makes on request, and how the product's client and submitter take them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceResponseError

from azbatch.azure.batch import BatchAccount
from azbatch.errors import ServiceError
from azbatch.jobs import TaskSpec, submit
from azbatch_emulator import Emulator, EmulatorError
from tests.contract.sdk import pool


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(storage=False, runner="instant", speed=10_000) as one:
        yield one


@pytest.fixture
def account(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    """The product's client; all faults are gone afterwards."""
    monkeypatch.setenv("AZBATCH_ACCOUNT_NAME", emulator.account)
    connected = BatchAccount(emulator.http_url, emulator.account_key)
    yield connected
    emulator.control("faults", rules=[])
    connected.close()


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchClient]:
    """The SDK's client, which tries nothing twice."""
    key = AzureNamedKeyCredential(emulator.account, emulator.account_key)
    with BatchClient(emulator.http_url, key, retry_total=0) as one:
        yield one


def _there(client: BatchClient, job_id: str) -> bool:
    try:
        client.get_job(job_id)
    except ResourceNotFoundError:
        return False
    return True


def _cause(emulator: Emulator, *rules: dict[str, Any]) -> None:
    emulator.control("faults", rules=list(rules), seed=1)


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (503, "ServerBusy"), (500, "InternalError")])
def test_a_refusal_is_the_services_own(
    emulator: Emulator, client: BatchClient, account: BatchAccount, status: int, code: str
) -> None:
    """Status, code and Retry-After as the service sends them, once; the next request is answered."""
    _cause(emulator, {"kind": "status", "status": status, "retry_after": 3, "operation": "GetJob"})
    with pytest.raises(HttpResponseError) as caught:
        _there(client, "x")
    assert caught.value.status_code == status
    assert caught.value.response is not None
    assert caught.value.response.headers["retry-after"] == "3"  # type: ignore[attr-defined]
    assert code in str(caught.value)
    assert _there(client, "x") is False
    assert account.list_jobs() == []


def test_a_reset_before_does_nothing_and_one_after_did_all(emulator: Emulator, client: BatchClient) -> None:
    """Either way the client sees a broken connection; the world tells them apart."""
    for kind, there in (("reset-before", False), ("reset-after", True)):
        _cause(emulator, {"kind": kind, "operation": "CreateJob"})
        with pytest.raises(ServiceResponseError):
            client.create_job({"id": kind, "poolInfo": {"poolId": "p"}})  # type: ignore[arg-type]
        assert _there(client, kind) is there
    client.begin_delete_job("reset-after").result()


def test_a_slow_answer_comes_late(emulator: Emulator, client: BatchClient) -> None:
    """The request is handled after the delay, not before."""
    _cause(emulator, {"kind": "slow", "seconds": 0.3, "operation": "GetJob"})
    began = time.monotonic()
    _there(client, "x")
    assert time.monotonic() - began >= 0.3


@pytest.mark.fault("the answer to added tasks is lost, or in part refused", "each task is there once")
def test_tasks_are_added_once_whatever_the_wire_does(emulator: Emulator, account: BatchAccount) -> None:
    """Refusals, resets before and after, and parts that fail: 300 tasks are there, each once, none reported lost."""
    account.create_pool(pool("faulty"))
    account.create_job({"id": "faulty", "poolInfo": {"poolId": "faulty"}})
    create = {"operation": "CreateTaskCollection"}
    _cause(
        emulator,
        {**create, "kind": "reset-after"},
        {**create, "kind": "status", "status": 503, "retry_after": 0.01, "times": 2},
        {**create, "kind": "reset-before"},
        {**create, "kind": "partial", "share": 0.4, "times": 2},
    )
    outcome = submit(account, "faulty", [TaskSpec(id=f"t{n}", command="true") for n in range(300)])
    assert set(outcome.values()) == {None}
    assert len(account.list_tasks("faulty")) == 300
    assert emulator.control("struck") == {"reset-after": 1, "status": 2, "reset-before": 1, "partial": 2}
    account.delete_job("faulty")
    account.delete_pool("faulty")


@pytest.mark.fault("pool or job made, the answer lost", "the repetition takes it for its own")
def test_what_was_made_although_the_answer_was_lost_is_ours(emulator: Emulator, account: BatchAccount) -> None:
    """A pool and a job whose creation was acknowledged to nobody: the repetition takes them for its own."""
    for operation in ("CreatePool", "CreateJob"):
        _cause(emulator, {"kind": "reset-after", "operation": operation})
        if operation == "CreatePool":
            account.create_pool({**pool("lost"), "metadata": [{"name": "run", "value": "1"}]})
        else:
            account.create_job(
                {"id": "lost", "poolInfo": {"poolId": "lost"}, "metadata": [{"name": "run", "value": "1"}]}
            )
    with pytest.raises(ServiceError, match="PoolExists"):
        account.create_pool(pool("lost"))
    account.delete_job("lost")
    account.delete_pool("lost")


def test_a_fault_that_makes_no_sense_is_refused(emulator: Emulator) -> None:
    """A sentence tells what there is."""
    for rule, said in (
        ({"kind": "rain"}, "no kind of fault"),
        ({"kind": "slow", "x": 1}, "no property"),
        ({"kind": "slow", "probability": 2}, "between 0 and 1"),
    ):
        with pytest.raises(EmulatorError, match=said):
            emulator.control("faults", rules=[rule])
