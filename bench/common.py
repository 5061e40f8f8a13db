"""What the rows share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azbatch.azure.batch import BatchAccount
from azbatch_emulator.launcher import Emulator

Row = tuple[str, str, str, str]  # what, measured, goal, peer


@contextmanager
def connected(emulator: Emulator) -> Iterator[BatchAccount]:
    os.environ["AZBATCH_ACCOUNT_NAME"] = emulator.account
    account = BatchAccount(emulator.http_url, emulator.account_key)
    yield account
    account.close()


def command(prefix: str, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--executor", "azbatch", "--jobs", "100", "--nocolor"),
        *("--default-storage-provider", "azblob", "--default-storage-prefix", prefix, *arguments),
    ]


def snakemake(emulator: Emulator, folder: Path, prefix: str, *arguments: str) -> float:
    """Seconds that Snakemake took in a folder."""
    started = time.monotonic()
    done = subprocess.run(
        command(prefix, *arguments),
        cwd=folder,
        env={**os.environ, **emulator.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:] + done.stdout[-3000:])
    return time.monotonic() - started
