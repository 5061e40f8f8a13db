"""Serves the application on two ports, http and https, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.exposure import LOOPBACK
from azbatch_emulator.injection.transport import TellingProtocol
from azbatch_emulator.tls import Tls

START_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 120  # longer than clients keep idle connections, so that they never send into a closed one


def bind(port: int, option: str, address: str = LOOPBACK) -> socket.socket:
    """A listening socket; port 0 lets the system choose. Raises EmulatorError where port or address cannot be had."""
    # asyncio turns Nagle's algorithm off only where it sees the protocol: 40 ms a request otherwise.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise EmulatorError(f"{address} is no address of this machine; choose another with --listen.") from None
        raise EmulatorError(
            f"Port {port} cannot be used ({error.strerror}); choose another with {option}, or 0 for a free one."
        ) from None
    return listener


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for whoever embeds us."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()


class Listeners:
    """More https addresses of the same loop, opened and closed while it runs."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._servers: list[tuple[_Server, asyncio.Task[None]]] = []

    def open(self, app: ASGIApp) -> str:
        """The loopback address at which `app` answers from now on; to be called on the loop's thread."""
        listener = bind(0, "--https-port")
        self.serve(app, listener)
        return f"https://{LOOPBACK}:{listener.getsockname()[1]}"

    def serve(self, app: ASGIApp, listener: socket.socket) -> None:
        """Answer on a socket from now on, and close it at the end; to be called on the loop's thread."""
        server = _Server(config(app, "https", self._tls))
        self._servers.append((server, asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))))

    async def close(self) -> None:
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in self._servers), return_exceptions=True)
        await drop_connections(server for server, _ in self._servers)


async def drop_connections(servers: Iterable[uvicorn.Server]) -> None:
    """End what clients keep open: closing TLS waits for a peer that may not be listening any more."""
    for server in servers:
        for connection in list(server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
    await asyncio.sleep(0)


def config(app: ASGIApp, scheme: str, tls: Tls) -> uvicorn.Config:
    """How every listener is run."""
    certificate: dict[str, Path] = {}
    if scheme == "https":
        certificate = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    return uvicorn.Config(
        app,
        **certificate,  # type: ignore[arg-type]
        lifespan="off",
        ws="none",
        http=TellingProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
    )


class ServerThread:
    """Runs `application()`, an async context that yields the ASGI app, until `stop`.

    The context is entered, and left, on the loop's thread.
    """

    def __init__(
        self,
        application: Callable[[], AbstractAsyncContextManager[ASGIApp]],
        http: socket.socket,
        https: socket.socket,
        tls: Tls,
    ) -> None:
        self._application = application
        self._sockets = {"http": http, "https": https}
        self._tls = tls
        self._ready: Future[None] = Future()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._main, name="azbatch-emulator", daemon=True)
        self.ended = threading.Event()

    def start(self) -> None:
        """Returns once both ports answer; raises what the application raised."""
        self._thread.start()
        self._ready.result(START_SECONDS)

    def stop(self) -> None:
        """Returns once the application has closed."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed just now
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            self.ended.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._application() as app, self._listening(app):
            self._ready.set_result(None)
            await self._stop.wait()

    @contextlib.asynccontextmanager
    async def _dropping(self, servers: Iterable[uvicorn.Server]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await drop_connections(servers)

    @contextlib.asynccontextmanager
    async def _listening(self, app: ASGIApp) -> AsyncIterator[None]:
        servers = {scheme: _Server(config(app, scheme, self._tls)) for scheme in self._sockets}
        async with self._dropping(servers.values()), asyncio.TaskGroup() as group:
            for scheme, server in servers.items():
                group.create_task(server.serve(sockets=[self._sockets[scheme]]))
            for server in servers.values():
                await server.listening.wait()
            try:
                yield
            finally:
                for server in servers.values():
                    server.should_exit = True
