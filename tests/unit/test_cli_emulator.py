"""What `azbatch emulator` prints for a shell, and what it says where nothing runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from azbatch.cli import cli
from azbatch.cli.emulator import FORMATS
from azbatch.errors import AzbatchError


@settings(max_examples=20, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_a_shell_reads_back_what_was_meant(value: str) -> None:
    """`eval "$(azbatch emulator env)"` is safe for every value: quotes, dollars, spaces."""
    script = FORMATS["sh"]({"AZBATCH_X": value}) + '\nprintf %s "$AZBATCH_X"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == value


def test_other_formats() -> None:
    """fish, dotenv and JSON hold the same variables."""
    variables = {"A": "it's", "B": "2"}
    assert FORMATS["fish"](variables) == "set -gx A 'it\\'s';\nset -gx B '2';"
    assert FORMATS["dotenv"](variables) == "A=it's\nB=2"
    assert json.loads(FORMATS["json"](variables)) == variables


@pytest.mark.parametrize("arguments", [["env"], ["logs"]])
def test_where_nothing_runs_it_says_how_to_start(tmp_path: Path, arguments: list[str]) -> None:
    """One sentence with the command that helps."""
    result = CliRunner().invoke(cli, ["emulator", *arguments, "--state", str(tmp_path)])
    assert isinstance(result.exception, AzbatchError)
    assert "azbatch emulator start" in str(result.exception)


def test_stop_and_status_without_one(tmp_path: Path) -> None:
    """Stopping what does not run is no error; status tells by its exit code."""
    stopped = CliRunner().invoke(cli, ["emulator", "stop", "--state", str(tmp_path), "--json"])
    assert (stopped.exit_code, json.loads(stopped.output)) == (0, {"stopped": False})
    status = CliRunner().invoke(cli, ["emulator", "status", "--state", str(tmp_path), "--json"])
    assert status.exit_code == 1
    assert json.loads(status.output)["running"] is False
