"""The folder in which tasks of a node share blobs."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from snakemake_storage_plugin_azblob.node_cache import SMALLEST, NodeCache

BIG = SMALLEST + 5
MOMENT = 1_700_000_000.25


class Blob:
    """Downloads are counted."""

    def __init__(self, content: bytes = b"x" * BIG) -> None:
        self.content = content
        self.downloads = 0

    def download(self, path: Path) -> None:
        self.downloads += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)


def _fetch(cache: NodeCache, blob: Blob, target: Path, name: str = "az", etag: str = "1") -> Path:
    cache.fetch(name, etag, len(blob.content), MOMENT, target, blob.download)
    assert target.read_bytes() == blob.content
    return target


def test_a_blob_is_fetched_once(tmp_path: Path) -> None:
    """The second job of the node gets the same file without a download; another ETag is another blob."""
    cache, blob = NodeCache(tmp_path / "shared"), Blob()
    first = _fetch(cache, blob, tmp_path / "a" / "in")
    second = _fetch(cache, blob, tmp_path / "b" / "in")
    assert blob.downloads == 1
    assert first.stat().st_ino == second.stat().st_ino
    _fetch(cache, blob, tmp_path / "c" / "in", etag="2")
    assert blob.downloads == 2


def test_small_and_huge_blobs_go_straight(tmp_path: Path) -> None:
    """What is not worth a lock, or more than the limit, leaves nothing behind."""
    small, huge = Blob(b"tiny"), Blob()
    _fetch(NodeCache(tmp_path / "shared"), small, tmp_path / "small")
    _fetch(NodeCache(tmp_path / "shared", limit=BIG - 1), huge, tmp_path / "huge")
    assert not list((tmp_path / "shared").glob("*"))


def test_what_a_job_wrote_to_is_fetched_anew(tmp_path: Path) -> None:
    """A job that changes its input in place spoils only its own result, not that of later jobs."""
    cache, blob = NodeCache(tmp_path / "shared"), Blob()
    spoiled = _fetch(cache, blob, tmp_path / "a")
    spoiled.chmod(0o644)
    spoiled.write_bytes(b"y" * BIG)
    _fetch(cache, blob, tmp_path / "b")
    assert blob.downloads == 2


@pytest.mark.fault("a job dies while it fetches a shared input", "half a file is never handed out")
def test_a_crash_in_the_middle_does_no_harm(tmp_path: Path) -> None:
    """Half a download of a process that died is never handed out."""
    cache, blob = NodeCache(tmp_path / "shared"), Blob()

    def dies(path: Path) -> None:
        path.write_bytes(b"half")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        cache.fetch("az", "1", BIG, MOMENT, tmp_path / "a", dies)
    assert not (tmp_path / "a").exists()
    _fetch(cache, blob, tmp_path / "a")


def test_the_longest_unused_makes_room(tmp_path: Path) -> None:
    """The limit holds, and what was used last stays."""
    cache, blob = NodeCache(tmp_path / "shared", limit=3 * BIG), Blob()
    for number, name in enumerate("abc"):
        _fetch(cache, blob, tmp_path / name, name=name)
        for lock in (tmp_path / "shared").glob("*.lock"):
            if lock.stat().st_mtime > 1000:
                os.utime(lock, (100 + number, 100 + number))
    _fetch(cache, blob, tmp_path / "a2", name="a")
    _fetch(cache, blob, tmp_path / "d", name="d")
    assert blob.downloads == 4
    _fetch(cache, blob, tmp_path / "a3", name="a")
    assert blob.downloads == 4, "'a' was used last: 'b' had to go"
    held = sum(p.stat().st_size for p in (tmp_path / "shared").glob("*") if p.suffix == "")
    assert held <= 3 * BIG


def _one_of_many(folder: Path, number: int) -> None:
    def download(path: Path) -> None:
        with (folder / "downloads").open("a") as stream:
            stream.write("x")
        path.write_bytes(b"z" * BIG)

    NodeCache(folder / "shared").fetch("az", "1", BIG, MOMENT, folder / str(number) / "in", download)


def test_jobs_that_start_together_wait_for_one_download(tmp_path: Path) -> None:
    """Eight processes at once: one downloads, all have the file."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_one_of_many, args=(tmp_path, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 8
    assert (tmp_path / "downloads").read_text() == "x"
    assert all((tmp_path / str(number) / "in").stat().st_size == BIG for number in range(8))
