"""The state folder: private, locked by one, and understood after a crash."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.state import StateFolder, cache_directory, default_directory


def test_where_it_lies(tmp_path: Path) -> None:
    """The variable wins, then XDG, then the home directory; the cache is shared unless named."""
    assert default_directory({"AZBATCH_EMULATOR_STATE": str(tmp_path)}) == tmp_path
    assert default_directory({"XDG_STATE_HOME": "/s"}) == Path("/s/azbatch/emulator")
    assert default_directory({}) == Path.home() / ".local/state/azbatch/emulator"
    assert cache_directory({"XDG_STATE_HOME": "/s"}) == Path("/s/azbatch/emulator/cache")
    assert cache_directory({"AZBATCH_EMULATOR_CACHE": "/c"}) == Path("/c")


def test_only_one_runs_on_a_folder(tmp_path: Path) -> None:
    """The second is told who holds it and how to stop it; after a release the folder is free."""
    folder = StateFolder(tmp_path / "state")
    assert folder.running() is None
    lock = folder.lock()
    holder = folder.running()
    assert holder is not None
    with pytest.raises(EmulatorError, match=rf"already running \(process {holder}, .*azbatch emulator stop"):
        StateFolder(tmp_path / "state").lock()
    lock.release()
    assert folder.running() is None
    folder.lock().release()


def test_a_stale_record_is_not_believed(tmp_path: Path) -> None:
    """Files that a killed emulator left do not make it run."""
    folder = StateFolder(tmp_path)
    lock = folder.lock()
    folder.write_record({"pid": 1})
    assert folder.read_record() == {"pid": 1}
    lock.release()
    with pytest.raises(EmulatorError, match=r"not running .*azbatch emulator start"):
        folder.read_record()


def test_secrets_are_private_lasting_and_not_shown(tmp_path: Path) -> None:
    """Keys stay the same for a folder, differ between folders, and appear in no repr; files are private."""
    folder = StateFolder(tmp_path / "a")
    folder.lock().release()
    secrets = folder.secrets()
    assert folder.secrets() == secrets
    assert secrets.account_key not in repr(secrets)
    folder.write_record({})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.root.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    other = StateFolder(tmp_path / "b")
    other.make()
    assert other.secrets().account_key != secrets.account_key
    assert other.owner != folder.owner


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file in the way is the user's to fix."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmulatorError, match=r"cannot be used.*AZBATCH_EMULATOR_STATE"):
        StateFolder(tmp_path / "file" / "state").make()
