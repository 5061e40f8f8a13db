"""One driver for a folder: a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from azbatch.errors import ConfigurationError

FILE = Path(".snakemake") / "azbatch.lock"


class DriverPresent(ConfigurationError):
    """Another driver is at work here."""


class DriverLock:
    """Held from `take` to `release`, or to the end of the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> None:
        """Raises DriverPresent where another driver that lives holds it."""
        self._path.parent.mkdir(exist_ok=True)
        # Children must not inherit it: it would outlive the driver.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise DriverPresent(
                [f"Process {holder} runs this workflow already: wait for its end, or use another folder."]
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
