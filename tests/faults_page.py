"""docs/faults.md, from the tests that are marked `fault(what, outcome)`: `python -m tests.faults_page` writes it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "faults.md"
HEAD = """# What goes wrong, and what happens then

Each row is a test on the emulator, which makes the fault. Written by `python -m tests.faults_page`.

| fault | outcome | test |
|---|---|---|
"""


def rows() -> Iterator[tuple[str, str, str, str]]:
    """(fault, outcome, file, test) of all marked tests."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    what, outcome = (ast.literal_eval(argument) for argument in mark.args)
                    yield what, outcome, path.relative_to(ROOT).as_posix(), node.name


def page() -> str:
    lines = [
        f"| {what} | {outcome} | [{test.removeprefix('test_').replace('_', ' ')}](../{file}) |"
        for what, outcome, file, test in sorted(rows())
    ]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
