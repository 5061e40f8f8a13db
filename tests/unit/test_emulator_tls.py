"""Certificates for loopback and the bundle that trusts them."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from azbatch_emulator import tls


def test_the_bundle_holds_the_former_authorities_and_ours(tmp_path: Path) -> None:
    """Trusting the emulator takes nothing away from what was trusted before."""
    mine = tls.ensure(tmp_path / "other").authority
    made = tls.ensure(tmp_path / "tls", {"REQUESTS_CA_BUNDLE": str(mine)})
    bundle = made.bundle.read_bytes()
    assert mine.read_bytes().strip() in bundle
    assert made.authority.read_bytes().strip() in bundle
    context = ssl.create_default_context(cafile=str(made.bundle))
    assert len(context.get_ca_certs()) == 2


def test_our_own_bundle_is_not_its_own_source(tmp_path: Path) -> None:
    """Started again from a shell that uses the emulator, the bundle still holds the system's authorities."""
    first = tls.ensure(tmp_path, {})
    count = first.bundle.read_text().count("BEGIN CERTIFICATE")
    again = tls.ensure(tmp_path, {"REQUESTS_CA_BUNDLE": str(first.bundle), "SSL_CERT_FILE": str(first.bundle)})
    assert again.bundle.read_text().count("BEGIN CERTIFICATE") == count > 2


def test_files_last_and_are_private(tmp_path: Path) -> None:
    """Clients that trust the certificate keep trusting it after a restart; the authority's key is nowhere."""
    first = tls.ensure(tmp_path, {})
    before = first.certificate.read_bytes(), first.key.read_bytes()
    second = tls.ensure(tmp_path, {})
    assert (second.certificate.read_bytes(), second.key.read_bytes()) == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert sum(path.read_text().count("PRIVATE KEY-----") for path in tmp_path.iterdir()) == 2  # one key: begin, end


def test_the_certificate_is_good_for_loopback_names(tmp_path: Path) -> None:
    """Clients may say 127.0.0.1 or localhost."""
    made = tls.ensure(tmp_path, {})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    for host in ("127.0.0.1", "localhost"):
        _handshake(context, ssl.create_default_context(cafile=str(made.bundle)), host)


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext, host: str) -> None:
    """Both sides in memory; raises where the client does not trust the server under this name."""
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    client = client_context.wrap_bio(pipes[0], pipes[1], server_hostname=host)
    server = server_context.wrap_bio(pipes[1], pipes[0], server_side=True)
    waiting = [client, server]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
