"""What the emulator's log looks like: UTC times, and one line for each request, without secrets.

A request's line: `POST /pools?api-version=2025-06-01 201 3.4 ms CreatePool 5c6f0a4e-...` - method, target, status
("reset" where the connection was), time until the answer's end, operation, and the id the answer carries.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import time
from collections.abc import Callable
from typing import IO
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azbatch_emulator.client import PREFIX
from azbatch_emulator.recording.redact import redactor

MOST = 600  # characters of a target
requests = logging.getLogger("azbatch_emulator.requests")
_IDS = (b"request-id", b"x-ms-request-id")
_redact = redactor()


def configure(level: str, stream: IO[str] | None = None) -> None:
    """For a process that is nothing but an emulator; a library leaves logging to its host."""
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    if level != "debug":
        for library in ("asyncio", "urllib3"):
            logging.getLogger(library).setLevel(logging.WARNING)


@functools.lru_cache(512)  # clients that poll ask the same again and again
def readable(target: str) -> str:
    """A request's path and query for people: decoded, on one line, signatures and other secrets removed. Pure."""
    text = "".join(one if one.isprintable() else "?" for one in unquote(target))
    redacted = str(_redact(text))
    return redacted if len(redacted) <= MOST else f"{redacted[:MOST]}..."


def operation(method: str, path: str) -> str:
    """A name for what a request asks for: an operation of the data plane, else what kind of thing it is about. Pure."""
    from azbatch_emulator.batch.routes import match
    from azbatch_emulator.records import Refused

    with contextlib.suppress(Refused):
        return match(method, path).name
    parts = [part for part in path.split("/") if part]
    if path.startswith(f"{PREFIX}/"):
        return f"control:{path.removeprefix(f'{PREFIX}/')}"
    if "endpoints" not in parts and "metadata" in parts:
        return "identity:metadata"
    if "oauth2" in parts or ".well-known" in parts:
        return "identity:sign-in"
    if parts and parts[0].lower() in {"subscriptions", "providers", "tenants", "metadata"}:
        return f"arm:{_resource_type(parts)}"
    return "-"


def _resource_type(parts: list[str]) -> str:
    """`Microsoft.Batch/batchAccounts/pools` of a resource's path; the last collection where it has no provider."""
    lower = [part.lower() for part in parts]
    if "providers" in lower:
        at = len(lower) - lower[::-1].index("providers")
        return "/".join([*parts[at : at + 1], *parts[at + 1 :: 2]]) or "providers"
    return parts[-1] if len(parts) % 2 else parts[-2]


class AccessLog:
    """An application whose requests are logged: at level INFO, those of the control routes at DEBUG."""

    def __init__(
        self,
        app: ASGIApp,
        named: Callable[[str, str], str] = operation,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app, self._named, self._clock = app, named, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not requests.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        # Routing changes the scope, so what is told of the request is taken first.
        method, path = (
            scope["method"],
            scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0],
        )
        query = scope["query_string"].decode("latin-1")
        started: Message = {}
        began = self._clock()

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            level = logging.DEBUG if path.startswith(f"{PREFIX}/") else logging.INFO
            ids = [value.decode("latin-1") for name, value in started.get("headers", ()) if name.lower() in _IDS]
            requests.log(
                level,
                "%s %s %s %.1f ms %s %s",
                method,
                readable(f"{path}?{query}" if query else path),
                started.get("status", "reset"),
                (self._clock() - began) * 1000,
                self._named(method, path),
                ids[0] if ids else "-",
            )
