"""What a careless or hostile client sends: signatures off by anything, paths that climb, bodies without end, crowds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from azbatch_emulator.batch.times import http_date
from azbatch_emulator.launcher import Emulator
from tests.contract.raw import RawClient, quiet_log
from tests.contract.sdk import Token, now, pool

VERSION = "api-version=2025-06-01"
SIGNED_HEADERS = 11  # between the verb and the date: all empty here but content-length and content-type


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with quiet_log(), Emulator(runner="process", storage=False, speed=600) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[RawClient]:
    made = RawClient(emulator.http_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def token(emulator: Emulator) -> list[tuple[str, str]]:
    found = Token(emulator).get_token("https://batch.core.windows.net//.default").token
    return [("Authorization", f"Bearer {found}")]


def _sign(emulator: Emulator, text: str) -> str:
    mac = hmac.new(base64.b64decode(emulator.account_key), text.encode(), hashlib.sha256)
    return f"SharedKey {emulator.account}:{base64.b64encode(mac.digest()).decode()}"


def _text(emulator: Emulator, date: str, path: str = "/jobs") -> str:
    return f"GET{chr(10) * 12}ocp-date:{date}\n/{emulator.account}{path}\napi-version:2025-06-01"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.sampled_from(["swap", "drop", "double", "other"]), st.sampled_from(["text", "mac"]))
def test_signatures_off_by_anything(emulator: Emulator, client: RawClient, place: int, how: str, where: str) -> None:
    """One character of the string to sign, or of the signature, makes the difference between 200 and 403."""
    date = http_date(now())
    good = _text(emulator, date)
    signature = _sign(emulator, good)
    assert client.send("GET", f"/jobs?{VERSION}", [("ocp-date", date), ("Authorization", signature)]).status == 200

    def changed(text: str, first: int = 0) -> str:
        at = first + place % (len(text) - first)
        new = {"swap": text[at].swapcase(), "drop": "", "double": text[at] * 2, "other": "~"}[how]
        return text[:at] + new + text[at + 1 :]

    if where == "text":
        bad = changed(good)
        assume(bad != good)
        # Clients that write names in lower case are served.
        assume(bad.lower() != good.lower())
        signature = _sign(emulator, bad)
    else:
        bad = changed(signature, signature.index(":") + 1)
        assume(bad != signature)
        signature = bad
    answer = client.send("GET", f"/jobs?{VERSION}", [("ocp-date", date), ("Authorization", signature)])
    assert (answer.status, answer.code) == (403, "AuthenticationFailed")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_old_signatures(emulator: Emulator, client: RawClient, minutes: int) -> None:
    """A date a quarter of an hour off, even if well signed, is refused."""
    from datetime import timedelta

    date = http_date(now() + timedelta(minutes=minutes))
    sent = [("ocp-date", date), ("Authorization", _sign(emulator, _text(emulator, date)))]
    assert client.send("GET", f"/jobs?{VERSION}", sent).code == "AuthenticationFailed"


def test_headers_that_come_twice(emulator: Emulator, client: RawClient, token: list[tuple[str, str]]) -> None:
    """Two Authorization headers are none that the service understands, even if each is good."""
    assert client.send("GET", f"/jobs?{VERSION}", token).status == 200
    assert client.send("GET", f"/jobs?{VERSION}", [*token, *token]).code == "AuthenticationFailed"
    assert client.send("GET", f"/jobs?{VERSION}", [*token, ("If-Match", "*"), ("If-Match", "x")]).status == 200


@pytest.fixture(scope="module")
def node(emulator: Emulator) -> tuple[str, Path]:
    """The path of an idle node's resource, and the folder that is the node."""
    session = requests.Session()
    session.headers.update(
        {"Authorization": f"Bearer {Token(emulator).get_token('https://batch.core.windows.net//.default').token}"}
    )
    url = emulator.http_url
    assert session.post(f"{url}/pools?{VERSION}", json=pool("files"), timeout=20).status_code == 201
    nodes: list[Any] = []
    while [one["state"] for one in nodes] != ["idle"]:
        nodes = session.get(f"{url}/pools/files/nodes?{VERSION}", timeout=20).json()["value"]
    (folder,) = (path.parent for path in Path(emulator.control("status")["state"]).rglob("workitems"))
    return f"/pools/files/nodes/{nodes[0]['id']}/files", folder


CLIMBING = (
    "..",
    "../..",
    "%2e%2e/%2e%2e/secrets.json",
    "..%2F..%2F..%2Fsecrets.json",
    "%2Fetc%2Fpasswd",
    "/etc/passwd",
    "shared/../../../secrets.json",
    "shared%2f..%2f..%2f..%2fsecrets.json",
    "..%5C..%5Csecrets.json",
    "%252e%252e%252fsecrets.json",
    "shared%00/../../../secrets.json",
    "%c0%ae%c0%ae/secrets.json",
    "outside",
    "outside/secret.txt",
    "link.txt",
    "loop",
    "pipe",
    "x" * 5000,
    "/".join("x" * 3000),
)


@pytest.mark.parametrize("path", CLIMBING)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_paths_do_not_climb_out(
    node: tuple[str, Path], client: RawClient, token: list[tuple[str, str]], tmp_path: Path, method: str, path: str
) -> None:
    """Dots, escapes, links, pipes: what is not a file or folder below the node's root does not exist, and stays."""
    address, folder = node
    (tmp_path / "secret.txt").write_text("secret")
    made = {"outside": tmp_path, "link.txt": tmp_path / "secret.txt", "loop": folder / "loop"}
    for name, target in made.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    try:
        answer = client.send(method, f"{address}/{path}?{VERSION}&recursive=true", token)
        listed = client.send("GET", f"{address}?{VERSION}&recursive=true", token)
    finally:
        for name in (*made, "pipe"):
            (folder / name).unlink(missing_ok=True)
    if method == "DELETE" and path in {*made, "pipe"}:
        assert answer.status in {200, 404}
    else:
        assert answer.status == 404
    assert b"secret" not in answer.body
    assert (tmp_path / "secret.txt").read_text() == "secret"
    assert not {one["name"] for one in json.loads(listed.body)["value"]} & {*made, "pipe", "outside/secret.txt"}


def test_files_of_any_name(node: tuple[str, Path], client: RawClient, token: list[tuple[str, str]]) -> None:
    """A name that is no UTF-8, or has spaces, percent signs and newlines, is listed, filtered, read and deleted."""
    address, folder = node
    names = [b"\xff\xfe", b"a b%20c", b"new\nline", "é".encode(), b"wd\\x"]
    for name in names:
        (folder / "shared" / os.fsdecode(name)).write_bytes(b"12345")
    query = f"{VERSION}&recursive=true&$filter=startswith(name,'shared/')&maxresults=2"
    found, more = [], f"{address}?{query}"
    while more:
        body = json.loads(client.send("GET", more, token).body)
        found += body["value"]
        more = body.get("odata.nextLink", "").partition("127.0.0.1")[2]
    assert {os.fsencode(one["name"]) for one in found} == {b"shared/" + name for name in names}
    for one in found:
        target = one["url"].partition("127.0.0.1")[2]
        assert client.send("GET", f"{target}?{VERSION}", [*token, ("ocp-range", "bytes=1-2")]).body == b"23"
        assert client.send("DELETE", f"{target}?{VERSION}", token).status == 200
    assert list((folder / "shared").iterdir()) == []


def test_a_body_without_an_end(emulator: Emulator, token: list[tuple[str, str]]) -> None:
    """Chunks that never stop are answered 413 once they are too many, and not kept."""
    place = emulator.http_url.removeprefix("http://").split(":")
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    before = _resident()
    with socket.create_connection((place[0], int(place[1])), timeout=30) as sent:
        headers = ["Host: x", "Transfer-Encoding: chunked", f"{token[0][0]}: {token[0][1]}"]
        sent.sendall("\r\n".join([f"POST /jobs?{VERSION} HTTP/1.1", *headers, "", ""]).encode())
        count = 0
        try:
            while count < 500:
                sent.sendall(chunk)
                count += 1
        except OSError:
            pass
        try:
            answered = sent.recv(100)
        except ConnectionError:
            answered = b""
    assert count < 500
    assert answered[:12] in {b"HTTP/1.1 413", b""}
    assert _resident() - before < 64 * 2**20


def _resident() -> int:
    """Bytes of memory that this process, and so the emulator in it, holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


CROWD = int(os.environ.get("AZBATCH_FUZZ_CONNECTIONS", "1000"))


def test_crowds_leave_nothing(emulator: Emulator, token: list[tuple[str, str]]) -> None:
    """Connections, most of them broken off half way, are forgotten: neither memory nor open files grow with them.

    `AZBATCH_FUZZ_CONNECTIONS=10000` for the number that the issue names.
    """
    place = emulator.http_url.removeprefix("http://").split(":")
    whole = f"GET /jobs?{VERSION} HTTP/1.1\r\nHost: x\r\n{token[0][0]}: {token[0][1]}\r\n\r\n".encode()
    starts = [b"", whole[:9], whole[:-2], whole, b"\x16\x03\x01nonsense\r\n\r\n", whole.replace(b"GET", b"POST")]

    def crowd(count: int) -> None:
        at_once: list[socket.socket] = []
        for number in range(count):
            one = socket.create_connection((place[0], int(place[1])), timeout=30)
            at_once.append(one)
            one.sendall(starts[number % len(starts)])
            if len(at_once) == 200:
                for old in at_once:
                    old.close()
                at_once.clear()
        for old in at_once:
            old.close()
        # The emulator is asked until it has seen the ends of all those connections.
        client = RawClient(emulator.http_url)
        for _ in range(10_000):
            assert client.send("GET", f"/jobs?{VERSION}", token).status == 200
            if _open_files() <= at_first + 10:
                break
        client.close()
        assert _open_files() <= at_first + 10

    at_first = _open_files()
    crowd(CROWD // 2)  # what is allocated once
    before = _resident()
    crowd(CROWD)
    grown = _resident() - before
    print(f"\n{CROWD} connections: {grown / 2**20:.1f} MiB more")
    assert grown < 16 * 2**20
