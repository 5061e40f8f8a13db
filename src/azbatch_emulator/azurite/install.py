"""Installs the pinned Azurite with npm, once for each lock file, into a cache that several emulators share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from azbatch_emulator.azurite.node import Node, search_path
from azbatch_emulator.errors import EmulatorError

MAIN = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
Progress = Callable[[str], None]


def ensure_installed(cache: Path, node: Node, progress: Progress) -> Path:
    """The directory with Azurite's node_modules; installed by the first who asks, while others wait.

    It appears under its final name only when npm has succeeded, so a broken-off install is never used.
    Raises EmulatorError with the end of npm's output where npm fails.
    """
    files = {name: (resources.files(__package__) / name).read_bytes() for name in ("package.json", "package-lock.json")}
    target = cache / f"azurite-{hashlib.sha256(files['package-lock.json']).hexdigest()[:16]}"
    if (target / MAIN).exists():
        return target
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(cache / "azurite.lock", progress):
        if not (target / MAIN).exists():
            _install(target, files, node, progress)
    return target


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that installs Azurite")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(target: Path, files: dict[str, bytes], node: Node, progress: Progress) -> None:
    progress("installing Azurite with npm (once; about half a minute)")
    scratch = target.with_name(f".{target.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # left by an install that was broken off
    scratch.mkdir(mode=0o700)
    for name, content in files.items():
        (scratch / name).write_bytes(content)
    log = target.with_name("azurite-install.log")
    with log.open("wb") as output:
        ended = subprocess.run(  # noqa: S603
            [*node.npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"],
            cwd=scratch,
            env={**os.environ, "PATH": search_path(node), "NO_UPDATE_NOTIFIER": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode != 0 or not (scratch / MAIN).exists():
        shutil.rmtree(scratch, ignore_errors=True)
        raise EmulatorError(
            f"npm could not install Azurite (exit code {ended.returncode}); see {log}. It ended with: {last_lines(log)}"
        )
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def last_lines(log: Path, count: int = 4) -> str:
    """The end of a log, on one line, for an error message."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "(no output)"
