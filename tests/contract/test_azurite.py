"""Azurite as our child: over TLS, opened by key and by token, watched, and gone when we are."""

from __future__ import annotations

import base64
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient

from azbatch_emulator import tls
from azbatch_emulator.azurite import AzuriteProcess
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.identity.tokens import Tokens
from azbatch_emulator.state import cache_directory

KEY = base64.b64encode(b"k" * 64).decode()
TENANT = "00000000-0000-4000-8000-000000000000"


class Fixed:
    """A credential with one token of ours."""

    def __init__(self, audience: str) -> None:
        self._token = Tokens.load(None, TENANT).mint(audience, "me", datetime.now(UTC))

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(self._token, 4_000_000_000)


def _azurite(tmp_path: Path, **options: Any) -> AzuriteProcess:
    made = tls.ensure(tmp_path / "tls")
    return AzuriteProcess(
        directory=tmp_path / "blobs", cache=cache_directory(), account="acct", key=KEY, tls=made, **options
    )


def _client(azurite: AzuriteProcess, tmp_path: Path, credential: Any) -> BlobServiceClient:
    bundle = str(tmp_path / "tls" / "bundle.pem")
    return BlobServiceClient(azurite.url, credential=credential, connection_verify=bundle, retry_total=1)


def test_it_takes_our_key_and_our_tokens_and_no_others(tmp_path: Path) -> None:
    """SharedKey and bearer tokens for storage open it; a token for something else, and the well-known key, do not."""
    with _azurite(tmp_path) as azurite:
        shared = {"account_name": "acct", "account_key": KEY}
        with _client(azurite, tmp_path, shared) as client:
            client.create_container("one").upload_blob("x", b"1")
        with _client(azurite, tmp_path, Fixed("https://storage.azure.com")) as client:
            assert client.get_blob_client("one", "x").download_blob().readall() == b"1"
            key = client.get_user_delegation_key(datetime.now(UTC), datetime.now(UTC).replace(year=2100))
            assert key.value
        other_key = shared | {"account_key": base64.b64encode(b"x").decode()}
        for wrong in (Fixed("https://batch.core.windows.net"), other_key):
            with _client(azurite, tmp_path, wrong) as client, pytest.raises(ClientAuthenticationError):
                list(client.list_containers())


def test_blobs_outlast_a_stop_at_once(tmp_path: Path) -> None:
    """Stopping writes its tables, and does not wait for idle connections of clients."""
    azurite = _azurite(tmp_path)
    azurite.start()
    with _client(azurite, tmp_path, {"account_name": "acct", "account_key": KEY}) as client:
        client.create_container("kept").upload_blob("x", b"1")
        azurite.stop()
        assert azurite.pid is None
    with azurite, _client(azurite, tmp_path, {"account_name": "acct", "account_key": KEY}) as client:
        assert client.get_blob_client("kept", "x").download_blob().readall() == b"1"


def test_an_end_nobody_asked_for_is_mended_once_and_then_told(tmp_path: Path) -> None:
    """After one crash it is back on the same port; after a second one sentence says so."""
    told, failed = [], threading.Event()

    def on_failure(text: str) -> None:
        told.append(text)
        failed.set()

    with _azurite(tmp_path, on_failure=on_failure) as azurite:
        port = azurite.port
        assert azurite.pid is not None
        os.kill(azurite.pid, signal.SIGKILL)
        _until(lambda: azurite.log_path.read_text().count("successfully listens") == 2)
        assert azurite.port == port
        with _client(azurite, tmp_path, {"account_name": "acct", "account_key": KEY}) as client:
            client.create_container("again")
        assert azurite.pid is not None
        os.kill(azurite.pid, signal.SIGKILL)
        assert failed.wait(20)
    assert told == [azurite.failure]
    assert "ended twice" in told[0]


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about within 20 s"
        time.sleep(0.02)


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """One sentence with the port; nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        azurite = _azurite(tmp_path, port=port)
        with pytest.raises(EmulatorError, match=rf"Port {port} for Blob storage is in use"):
            azurite.start()
        assert azurite.pid is None


def test_a_death_at_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    """What Azurite wrote before it ended is in the message."""
    azurite = _azurite(tmp_path)
    tls.ensure(tmp_path / "tls").key.write_text("no key")
    with pytest.raises(EmulatorError, match=r"ended as soon as it was started.*azurite\.log"):
        azurite.start()
    assert azurite.pid is None


def test_it_ends_when_we_are_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent leaves no Azurite behind."""
    code = (
        "import sys; from pathlib import Path; from azbatch_emulator import tls\n"
        "from azbatch_emulator.azurite import AzuriteProcess\n"
        "root, cache = map(Path, sys.argv[1:])\n"
        f"a = AzuriteProcess(directory=root / 'b', cache=cache, account='a', key='{KEY}', tls=tls.ensure(root / 't'))\n"
        "a.start(); print(a.pid, flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(cache_directory())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            assert select.select([child], [], [], 20)[0], "Azurite outlived its parent"
        finally:
            os.close(child)
