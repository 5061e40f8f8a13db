"""A runner without processes: each command has ended as soon as it is asked for. For load, and for virtual time."""

from __future__ import annotations

from azbatch_emulator import faults
from azbatch_emulator.commands import DropDirectory, Kill, MakeNode, PutFile, RemoveNode, Run
from azbatch_emulator.events import RunEnded, RunStarted
from azbatch_emulator.runners import Report

EXIT_CODE = "AZBATCH_EMULATOR_EXIT_CODE"


class InstantRunner:
    """Exit code 0, or what the task's environment setting AZBATCH_EMULATOR_EXIT_CODE says; `hold` keeps it running."""

    def make_node(self, command: MakeNode) -> None:
        pass

    def remove_node(self, command: RemoveNode) -> None:
        pass

    def start(self, command: Run, report: Report) -> None:
        report(RunStarted(run=command.run))
        settings = command.spec.get("environmentSettings") or ()
        wanted = next((str(s.get("value", "")) for s in settings if s.get("name") == EXIT_CODE), "0")
        if command.kind == "coordination":
            wanted = "0"
        if wanted == "hold":
            return
        code = int(wanted)
        report(RunEnded(run=command.run, exit_code=code, failure=faults.exit_code(code) if code else None))

    def kill(self, command: Kill) -> None:
        pass

    def drop_directory(self, command: DropDirectory) -> None:
        pass

    def put_file(self, command: PutFile) -> bool:  # noqa: ARG002
        return False

    async def close(self) -> None:
        pass
