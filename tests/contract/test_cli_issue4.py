"""`azbatch pool`'s scenarios, `azbatch nextflow` and `azbatch headnode check` as a user types them, on the emulator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from azbatch_emulator.launcher import Emulator

AZBATCH = "from azbatch.cli import main; main()"


def _azbatch(
    emulator: Emulator, *arguments: str, folder: Path | None = None, **environment: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AZBATCH, *arguments],
        env={
            **os.environ,
            **emulator.environment(),
            "AZBATCH_ACCOUNT_NAME": emulator.account,
            **environment,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_pool_that_scales_by_a_scenario(azbatch_emulator: Emulator, tmp_path: Path) -> None:
    """Made from nothing, told in words; its formula evaluated, another tried, and a faulty one explained."""
    made = _azbatch(azbatch_emulator, "pool", "create", "scaled", "--scenario", "workday", "--nodes", "4", "--json")
    assert made.returncode == 0, made.stderr
    assert "at least 1 from 8:00 to 18:00 UTC" in made.stderr
    assert "$TargetDedicatedNodes=" in _azbatch(azbatch_emulator, "pool", "evaluate", "scaled").stdout
    formula = tmp_path / "formula.txt"
    formula.write_text("$TargetDedicatedNodes = 3;")
    tried = _azbatch(azbatch_emulator, "pool", "evaluate", "scaled", "--formula", str(formula))
    assert "$TargetDedicatedNodes=3" in tried.stdout
    formula.write_text("$TargetDedicatedNodes = $nope;")
    faulty = _azbatch(azbatch_emulator, "pool", "evaluate", "scaled", "--formula", str(formula))
    assert (faulty.returncode, "Undefined symbol: $nope" in faulty.stderr) == (1, True)
    refused = _azbatch(azbatch_emulator, "pool", "create", "by-formula", "--formula", str(formula))
    assert refused.returncode == 1
    assert "Undefined symbol: $nope" in refused.stderr
    assert "Pool 'by-formula' is being deleted again." in refused.stderr
    both = _azbatch(azbatch_emulator, "pool", "create", "x", "--formula", str(formula), "--scenario", "fixed")
    assert "not both" in both.stderr
    wrong = _azbatch(azbatch_emulator, "pool", "create", "x", "--scenario", "workday", "--hours", "morning")
    assert "no working hours" in wrong.stderr
    assert _azbatch(azbatch_emulator, "pool", "delete", "--yes", "scaled").returncode == 0


def test_a_failed_start_task_is_told_in_its_own_words(azbatch_emulator: Emulator) -> None:
    """Creation ends with what the start task said, and no pool."""
    made = _azbatch(
        azbatch_emulator, "pool", "create", "bad-start", "--start-task", "/bin/sh -c 'echo no disk here >&2; exit 3'"
    )
    assert made.returncode == 1
    assert "no disk here" in made.stderr
    assert "is being deleted again" in made.stderr


def test_sizes_and_images(azbatch_emulator: Emulator) -> None:
    """The cheapest fitting size and why others are not; the images that the service offers."""
    sizes = _azbatch(azbatch_emulator, "pool", "sizes", "--cores", "4", "--memory-mb", "20000")
    assert "Standard_E4ds_v5: 4 cores" in sizes.stdout
    assert "Standard_D4ds_v5\t15360 MB memory for tasks, 20000 needed" in sizes.stdout
    assert "ubuntu-hpc" in _azbatch(azbatch_emulator, "pool", "images").stdout


def test_the_files_for_nextflow(azbatch_emulator: Emulator, tmp_path: Path) -> None:
    """Written for the account of the environment, found without fault, and a broken one pointed at by line."""
    made = _azbatch(azbatch_emulator, "nextflow", "init", "--pool", "mine", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "Run it with: python nextflow.py" in made.stdout
    files = ("nextflow.nf", "nextflow.config")
    assert _azbatch(azbatch_emulator, "nextflow", "check", *files, folder=tmp_path).stdout == "No faults found.\n"
    (tmp_path / "nextflow.config").write_text("process.executor = 'azurebatch'\nazure.batch.poolz = 'x'\n")
    broken = _azbatch(azbatch_emulator, "nextflow", "check", *files, folder=tmp_path)
    assert broken.returncode == 1
    assert "nextflow.config:2: azure.batch.poolz" in broken.stdout


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"identity and Batch": True, "storage": True, "clock": True, "virtual machine": True}),
        ({"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9"}, {"identity and Batch": False, "storage": False}),
    ],
)
def test_a_head_node_is_checked(
    azbatch_emulator: Emulator, environment: dict[str, str], expected: dict[str, Any]
) -> None:
    """Every line is ok or has its remedy; without an identity the services' lines say so."""
    import json

    done = _azbatch(
        azbatch_emulator, "headnode", "check", "--json", folder=None, **environment, AZBATCH_REGION="westeurope"
    )
    found = {item["what"]: item for item in json.loads(done.stdout)}
    assert {name: found[name]["ok"] for name in expected} == expected
    assert "Traceback" not in done.stderr
