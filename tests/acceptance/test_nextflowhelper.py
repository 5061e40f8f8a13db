"""nextflowhelper as a researcher uses it: three lines, then `python nextflow.py` with a stand-in for Nextflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azbatch.azure.batch import BatchAccount
from azbatch_emulator.launcher import Emulator
from tests.acceptance.conftest import until

pytestmark = pytest.mark.acceptance
REPOSITORY = Path(__file__).parents[2]
THREE_LINES = """\
from nextflowhelper import NextflowHelper
helper = NextflowHelper()
helper.create_nextflow_scripts()
"""


class HeadNode:
    """A folder on a head node whose Nextflow is the stand-in."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder, self.emulator = folder, emulator
        engine = folder / "engine"
        engine.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.contract.nf_azure "$@"\n')
        engine.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AZBATCH_")},
            **emulator.environment(),
            "AZBATCH_ACCOUNT_NAME": emulator.account,
            "AZBATCH_NEXTFLOW": str(engine),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]),
            "PYTHONUNBUFFERED": "1",
        }

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "nextflow.py"],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def node(tmp_path: Path, azbatch_emulator: Emulator) -> HeadNode:
    made = HeadNode(tmp_path, azbatch_emulator)
    written = made.python("-c", THREE_LINES)
    assert written.returncode == 0, written.stderr
    return made


@pytest.fixture
def clean(account: BatchAccount) -> Iterator[None]:
    """No pool and no job of the run is left afterwards."""
    yield
    until(lambda: all(pool["id"] != "nextflow-pool" for pool in account.list_pools()))
    until(lambda: all(job["poolInfo"]["poolId"] != "nextflow-pool" or _over(job) for job in account.list_jobs()))


def _over(job: Any) -> bool:
    return job["state"] in {"completed", "terminating", "deleting"}


@pytest.mark.usefixtures("clean")
def test_three_lines_and_a_run(node: HeadNode, account: BatchAccount) -> None:
    """Three files that run as they are; pools of others stay; a second look keeps the files."""
    assert sorted(p.name for p in node.folder.glob("nextflow.*")) == ["nextflow.config", "nextflow.nf", "nextflow.py"]
    account.create_pool(
        {
            "id": "not-ours",
            "vmSize": "Standard_D2s_v5",
            "virtualMachineConfiguration": {
                "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"},
                "nodeAgentSKUId": "batch.node.ubuntu 24.04",
            },
            "targetDedicatedNodes": 0,
        }
    )
    try:
        done = node.python("nextflow.py")
        assert done.returncode == 0, done.stderr
        assert "Nextflow ended with exit code 0: 5 completed." in done.stderr
        assert "Pool 'nextflow-pool' is being removed." in done.stderr
        assert "not-ours" in [pool["id"] for pool in account.list_pools()]
    finally:
        account.delete_pool("not-ours")
    again = node.python("-c", THREE_LINES)
    assert again.stderr.count("it exists already") == 3


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("phase", "number"),
    [
        ("is being made.", signal.SIGINT),
        ("no nodes yet", signal.SIGINT),
        ("executor >", signal.SIGINT),
        ("executor >", signal.SIGTERM),
        ("is being removed.", signal.SIGINT),
    ],
)
def test_interrupted_in_any_phase(node: HeadNode, phase: str, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM while the pool is made, waited for, used or removed: no pool and no job is left."""
    engine = "true" if phase == "is being removed." else "sleep 60"
    process = node.start(NF_AZURE_COMMAND=engine)
    assert process.stdout is not None
    said = ""
    with process:
        for line in process.stdout:
            said += line
            if phase in line:
                process.send_signal(number)
                break
        said += process.stdout.read()
    # After its work the interpreter itself may be what the signal ends.
    expected = {0, 130, -signal.SIGINT} if phase == "is being removed." else {130}
    assert process.returncode in expected, said
    assert "Traceback" not in said


@pytest.mark.usefixtures("clean")
def test_what_a_killed_run_left_is_removed_by_the_next(node: HeadNode) -> None:
    """After kill -9 the next run finds its predecessor's pool dead, removes it, and runs."""
    process = node.start(NF_AZURE_COMMAND="sleep 60")
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            if "executor >" in line:
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in children:
            os.killpg(int(child), signal.SIGKILL)
    done = node.python("nextflow.py")
    assert done.returncode == 0, done.stderr
    assert "which a killed run left" in done.stderr


@pytest.mark.usefixtures("clean")
def test_mistakes_are_one_sentence_and_make_no_pool(node: HeadNode, account: BatchAccount) -> None:
    """No Nextflow, a broken configuration, a pool that is someone else's: said plainly, before anything is made."""
    node.environment["AZBATCH_NEXTFLOW"] = "no-such-program"
    missing = node.python("nextflow.py")
    assert (missing.returncode, "is not on PATH" in missing.stderr) == (1, True)
    config = node.folder / "nextflow.config"
    text = config.read_text()
    config.write_text(text.replace("accountName", "accountKey"))
    broken = node.python("nextflow.py")
    assert broken.returncode == 1
    assert broken.stderr.count("secret in clear") == 2
    config.write_text(text)
    node.environment["AZBATCH_NEXTFLOW"] = str(node.folder / "engine")
    account.create_pool(
        {
            "id": "nextflow-pool",
            "vmSize": "Standard_D2s_v5",
            "virtualMachineConfiguration": {
                "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"},
                "nodeAgentSKUId": "batch.node.ubuntu 24.04",
            },
            "targetDedicatedNodes": 0,
        }
    )
    taken = node.python("nextflow.py")
    assert (taken.returncode, "made by someone else" in taken.stderr) == (1, True)
    assert account.get_pool("nextflow-pool")["state"] == "active"
    account.delete_pool("nextflow-pool")
    for said in (missing, broken, taken):
        assert "Traceback" not in said.stderr


def test_the_helper_is_its_own_manual(node: HeadNode) -> None:
    """`dir(helper)` has the documented names, each with a docstring."""
    names = (
        "create_batch_pool list_batch_pools delete_batch_pool get_batch_pool_status list_image_types "
        "create_network_rule list_network_rules delete_network_rule get_batch_client get_network_client "
        "get_blob_service_client get_container_client get_blob_client get_credentials get_config update_hosts "
        "get_batch_account get_storage_account get_batch_subnetid get_subscription_id get_resource_group "
        "create_nextflow_scripts"
    )
    code = (
        "from nextflowhelper import NextflowHelper as N; h = N(); "
        f"assert all((getattr(h, n).__doc__ or '').strip() for n in '{names}'.split()); "
        "c = h.get_config()['azure']; assert 'accountKey' not in str(c); print(c['batch']['accountName']); "
        "p = h.create_batch_pool('by-helper', scenario='pending-tasks', nodes=3); print(p.verdict); "
        "h.delete_batch_pool('by-helper'); print([x['id'] for x in h.list_batch_pools() if x['id'] == 'by-helper']); "
        "print(len(h.list_image_types()) > 0); print(h.get_container_client('nothing-there').exists())"
    )
    done = node.python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:5] == [node.emulator.account, "waiting", "[]", "True", "False"]
