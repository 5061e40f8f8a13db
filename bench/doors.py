"""Azure's host names for some processes only: a private /etc/hosts (Linux, root) and a TLS door to the emulator."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import trustme

ADDRESS = "127.0.0.43"
ARM = "management.azure.com"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass  # either end may go at any time
    finally:
        writer.close()


@contextmanager
def door(folder: Path, hosts: tuple[str, ...], target: str, trusted: Path) -> Iterator[tuple[list[str], Path]]:
    """Serve https for `hosts` on port 443 of a loopback address, passed on to `target` (http).

    Gives the words that start a command which resolves the hosts to it, and a bundle that trusts it.
    """
    authority = trustme.CA(organization_name="azbatch bench")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    bundle, names = folder / "bundle.pem", folder / "hosts"
    bundle.write_bytes(trusted.read_bytes() + authority.cert_pem.bytes())
    names.write_text(Path("/etc/hosts").read_text() + f"\n{ADDRESS} {' '.join(hosts)}\n")
    inner = urlsplit(target)
    loop = asyncio.new_event_loop()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(inner.hostname, inner.port)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    server = loop.run_until_complete(asyncio.start_server(pass_on, ADDRESS, 443, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        enter = 'mount --bind "$0" /etc/hosts && exec "$@"'
        yield ["unshare", "--mount", "sh", "-c", enter, str(names)], bundle
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def past_proxies(hosts: tuple[str, ...]) -> dict[str, str]:
    """Variables that keep the hosts off the user's proxies."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    found = ",".join(filter(None, (known, "127.0.0.1", "localhost", *hosts)))
    return {"NO_PROXY": found, "no_proxy": found}
