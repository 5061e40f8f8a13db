"""The log: one line a request, and no secret in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.gateway import blob_operation
from azbatch_emulator.logs import AccessLog, operation, readable


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/pools", "CreatePool"),
        ("GET", "/jobs/metadata/tasks", "ListTasks"),
        ("GET", "/metadata/identity/oauth2/token", "identity:metadata"),
        ("GET", "/_identity/lab-head/metadata/instance", "identity:metadata"),
        ("POST", "/t/oauth2/v2.0/token", "identity:sign-in"),
        ("GET", "/_emulator/status", "control:status"),
        ("PUT", "/subscriptions/s/resourceGroups/g", "arm:resourceGroups"),
        ("GET", "/subscriptions/s/resourceGroups", "arm:resourceGroups"),
        (
            "PUT",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Batch/batchAccounts/a/pools/p",
            "arm:Microsoft.Batch/batchAccounts/pools",
        ),
        ("GET", "/nonsense", "-"),
    ],
)
def test_a_request_has_a_name(method: str, path: str, name: str) -> None:
    """Operations of the data plane by their own name, all else by what it is about."""
    assert operation(method, path) == name


def test_requests_to_storage_have_names() -> None:
    """They are named by what they do to what."""
    assert blob_operation("PUT", "/account/container/blob") == "blob:blobs/write"
    assert blob_operation("GET", "/account/container") == "blob:read"


@given(st.text(min_size=1, max_size=80))
def test_whatever_is_asked_takes_one_line(target: str) -> None:
    """No request can put a line of its own, or a terminal's control sequence, into the log."""
    assert readable(target).isprintable()


@given(st.text(alphabet="abcdefABCDEF0123456789", min_size=6, max_size=44), st.sampled_from(["%3D", "=", ""]))
def test_no_signature_is_logged(signature: str, end: str) -> None:
    """A SAS keeps all but its signature; other secrets by name go too."""
    for query in (f"sv=2025&sig={signature}{end}&se=2", f"sig={signature}{end}", f"x=1&access_token={signature}"):
        said = readable(f"/account/box/blob?{query}")
        assert signature not in said.removeprefix("/account/box/blob")
        assert said.startswith("/account/box/blob?")


def _asked(caplog: pytest.LogCaptureFixture, app: Any, path: str = "/pools", query: bytes = b"") -> list[str]:
    """What is logged of one request to `app`."""
    ticks = iter((1.0, 1.25))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(_message: dict[str, Any]) -> None:
        """Nobody listens."""

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": []}
    logged = AccessLog(app, clock=lambda: next(ticks))
    with caplog.at_level(logging.INFO, "azbatch_emulator.requests"):
        asyncio.run(logged(scope, receive, send))  # type: ignore[arg-type]
    return [record.getMessage() for record in caplog.records]


async def _answer(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    scope["path"] = "changed by routing"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"request-id", b"the-id")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def _silence(_scope: Any, _receive: Any, _send: Any) -> None:
    """The connection was reset."""


def test_the_line_tells_all(caplog: pytest.LogCaptureFixture) -> None:
    """Method, target, status, milliseconds, operation, request id."""
    (line,) = _asked(caplog, _answer, query=b"%24filter=state%20eq%20'active'")
    assert line == "GET /pools?$filter=state eq 'active' 200 250.0 ms ListPools the-id"


def test_a_reset_connection_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was answered, and the line says so."""
    (line,) = _asked(caplog, _silence)
    assert line == "GET /pools reset 250.0 ms ListPools -"


def test_control_calls_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A status that is watched does not fill the log; at level debug it is there."""
    assert _asked(caplog, _answer, "/_emulator/status") == []
    (line,) = _asked(caplog, _answer)
    assert line.startswith("GET /pools ")
