"""Command lines run without a shell: how they are split, and how their program is found."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.runners import command_line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python3 run.py", ["python3", "run.py"]),
        ("/bin/bash -c 'echo \"$HOME\" | wc -l'", ["/bin/bash", "-c", 'echo "$HOME" | wc -l']),
        ('/bin/sh -c "echo \\"a b\\""', ["/bin/sh", "-c", 'echo "a b"']),
        ("echo $HOME *.txt # no comment", ["echo", "$HOME", "*.txt", "#", "no", "comment"]),
        ("echo ''", ["echo", ""]),
        ("   ", []),
    ],
)
def test_quotes_group_and_nothing_is_expanded(text: str, words: list[str]) -> None:
    """Quoting works as in a shell; variables, globs, pipes and comments mean nothing."""
    assert command_line.split(text) == words


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_any_argument_can_be_quoted(words: list[str]) -> None:
    """What a client quotes for a shell arrives as it was."""
    assert command_line.split(shlex.join(words)) == words


def test_an_open_quote_is_an_error() -> None:
    """A command line that is cut off is refused, not guessed at."""
    with pytest.raises(ValueError, match="quotation"):
        command_line.split("sh -c 'echo")


def test_a_name_is_looked_up_on_the_tasks_path_only(tmp_path: Path) -> None:
    """The program comes from the task's PATH or, with a slash, from its working directory; not from our own PATH."""
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert command_line.program(["tool"], tmp_path, str(tool.parent)) == str(tool)
    assert command_line.program(["bin/tool"], tmp_path, "") == str(tool)
    assert command_line.program(["./bin/missing"], tmp_path, str(tool.parent)) is None
    assert command_line.program(["sh"], tmp_path, str(tool.parent)) is None
