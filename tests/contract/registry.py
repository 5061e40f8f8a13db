"""Registries on loopback: Debian's docker-registry with a user, and in front of it one that answers as an ACR does."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import jwt

USER, PASSWORD = "user", "word"
_LINE = "user:$2y$04$UNtXc4IgZ0l88JtdSKOKxuajwtsjtDD5TqKQUoOYEbBEn2GkfrVTO\n"  # bcrypt of the two
NOBODY = "00000000-0000-0000-0000-000000000000"
SECONDS = 20.0


def program() -> str | None:
    return shutil.which("docker-registry")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A registry that lets USER in with PASSWORD, and nobody else: `host:port`."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    (folder / "users").write_text(_LINE)
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "users")}},
    }
    (folder / "config.json").write_text(json.dumps(config))  # JSON is YAML
    words = [str(program()), "serve", str(folder / "config.json")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _until_open(port, process)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "the registry ended"
            assert time.monotonic() < end, "the registry does not listen"
            time.sleep(0.02)


class Acr(ThreadingHTTPServer):
    """Lets in who exchanges an access token for the audience of Resource Manager; what it serves lies in `behind`.

    `claims` are those of the tokens that were exchanged.
    """

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.behind, self.refresh, self.access = behind, secrets.token_hex(16), secrets.token_hex(16)
        self.claims: list[dict[str, object]] = []
        self.server = f"127.0.0.1:{self.server_address[1]}"


@contextmanager
def acr(behind: str) -> Iterator[Acr]:
    with Acr(behind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Door(BaseHTTPRequestHandler):
    server: Acr
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if self.path.startswith("/oauth2/exchange"):
            claims = jwt.decode(form["access_token"][0], options={"verify_signature": False})
            self.server.claims.append(claims)
            good = claims["aud"] == "https://management.azure.com/" and form["grant_type"] == ["access_token"]
            self._answer(200 if good else 401, {"refresh_token": self.server.refresh} if good else {})
        else:
            good = form.get("refresh_token") == [self.server.refresh]
            self._answer(200 if good else 401, {"access_token": self.server.access} if good else {})

    def do_GET(self) -> None:
        if self.path.startswith("/oauth2/token"):
            wanted = base64.b64encode(f"{NOBODY}:{self.server.refresh}".encode()).decode()
            good = self.headers.get("Authorization") == f"Basic {wanted}"
            self._answer(200 if good else 401, {"token": self.server.access} if good else {})
        elif self.headers.get("Authorization") != f"Bearer {self.server.access}":
            place = f'Bearer realm="http://{self.server.server}/oauth2/token",service="{self.server.server}"'
            self._answer(401, {}, {"Www-Authenticate": place})
        else:
            self._pass_on()

    do_HEAD = do_GET  # noqa: N815 - what http.server looks for

    def _pass_on(self) -> None:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        connection = http.client.HTTPConnection(self.server.behind, timeout=SECONDS)
        headers = {"Authorization": f"Basic {basic}", "Accept": self.headers.get("Accept", "*/*")}
        connection.request(self.command, self.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in {"date", "transfer-encoding"}}
        self.send_response(answer.status)
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    def _answer(self, status: int, body: dict[str, str], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
