"""Nodes with a disk for temporary files, as the executor asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from azbatch.azure.batch import BatchAccount
from azbatch_emulator.launcher import Emulator
from snakemake_executor_plugin_azbatch.lane import Choice, Lane, Shared
from snakemake_executor_plugin_azbatch.plan import Needs
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

SCRATCH = "/mnt/azbatch-scratch"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    with Emulator(runner="instant", storage=False) as emulator:
        monkeypatch.setenv("AZBATCH_ACCOUNT_NAME", emulator.account)
        connected = BatchAccount(emulator.http_url, emulator.account_key)
        yield connected
        connected.close()


def test_a_scratch_disk_is_attached_mounted_and_given_to_jobs(account: BatchAccount) -> None:
    """The pool has the disk and a start task that mounts it; the job's tasks have TMPDIR there, also in containers; a
    later run on the kept pool knows of it."""
    settings = ExecutorSettings(scratch_disk="500", container_image="ubuntu:24.04", keep_pool=True)
    shared = Shared(
        account=account, settings=settings, key="w", say=lambda _text: None, preparation="true", environment={}, tags={}
    )
    lane = Lane(shared, Choice())
    lane.make("run-1", Needs(), ("ubuntu:24.04",), None)
    pool = account.get_pool("run-1")
    assert pool["virtualMachineConfiguration"]["dataDisks"][0]["diskSizeGB"] == 500
    assert f'mount -o noatime "$disk" {SCRATCH}' in pool["startTask"]["commandLine"]
    job = account.get_job("run-1")
    assert {"name": "TMPDIR", "value": SCRATCH} in job["commonEnvironmentSettings"]
    options = job["jobPreparationTask"]["containerSettings"]["containerRunOptions"]
    assert options == f"--volume {SCRATCH}:{SCRATCH}"
    later = Lane(replace(shared, settings=ExecutorSettings(keep_pool=True)), Choice())
    later.make("run-2", Needs(), (), pool)
    assert (later.scratch, later.pool_id) == (True, "run-1")
