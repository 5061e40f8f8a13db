"""The unchanged azure-batch 14.2 (the previous generation, of its own import name and signing) drives the emulator."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Token

PYTHON = Path(__file__).parents[2] / ".venv-batch14" / "bin" / "python"
SCENARIO = Path(__file__).with_name("batch14_scenario.py")


def _drive(emulator: Emulator, url: str, kind: str, account: str, secret: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(PYTHON), str(SCENARIO), url, kind],
        input=f"{account}\n{secret}\n",
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(emulator.ca_bundle), "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.skipif(
    not PYTHON.exists(), reason="azure-batch 14.2 is not installed in .venv-batch14 (scripts/test does it)"
)
@pytest.mark.parametrize("kind", ["key", "token"])
def test_the_previous_generation_of_the_sdk(azbatch_emulator: Emulator, kind: str) -> None:
    """Pools, nodes, jobs, tasks and files work with 14.2: by shared key over http, by token over TLS."""
    if kind == "key":
        url, account, secret = azbatch_emulator.http_url, azbatch_emulator.account, azbatch_emulator.account_key
    else:
        token = Token(azbatch_emulator).get_token("https://batch.core.windows.net//.default").token
        url, account, secret = azbatch_emulator.https_url, "unused", token
    saw = _drive(azbatch_emulator, url, kind, account, secret)
    assert "batch.node.ubuntu 24.04" in saw.pop("agents")
    assert saw == {
        "pool again": "PoolExists",
        "exists": True,
        "metadata": ["b"],
        "resize back": 2,
        "evaluate": "$TargetDedicatedNodes=4;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue",
        "counts": [saw["counts"][0]],
        "priority": 3,
        "added": ["taskaddstatus.success"] * 3 if "taskaddstatus.success" in saw["added"] else ["success"] * 3,
        "task again": "TaskExists",
        "failed": 1,
        "listed": ["bad", "t0", "t1", "t2"],
        "failure": "FailureExitCode",
        "output": "hello\n",
        "length": 6,
        "files": ["stderr.txt", "stdout.txt", "wd"],
        "reason": "enough",
    }
