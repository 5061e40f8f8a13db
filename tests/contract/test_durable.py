"""What was acknowledged survives kill -9 of the emulator, whatever the instant."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, ResourceNotFoundError

from azbatch_emulator import Emulator, launcher
from azbatch_emulator.state import StateFolder
from tests.contract.sdk import MACHINE

KILLS = int(os.environ.get("AZBATCH_KILLS", "5"))  # the bench kills 200 times
OPTIONS: dict[str, str | int | float | bool] = {"runner": "instant", "no-storage": True, "speed": 2000.0}


class Ledger:
    """Tasks whose adding, end or deletion the service has acknowledged."""

    def __init__(self) -> None:
        self.added: set[str] = set()
        self.completed: set[str] = set()
        self.deleted: set[str] = set()
        self.asked_to_delete: set[str] = set()


def _client(state: Path) -> BatchClient:
    folder = StateFolder(state)
    key = AzureNamedKeyCredential("emulator", folder.secrets().account_key)
    return BatchClient(endpoint=folder.read_record()["http_url"], credential=key, retry_total=0)


def _work(client: BatchClient, ledger: Ledger, number: Iterator[int], rng: random.Random) -> None:
    """Add, list and delete tasks until the service is gone."""
    try:
        while True:
            names = [f"t{next(number)}" for _ in range(rng.randint(1, 5))]
            client.create_task_collection(
                "j", m.BatchTaskGroup(task_values=[m.BatchTaskCreateOptions(id=n, command_line="x") for n in names])
            )
            ledger.added |= set(names)
            done = client.list_tasks("j", filter="state eq 'completed'", select=["id"])
            ledger.completed |= {str(task.id) for task in done}
            if rng.random() < 0.5 and ledger.completed - ledger.asked_to_delete:
                name = sorted(ledger.completed - ledger.asked_to_delete)[0]
                ledger.asked_to_delete.add(name)
                client.delete_task("j", name)
                ledger.deleted.add(name)
    except AzureError:
        return


@pytest.mark.fault("the emulator killed at random instants", "nothing acknowledged is lost")
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Killed at random instants under load and started again: what was added is there, what ended has ended."""
    rng, ledger, number = random.Random(7), Ledger(), iter(range(10**9))
    launcher.start(tmp_path, options=OPTIONS)
    try:
        with _client(tmp_path) as client:
            client.create_pool(
                m.BatchPoolCreateOptions(
                    id="p",
                    vm_size="Standard_D4s_v5",
                    task_slots_per_node=16,
                    target_dedicated_nodes=2,
                    virtual_machine_configuration=m.VirtualMachineConfiguration(MACHINE),
                )
            )
            client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        for _ in range(KILLS):
            pid = StateFolder(tmp_path).read_record()["pid"]
            handle = os.pidfd_open(pid)
            with _client(tmp_path) as client:
                killer = threading.Timer(rng.uniform(0.05, 0.5), os.kill, (pid, signal.SIGKILL))
                killer.start()
                _work(client, ledger, number, rng)
            select.select([handle], [], [])
            os.close(handle)
            launcher.start(tmp_path, options=OPTIONS)
            with _client(tmp_path) as client:
                there = {str(task.id): task.state for task in client.list_tasks("j", select=["id", "state"])}
                assert ledger.added - ledger.asked_to_delete <= set(there)
                assert not ledger.deleted & set(there)
                assert all(there[name] == "completed" for name in ledger.completed if name in there)
        with _client(tmp_path) as client:
            _until_all_complete(client)
        print(f"{KILLS} kills, {len(ledger.added)} tasks added, {len(ledger.deleted)} deleted")
    finally:
        launcher.stop(tmp_path)


def _until_all_complete(client: BatchClient) -> None:
    """Tasks that waited or ran at the last kill run again, on the nodes that came back."""
    end = time.monotonic() + 30
    while list(client.list_tasks("j", filter="state ne 'completed'")):
        assert time.monotonic() < end


def test_ephemeral_begins_empty(tmp_path: Path) -> None:
    """With `ephemeral` a folder holds nothing of pools and jobs from one start to the next; without it, it does."""
    for ephemeral, there in ((False, False), (False, True), (True, False), (False, False)):
        with Emulator(state=tmp_path, storage=False, runner="instant", ephemeral=ephemeral):
            with _client(tmp_path) as client:
                try:
                    client.get_job("j")
                    found = True
                except ResourceNotFoundError:
                    found = False
                    client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
            assert found is there


def test_files_of_tasks_survive(tmp_path: Path) -> None:
    """A task's output is still there after a restart, and a task that ran is run again."""
    with Emulator(state=tmp_path, storage=False, speed=2000), _client(tmp_path) as client:
        client.create_pool(
            m.BatchPoolCreateOptions(
                id="p",
                vm_size="Standard_D2s_v5",
                task_slots_per_node=2,
                target_dedicated_nodes=1,
                virtual_machine_configuration=m.VirtualMachineConfiguration(MACHINE),
            )
        )
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.create_task("j", m.BatchTaskCreateOptions(id="done", command_line="/bin/echo kept"))
        waiting = f"/bin/sh -c 'until [ -e {tmp_path}/go ]; do sleep 0.05; done'"
        client.create_task("j", m.BatchTaskCreateOptions(id="long", command_line=waiting))
        _until(lambda: client.get_task("j", "done").state == "completed")
    (tmp_path / "go").touch()
    with Emulator(state=tmp_path, storage=False, speed=2000), _client(tmp_path) as client:
        assert b"".join(client.download_task_file("j", "done", "stdout.txt")) == b"kept\n"
        _until(lambda: client.get_task("j", "long").state == "completed")
        again = client.get_task("j", "long").execution_info
        assert again is not None
        assert (again.exit_code, again.requeue_count) == (0, 1)


def _until(condition: object) -> None:
    end = time.monotonic() + 30
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end


def test_a_workspace_survives(tmp_path: Path) -> None:
    """Resources, people and further Batch accounts are there again, until a reset."""
    with Emulator(state=tmp_path, storage=False, runner="instant") as emulator:
        emulator.control("workspace", name="lab")
        before = emulator.control("dump")
    with Emulator(state=tmp_path, storage=False, runner="instant") as emulator:
        assert emulator.control("dump") == before
        assert "AZURE_POD_IDENTITY_AUTHORITY_HOST" in emulator.environment("lab-researcher")
        emulator.control("reset")
        assert [id for id in before if "/resourcegroups/lab" in id]
        assert not [id for id in emulator.control("dump") if "/resourcegroups/lab" in id]


def test_a_state_of_another_shape_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that changed the records says so, and what to do; it does not guess."""
    with Emulator(state=tmp_path, storage=False, runner="instant"):
        pass
    monkeypatch.setattr("azbatch_emulator.journal.FORMAT", 0)
    with pytest.raises(launcher.EmulatorError, match=r"written by another version .* azbatch emulator reset"):
        Emulator(state=tmp_path, storage=False, runner="instant").__enter__()
