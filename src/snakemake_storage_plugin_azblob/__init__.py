"""Azure Blob storage for Snakemake: `az://container/path`, by Entra identity, SAS or connection string.

One listing answers for a whole directory tree; transfers overlap, stream and use constant memory.
"""

from __future__ import annotations

import asyncio
import functools
import os
import posixpath
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_storage_plugins.exceptions import FileOrDirectoryNotFoundError
from snakemake_interface_storage_plugins.io import IOCacheStorageInterface, Mtime, get_constant_prefix
from snakemake_interface_storage_plugins.storage_object import (
    StorageObjectGlob,
    StorageObjectRead,
    StorageObjectTouch,
    StorageObjectWrite,
)
from snakemake_interface_storage_plugins.storage_provider import (
    ExampleQuery,
    Operation,
    QueryType,
    StorageProviderBase,
    StorageQueryValidationResult,
)

from azbatch.errors import AzbatchError
from snakemake_storage_plugin_azblob import query as queries
from snakemake_storage_plugin_azblob.bulk import Crowd
from snakemake_storage_plugin_azblob.settings import StorageProviderSettings

if TYPE_CHECKING:
    from snakemake_storage_plugin_azblob.client import Blobs, Properties
    from snakemake_storage_plugin_azblob.node_cache import NodeCache

__all__ = ["StorageObject", "StorageProvider", "StorageProviderSettings"]

T = TypeVar("T")
# Beyond so many blobs, one directory is listed instead of the tree it is in.
INVENTORY_PAGES = 20
THREADS = 16  # questions and transfers at a time
ON_NODE, NODE_SHARED = "AZ_BATCH_TASK_ID", "AZ_BATCH_NODE_SHARED_DIR"


class StorageProvider(StorageProviderBase):
    """One Blob endpoint. The connection is made when it is first needed."""

    def __post_init__(self) -> None:
        self._blobs: Blobs | None = None
        self._listed: dict[tuple[str, str], asyncio.Lock] = {}
        self.crowd = Crowd()

    @property
    def blobs(self) -> Blobs:
        if self._blobs is None:
            self._blobs = self._connect(self.settings or StorageProviderSettings())
        return self._blobs

    def node_cache(self) -> NodeCache | None:
        """Where tasks of one node share blobs; None on any other machine, or where it is switched off."""
        folder = os.environ.get(NODE_SHARED)
        settings = self.settings or StorageProviderSettings()
        if not folder or not os.environ.get(ON_NODE) or settings.node_cache == 0:
            return None
        from snakemake_storage_plugin_azblob.node_cache import NodeCache

        limit = None if settings.node_cache is None else int(settings.node_cache * 1e9)
        return NodeCache(Path(folder) / "azblob", limit)

    @staticmethod
    def _connect(settings: StorageProviderSettings) -> Blobs:
        from azbatch.azure import credentials
        from snakemake_storage_plugin_azblob.client import Blobs

        if not 1 <= settings.concurrency <= 64:
            raise WorkflowError(f"azblob: concurrency is between 1 and 64, not {settings.concurrency}.")
        if settings.connection_string:
            endpoint, credential = _from_connection_string(settings.connection_string)
            return Blobs(endpoint, credential, concurrency=settings.concurrency, checksums=settings.checksums)
        url = settings.endpoint_url
        if not url and settings.account:
            url = f"https://{settings.account}.blob.core.windows.net"
        try:
            endpoint = credentials.endpoint(url, credentials.STORAGE_URL, "Blob storage URL")
        except AzbatchError as error:
            raise WorkflowError(f"azblob: {error}") from None
        credential = settings.sas_token.lstrip("?") if settings.sas_token else credentials.entra()
        return Blobs(endpoint, credential, concurrency=settings.concurrency, checksums=settings.checksums)

    @classmethod
    def example_queries(cls) -> list[ExampleQuery]:
        return [
            ExampleQuery(
                query="az://mycontainer/data/{sample}.fastq.gz", description="a blob in a container", type=QueryType.ANY
            )
        ]

    def rate_limiter_key(self, query: str, operation: Operation) -> Any:
        return self.blobs.endpoint

    def default_max_requests_per_second(self) -> float:
        return 1000.0

    def use_rate_limiter(self) -> bool:
        return bool(self.settings and self.settings.max_requests_per_second)

    @classmethod
    def is_valid_query(cls, query: str) -> StorageQueryValidationResult:
        reason = queries.fault(query)
        return StorageQueryValidationResult(query=query, valid=reason is None, reason=reason)

    def postprocess_query(self, query: str) -> str:
        return query.rstrip("/")

    def listing_lock(self, parent: tuple[str, str]) -> asyncio.Lock:
        """Files of one tree ask for its inventory at the same time: only the first lists it."""
        return self._listed.setdefault(parent, asyncio.Lock())


def _from_connection_string(text: str) -> tuple[str, Any]:
    """(endpoint, credential) of a connection string. Raises WorkflowError without repeating it."""
    parts = dict(part.split("=", 1) for part in text.strip().split(";") if "=" in part)
    name = parts.get("AccountName", "")
    endpoint = parts.get("BlobEndpoint") or (
        f"{parts.get('DefaultEndpointsProtocol', 'https')}://{name}.blob."
        f"{parts.get('EndpointSuffix', 'core.windows.net')}"
        if name
        else ""
    )
    if parts.get("SharedAccessSignature"):
        credential: Any = parts["SharedAccessSignature"].lstrip("?")
    elif parts.get("AccountKey"):
        credential = {"account_name": name, "account_key": parts["AccountKey"]}
    else:
        credential = None
    if not endpoint or credential is None:
        raise WorkflowError("azblob: the connection string has no endpoint, or neither a key nor a signature.")
    return endpoint.rstrip("/"), credential


class StorageObject(StorageObjectRead, StorageObjectWrite, StorageObjectGlob, StorageObjectTouch):
    """One blob, or one directory of blobs. A blob's last-modified time is its modification time."""

    provider: StorageProvider

    def __post_init__(self) -> None:
        self.location = queries.parse(self.query)
        # What one answer told about time and size, each to be used once: a second question asks anew.
        self._known: dict[str, Properties] = {}
        self._learned: tuple[Properties, float] | None = None
        self._last: Properties | None = None
        self.provider.crowd.join(self)

    @property
    def _place(self) -> tuple[str, str]:
        return self.location.container, self.location.name

    def local_suffix(self) -> str:
        return self.location.suffix

    def cleanup(self) -> None:
        """Nothing is kept beside the local copy."""

    # What is there

    def _look(self) -> Properties | None:
        found = self.provider.blobs.properties(*self._place)
        self._know(found, "mtime", "size")
        return found

    def learned(self, found: Properties, until: float) -> None:
        """What a listing tells, for all questions until a moment of the monotonic clock."""
        self._know(found)
        self._learned = (found, until)

    def forget(self) -> None:
        """The blob may have changed."""
        self._known, self._learned = {}, None

    def _from_listing(self) -> Properties | None:
        if self._learned is not None and time.monotonic() < self._learned[1]:
            return self._learned[0]
        return None

    def _know(self, found: Properties | None, *uses: str) -> None:
        self._known = dict.fromkeys(uses, found) if found is not None else {}
        self._learned = None
        self._last = found

    def _told(self, use: str) -> Properties:
        found = self._from_listing() or self._known.pop(use, None) or self._look()
        self._known.pop(use, None)
        if found is None:
            raise FileOrDirectoryNotFoundError(self.print_query, self.local_path())
        return found

    def exists(self) -> bool:
        if self._from_listing() is not None or self._known.pop("exists", None) is not None:
            return True
        blobs = self.provider.blobs
        listed = self.provider.crowd.answer(*self._place, blobs.listing)
        if listed is not None:
            # The time may have changed since; that is asked for by itself.
            self._know(listed, "size")
            return True
        return self._look() is not None

    def mtime(self) -> float:
        return self._told("mtime").modified

    def size(self) -> int:
        return self._told("size").size

    def local_footprint(self) -> int:
        known = self._known.get("size")
        return known.size if known is not None else 0

    def get_inventory_parent(self) -> str | None:
        container, prefix = queries.inventory_parent(self.location)
        return self.cache_key(f"{container}/{prefix}".rstrip("/"))

    async def inventory(self, cache: IOCacheStorageInterface) -> None:
        """Fill the cache from one listing of the tree this object is in. On a node, single questions are cheaper."""
        parent = queries.inventory_parent(self.location)
        key = self.get_inventory_parent()
        if os.environ.get(ON_NODE):
            return
        async with self.provider.listing_lock(parent):
            if key in cache.exists_in_storage.has_inventory:
                return
            found = await _threaded(lambda: self._list(parent))
            if found is None:
                return
            for name, properties in _with_directories(found, parent[1]).items():
                entry = self.cache_key(f"{parent[0]}/{name}")
                cache.exists_in_storage[entry] = True
                cache.mtime[entry] = Mtime(storage=properties.modified)
                cache.size[entry] = properties.size
            cache.exists_in_storage.has_inventory.add(key)

    def _list(self, parent: tuple[str, str]) -> dict[str, Properties] | None:
        container, prefix = parent
        if not prefix:
            return self.provider.blobs.top_level(container)
        return self.provider.blobs.listing(container, prefix, INVENTORY_PAGES)

    # Transfers

    def retrieve_object(self) -> None:
        known = self._known.get("size")
        if known is not None and known.directory:
            self.provider.blobs.download_tree(*self._place, self.local_path())
            return
        try:
            self._retrieve_blob()
        except AzbatchError:
            found = self._look()
            if found is None or not found.directory:
                raise
            self.provider.blobs.download_tree(*self._place, self.local_path())

    def _retrieve_blob(self) -> None:
        blobs, seen = self.provider.blobs, self._last
        cache = self.provider.node_cache()
        if cache is None or seen is None or not seen.etag:
            blobs.download(*self._place, self.local_path(), seen.size if seen is not None else None)
            return
        cache.fetch(
            f"{blobs.endpoint}/{self.location.container}/{self.location.name}",
            seen.etag,
            seen.size,
            seen.modified,
            self.local_path(),
            lambda path: blobs.download(*self._place, path, seen.size),
        )

    def store_object(self) -> None:
        path, blobs = self.local_path(), self.provider.blobs
        move = blobs.upload_tree if path.is_dir() else blobs.upload
        stored = move(*self._place, path)
        self._know(stored, "exists", "mtime", "size")

    def remove(self) -> None:
        found = self._look()
        self.forget()
        if found is not None and found.directory:
            self.provider.blobs.delete_tree(*self._place)
        elif found is not None:
            self.provider.blobs.delete(*self._place)

    def touch(self) -> None:
        found = self._look()
        self.forget()
        if found is not None and found.directory:
            self.provider.blobs.touch_tree(*self._place)
        else:
            self.provider.blobs.touch(*self._place)

    def list_candidate_matches(self) -> Iterable[str]:
        prefix = queries.parse(get_constant_prefix(self.query))
        if "{" in self.query.removeprefix(queries.SCHEME).partition("/")[0]:
            raise WorkflowError(f"{self.print_query}: the container of a pattern must be fixed, without wildcards.")
        raw = get_constant_prefix(self.query).removeprefix(queries.SCHEME).partition("/")[2]
        found = self.provider.blobs.listing(prefix.container, raw) or {}
        return [f"{queries.SCHEME}{prefix.container}/{name}" for name in found]

    # Snakemake's asynchronous entry points: each waits in a thread, so that many overlap.

    async def managed_exists(self) -> bool:
        return await self._managed("check", Operation.EXISTS, self.exists)

    async def managed_mtime(self) -> float:
        return await self._managed("get the modification time of", Operation.MTIME, self.mtime)

    async def managed_size(self) -> int:
        return await self._managed("get the size of", Operation.SIZE, self.size)

    async def managed_retrieve(self) -> None:
        await self.wait_for_free_space()
        await self._managed("retrieve", Operation.RETRIEVE, self.retrieve_object)

    async def managed_store(self) -> None:
        await self._managed("store", Operation.STORE, self.store_object)

    async def managed_remove(self) -> None:
        await self._managed("remove", Operation.REMOVE, self.remove)

    async def managed_touch(self) -> None:
        await self._managed("touch", Operation.TOUCH, self.touch)

    async def _managed(self, verb: str, operation: Operation, function: Callable[[], T]) -> T:
        async with self._rate_limiter(operation):
            try:
                return await _threaded(function)
            except AzbatchError as error:
                raise WorkflowError(f"Failed to {verb} {self.print_query}: {error}") from None


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """One for all event loops: Snakemake makes a new one for each of its steps."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="azblob")


async def _threaded(function: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), function)
    except AzbatchError as error:
        raise WorkflowError(str(error)) from None


def _with_directories(found: dict[str, Properties], top: str) -> dict[str, Properties]:
    """The blobs and the directories above them (below `top`), as old as their newest blob."""
    from snakemake_storage_plugin_azblob.client import Properties

    answer = dict(found)
    for name, properties in found.items():
        directory = posixpath.dirname(name)
        while len(directory) >= len(top):
            known = answer.get(directory)
            if known is not None and known.modified >= properties.modified:
                break
            answer[directory] = Properties(properties.modified, 0, True)
            directory = posixpath.dirname(directory)
    return answer
