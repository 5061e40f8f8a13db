"""Signing a person in by device code, against the protocol's endpoints played by a TLS server."""

from __future__ import annotations

import base64
import json
import ssl
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme

from azbatch.azure.device_code import DeviceCode
from azbatch.errors import AzbatchError, ServiceError

SCOPE = "https://management.azure.com/.default"


def _id_token() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {
        "aud": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
        "iss": "x",
        "exp": 4_000_000_000,
        "iat": 1_000_000_000,
        "oid": "person-1",
        "tid": "tenant",
        "sub": "s",
        "preferred_username": "ann@example.org",
    }
    return f"{part({'alg': 'none'})}.{part(claims)}."


class Platform:
    """The identity platform: `outcome` is what a poll for the token gives."""

    def __init__(self, folder: Path) -> None:
        self.outcome = "approved"
        self.asked: Counter[str] = Counter()
        self.bundle = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.bundle))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if path.endswith("/openid-configuration"):
            return 200, {
                "authorization_endpoint": f"{self.url}/tenant/oauth2/v2.0/authorize",
                "token_endpoint": f"{self.url}/tenant/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{self.url}/tenant/oauth2/v2.0/devicecode",
                "issuer": f"{self.url}/tenant/v2.0",
            }
        if path.endswith("/devicecode"):
            return 200, {
                "user_code": "ABCD1234",
                "device_code": "d",
                "verification_uri": "https://login.example/device",
                "expires_in": 0 if self.outcome == "expired_token" else 60,
                "interval": 1,
                "message": "go",
            }
        if form.get("grant_type") == ["refresh_token"] or self.outcome == "approved":
            return 200, {
                "token_type": "Bearer",
                "scope": SCOPE,
                "expires_in": 3600,
                "access_token": "the-token",
                "refresh_token": "the-refresh-token",
                "id_token": _id_token(),
                "client_info": base64.urlsafe_b64encode(b'{"uid":"person-1","utid":"tenant"}').decode(),
            }
        return 400, {"error": self.outcome, "error_description": f"AADSTS1: {self.outcome}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                path = self.path.split("?")[0]
                platform.asked[path.rsplit("/", 1)[1]] += 1
                status, answer = platform.answer(path, parse_qs(body))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _reply  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        return Handler


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    made = Platform(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.bundle))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def _person(platform: Platform, tmp_path: Path, said: list[str]) -> DeviceCode:
    return DeviceCode(
        said=said.append, cache=tmp_path / "state" / "tokens.json", tenant="tenant", authority=platform.url
    )


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_signing_in_once(platform: Platform, tmp_path: Path) -> None:
    """The message says where to go and the code; the token is kept for this user only; a second process needs no
    sign-in, and a file that others could read is closed again."""
    said: list[str] = []
    person = _person(platform, tmp_path, said)
    assert person.get_token(SCOPE).token == "the-token"
    assert person.user == "ann@example.org"
    assert "https://login.example/device" in said[0]
    assert "ABCD1234" in said[0]
    cache = tmp_path / "state" / "tokens.json"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o700
    cache.chmod(0o644)
    again = _person(platform, tmp_path, said)
    assert again.get_token(SCOPE).token == "the-token"
    assert again.user == "ann@example.org"
    assert len(said) == 1
    assert platform.asked["devicecode"] == 1
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    cache.write_text("{ broken")
    assert _person(platform, tmp_path, said).get_token(SCOPE).token == "the-token"
    assert platform.asked["devicecode"] == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("authorization_declined", "was refused: nothing was changed"),
        ("expired_token", "expired before anyone signed in"),
        ("invalid_grant", "AADSTS1: invalid_grant"),
    ],
)
def test_a_sign_in_that_does_not_end_well(platform: Platform, tmp_path: Path, outcome: str, says: str) -> None:
    """Refused, expired or failed: one sentence, and nothing is kept."""
    platform.outcome = outcome
    with pytest.raises(ServiceError, match=says):
        _person(platform, tmp_path, []).get_token(SCOPE)
    assert not (tmp_path / "state" / "tokens.json").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_cancelled_with_ctrl_c(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while waiting is told as what it is."""
    import msal

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(msal.PublicClientApplication, "acquire_token_by_device_flow", interrupted)
    with pytest.raises(AzbatchError, match="was cancelled"):
        _person(platform, tmp_path, []).get_token(SCOPE)


def test_no_platform_to_ask(tmp_path: Path) -> None:
    """Where it cannot be reached, the host is named, with no traceback of a library."""
    person = DeviceCode(said=print, cache=tmp_path / "c.json", tenant="t", authority="https://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9 cannot be asked"):
        person.get_token(SCOPE)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_platform_lost_while_signing_in(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks while waiting is one sentence: what was lost, and that nothing was changed."""
    import msal
    import requests

    def broken(*_: Any, **__: Any) -> Any:
        raise requests.ConnectionError

    monkeypatch.setattr(msal.PublicClientApplication, "acquire_token_by_device_flow", broken)
    with pytest.raises(ServiceError, match="was lost while you signed in"):
        _person(platform, tmp_path, []).get_token(SCOPE)
