"""One way to call the sync and the aio client of azure-batch, so that one scenario drives both."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from azbatch_emulator.launcher import Emulator

IMAGE = {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404", "version": "latest"}
MACHINE = {"imageReference": IMAGE, "nodeAgentSKUId": "batch.node.ubuntu 24.04"}


class Token:
    """A credential that asks the emulator's instance metadata service, as a VM does."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def get_token(self, *scopes: str, **_: Any) -> Any:
        import requests
        from azure.core.credentials import AccessToken

        answer = requests.get(
            f"{self._emulator.http_url}/metadata/identity/oauth2/token",
            params={"resource": scopes[0].removesuffix("/.default"), "api-version": "2018-02-01"},
            headers={"Metadata": "true"},
            timeout=10,
        )
        body = answer.json()
        return AccessToken(body["access_token"], int(body["expires_on"]))


class AsyncToken(Token):
    """The same for aio clients."""

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        return super().get_token(*scopes, **options)

    async def close(self) -> None:
        """Nothing is held."""


class Driver:
    """`call` runs a method to its result, `all` collects a list, `done` waits for a long-running operation."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.client = client
        self._loop = loop

    def _settled(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            assert self._loop is not None
            return self._loop.run_until_complete(_awaited(value))
        return value

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        return self._settled(getattr(self.client, name)(*args, **options))

    def all(self, name: str, *args: Any, **options: Any) -> list[Any]:
        found = getattr(self.client, name)(*args, **options)
        if hasattr(found, "__aiter__"):
            return list(self._settled(_collected(found)))
        return list(found)

    def done(self, name: str, *args: Any) -> Any:
        poller = self.call(name, *args, polling_interval=0.05)
        return self._settled(poller.result())

    def read(self, name: str, *args: Any, **options: Any) -> bytes:
        found = self.call(name, *args, **options)
        if hasattr(found, "__aiter__"):
            return b"".join(self._settled(_collected(found)))
        return b"".join(found)

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Ask until the condition holds; the service has no events to wait for."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"

    def close(self) -> None:
        self._settled(self.client.close())


async def _awaited(value: Any) -> Any:
    return await value


async def _collected(found: Any) -> list[Any]:
    return [item async for item in found]


def connect(emulator: Emulator, *, aio: bool, tls: bool, loop: asyncio.AbstractEventLoop | None = None) -> Driver:
    """A client over http with the shared key, or over TLS with a token."""
    from azure.core.credentials import AzureNamedKeyCredential

    if tls:
        credential: Any = AsyncToken(emulator) if aio else Token(emulator)
        options: dict[str, Any] = {"connection_verify": str(emulator.ca_bundle)}
        url = emulator.https_url
    else:
        credential, options = AzureNamedKeyCredential(emulator.account, emulator.account_key), {}
        url = emulator.http_url
    if aio:
        from azure.batch.aio import BatchClient as AsyncClient

        return Driver(AsyncClient(url, credential, **options), loop)
    from azure.batch import BatchClient

    return Driver(BatchClient(url, credential, **options))


@contextmanager
def driver_of(kind: str, emulator: Emulator) -> Iterator[Driver]:
    """The client that `kind` names: `sync` or `aio`, a hyphen, `http` or `tls`."""
    loop = asyncio.new_event_loop()
    made = connect(emulator, aio=kind.startswith("aio"), tls=kind.endswith("tls"), loop=loop)
    yield made
    made.close()
    loop.close()


def pool(pool_id: str, **changes: Any) -> dict[str, Any]:
    """The body of a small pool."""
    return {
        "id": pool_id,
        "vmSize": "Standard_D2s_v5",
        "virtualMachineConfiguration": MACHINE,
        "targetDedicatedNodes": 1,
        "taskSlotsPerNode": 2,
        **changes,
    }


def now() -> datetime:
    return datetime.now(UTC)
