"""Whose processes commands are, and ending them so that none is left, also those that left their group."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
_NO_NEW_PRIVS = 38  # PR_SET_NO_NEW_PRIVS of linux/prctl.h


def user() -> str:
    """The user whose processes ours, and so the commands of tasks, are."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def keep_from_root() -> None:
    """What this thread starts never becomes root, not even by sudo; without effect on who is root already.

    Source: prctl(2); the attribute belongs to the thread, and is inherited.
    """
    if os.geteuid() == 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not let us renounce new privileges")


def kill_group(leader: int) -> None:
    """SIGKILL to all processes of the group. Safe only while its leader is not waited for: its number is not reused."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_marked(variable: str, match: Callable[[str], bool]) -> int:
    """SIGKILL to every process whose environment has `variable` with a matching value; how many there were.

    Looks again until none is found, since one may fork while we look. A process is held by a pidfd while its
    environment is read, so that its number cannot have passed to another. Blocks for a few milliseconds.
    """
    total = 0
    for _ in range(20):
        found = sum(_kill_if(pid, variable.encode() + b"=", match) for pid in _pids())
        total += found
        if not found:
            break
    return total


def _pids() -> list[int]:
    own = os.getpid()
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and int(entry.name) != own]


def _kill_if(pid: int, name: bytes, match: Callable[[str], bool]) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        value = next((entry.removeprefix(name) for entry in variables if entry.startswith(name)), None)
        if value is None or not match(value.decode(errors="replace")):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:  # ended meanwhile, or another user's
        return False
    finally:
        os.close(handle)
    return True
