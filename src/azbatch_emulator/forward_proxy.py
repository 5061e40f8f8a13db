"""A forward proxy on loopback that leads an account's usual blob name to the emulator's storage.

nf-azure writes `https://ACCOUNT.blob.core.windows.net` and takes no other host. A proxy needs neither root for port 443
nor the hosts file; TLS goes through it untouched, to a certificate for that name. Other hosts are passed on as asked.
Source: RFC 9110, CONNECT.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping

LONGEST_HEAD = 16 * 1024
PIECE = 64 * 1024
HEAD_SECONDS = 30.0
Place = tuple[str, int]


class ForwardProxy:
    """Serves CONNECT on `listener`. `mapped` says where hosts (lower case) lead that are ours, at each request."""

    def __init__(self, listener: socket.socket, mapped: Callable[[], Mapping[str, Place]]) -> None:
        self._listener, self._mapped = listener, mapped
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Serve, on the running loop."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=LONGEST_HEAD)

    async def close(self) -> None:
        """Stop, and end what is open."""
        if self._server is not None:
            self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # whoever asked has gone, or speaks something else
        finally:
            self._tunnels.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        place = target(head, self._mapped())
        if place is None:
            await _say(writer, "405 Method Not Allowed", "This proxy serves CONNECT to a host and port only.")
            return
        try:
            there, onward = await asyncio.open_connection(*place)
        except OSError as error:
            await _say(
                writer, "502 Bad Gateway", f"{place[0]}:{place[1]} cannot be reached: {error.strerror or error}."
            )
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, onward))
                both.create_task(_copy(there, writer))
        except* OSError:
            pass
        finally:
            onward.transport.abort()


def target(head: bytes, mapped: Mapping[str, Place]) -> Place | None:
    """Where a request's head asks to be led; None where it is no CONNECT. Pure."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or words[0] != "CONNECT":
        return None
    host, _, port = words[1].rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    host = host.strip("[]").lower()
    return mapped.get(host, (host, int(port)))


async def _say(writer: asyncio.StreamWriter, status: str, sentence: str) -> None:
    body = f"{sentence}\n".encode()
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    await writer.drain()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        sink.write(piece)
        await sink.drain()
    with contextlib.suppress(OSError, RuntimeError):
        sink.write_eof()
