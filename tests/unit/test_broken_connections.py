"""Which connection errors are worth another try, as the real clients raise them."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import HttpRequest, RequestsTransport

from azbatch.azure.faults import broke_off
from azbatch_emulator import tls


def _raised(address: str, bundle: str, body: bytes = b"") -> AzureError:
    """What azure-core makes of the fault."""
    with RequestsTransport(connection_verify=bundle) as transport, pytest.raises(AzureError) as found:
        transport.send(HttpRequest("PUT", address, data=body))
    return found.value


@pytest.mark.parametrize("linger", [False, True])
def test_a_connection_that_ends_within_tls_broke_off(tmp_path: Path, linger: bool) -> None:
    """The server is gone after the handshake, before the answer or in the middle of what it is sent."""
    made = tls.ensure(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection = context.wrap_socket(listener.accept()[0], server_side=True)
            if not linger:
                connection.recv(65536)
            with socket.socket(fileno=connection.detach()) as bare:
                # With zero seconds to linger it is reset.
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(linger), 0))

        server = threading.Thread(target=serve)
        server.start()
        error = _raised(f"https://127.0.0.1:{listener.getsockname()[1]}/", str(made.authority), bytes(8_000_000))
        server.join()
    assert broke_off(error), repr(error)


def test_a_host_that_is_not_there_did_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not broke_off(_raised(f"https://127.0.0.1:{port}/", str(tls.ensure(tmp_path).authority)))


def test_one_that_is_not_trusted_did_not(tmp_path: Path) -> None:
    """Trying again would not help."""
    ours, others = tls.ensure(tmp_path / "a"), tls.ensure(tmp_path / "b")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.certificate, ours.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(listener.accept()[0], server_side=True)

        server = threading.Thread(target=serve)
        server.start()
        error = _raised(f"https://127.0.0.1:{listener.getsockname()[1]}/", str(others.authority))
        server.join()
    assert not broke_off(error), repr(error)
