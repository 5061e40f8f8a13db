"""Files of a task before and after its command: resource files in, output files out. Blocking; called in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from azbatch_emulator.faults import fault
from azbatch_emulator.records import Fault
from azbatch_emulator.runners.blobs import Blobs, Cancelled, TransferFailed
from azbatch_emulator.runners.environment import Surroundings
from azbatch_emulator.runners.layout import (
    Resource,
    TaskPaths,
    bare_url,
    blob_url,
    identity_in,
    inside,
    matches,
    resource,
    wanted,
)

__all__ = ["Cancelled", "TransferFailed", "Transfers"]
Stopped = Callable[[], bool]
Spec = Mapping[str, Any]


class Transfers:
    """Resource and output files of tasks, opened by their SAS or by the node's identity."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._storage_url = surroundings.storage_url
        self._blobs = Blobs(surroundings.ca_bundle, surroundings.token, surroundings.proxy)

    def close(self) -> None:
        """Drop idle connections; the next transfer opens new ones."""
        self._blobs.close()

    def fetch(self, spec: Spec, directory: Path, stopped: Stopped) -> Fault | None:
        """Download resourceFiles into a directory; the failureInfo of the first that fails. Raises Cancelled."""
        try:
            for entry in spec.get("resourceFiles") or ():
                wish = resource(entry, self._storage_url)
                for url, relative in self._sources(wish):
                    self._fetch_one(url, inside(directory, relative), wish, stopped)
        except TransferFailed as failure:
            return failure.fault
        except ValueError as error:
            return fault("ResourceFileCreateFailed", Message=str(error))
        return None

    def _sources(self, wish: Resource) -> Iterator[tuple[str, str]]:
        if not wish.listing:
            yield wish.url, wish.path
            return
        for name in self._blobs.names(wish.url, wish.prefix, bearer=wish.bearer):
            if not name.endswith("/"):  # a directory's marker
                yield blob_url(wish.url, name), f"{wish.path.rstrip('/')}/{name}".lstrip("/")

    def _fetch_one(self, url: str, path: Path, wish: Resource, stopped: Stopped) -> None:
        if stopped():
            raise Cancelled
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TransferFailed(fault("ResourceFileCreateFailed", Message=f"{path.name}: {error.strerror}")) from None
        self._blobs.download(url, path, bearer=wish.bearer, cancelled=stopped)
        path.chmod(wish.mode)

    def get(self, url: str, path: Path, stopped: Stopped) -> None:
        """Download one blob by its SAS. Raises TransferFailed, Cancelled."""
        self._blobs.download(url, path, bearer="", cancelled=stopped)

    def put_bytes(self, content: bytes, container_url: str, name: str, identity: str) -> None:
        """Write one blob. Raises TransferFailed."""
        self._blobs.upload_bytes(content, container_url, name, bearer=identity)

    def put(
        self, spec: Spec, paths: TaskPaths, variables: Mapping[str, str], succeeded: bool, stopped: Stopped
    ) -> Fault | None:
        """Upload the outputFiles whose condition holds, all that can be; the failureInfo of the first that fails.

        What was uploaded, and what not, is told in `fileuploadout.txt` and `fileuploaderr.txt` of the task directory.
        """
        failures: list[Fault] = []
        outputs = [entry for entry in spec.get("outputFiles") or () if wanted(entry, succeeded)]
        found = [(entry, list(self._matches(entry, paths, variables))) for entry in outputs]
        for entry, files in found:
            for path, name in files:
                if stopped():
                    raise Cancelled
                failure = self._put_one(entry, path, name, stopped)
                container = bare_url(entry["destination"]["container"]["containerUrl"])
                _note(paths, f"{path.name} -> {container}/{name}", failure)
                failures.extend([failure] if failure else [])
        return failures[0] if failures else None

    @staticmethod
    def _matches(entry: Spec, paths: TaskPaths, variables: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
        destination = entry["destination"]["container"].get("path")
        return matches(str(entry["filePattern"]), destination, paths.working, variables)

    def _put_one(self, entry: Spec, path: Path, name: str, stopped: Stopped) -> Fault | None:
        container = entry["destination"]["container"]
        headers = {str(header["name"]): str(header["value"]) for header in container.get("uploadHeaders") or ()}
        try:
            self._blobs.upload(
                path,
                str(container["containerUrl"]),
                name,
                bearer=identity_in(container),
                headers=headers,
                cancelled=stopped,
            )
        except TransferFailed as failure:
            return failure.fault
        return None


def _note(paths: TaskPaths, text: str, failure: Fault | None) -> None:
    with (paths.task / ("fileuploaderr.txt" if failure else "fileuploadout.txt")).open("a") as file:
        file.write(f"{text}: {failure.code}\n" if failure else f"{text}\n")
