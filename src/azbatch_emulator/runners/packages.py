"""Application packages on a node: fetched once, unpacked, named in the environment. Blocking; called in threads.

Source: "Deploy applications to compute nodes with Batch application packages".
"""

from __future__ import annotations

import shutil
import stat
import threading
import zipfile
from collections.abc import Iterable
from pathlib import Path

from azbatch_emulator.faults import fault
from azbatch_emulator.records import Fault
from azbatch_emulator.runners.blobs import TransferFailed
from azbatch_emulator.runners.layout import Package, inside
from azbatch_emulator.runners.transfers import Stopped, Transfers

DONE = ".azbatch-unpacked"


class Deployments:
    """Unpacks packages, each once for a node, whoever asks first."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers
        self._locks: dict[Path, threading.Lock] = {}
        self._guard = threading.Lock()

    def deploy(self, node: Path, packages: Iterable[Package], stopped: Stopped) -> Fault | None:
        """See that all packages lie on the node; why the first one that does not. Raises Cancelled."""
        for package in packages:
            directory = package.directory(node)
            with self._guard:
                lock = self._locks.setdefault(directory, threading.Lock())
            with lock:
                if (directory / DONE).exists():
                    continue
                try:
                    self._fetch(package, directory, stopped)
                except (TransferFailed, OSError, ValueError, zipfile.BadZipFile) as error:
                    shutil.rmtree(directory, ignore_errors=True)
                    reason = error.fault.code if isinstance(error, TransferFailed) else str(error)
                    return fault(
                        "ApplicationPackageError",
                        ApplicationId=package.application,
                        Version=package.version,
                        Message=reason,
                    )
        return None

    def _fetch(self, package: Package, directory: Path, stopped: Stopped) -> None:
        if package.url is None:
            raise ValueError("The package does not exist any more")
        directory.mkdir(parents=True, exist_ok=True)
        archive = directory.with_name(f".{directory.name}.zip")
        try:
            self._transfers.get(package.url, archive, stopped)
            unpack(archive, directory)
        finally:
            archive.unlink(missing_ok=True)
        (directory / DONE).touch()


def unpack(archive: Path, directory: Path) -> None:
    """Extract a zip file, permissions included. Raises ValueError for a member that climbs out, BadZipFile."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            target = inside(directory, member.filename.rstrip("/"))
            packed.extract(member, directory)
            mode = stat.S_IMODE(member.external_attr >> 16)
            if mode:
                target.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)
