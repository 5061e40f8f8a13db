"""Puts the rules between the wire and an application: answers in its stead, delays it, or resets the connection."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azbatch_emulator.batch.errors import error_body, error_content
from azbatch_emulator.batch.routes import match
from azbatch_emulator.injection.rules import FaultKind, Faults, Hit, Plane
from azbatch_emulator.injection.transport import reset
from azbatch_emulator.records import Refused

_CODES = {  # of the data plane, of Resource Manager
    429: ("TooManyRequests", "TooManyRequests"),
    500: ("InternalError", "InternalServerError"),
    503: ("ServerBusy", "ServiceUnavailable"),
}


class Faulty:
    """An application whose requests go wrong as the rules say, before it knows who asks: throttling is the door's."""

    def __init__(self, app: ASGIApp, plane: Plane, faults: Faults, now: Callable[[], datetime]) -> None:
        self._app, self._plane, self._faults, self._now = app, plane, faults, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if self._faults and scope["type"] == "http":
            path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
            operation = _operation(scope["method"], path) if self._plane is Plane.BATCH else ""
            for hit in self._faults.strike(self._plane, operation, scope["method"], path):
                app = self._around(app, hit)
        await app(scope, receive, send)

    def _around(self, app: ASGIApp, hit: Hit) -> ASGIApp:
        rule = hit.rule

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(rule.seconds)
            await app(scope, receive, send)

        async def reset_before(scope: Scope, receive: Receive, _send: Send) -> None:
            await reset(scope, receive)

        async def reset_after(scope: Scope, receive: Receive, _send: Send) -> None:
            async def swallow(_message: Message) -> None:
                """Nobody hears the answer."""

            await app(scope, receive, swallow)
            await reset(scope, receive)

        async def partial(scope: Scope, receive: Receive, send: Send) -> None:
            await _partial(app, hit, self._now(), scope, receive, send)

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            await _drained(receive)
            await self._refusal(scope["method"], hit)(scope, receive, send)

        special = {
            FaultKind.SLOW: slow,
            FaultKind.RESET_BEFORE: reset_before,
            FaultKind.RESET_AFTER: reset_after,
            FaultKind.PARTIAL: partial,
        }
        return special.get(rule.kind, refuse)

    def _refusal(self, method: str, hit: Hit) -> Response:
        status, request_id = hit.rule.status, str(uuid.uuid4())
        batch_code, arm_code = _CODES.get(status, _CODES[503])
        headers = {"request-id": request_id, "dataserviceversion": "3.0"}
        media = "application/json;odata=minimalmetadata"
        content = error_body(batch_code, None, {}, request_id, self._now())
        if self._plane is Plane.ARM:
            headers = {"x-ms-request-id": request_id, "x-ms-correlation-request-id": request_id}
            media = "application/json"
            message = "The request failed, as a rule of the emulator wants it."
            content = json.dumps({"error": {"code": arm_code, "message": message}}).encode()
        if hit.rule.retry_after is not None:
            headers["Retry-After"] = f"{hit.rule.retry_after:g}"
        elif status in {429, 503}:
            headers["Retry-After"] = "30"
        if method == "HEAD":
            return Response(status_code=status, headers=headers)
        return Response(content, status, headers, media_type=media)


def _operation(method: str, path: str) -> str:
    try:
        return match(method, path).name
    except Refused:
        return ""


async def _drained(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return b"".join(parts)


async def _partial(app: ASGIApp, hit: Hit, now: datetime, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass on a collection without the chosen items, and put their failures into the answer."""
    body = await _drained(receive)
    try:
        items = json.loads(body)["value"]
        chosen = [item for item in items if hit.rng.random() < hit.rule.share]
        failed = [(item, str(item["id"])) for item in chosen]
        rest = [item for item in items if not any(item is other for other in chosen)]
    except (ValueError, KeyError, TypeError):
        failed, passed = [], body  # the application says what is wrong with it
    else:
        passed = json.dumps({"value": rest}).encode()
    waiting: list[Message] = [{"type": "http.request", "body": passed, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop(0) if waiting else await receive()

    start: dict[str, Any] = {}
    parts: list[bytes] = []

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, replay, collect)
    answer = b"".join(parts)
    if start["status"] == 200 and failed:
        told = json.loads(answer)
        error = error_content("ServerBusy", None, {}, str(uuid.uuid4()), now)
        told["value"] += [{"status": "servererror", "taskId": name, "error": error} for _, name in failed]
        answer = json.dumps(told, separators=(",", ":")).encode()
        kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        start["headers"] = [*kept, (b"content-length", str(len(answer)).encode())]
    await send(start)
    await send({"type": "http.response.body", "body": answer, "more_body": False})
