"""Blobs that many jobs of a node read, fetched once: a folder shared by the node's tasks.

An entry is named by endpoint, blob and ETag, and made under a lock of its own; it appears only when it is whole. Jobs
get hard links to it. An entry whose time or size changed was written to by a job: it is thrown away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SMALLEST = 1 << 20  # bytes; a smaller blob costs one request, as asking here would
SHARE = 0.5  # of the disk that is free or ours


@dataclass(frozen=True, slots=True)
class NodeCache:
    """`limit` in bytes; None takes half of what is free on the disk."""

    folder: Path
    limit: int | None = None

    def fetch(
        self, name: str, etag: str, size: int, modified: float, target: Path, download: Callable[[Path], None]
    ) -> None:
        """Put the blob at `target`, by `download` into a path where no task of this node has it yet.

        `modified` is the blob's time. Raises whatever `download` raises; the cache itself never fails a job.
        """
        if size < SMALLEST or size > self._limit():
            download(target)
            return
        entry = self.folder / hashlib.sha256(f"{name}\0{etag}".encode()).hexdigest()
        with self._locked(entry) as lock:
            if not _whole(entry, size, modified):
                entry.unlink(missing_ok=True)
                self._make_room(size)
                part = entry.with_suffix(".part")
                part.unlink(missing_ok=True)
                download(part)
                part.chmod(0o444)
                os.utime(part, (modified, int(modified)))
                part.replace(entry)
            # Its time is when the entry was last used.
            os.utime(lock)
            _link(entry, target)

    def _limit(self) -> int:
        if self.limit is not None:
            return self.limit
        self.folder.mkdir(parents=True, exist_ok=True)
        ours = sum(self._sizes().values())
        return int((shutil.disk_usage(self.folder).free + ours) * SHARE)

    def _sizes(self) -> dict[Path, int]:
        """Of whole and begun entries; what other tasks rename or remove meanwhile is left out."""
        found: dict[Path, int] = {}
        for path in self.folder.glob("*"):
            if path.suffix in {"", ".part"}:
                with suppress(OSError):
                    found[path] = path.stat().st_size
        return found

    @contextmanager
    def _locked(self, entry: Path, *, wait: bool = True) -> Iterator[int]:
        """The entry's lock, as an open file; raises BlockingIOError where another holds it and `wait` is False."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(entry.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield file
        finally:
            os.close(file)

    def _make_room(self, size: int) -> None:
        """Remove the entries that were not used for longest, until `size` more bytes fit; those in the making stay."""
        sizes = self._sizes()
        spare = self._limit() - sum(sizes.values()) - size
        for path in sorted(sizes, key=_last_use):
            if spare >= 0:
                return
            try:
                with self._locked(path, wait=False):
                    path.unlink(missing_ok=True)
            except OSError:
                continue
            spare += sizes[path]


def _last_use(entry: Path) -> float:
    try:
        return entry.with_suffix(".lock").stat().st_mtime
    except OSError:
        return 0.0


def _whole(entry: Path, size: int, modified: float) -> bool:
    try:
        found = entry.stat()
    except OSError:
        return False
    return found.st_size == size and int(found.st_mtime) == int(modified)


def _link(entry: Path, target: Path) -> None:
    """A hard link; a copy where the system allows none, as between disks or users."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".azblob-{os.getpid()}-{target.name[:100]}")
    beside.unlink(missing_ok=True)
    try:
        os.link(entry, beside)
    except OSError:
        shutil.copyfile(entry, beside)
    beside.replace(target)
