"""The state folder: everything of one emulator that lies on disk, for its user only."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.tls import write_private

PROBES = 5
STATE_VARIABLE, CACHE_VARIABLE = "AZBATCH_EMULATOR_STATE", "AZBATCH_EMULATOR_CACHE"


def default_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """$AZBATCH_EMULATOR_STATE, else `azbatch/emulator` in the user's state directory."""
    named = environ.get(STATE_VARIABLE)
    if named:
        return Path(named).expanduser()
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "azbatch" / "emulator"


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where Azurite is installed, once for all state folders: $AZBATCH_EMULATOR_CACHE, else in the default one."""
    named = environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else default_directory(environ) / "cache"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys of the two accounts (base64, 64 bytes) and the token of the control routes; made once, by chance."""

    account_key: str = field(repr=False)
    storage_key: str = field(repr=False)
    control_token: str = field(repr=False)


class StateFolder:
    """Paths below `root`, the lock of whoever runs on it, its secrets, and the record of the running one."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.nodes = self.root / "nodes"
        self.blobs = self.root / "blobs"
        self.tls = self.root / "tls"
        self.token_key = self.root / "token.key"
        self.log = self.root / "emulator.log"
        self.journal = self.root / "world.sqlite"
        self.tenant = self.root / "tenant.pickle"
        self._lock = self.root / "emulator.lock"
        self._secrets = self.root / "secrets.json"
        self._record = self.root / "emulator.json"

    def account(self, name: str) -> Path:
        """The folder of one Batch account besides the built-in one."""
        folder = self.root / "accounts" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    @property
    def owner(self) -> str:
        """Marks the processes of this folder, also for the one who starts here after us."""
        return f"emulator-{hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:16]}"

    def make(self) -> None:
        """Raises EmulatorError where the folder cannot be made or written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
        except OSError as error:
            raise EmulatorError(
                f"The state folder {self.root} cannot be used: {error.strerror}; name another with {STATE_VARIABLE}."
            ) from None

    def lock(self) -> Lock:
        """Take the folder for this process. Raises EmulatorError where an emulator runs on it already."""
        self.make()
        lock = Lock(self._lock)
        if not lock.acquire():
            raise EmulatorError(
                f"The emulator is already running (process {lock.holder()}, state folder {self.root}); "
                "stop it with: azbatch emulator stop"
            )
        return lock

    def running(self) -> int | None:
        """The process that runs on this folder; None if there is none, whatever files a killed one has left."""
        if not self._lock.exists():
            return None
        lock = Lock(self._lock)
        return lock.holder() if lock.taken() else None

    def secrets(self) -> Secrets:
        """Those of the folder, made at the first call."""
        if not self._secrets.exists():
            made = Secrets(_key(), _key(), secrets.token_urlsafe(32))
            write_private(self._secrets, json.dumps(asdict(made)).encode())
        return Secrets(**json.loads(self._secrets.read_text()))

    def write_record(self, record: Mapping[str, Any]) -> None:
        write_private(self._record, json.dumps(record, indent=2).encode())

    def read_record(self) -> dict[str, Any]:
        """Addresses and settings of the running emulator. Raises EmulatorError where none runs."""
        if self.running() is None or not self._record.exists():
            raise EmulatorError(
                f"The emulator is not running (state folder {self.root}); start it with: azbatch emulator start"
            )
        record: dict[str, Any] = json.loads(self._record.read_text())
        return record

    def drop_journal(self) -> None:
        """Forget pools, jobs and tasks; only while no emulator runs here."""
        for suffix in ("", "-wal", "-shm"):
            self.journal.with_name(self.journal.name + suffix).unlink(missing_ok=True)
        self.tenant.unlink(missing_ok=True)
        for name in ("accounts", "storage"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def drop_record(self) -> None:
        self._record.unlink(missing_ok=True)


class Lock:
    """A lock file held as long as its process lives; it tells who holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self) -> bool:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(PROBES):
            if _flock(handle, fcntl.LOCK_EX):
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
                self._handle = handle
                return True
            time.sleep(0.02)  # it may be another's `taken` that is in the way
        os.close(handle)
        return False

    def taken(self) -> bool:
        handle = os.open(self._path, os.O_RDWR)
        try:
            return not _flock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)

    def holder(self) -> int:
        return int(self._path.read_text() or 0)

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _flock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()
