"""ARM over HTTP: tokens, JSON, errors; everything else is `core`."""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from azbatch_emulator.arm.core import Arm
from azbatch_emulator.arm.records import Answer, ArmRefused, Principal, Request
from azbatch_emulator.identity.tokens import Tokens

log = logging.getLogger(__name__)
MAX_BODY = 4 * 1024 * 1024
AUDIENCES = (
    "https://management.azure.com/",
    "https://management.azure.com",
    "https://management.core.windows.net/",
    "https://management.core.windows.net",
)


class ArmService:
    """The tenant's ARM endpoint. `whose` names an object id's principal; `changed` is awaited around each request."""

    def __init__(
        self,
        arm: Arm,
        tokens: Tokens,
        now: Callable[[], datetime],
        whose: Callable[[str], Principal],
        changed: Callable[[], Awaitable[None]],
        wall: Callable[[], datetime] | None = None,
    ) -> None:
        self._wall = wall or now  # tokens are judged by it
        self.arm = arm
        self.counts: Counter[str] = Counter()
        self._tokens, self._now, self._whose, self._changed = tokens, now, whose, changed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            answer = await self._answer(scope, receive)
            response = _response(answer)
        except ArmRefused as refusal:
            response = _refusal(refusal)
        except Exception:
            log.exception("request %s %s failed", scope["method"], scope["path"])
            response = _refusal(ArmRefused(500, "InternalServerError", "The emulator failed; see its log."))
        response.headers["x-ms-request-id"] = request_id
        response.headers["x-ms-correlation-request-id"] = request_id
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _body(receive)
        base = f"{scope['scheme']}://{headers.get('host', '127.0.0.1')}"
        query = {name.lower(): value for name, value in parse_qsl(scope["query_string"].decode("latin-1"))}
        raw = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        path = unquote(raw).rstrip("/")
        if path.lower() == "/metadata/endpoints":
            return Answer(status=200, body=_endpoints(base))
        request = Request(
            method=scope["method"],
            path=path,
            query=query,
            body=body,
            headers=headers,
            caller=self._caller(headers, base),
            base=base,
        )
        self.counts[request.method] += 1
        await self._changed()  # what has come about by the mere passing of time
        try:
            return self.arm.handle(request, self._now())
        finally:
            await self._changed()

    def _caller(self, headers: dict[str, str], base: str) -> Principal:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise ArmRefused(
                401,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
                headers={"WWW-Authenticate": f'Bearer authorization_uri="{base}/{self._tokens.tenant}"'},
            )
        subject = self._tokens.subject(token.strip(), (*AUDIENCES, base, f"{base}/"), self._wall())
        if subject is None:
            raise ArmRefused(
                401, "InvalidAuthenticationToken", "The access token is invalid, expired, or for another audience."
            )
        return self._whose(subject)


async def _body(receive: Receive) -> dict[str, Any] | None:
    content = b""
    more = True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False) and message["type"] != "http.disconnect"
        if len(content) > MAX_BODY:
            raise ArmRefused(
                413, "RequestContentTooLarge", f"The request content size exceeds the maximum of {MAX_BODY} bytes."
            )
    if not content.strip():
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ArmRefused(
            400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
        ) from None
    if not isinstance(found, dict):
        raise ArmRefused(400, "InvalidRequestContent", "The request content was invalid: a JSON object is expected.")
    return found


def _endpoints(base: str) -> dict[str, Any]:
    """What clients that discover a cloud ask for. Source: `GET /metadata/endpoints?api-version=2022-09-01`."""
    return {
        "name": "AzbatchEmulator",
        "authentication": {
            "loginEndpoint": base,
            "audiences": list(AUDIENCES),
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "resourceManager": f"{base}/",
        "batch": "https://batch.core.windows.net/",
        "suffixes": {"storage": "core.windows.net", "acrLoginServer": "azurecr.io"},
    }


def _response(answer: Answer) -> Response:
    if answer.body is None:
        return Response(status_code=answer.status, headers=dict(answer.headers))
    return JSONResponse(json.loads(json.dumps(answer.body, default=str)), answer.status, dict(answer.headers))


def _refusal(refusal: ArmRefused) -> Response:
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.details:
        error["additionalInfo"] = list(refusal.details)
    return JSONResponse({"error": error}, refusal.status, refusal.headers)
