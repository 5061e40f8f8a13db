"""Snakemake run as a user runs it, against an emulator with real processes and Azurite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from azbatch.azure.batch import BatchAccount
from azbatch_emulator.launcher import Emulator


class Workflow:
    """A folder with a Snakefile, and Snakemake on it with our plugins."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder = folder
        self.emulator = emulator
        self.prefix = f"az://acceptance/{uuid.uuid4().hex[:8]}"
        folder.mkdir(exist_ok=True)

    def write(self, snakefile: str) -> None:
        (self.folder / "Snakefile").write_text(snakefile)

    @property
    def environment(self) -> dict[str, str]:
        dropped = ("AZBATCH_", "SNAKEMAKE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return {**kept, **self.emulator.environment()}

    def command(self, *arguments: str, prefix: bool = True) -> list[str]:
        storage = ["--default-storage-provider", "azblob"]
        if prefix:
            storage += ["--default-storage-prefix", self.prefix]
        return [
            sys.executable,
            "-m",
            "snakemake",
            "--executor",
            "azbatch",
            "--jobs",
            "300",
            "--nocolor",
            *storage,
            *arguments,
        ]

    def start(self, *arguments: str, prefix: bool = True) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments, prefix=prefix),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Where the suite runs in the background of a shell, Ctrl-C is ignored, and children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *arguments: str, prefix: bool = True, timeout: float = 150) -> tuple[int, str]:
        """(exit code, what it said)."""
        process = self.start(*arguments, prefix=prefix)
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            pytest.fail(f"snakemake did not end in {timeout} s; it said:\n{said[-4000:]}")
        return process.returncode, said

    @contextmanager
    def _container(self) -> Iterator[Any]:
        from azure.storage.blob import BlobServiceClient

        key = {"account_name": self.emulator.storage_account, "account_key": self.emulator.storage_key}
        bundle = str(self.emulator.ca_bundle)
        with BlobServiceClient(self.emulator.blob_url, credential=key, connection_verify=bundle) as service:
            yield service.get_container_client("acceptance")

    def download(self, top: str) -> dict[str, bytes]:
        """What lies below a folder of the container, by name."""
        with self._container() as container:
            names = [blob.name for blob in container.list_blobs(f"{top}/")]
            return {name[len(top) + 1 :]: container.download_blob(name).readall() for name in names}

    def delete(self, name: str) -> None:
        """Delete a blob of the run."""
        with self._container() as container:
            container.delete_blob(f"{self.prefix.removeprefix('az://acceptance/')}/{name}")


@pytest.fixture
def workflow(tmp_path: Path, azbatch_emulator: Emulator) -> Workflow:
    """An empty workflow on the session's emulator."""
    return Workflow(tmp_path / "workflow", azbatch_emulator)


@pytest.fixture
def account(azbatch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    """The emulator's account through the product's own client."""
    monkeypatch.setenv("AZBATCH_ACCOUNT_NAME", azbatch_emulator.account)
    connected = BatchAccount(azbatch_emulator.http_url, azbatch_emulator.account_key)
    yield connected
    connected.close()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)
    return answer


@pytest.fixture
def nothing_left(account: BatchAccount) -> Iterator[None]:
    """After the test the account has no job and no pool that it had not before."""

    def there() -> set[str]:
        return {f"job {job['id']}" for job in account.list_jobs()} | {f"pool {p['id']}" for p in account.list_pools()}

    before = there()
    yield
    until(lambda: there() <= before)
