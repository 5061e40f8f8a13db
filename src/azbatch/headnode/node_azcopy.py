"""This machine's azcopy for the nodes: put into the workspace's storage once, under its own hash."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Protocol

from azbatch.errors import ConfigurationError
from azbatch.pools.azcopy import Azcopy

CONTAINER = "azbatch-tools"


class Store(Protocol):
    """`azbatch.azure.blob.BlobAccount`; both raise ServiceError."""

    url: str

    def exists(self, container: str, name: str) -> bool: ...

    def upload(self, container: str, name: str, path: Path) -> str: ...


def publish(store: Store, program: Path | None, identity: str) -> Azcopy:
    """What a pool's start task fetches by `identity`, a resource id that may read the store, and checks by its hash.

    `program` None is the azcopy on PATH. Raises ConfigurationError where there is none, ServiceError.
    """
    found = program or _on_path()
    try:
        content = found.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"azcopy ({found}) cannot be read: {error.strerror}."]) from None
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"azcopy/{sha256}/azcopy"
    url = f"{store.url}/{CONTAINER}/{name}" if store.exists(CONTAINER, name) else store.upload(CONTAINER, name, found)
    return Azcopy(url=url, sha256=sha256, identity=identity)


def _on_path() -> Path:
    found = shutil.which("azcopy")
    if found is None:
        raise ConfigurationError(
            ["There is no azcopy on this machine to give to the nodes: run prepare.sh, or name it with --azcopy FILE."]
        )
    return Path(found)
