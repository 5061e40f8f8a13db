"""From a task's command line to a program and its arguments: no shell takes part. Pure but for looking up the program.

Source: REST, Task.commandLine: "The command line does not run under a shell, and therefore cannot take advantage of
shell features such as environment variable expansion."
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path


def split(command_line: str) -> list[str]:
    """Words, with the quoting of a POSIX shell and none of its expansions. Raises ValueError for an open quote."""
    return shlex.split(command_line, comments=False, posix=True)


def program(words: Sequence[str], working_directory: Path, search: str) -> str | None:
    """The executable that the first word names: below the working directory if it has a slash, else on PATH."""
    name = words[0]
    if "/" in name:
        path = working_directory / name
        return str(path) if path.is_file() else None
    return shutil.which(name, path=search)
