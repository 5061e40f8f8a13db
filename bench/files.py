"""Moves files with one storage plugin, or the SDK alone, in a process of its own; prints counts, seconds and memory.

python files.py ours|peer|raw check|files|large NUMBER MEGABYTES FOLDER
Runs in the interpreter of the one that is measured: imports nothing of this project but the plugin.
"""

import asyncio
import importlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient
from snakemake.io import IOCache

THREADS = 16
asked = 0


class Count(logging.Handler):
    """Counts the SDK's requests by its own log of them."""

    def emit(self, record: logging.LogRecord) -> None:
        global asked
        asked += str(record.msg).startswith("Request URL")


def provider(kind: str, folder: Path) -> Any:
    # By name: each of the two is installed in one of the interpreters only.
    plugin = importlib.import_module(f"snakemake_storage_plugin_{'azblob' if kind == 'ours' else 'azure'}")
    account = {} if kind == "ours" else {"account_name": "emulatorstorage"}
    settings = plugin.StorageProviderSettings(**account)
    return plugin.StorageProvider(local_prefix=folder, logger=logging.getLogger("bench"), settings=settings)


def main() -> None:
    kind, what, number, megabytes, folder = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), Path(sys.argv[5])
    service = BlobServiceClient.from_connection_string(os.environ["AZURITE_CONNECTION_STRING"])
    if kind != "peer":
        service_variables = os.environ.pop("AZURITE_CONNECTION_STRING")
        assert service_variables
    container = service.get_container_client("files")
    if not container.exists():
        container.create_container()
    names = [f"run/{kind}/{what}/{n}.bin" for n in range(number)]
    if what == "check":
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda name: container.upload_blob(name, b"x", overwrite=True), names))
        answer = check(kind, folder, names)
    else:
        answer = move(kind, folder, container, names, megabytes)
    peak = re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0]
    print(json.dumps({**answer, "memory": int(peak) / 1024}))


def check(kind: str, folder: Path, names: list[str]) -> dict[str, float]:
    """What Snakemake asks of each file of an up-to-date workflow: inventory, then existence and time (no size)."""
    found = provider(kind, folder)
    items = [found.object(f"az://files/{name}") for name in names]
    cache = IOCache(60)
    logger = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
    logger.setLevel(logging.INFO)
    logger.addHandler(Count())
    started = time.monotonic()

    async def all_of_them() -> None:
        for item in items:
            await item.inventory(cache)
            key = None if kind == "peer" else item.cache_key()
            if key is None or not cache.exists_in_storage.get(key):
                assert item.exists()
                assert item.mtime() > 0

    asyncio.run(all_of_them())
    took = time.monotonic() - started
    requests = sum(found.blobs.requests.values()) if kind == "ours" else asked
    return {"requests": requests, "seconds": took}


def move(kind: str, folder: Path, container: Any, names: list[str], megabytes: int) -> dict[str, float]:
    """Up and down again, the way Snakemake does it: all its files handed to the event loop at once."""
    items: list[Any] = []
    if kind != "raw":
        found = provider(kind, folder)
        items = [found.object(f"az://files/{name}") for name in names]
    paths = [item.local_path() for item in items] or [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(bytes(1 << 20))

    def up(path: Path, name: str) -> None:
        with path.open("rb") as stream:
            container.upload_blob(name, stream, overwrite=True, max_concurrency=4)

    def down(path: Path, name: str) -> None:
        with path.open("wb") as stream:
            container.download_blob(name, max_concurrency=4).readinto(stream)

    async def gather(method: str) -> None:
        await asyncio.gather(*(getattr(item, method)() for item in items))

    def run(method: str, raw: Callable[[Path, str], None]) -> float:
        started = time.monotonic()
        if kind == "raw":
            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(raw, paths, names))
        else:
            asyncio.run(gather(method))
        return time.monotonic() - started

    stored = run("managed_store", up)
    for path in paths:
        path.unlink()
    fetched = run("managed_retrieve", down)
    assert all(path.stat().st_size == megabytes << 20 for path in paths)
    for name in names:
        container.delete_blob(name)
    return {"up": stored, "down": fetched}


if __name__ == "__main__":
    main()
