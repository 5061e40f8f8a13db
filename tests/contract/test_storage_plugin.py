"""The storage plugin through its public classes, on Azurite over TLS with the emulator's identity."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from snakemake.io import IOCache
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_storage_plugins.tests import TestStorageBase

from azbatch.azure import credentials
from azbatch.errors import AzbatchError
from azbatch_emulator.launcher import Emulator
from snakemake_storage_plugin_azblob import StorageProvider, StorageProviderSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def surroundings(azbatch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `azbatch emulator env` sets; the process's credential is made anew."""
    for name, value in azbatch_emulator.environment().items():
        monkeypatch.setenv(name, value)
    credentials.entra.cache_clear()
    yield
    credentials.entra.cache_clear()


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Connections left to the garbage collector end here, not in a later test."""
    yield
    gc.collect()


@pytest.fixture
def container() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def _provider(folder: Path, **settings: Any) -> StorageProvider:
    return StorageProvider(
        local_prefix=folder / "local", logger=logging.getLogger("test"), settings=StorageProviderSettings(**settings)
    )


def _stored(provider: StorageProvider, query: str, content: bytes = b"hello") -> Any:
    item = provider.object(query)
    item.local_path().parent.mkdir(parents=True, exist_ok=True)
    item.local_path().write_bytes(content)
    item.store_object()
    return item


class TestOfficial(TestStorageBase):
    """Snakemake's own test base for storage plugins, files and directories, with touch."""

    __test__ = True
    touch = True
    files_only = False

    def get_storage_provider_cls(self) -> type[StorageProvider]:
        return StorageProvider

    def get_storage_provider_settings(self) -> StorageProviderSettings:
        return StorageProviderSettings()

    def get_query(self, tmp_path: Path) -> str:
        return "az://official/some/where/test.txt"

    def get_query_not_existing(self, tmp_path: Path) -> str:
        return "az://official/not/there.txt"


@pytest.mark.parametrize(
    "name",
    ["a b.txt", "ünïcode-文.txt", "plus+percent%20.txt", "hash#question?.txt", "a/b/c/d.txt", "x" * 200, "empty"],
)
def test_odd_names_and_empty_blobs_survive(tmp_path: Path, container: str, name: str) -> None:
    """A blob's name is taken as it is, and its bytes come back as they went, none included."""
    provider = _provider(tmp_path)
    content = b"" if name == "empty" else name.encode()
    item = _stored(provider, f"az://{container}/{name}", content)
    item.local_path().unlink()
    again = _provider(tmp_path).object(f"az://{container}/{name}")
    assert again.exists()
    again.retrieve_object()
    assert again.local_path().read_bytes() == content


def test_one_listing_answers_for_a_whole_tree(tmp_path: Path, container: str) -> None:
    """After the inventory of one file, all files of the run and those missing are known without a request."""
    provider = _provider(tmp_path)
    for number in range(5):
        _stored(provider, f"az://{container}/run/out/{number}.txt")
    fresh = _provider(tmp_path)
    cache = IOCache(10)
    items = [fresh.object(f"az://{container}/run/out/{number}.txt") for number in range(7)]
    asyncio.run(_inventories(items, cache))
    assert sum(fresh.blobs.requests.values()) == 1
    known = [cache.exists_in_storage.get(item.cache_key(), False) for item in items]
    assert known == [True] * 5 + [False] * 2
    assert cache.exists_in_storage[fresh.object(f"az://{container}/run/out").cache_key()]
    assert cache.size[items[0].cache_key()] == 5


async def _inventories(items: list[Any], cache: IOCache) -> None:
    await asyncio.gather(*(item.inventory(cache) for item in items))


def test_requests_a_file(tmp_path: Path, container: str) -> None:
    """Storing costs one request; looking and fetching two: existence, time and size come from one answer."""
    provider = _provider(tmp_path)
    _stored(provider, f"az://{container}/first")
    before = sum(provider.blobs.requests.values())
    item = _stored(provider, f"az://{container}/second")
    assert item.exists()
    assert item.mtime() > 0
    assert item.size() == 5
    assert sum(provider.blobs.requests.values()) - before == 1
    fresh = _provider(tmp_path)
    item = fresh.object(f"az://{container}/second")
    assert item.exists()
    item.mtime()
    item.size()
    item.local_path().unlink()
    item.retrieve_object()
    assert sum(fresh.blobs.requests.values()) == 2


def test_a_changed_blob_is_seen(tmp_path: Path, container: str) -> None:
    """An answer is used once: a blob changed or deleted by someone else is seen at the next question."""
    item = _stored(_provider(tmp_path), f"az://{container}/shared")
    reader = _provider(tmp_path).object(f"az://{container}/shared")
    assert reader.size() == 5
    _stored(_provider(tmp_path / "other"), f"az://{container}/shared", b"longer than before")
    assert reader.size() == 18
    item.remove()
    assert not reader.exists()


def test_a_directory_goes_and_comes_whole(tmp_path: Path, container: str) -> None:
    """A directory's files are stored, stale ones deleted, fetched again, and removed."""
    provider = _provider(tmp_path)
    item = provider.object(f"az://{container}/a/dir")
    for name in ("one", "sub/two"):
        path = item.local_path() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    item.store_object()
    (item.local_path() / "one").unlink()
    (item.local_path() / "three").write_text("three")
    item.store_object()
    fresh = _provider(tmp_path / "again").object(f"az://{container}/a/dir")
    assert fresh.exists()
    assert fresh.size() == 0
    fresh.retrieve_object()
    found = sorted(p.relative_to(fresh.local_path()).as_posix() for p in fresh.local_path().rglob("*") if p.is_file())
    assert found == ["sub/two", "three"]
    fresh.remove()
    assert not fresh.exists()


def test_globbing(tmp_path: Path, container: str) -> None:
    """A pattern's candidates are the blobs under its constant part."""
    provider = _provider(tmp_path)
    for name in ("in/a.txt", "in/b.txt", "other/c.txt"):
        _stored(provider, f"az://{container}/{name}")
    found = provider.object(f"az://{container}/in/{{name}}.txt").list_candidate_matches()
    assert sorted(found) == [f"az://{container}/in/a.txt", f"az://{container}/in/b.txt"]


def test_nothing_half_is_ever_seen(tmp_path: Path, container: str) -> None:
    """A download that fails leaves neither the file nor a part of it."""
    item = _provider(tmp_path).object(f"az://{container}/not-there")
    with pytest.raises((AzbatchError, WorkflowError)):
        item.retrieve_object()
    assert list(item.local_path().parent.iterdir()) == []


def test_credentials_by_connection_string_and_sas(tmp_path: Path, container: str, azbatch_emulator: Emulator) -> None:
    """A connection string or a SAS serves instead of an identity; an expired SAS is told, not shown."""
    from datetime import UTC, datetime, timedelta

    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    text = azbatch_emulator.storage_connection_string
    assert _stored(_provider(tmp_path, connection_string=text), f"az://{container}/x").exists()

    def sas(age: timedelta) -> str:
        return generate_account_sas(
            azbatch_emulator.storage_account,
            azbatch_emulator.storage_key,
            ResourceTypes(container=True, object=True),
            AccountSasPermissions(read=True, list=True),
            datetime.now(UTC) + age,
        )

    assert _provider(tmp_path, sas_token=sas(timedelta(hours=1))).object(f"az://{container}/x").exists()
    expired = sas(timedelta(hours=-1))
    with pytest.raises(AzbatchError) as raised:
        _provider(tmp_path, sas_token=expired).object(f"az://{container}/x").exists()
    signature = expired.split("sig=")[1].split("&")[0]
    assert signature not in str(raised.value)
    assert "(AuthorizationFailure); check that the SAS has not expired" in str(raised.value)


@pytest.mark.fault("a SAS that has expired", "a sentence names the storage and the refusal, without the SAS")
def test_an_expired_sas_is_one_sentence(tmp_path: Path, container: str, azbatch_emulator: Emulator) -> None:
    """Whoever gave a SAS for a day finds out why the second day fails; the SAS itself is not repeated."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    sas = generate_account_sas(
        azbatch_emulator.storage_account,
        azbatch_emulator.storage_key,
        ResourceTypes(object=True, container=True),
        AccountSasPermissions(read=True, list=True),
        expiry=datetime(2020, 1, 1, tzinfo=UTC),
    )
    item = _provider(tmp_path, sas_token=sas, connection_string=None).object(f"az://{container}/thing")
    with pytest.raises(AzbatchError) as caught:
        item.exists()
    said = str(caught.value)
    assert "az://" in said
    assert "sig=" not in said
    assert len(said.splitlines()) == 1


def test_blocks_are_checked_where_that_is_asked_for(tmp_path: Path, container: str) -> None:
    """With checksums on, a file of several blocks goes up and comes back the same."""
    item = _stored(_provider(tmp_path, checksums=True), f"az://{container}/checked", os.urandom(9 << 20))
    before = item.local_path().read_bytes()
    item.local_path().unlink()
    item.retrieve_object()
    assert item.local_path().read_bytes() == before


def test_jobs_of_a_node_fetch_a_blob_once(tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a node a second job finds the blob in the shared folder; a new version of the blob is fetched again."""
    monkeypatch.setenv("AZ_BATCH_TASK_ID", "task")
    monkeypatch.setenv("AZ_BATCH_NODE_SHARED_DIR", str(tmp_path / "shared"))
    query = f"az://{container}/reference"
    requests = []
    for number, content in enumerate((b"a" * (2 << 20), None, b"b" * (2 << 20))):
        provider = _provider(tmp_path / str(number))
        if content is not None:
            _stored(provider, query, content)
        item = _provider(tmp_path / f"job{number}").object(query)
        assert item.exists()
        before = item.provider.blobs.requests["GET"]
        item.retrieve_object()
        requests.append(item.provider.blobs.requests["GET"] - before)
        assert item.local_path().read_bytes()[:1] == (b"b" if number == 2 else b"a")
    assert requests == [1, 0, 1]


def test_wrong_endpoint_is_one_sentence(tmp_path: Path) -> None:
    """A storage that cannot be reached is named with what to check."""
    item = _provider(tmp_path, endpoint_url="http://127.0.0.1:9/none", connection_string=None, sas_token="sv=1&sig=x")
    item.settings.concurrency = 1
    with pytest.raises(AzbatchError, match=r"127\.0\.0\.1:9 cannot be reached"):
        item.object("az://some/thing").exists()


def test_a_large_blob_takes_constant_memory(tmp_path: Path, container: str) -> None:
    """256 MB up and down: the process stays under 150 MB."""
    script = (
        "import re, sys, logging, pathlib\n"
        "from snakemake_storage_plugin_azblob import StorageProvider, StorageProviderSettings as S\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "p = StorageProvider(local_prefix=folder, logger=logging.getLogger(), settings=S())\n"
        "o = p.object(sys.argv[2]); path = o.local_path(); path.parent.mkdir(parents=True)\n"
        "with path.open('wb') as f:\n"
        "    for _ in range(256): f.write(bytes(1 << 20))\n"
        "o.store_object(); path.unlink(); o.retrieve_object()\n"
        "assert path.stat().st_size == 256 << 20\n"
        # Not ru_maxrss: that begins with the memory of whoever started the process.
        "print(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "big"), f"az://{container}/big"],
        # Not measured for coverage, which takes memory of its own.
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150_000
