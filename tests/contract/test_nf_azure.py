"""Nextflow's calls against the emulator: the sequence of nf-azure for five tasks, over real HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from azbatch_emulator.launcher import Emulator
from tests.contract import nf_azure
from tests.contract.sdk import Token, pool


@pytest.fixture
def calls(azbatch_emulator: Emulator) -> Iterator[nf_azure.Calls]:
    made = nf_azure.Calls(azbatch_emulator.https_url, azbatch_emulator.http_url, str(azbatch_emulator.ca_bundle))
    yield made
    made.close()


@pytest.fixture
def work(azbatch_emulator: Emulator) -> Iterator[nf_azure.Work]:
    """A container opened by a SAS of the identity's delegation key: no account key."""
    with BlobServiceClient(
        azbatch_emulator.blob_url,
        credential=Token(azbatch_emulator),
        connection_verify=str(azbatch_emulator.ca_bundle),
    ) as service:
        made = nf_azure.Work(service, f"nf{uuid.uuid4().hex[:8]}")
        yield made
        made.client.delete_container()


@pytest.fixture
def pool_id(calls: nf_azure.Calls) -> Iterator[str]:
    """A pool with containers and as many slots as vCPUs, which nf-azure asks for."""
    made = f"nf-{uuid.uuid4().hex[:8]}"
    body = pool(made)
    body["virtualMachineConfiguration"] = {
        **body["virtualMachineConfiguration"],
        "containerConfiguration": {"type": "dockerCompatible"},
    }
    calls("POST", "/pools", body)
    yield made
    calls("DELETE", f"/pools/{made}", fine=(404, 409))


def _run(calls: nf_azure.Calls, work: nf_azure.Work, pool_id: str, command: str) -> dict[str, dict[str, Any]]:
    return nf_azure.run(
        calls,
        work,
        pool=pool_id,
        cores=2,
        container="registry.example/x:1",
        job=f"job-{pool_id}",
        command=command,
        said=lambda *_, **__: None,
    )


def test_a_run_of_five_tasks(calls: nf_azure.Calls, work: nf_azure.Work, pool_id: str) -> None:
    """Each call is answered as nf-azure needs it: outputs are there when a task is completed, and no list is made."""
    calls.made.clear()
    ended = _run(calls, work, pool_id, "echo hello {name} > {name}.txt; echo 0 > .exitcode; echo said {name}")
    assert [task["executionInfo"].get("failureInfo") for task in ended.values()] == [None] * 5
    assert [task["executionInfo"]["exitCode"] for task in ended.values()] == [0] * 5
    assert all("failureInfo" not in task["executionInfo"] for task in ended.values())
    for name in nf_azure.TASKS:
        folder = f"work/{name[:2]}/{name}"
        blob = work.client.download_blob(f"{folder}/{name}.txt").readall()
        assert blob == f"hello {name}\n".encode()
        assert work.client.download_blob(f"{folder}/.command.log").readall() == f"said {name}\n".encode()
    made = dict(calls.made)
    polls = made.pop("GET /jobs/*/tasks/*")
    assert polls >= 5
    assert made == {
        "GET /pools/*": 1,
        "POST /jobs": 1,
        "POST /jobs/*/tasks": 5,
        "GET /jobs/*": 6,
        "DELETE /jobs/*/tasks/*": 5,
        "PATCH /jobs/*": 1,
        "DELETE /jobs/*": 1,
    }


def test_a_task_that_fails_has_its_reason(calls: nf_azure.Calls, work: nf_azure.Work, pool_id: str) -> None:
    """nf-azure reads the exit code, and failureInfo where a task did not succeed."""
    ended = _run(calls, work, pool_id, "exit 7")
    info = next(iter(ended.values()))["executionInfo"]
    assert (info["exitCode"], info["result"], info["failureInfo"]["code"]) == (7, "failure", "FailureExitCode")


def test_what_nf_azure_makes_of_refusals(calls: nf_azure.Calls, pool_id: str) -> None:
    """404 before a pool is made, 409 PoolExists when made twice, 404 at the end: the statuses that it branches on."""
    assert calls("GET", "/pools/never", fine=(404,)).json()["code"] == "PoolNotFound"
    again = calls("POST", "/pools", pool(pool_id), fine=(409,))
    assert (again.status_code, again.json()["code"]) == (409, "PoolExists")
    calls("DELETE", f"/pools/{pool_id}")
    while (answer := calls("GET", f"/pools/{pool_id}", fine=(404,))).status_code != 404:
        assert answer.json()["state"] == "deleting"
    assert calls("GET", "/supportedimages").json()["value"]
