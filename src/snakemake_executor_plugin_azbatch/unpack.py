"""Run once on each node by the job preparation task: `python -m … QUERY SHA256 DIRECTORY`.

Fetches the workflow's source archive with the node's own identity, checks it, and unpacks it; the directory appears
only when it is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from azbatch.errors import AzbatchError


def unpack(query: str, checksum: str, directory: Path) -> None:
    """Fetch `query` (az://container/name) and unpack it. Raises AzbatchError."""
    from azbatch.azure.blob import BlobAccount

    container, _, name = query.removeprefix("az://").partition("/")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as scratch:
        archive = Path(scratch) / "sources.tar.xz"
        BlobAccount().download(container, name, archive)
        with archive.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != checksum:
            raise AzbatchError(f"The source archive {query} is not the one of this run: its checksum is {found}.")
        fresh = Path(scratch) / "tree"
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, filter="data")
        if directory.exists():
            shutil.rmtree(directory)
        fresh.mkdir(exist_ok=True)
        fresh.replace(directory)


def main() -> None:
    query, checksum, directory = sys.argv[1:]
    try:
        unpack(query, checksum, Path(directory))
    except AzbatchError as error:
        print(f"azbatch: {error}", file=sys.stderr)
        # Whoever is root in a container should not leave files that others cannot remove.
        os._exit(1)


if __name__ == "__main__":
    main()
