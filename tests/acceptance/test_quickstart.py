"""The researcher's quick start, as a new user would type it: every block is run, in order, in one folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azbatch_emulator import launcher

pytestmark = pytest.mark.acceptance
REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs/quickstart-researcher.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


class Newcomer:
    """A shell and a folder; what a block exports is there for the next."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder, folder / ".exports"
        programs = folder / "bin"
        programs.mkdir()
        for name, does in {
            "azbatch": f"exec {sys.executable} -c 'from azbatch.cli import main; main()' \"$@\"",
            "python": f'exec {sys.executable} "$@"',
            "nextflow": f'exec {sys.executable} -m tests.contract.nf_azure "$@"',
            "azcopy": "echo azcopy version 10.1",
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{does}\n")
            (programs / name).chmod(0o755)
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AZBATCH_", "AZURE_", "SNAKEMAKE_"))}
        self.environment = {
            **kept,
            "PATH": f"{programs}:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]),
            "AZBATCH_EMULATOR_SPEED": "5000",
            "XDG_STATE_HOME": str(folder / "state"),
            **{n: v for n, v in os.environ.items() if n == "AZBATCH_EMULATOR_CACHE"},
        }
        self.state = folder / "state/azbatch/emulator"

    def type(self, language: str, block: str) -> subprocess.CompletedProcess[str]:
        """One block in a shell, or in Python; the first command that fails ends it."""
        path = self.folder / ".block"
        path.write_text(block)
        run = f"source {path}" if language == "bash" else f"python {path}"
        script = f"set -e; [ ! -e {self.kept} ] || source {self.kept}; {run}; export -p > {self.kept}"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    made = Newcomer(tmp_path)
    ended = threading.Event()

    def enter_codes() -> None:
        """The other shell, in which the codes are entered."""
        from azbatch_emulator.daemon import _client, folder_of

        while not ended.wait(0.2):
            try:
                waiting = _client(folder_of(made.state)).call("sign-ins")["waiting"]
            except (launcher.EmulatorError, OSError, ValueError, KeyError):
                continue
            for code in waiting:
                command = f"azbatch emulator sign-in {code['user_code']} --as lab-researcher"
                said = subprocess.run(
                    ["bash", "-c", command],
                    env=made.environment,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                codes.append(said.stdout)

    codes: list[str] = []
    other = threading.Thread(target=enter_codes)
    other.start()
    yield made
    ended.set()
    other.join()
    launcher.stop(made.state)
    assert codes == ["lab-researcher is signed in.\n"], "asked to sign in once, and only once"


def test_the_quick_start_as_it_stands(newcomer: Newcomer) -> None:
    """Every block ends well and shows what the page promises; it takes a tenth of the ten minutes; nothing is left."""
    blocks = BLOCK.findall(PAGE.read_text())
    assert {language for language, _ in blocks} == {"bash", "python"}
    assert len(blocks) >= 10
    began = time.monotonic()
    told: dict[str, str] = {}
    for language, block in blocks:
        done = newcomer.type(language, block)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, block
        told[block] = done.stdout + done.stderr
    assert time.monotonic() - began < 600

    def said(part: str) -> str:
        return next(text for block, text in told.items() if part in block)

    assert "NXF_OPTS" in said("--for-nextflow")
    assert "exit code 0: 5 completed" in said("python nextflow.py")
    assert "No faults found." in said("nextflow check")
    assert "Azure Batch is on in lab" in said("workspace enable")
    assert "ok    nodes' place" in said("headnode check")
    assert "1 idle" in said("pool show mine")
    assert "$TargetDedicatedNodes=0" in said("pool evaluate")
    assert "waiting" in said("get_batch_pool_status")
    assert "lab-researcher" in said("network list")
    assert not launcher.status(newcomer.state)["running"]


def test_a_code_that_nobody_waits_for(newcomer_state: Path) -> None:
    """A mistyped code is told, and a person that there is not."""
    run = [sys.executable, "-c", "from azbatch.cli import main; main()", "emulator", "--help"]
    assert b"sign-in" in subprocess.run(run, capture_output=True, check=True, timeout=60).stdout
    options: dict[str, str | bool] = {"runner": "instant", "no-storage": True}
    launcher.start(newcomer_state, options=options)
    try:
        with pytest.raises(launcher.EmulatorError, match="No sign-in waits for the code ABC"):
            launcher.sign_in("ABC", "owner", newcomer_state)
    finally:
        launcher.stop(newcomer_state)
    assert json.dumps(launcher.status(newcomer_state)["running"]) == "false"


@pytest.fixture
def newcomer_state(tmp_path: Path) -> Path:
    return tmp_path / "state"
