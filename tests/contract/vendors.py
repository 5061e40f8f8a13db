"""The download hosts of the head node's script, played by a TLS server; and what they would offer, made small."""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections import Counter
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import trustme

from azbatch.headnode.pins import Pin


def tarball(files: dict[str, bytes]) -> bytes:
    """A .tar.gz with programs below one folder, as vendors pack them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"top/{name}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def wheel(name: str) -> bytes:
    """The smallest package there is."""
    info = f"{name}-1.0.dist-info"
    return zipped(
        {
            f"{name}.py": b"x = 1\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )


class Vendors:
    """`with Vendors(python)`: what there is, its pins, and a mirror at `url`. `python` runs the pretended Python."""

    def __init__(self, folder: Path, python: str) -> None:
        said = b"#!/bin/sh\necho "
        self.files: dict[str, bytes] = {
            "java": tarball({"bin/java": said + b'java "$@"\n'}),
            "python": tarball({"bin/python3": f'#!/bin/sh\nexec {python} "$@"\n'.encode()}),
            "nextflow": said + b'nextflow "$JAVA_HOME" "$NXF_PLUGINS_DIR" "$NXF_OFFLINE" "$@"\n',
            "nf-azure": zipped({"classes/META-INF/MANIFEST.MF": b"Plugin-Id: nf-azure\n", "lib/": b""}),
            "azcopy": tarball({"azcopy": said + b'azcopy "$@"\n'}),
        }
        self.tiny = wheel("tinydep")
        self.asked: Counter[str] = Counter()
        self.ca = folder / "vendors-ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    @cached_property
    def pins(self) -> dict[str, Pin]:
        return {
            name: Pin(
                name=name,
                version="1.2.3",
                url=f"https://downloads.example/{name}-1.2.3",
                sha256=hashlib.sha256(content).hexdigest(),
            )
            for name, content in self.files.items()
        }

    @property
    def lock(self) -> str:
        return f"tinydep==1.0 \\\n    --hash=sha256:{hashlib.sha256(self.tiny).hexdigest()}\n"

    def answer(self, path: str) -> bytes | None:
        """What is behind a path of the mirror."""
        for name, pin in self.pins.items():
            parts = urlsplit(pin.url)
            if path == f"/{parts.netloc}{parts.path}":
                return self.files[name]
        if path == "/simple/tinydep/":
            return b'<a href="/files/tinydep-1.0-py3-none-any.whl">tinydep-1.0-py3-none-any.whl</a>'
        return self.tiny if path.startswith("/files/tinydep") else None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        vendors = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendors.asked[self.path] += 1
                content = vendors.answer(urlsplit(self.path).path)
                self.send_response(200 if content is not None else 404)
                kind = "text/html" if self.path.startswith("/simple") else "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        return Handler

    def __enter__(self) -> Vendors:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """What makes curl and pip trust the mirror."""
        names = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")
        return {**dict.fromkeys(names, str(self.ca)), "PIP_CONFIG_FILE": "/dev/null"}

    def pins_text(self) -> str:
        return json.dumps({n: {"version": p.version, "url": p.url, "sha256": p.sha256} for n, p in self.pins.items()})
