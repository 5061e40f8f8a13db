"""Much goes wrong in one run, and the result is what it would have been."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azbatch.azure.batch import BatchAccount
from azbatch_emulator import launcher
from azbatch_emulator.client import ControlClient
from azbatch_emulator.state import StateFolder
from tests.acceptance.conftest import Workflow, until

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("storm")]

SNAKEFILE = """
rule all:
    input: "all.txt"
rule one:
    output: "out/{{i}}.txt"
    params: ran="{folder}/ran"
    shell: "sleep 1; echo {{wildcards.i}} >> {{params.ran}}; echo {{wildcards.i}} > {{output}}"
rule gather:
    input: expand("out/{{i}}.txt", i=range(16))
    output: "all.txt"
    shell: "cat {{input}} | sort -n > {{output}}"
"""


class Daemon:
    """An emulator that can be killed and started again on the same ports; looks like `Emulator` to a workflow."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.options: dict[str, str | int | float | bool] = {}
        self.start()
        record = self.record
        ports = {
            name: int(str(record[f"{name}_url"]).split(":")[2].split("/")[0]) for name in ("http", "https", "blob")
        }
        self.options = {f"{name}-port": port for name, port in ports.items()}

    @property
    def record(self) -> dict[str, Any]:
        return StateFolder(self.state).read_record()

    def start(self) -> None:
        launcher.start(self.state, options=self.options)

    def kill(self) -> None:
        pid = self.record["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: StateFolder(self.state).running() is None, 10)

    storage_account = "emulatorstorage"

    @property
    def storage_key(self) -> str:
        return StateFolder(self.state).secrets().storage_key

    @property
    def blob_url(self) -> str:
        return self.environment()["AZBATCH_STORAGE_URL"]

    @property
    def ca_bundle(self) -> str:
        return self.environment()["REQUESTS_CA_BUNDLE"]

    def environment(self) -> dict[str, str]:
        return launcher.env(self.state)

    def control(self, path: str, **body: Any) -> dict[str, Any]:
        token = StateFolder(self.state).secrets().control_token
        return ControlClient(self.record["http_url"], token).call(path, **body)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """An emulator of this test's own, in a process of its own."""
    one = Daemon(tmp_path / "emulator")
    yield one
    launcher.stop(one.state)


def _finished(workflow: Workflow) -> int:
    ran = workflow.folder / "ran"
    return len(set(ran.read_text().split())) if ran.exists() else 0


@pytest.mark.fault(
    "half of the nodes preempted, one broken, the service killed and started again",
    "the result is right, nothing is left",
)
def test_a_storm(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the spot nodes preempted, a node broken, the service killed and back: each result right, nothing left."""
    monkeypatch.setenv("AZBATCH_ACCOUNT_NAME", "emulator")
    workflow = Workflow(tmp_path / "workflow", daemon)  # type: ignore[arg-type]
    workflow.write(SNAKEFILE.format(folder=workflow.folder))
    key = StateFolder(daemon.state).secrets().account_key
    account = BatchAccount(daemon.record["http_url"], key)
    process = workflow.start("--azbatch-max-nodes", "4", "--azbatch-spot-share", "1")
    try:
        until(lambda: _finished(workflow) >= 2, 90)
        [job] = [str(job["id"]) for job in account.list_jobs()]
        nodes = [str(node["id"]) for node in account.list_nodes(job)]
        for node in nodes[:2]:
            daemon.control("preempt", pool_id=job, node_id=node)
        daemon.control("break", pool_id=job, node_id=nodes[2])
        until(lambda: _finished(workflow) >= 6, 90)
        daemon.kill()
        daemon.start()
        said = process.communicate(timeout=180)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        account.close()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    account = BatchAccount(daemon.record["http_url"], key)
    until(lambda: not account.list_pools() and not account.list_jobs())
    account.close()
    found = workflow.download(workflow.prefix.removeprefix("az://acceptance/"))
    assert found["all.txt"].split() == [str(number).encode() for number in range(16)]
    assert len(found) == 17
