"""What the original got wrong: the table in the docs names tests that exist; and what only text can show."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/original-defects.md").read_text()
ROWS = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| the original")]
SCRIPT = (ROOT / "src/azbatch/headnode/prepare.sh.in").read_text()


@pytest.mark.parametrize("row", ROWS, ids=[row[2:50].strip() for row in ROWS])
def test_each_defect_has_its_tests(row: str) -> None:
    """Every row names at least one test, and each of them is a function of the file that it is said to be in."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert named, row
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_the_table_is_whole() -> None:
    """As many defects as are known of head node and helper; one that is dropped is missed."""
    assert len(ROWS) == 20


def test_nothing_downloaded_is_run_unseen() -> None:
    """One place downloads, into a file whose checksum is compared; nothing is piped into an interpreter."""
    commands = [line for line in SCRIPT.splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in commands if re.search(r"\|\s*(sudo\s+)?(ba|z|da)?sh\b|\|\s*python", line)] == []
    assert len([line for line in commands if re.search(r"^\s*(curl|wget) ", line)]) == 1
    after = SCRIPT[SCRIPT.index("curl --fail") :]
    assert "sha256sum" in after[: after.index("\n}\n")]


def test_the_script_stops_at_a_fault() -> None:
    """Before anything is done: errors, unset names and broken pipes end it."""
    first = next(line for line in SCRIPT.splitlines() if not line.startswith("#"))
    assert first == "set -Eeuo pipefail"


def test_nothing_needs_distutils() -> None:
    """It went with Python 3.12; no file of ours imports it, in whatever way."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "distutils" for name in names), path
