"""The public door: `Emulator` for this process, and the daemon that `azbatch emulator` starts and stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azbatch_emulator.daemon import create_workspace, env, logs, reset, sign_in, start, status, stop
from azbatch_emulator.errors import EmulatorError

if TYPE_CHECKING:
    from azbatch_emulator.emulator import Emulator

__all__ = [
    "Emulator",
    "EmulatorError",
    "create_workspace",
    "env",
    "logs",
    "reset",
    "sign_in",
    "start",
    "status",
    "stop",
]


def __getattr__(name: str) -> Any:
    """The server is imported only by those who run it in their own process."""
    if name == "Emulator":
        from azbatch_emulator.emulator import Emulator

        return Emulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
