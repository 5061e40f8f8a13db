"""Blobs through azure-storage-blob: the only module here that knows the SDK, and it imports it when first used.

Transfers stream in parallel ranges with constant memory: at most CONCURRENCY blocks of BLOCK bytes a file, and of all
files together what BUDGET allows.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_storage_plugin_azblob.budget import Budget

BLOCK = 4 * 1024 * 1024
SINGLE = BLOCK  # files up to this size go and come in one request
BUDGET = 64 * 1024 * 1024  # bytes of memory for all transfers
COPIES = 4  # of a blob in one piece, on its way through the SDK
CONCURRENCY = 4
PIECE = 256 * 1024  # read from a connection at a time
CONNECT_SECONDS, READ_SECONDS = 20, 60
POOL = 64
PAGE = 5000
DIRECTORY_MARK = "hdi_isfolder"  # how accounts with a hierarchical namespace mark directories


@dataclass(frozen=True, slots=True)
class Properties:
    """`modified` in seconds since the epoch, `size` in bytes (0 for a directory), `etag` where it is known."""

    modified: float
    size: int
    directory: bool = False
    etag: str = ""


class Blobs:
    """One endpoint with one credential. `requests` counts HTTP requests by method. Methods raise ServiceError."""

    def __init__(
        self, endpoint: str, credential: Any, *, concurrency: int = CONCURRENCY, checksums: bool = False
    ) -> None:
        self.endpoint = endpoint
        self._credential = credential
        self._concurrency = concurrency
        self._checksums = checksums
        self._service: Any = None
        self._budget = Budget(BUDGET)
        self.requests: Counter[str] = Counter()

    def _connected(self) -> Any:
        if self._service is None:
            import requests
            from azure.core.pipeline.transport import RequestsTransport
            from azure.storage.blob import BlobServiceClient, ExponentialRetry
            from requests.adapters import HTTPAdapter

            session = requests.Session()
            session.mount("https://", HTTPAdapter(pool_maxsize=POOL))
            session.mount("http://", HTTPAdapter(pool_maxsize=POOL))
            self._service = BlobServiceClient(
                self.endpoint,
                credential=self._credential,
                # With a session of one's own the SDK forgets its settings: downloads would come in pieces of 4 KB.
                transport=RequestsTransport(
                    session=session,
                    session_owner=False,
                    connection_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    connection_data_block_size=PIECE,
                ),
                max_single_put_size=SINGLE,
                max_block_size=BLOCK,
                max_single_get_size=SINGLE,
                max_chunk_get_size=BLOCK,
                # The SDK's own pace begins at 15 s: too long for a person who mistyped an address.
                retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=5),
                raw_request_hook=self._count,
            )
        return self._service

    def _count(self, request: Any) -> None:
        self.requests[request.http_request.method] += 1

    def _blob(self, container: str, name: str) -> Any:
        return self._connected().get_blob_client(container, name)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        from azure.core.exceptions import AzureError

        from azbatch.azure.faults import refused_by_sdk

        try:
            yield
        except AzureError as error:
            raise refused_by_sdk(self.endpoint, what, error) from error

    def properties(self, container: str, name: str) -> Properties | None:
        """A blob's properties, or those of a virtual directory; None where there is neither. One request for a blob."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._explained(f"Looking at az://{container}/{name}"):
            try:
                found = self._blob(container, name).get_blob_properties()
            except ResourceNotFoundError:
                return self._directory(container, name)
            if (found.metadata or {}).get(DIRECTORY_MARK) == "true":
                return self._directory(container, name) or Properties(found.last_modified.timestamp(), 0, True)
            return Properties(found.last_modified.timestamp(), int(found.size), etag=str(found.etag))

    def _directory(self, container: str, name: str) -> Properties | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            newest = max((found.modified for _, found in self._entries(container, f"{name}/")), default=None)
        except ResourceNotFoundError:
            return None
        return None if newest is None else Properties(newest, 0, True)

    def _entries(self, container: str, prefix: str, most_pages: int | None = None) -> Iterator[tuple[str, Properties]]:
        client = self._connected().get_container_client(container)
        pages = client.list_blobs(name_starts_with=prefix, results_per_page=PAGE, include=["metadata"]).by_page()
        for number, page in enumerate(pages):
            if most_pages is not None and number == most_pages:
                raise OverflowError(prefix)
            for blob in page:
                directory = (blob.metadata or {}).get(DIRECTORY_MARK) == "true"
                yield (
                    blob.name,
                    Properties(
                        blob.last_modified.timestamp(), 0 if directory else int(blob.size), directory, str(blob.etag)
                    ),
                )

    def listing(self, container: str, prefix: str, most_pages: int | None = None) -> dict[str, Properties] | None:
        """All blobs under a prefix, a request per 5,000; None beyond `most_pages`. A missing container has no blobs."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._explained(f"Listing az://{container}/{prefix}"):
            try:
                return dict(self._entries(container, prefix, most_pages))
            except ResourceNotFoundError:
                return {}
            except OverflowError:
                return None

    def top_level(self, container: str) -> dict[str, Properties]:
        """The blobs of a container that lie in no directory; directories are not descended into."""
        from azure.core.exceptions import ResourceNotFoundError
        from azure.storage.blob import BlobPrefix

        client = self._connected().get_container_client(container)
        with self._explained(f"Listing az://{container}/"):
            try:
                return {
                    blob.name: Properties(blob.last_modified.timestamp(), int(blob.size))
                    for blob in client.walk_blobs(delimiter="/", results_per_page=PAGE)
                    if not isinstance(blob, BlobPrefix)
                }
            except ResourceNotFoundError:
                return {}

    def download(self, container: str, name: str, path: Path, size: int | None = None) -> None:
        """A blob to a file: written beside it and renamed, so that no half file is ever seen.

        `size` in bytes, where it is known; what may be of any size counts as large.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".azblob-{uuid.uuid4().hex}")
        try:
            with (
                self._budget.spend(self._weight(size)),
                self._explained(f"Downloading az://{container}/{name}"),
                temporary.open("xb") as stream,
            ):
                self._blob(container, name).download_blob(
                    max_concurrency=self._concurrency, validate_content=self._checksums
                ).readinto(stream)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _weight(self, size: int | None) -> int:
        """The memory that a transfer takes, bytes."""
        return self._concurrency * BLOCK if size is None or size > SINGLE else COPIES * size

    def download_tree(self, container: str, name: str, path: Path) -> None:
        """All blobs of a virtual directory to a directory."""
        found = self.listing(container, f"{name}/") or {}
        path.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(self._concurrency) as threads:
            jobs = []
            for blob, properties in found.items():
                target = path / blob[len(name) + 1 :]
                if properties.directory:
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    jobs.append(threads.submit(self.download, container, blob, target, properties.size))
            for job in jobs:
                job.result()

    def upload(self, container: str, name: str, path: Path) -> Properties:
        """A file to a blob, over whatever is there; the container is made where there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._explained(f"Uploading az://{container}/{name}"):
            size = path.stat().st_size
            for attempt in (1, 2):
                try:
                    with self._budget.spend(self._weight(size)), path.open("rb") as stream:
                        answer = self._blob(container, name).upload_blob(
                            stream,
                            length=size,
                            overwrite=True,
                            max_concurrency=self._concurrency,
                            validate_content=self._checksums,
                        )
                    return Properties(answer["last_modified"].timestamp(), size)
                except ResourceNotFoundError:
                    if attempt == 2:
                        raise
                    self._make_container(container)
            raise AssertionError("the second attempt returns or raises")

    def upload_tree(self, container: str, name: str, path: Path) -> Properties:
        """A directory with all it holds; blobs of an earlier content that are no more are deleted."""
        files = {f"{name}/{file.relative_to(path).as_posix()}": file for file in path.rglob("*") if file.is_file()}
        stale = set(self.listing(container, f"{name}/") or {}) - set(files)
        with ThreadPoolExecutor(self._concurrency) as threads:
            newest = max(
                (done.modified for done in threads.map(lambda item: self.upload(container, *item), files.items())),
                default=0.0,
            )
            list(threads.map(lambda blob: self.delete(container, blob), stale))
        return Properties(newest, 0, True)

    def _make_container(self, container: str) -> None:
        from azure.core.exceptions import ResourceExistsError

        try:
            self._connected().create_container(container)
        except ResourceExistsError:
            return

    def delete(self, container: str, name: str) -> None:
        """Delete a blob; one that is not there is fine."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._explained(f"Deleting az://{container}/{name}"):
            try:
                self._blob(container, name).delete_blob(delete_snapshots="include")
            except ResourceNotFoundError:
                return

    def delete_tree(self, container: str, name: str) -> None:
        """Delete what lies in a virtual directory, the deepest first, and its mark."""
        found = self.listing(container, f"{name}/") or {}
        files = [blob for blob, properties in found.items() if not properties.directory]
        with ThreadPoolExecutor(self._concurrency) as threads:
            list(threads.map(lambda blob: self.delete(container, blob), files))
        for mark in sorted(set(found) - set(files), reverse=True):
            self.delete(container, mark)
        self.delete(container, name)

    def touch(self, container: str, name: str) -> None:
        """Make the blob's last-modified now: its metadata is written again, its content untouched."""
        with self._explained(f"Touching az://{container}/{name}"):
            blob = self._blob(container, name)
            blob.set_blob_metadata(blob.get_blob_properties().metadata or {})

    def touch_tree(self, container: str, name: str) -> None:
        """Touch every blob of a virtual directory."""
        with ThreadPoolExecutor(self._concurrency) as threads:
            list(threads.map(lambda blob: self.touch(container, blob), self.listing(container, f"{name}/") or {}))
