"""How commands of a world are carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from azbatch_emulator.commands import DropDirectory, Kill, MakeNode, PutFile, RemoveNode, Run
from azbatch_emulator.events import Event

Report = Callable[[Event], None]


class Runner(Protocol):
    """Carries out commands; all calls come from, and all reports go to, the event loop's thread."""

    def make_node(self, command: MakeNode) -> None: ...

    def remove_node(self, command: RemoveNode) -> None: ...

    def start(self, command: Run, report: Report) -> None:
        """Begin the run; report RunStarted, then RunEnded."""

    def kill(self, command: Kill) -> None:
        """End the run at once, all its processes; nothing more is reported of it."""

    def drop_directory(self, command: DropDirectory) -> None: ...

    def put_file(self, command: PutFile) -> bool:
        """Begin to write a blob; False where this runner moves no files. A write that fails is logged."""

    async def close(self) -> None:
        """End every run and wait until it is over."""
