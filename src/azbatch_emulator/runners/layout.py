"""The directories of a Batch node, and which files of a task go where. Pure but for matching globs.

Source: "Files and directories in Azure Batch"; REST, ResourceFile, OutputFile.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

NODE_DIRECTORIES = ("applications", "fsmounts", "shared", "startup", "volatile", "workitems")
DEFAULT_FILE_MODE = 0o770
AUTO_STORAGE = "auto-storage"  # its identity is the account's own
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_SEPARATORS = re.compile(r"[.#-]")
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class TaskPaths:
    """Where one command runs: the node's root, the task directory, its working directory, its output."""

    node: Path
    task: Path

    @property
    def working(self) -> Path:
        return self.task / "wd"

    @property
    def stdout(self) -> Path:
        return self.task / "stdout.txt"

    @property
    def stderr(self) -> Path:
        return self.task / "stderr.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that a pool or a task refers to; `url` opens its blob, None where it is gone meanwhile."""

    application: str
    version: str
    by_default: bool  # the reference names no version
    url: str | None = field(repr=False)

    def directory(self, node: Path) -> Path:
        return node / "applications" / self.application / self.version

    @property
    def variable(self) -> str:
        """`AZ_BATCH_APP_PACKAGE_<application>[_<version>]`, its dots, hyphens and number signs flattened."""
        name = self.application if self.by_default else f"{self.application}_{self.version}"
        return f"AZ_BATCH_APP_PACKAGE_{_SEPARATORS.sub('_', name)}"


def references(*specs: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """(application, version or None) of each applicationPackageReference, in order, each once."""
    found: dict[tuple[str, str | None], None] = {}
    for spec in specs:
        for one in spec.get("applicationPackageReferences") or ():
            version = one.get("version")
            found[str(one["applicationId"]), str(version) if version else None] = None
    return list(found)


def mounts(pool: Mapping[str, Any]) -> list[str]:
    """The relative paths of a pool's mounted file systems, which are plain directories here."""
    found: list[str] = []
    for entry in pool.get("mountConfiguration") or ():
        found += [str(one["relativeMountPath"]) for one in entry.values() if one.get("relativeMountPath")]
    return found


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced where the name is known, left alone where not."""
    return _VARIABLE.sub(lambda found: environment.get(found[1] or found[2], found[0]), text)


def inside(directory: Path, relative: str) -> Path:
    """A path below `directory`. Raises ValueError for one that is absolute or climbs out."""
    path = Path(os.path.normpath(directory / relative))
    if Path(relative).is_absolute() or not path.is_relative_to(directory) or path == directory:
        raise ValueError(f"{relative!r} is not a path inside the working directory")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource file: a single URL (`listing` False), or all blobs of a container below a prefix."""

    url: str
    path: str  # of the file, or of the directory the blobs go to; relative to the working directory
    listing: bool
    prefix: str
    bearer: str  # resource id of the identity that opens it, "" for none
    mode: int


def identity_in(spec: Mapping[str, Any]) -> str:
    """The resource id in a file's identityReference; "" where it names none."""
    return str((spec.get("identityReference") or {}).get("resourceId") or "")


def resource(spec: Mapping[str, Any], storage_url: str | None) -> Resource:
    """What a wire `resourceFile` asks for; `storage_url` is the auto-storage account's. Raises ValueError."""
    mode = int(str(spec["fileMode"]), 8) if spec.get("fileMode") else DEFAULT_FILE_MODE
    common: dict[str, Any] = {"path": str(spec.get("filePath") or ""), "mode": mode}
    bearer = identity_in(spec)
    if spec.get("httpUrl"):
        return Resource(url=str(spec["httpUrl"]), listing=False, prefix="", bearer=bearer, **common)
    prefix = str(spec.get("blobPrefix") or "")
    if spec.get("storageContainerUrl"):
        return Resource(url=str(spec["storageContainerUrl"]), listing=True, prefix=prefix, bearer=bearer, **common)
    name = spec.get("autoStorageContainerName")
    if not name:
        raise ValueError("a resource file has no source")
    if storage_url is None:
        raise ValueError("the account has no auto-storage")
    return Resource(url=f"{storage_url}/{name}", listing=True, prefix=prefix, bearer=AUTO_STORAGE, **common)


def blob_url(container_url: str, name: str) -> str:
    """The address of a blob in a container; a SAS in the container's address is kept."""
    parts = urlsplit(container_url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name, safe='/~')}"))


def bare_url(url: str) -> str:
    """An address without its query, which may hold a SAS: fit for messages and logs."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def wanted(output: Mapping[str, Any], succeeded: bool) -> bool:
    """Whether the output file's uploadCondition holds."""
    condition = str((output.get("uploadOptions") or {}).get("uploadCondition", "taskcompletion")).lower()
    return condition == "taskcompletion" or condition == ("tasksuccess" if succeeded else "taskfailure")


def matches(
    pattern: str, destination: str | None, working: Path, environment: Mapping[str, str]
) -> Iterator[tuple[Path, str]]:
    """(file, blob name) for each file an output file's filePattern matches.

    `*`, `**`, `?`, `[…]` as the service has them; names that begin with a dot only where the pattern says so.
    Without a wildcard `destination` is the blob's name; with one, the virtual directory in front of each name, which
    is the file's path below the directories that the pattern names literally.
    """
    pattern = expand(pattern, environment)
    if not _WILDCARD.search(pattern):
        path = working / pattern
        if path.is_file():
            yield path, destination or path.name
        return
    literal = os.path.dirname(pattern[: _WILDCARD.search(pattern).start()])  # type: ignore[union-attr]  # noqa: PTH120
    prefix = f"{destination.strip('/')}/" if destination and destination.strip("/") else ""
    for found in sorted(glob.glob(pattern, root_dir=working, recursive=True)):  # noqa: PTH207
        if (working / found).is_file():
            yield working / found, prefix + Path(os.path.relpath(found, literal or ".")).as_posix()
