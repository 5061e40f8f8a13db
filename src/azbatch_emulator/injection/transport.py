"""The connection under a request, for resetting it."""

from __future__ import annotations

import asyncio
import socket
import struct

from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TRANSPORT = "azbatch_emulator.transport"


class TellingProtocol(HttpToolsProtocol):
    """Tells the application the transport, so that a connection can be reset."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]


async def reset(scope: Scope, receive: Receive) -> None:
    """Abort the connection; returns when it is gone."""
    transport: asyncio.Transport = scope["extensions"][TRANSPORT]
    # Without lingering the peer gets a reset instead of an orderly end.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
