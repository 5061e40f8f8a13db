"""A certificate for loopback, from an authority made for one state folder, and a bundle that trusts it.

The authority's own key is never stored: the certificate it signed is all that it can ever vouch for.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)
HOSTS = ("127.0.0.1", "localhost", "::1")
BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of the PEM files. `bundle` holds the system's authorities and ours, for clients."""

    authority: Path
    certificate: Path
    key: Path
    bundle: Path


def ensure(directory: Path, environ: Mapping[str, str] | None = None, hosts: Sequence[str] = ()) -> Tls:
    """Make the files in `directory` (0700) where they are missing; the bundle is written afresh each time.

    `hosts` are names and addresses that the certificate is for besides loopback's; one without them is made anew.
    A bundle the user has set (REQUESTS_CA_BUNDLE, SSL_CERT_FILE) takes the place of the system's authorities,
    so that what worked before still does.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    tls = Tls(*(directory / name for name in ("ca.pem", "server.pem", "server.key", "bundle.pem")))
    there = all(path.exists() for path in (tls.authority, tls.certificate, tls.key))
    if not there or set(hosts) - _names(tls.certificate):
        _issue(tls, hosts)
    others = trusted_authorities(os.environ if environ is None else environ, besides=tls.bundle)
    write_private(tls.bundle, others.rstrip(b"\n") + b"\n" + tls.authority.read_bytes())
    return tls


def trusted_authorities(environ: Mapping[str, str], besides: Path) -> bytes:
    """PEM text of the authorities trusted so far: the user's bundle, else the system's, else certifi's."""
    named = [environ.get(variable) for variable in BUNDLE_VARIABLES]
    paths = ssl.get_default_verify_paths()
    for candidate in (*named, paths.cafile, paths.openssl_cafile):
        if candidate and Path(candidate).is_file() and Path(candidate).resolve() != besides.resolve():
            return Path(candidate).read_bytes()
    import certifi

    return Path(certifi.where()).read_bytes()


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a file in place at once, readable by its owner only (or as `mode`); a reader never sees half of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    if mode != 0o600:
        scratch.chmod(mode)
    scratch.replace(path)


JAVA_PASSWORD = "changeit"  # noqa: S105 - Java's own, for a file that holds only what everybody may know


def java_trust_store(tls: Tls, path: Path) -> None:
    """The bundle as a PKCS12 trust store for Java, whose password is `JAVA_PASSWORD`."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    authorities = _certificates(tls.bundle.read_bytes())
    named = [pkcs12.PKCS12Certificate(one, f"authority-{n}".encode()) for n, one in enumerate(authorities)]
    write_private(path, pkcs12.serialize_java_truststore(named, BestAvailableEncryption(JAVA_PASSWORD.encode())))


def _certificates(bundle: bytes) -> list[x509.Certificate]:
    """Those of a bundle that can be read: among the system's are some that break the standard."""
    import warnings

    from cryptography import x509

    found = []
    for block in _PEM.findall(bundle):
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore")
            found.append(x509.load_pem_x509_certificate(block))
    return found


def _names(certificate: Path) -> set[str]:
    from cryptography import x509

    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    found = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *found.get_values_for_type(x509.DNSName),
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
    }


def _issue(tls: Tls, hosts: Sequence[str]) -> None:
    import trustme

    authority = trustme.CA(organization_name="azbatch emulator")
    server = authority.issue_cert(*HOSTS, *hosts, organization_name="azbatch emulator")
    write_private(tls.authority, authority.cert_pem.bytes())
    write_private(tls.certificate, b"".join(pem.bytes() for pem in server.cert_chain_pems))
    write_private(tls.key, server.private_key_pem.bytes())
