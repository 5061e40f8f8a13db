"""The Batch data plane as an ASGI application: version, authentication, body, handler, response."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import anyio
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from azbatch_emulator.account import Account
from azbatch_emulator.batch import access, decode
from azbatch_emulator.batch.auth import authenticate
from azbatch_emulator.batch.call import Call, Reply
from azbatch_emulator.batch.errors import error_body, status_of
from azbatch_emulator.batch.routes import match
from azbatch_emulator.batch.times import etag, http_date
from azbatch_emulator.engine import Engine
from azbatch_emulator.identity.tokens import Tokens
from azbatch_emulator.records import Refused

log = logging.getLogger(__name__)
MAX_BODY = 1_048_576
JOIN = "Microsoft.Network/virtualNetworks/subnets/join/action"
CHUNK = 256 * 1024
JSON = "application/json;odata=minimalmetadata"
_VERSION = re.compile(r"^\d{4}-\d\d-\d\d(\.\d+\.\d+)?(-preview)?$")


class Door:
    """One address of an account: its public one, or a private endpoint's; shut while `is_open()` is false."""

    def __init__(self, service: BatchService, is_open: Callable[[], bool]) -> None:
        self._service, self._is_open = service, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_open():
            await self._service(scope, receive, send)
            return
        reason = "Public network access of this account is disabled; use its private endpoint."
        refusal = Refused("PublicNetworkAccessDisabled", {"Reason": reason})
        response = _refusal(scope["method"], refusal, str(uuid.uuid4()), self._service.engine.clock.now())
        await response(scope, receive, send)


class BatchService:
    """One account's data plane. `counts` holds the requests by operation since the last reset."""

    def __init__(
        self,
        engine: Engine,
        account: Account,
        tokens: Tokens,
        node_root: Path | None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        allowed: access.Access | None = None,
    ) -> None:
        self.access = allowed or access.Anyone()
        self.engine = engine
        self.account = account
        self.tokens = tokens
        self.node_root = node_root
        self.counts: Counter[str] = Counter()
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._new_id()
        now = self.engine.clock.now()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            response = await self._answer(scope, receive, headers, request_id, now)
        except Refused as refusal:
            response = _refusal(scope["method"], refusal, request_id, now)
        except Exception:
            log.exception("request %s %s failed", scope["method"], scope["path"])
            response = _refusal(scope["method"], Refused("InternalError"), request_id, now)
        response.headers["request-id"] = request_id
        response.headers["dataserviceversion"] = "3.0"
        if headers.get("return-client-request-id", "").lower() == "true" and "client-request-id" in headers:
            response.headers["client-request-id"] = headers["client-request-id"]
        await response(scope, receive, send)

    async def _answer(
        self, scope: Scope, receive: Receive, headers: dict[str, str], request_id: str, now: datetime
    ) -> Response:
        raw_path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        query_text = scope["query_string"].decode("latin-1")
        body = await _read(receive, headers)
        query = {name.lower(): value for name, value in parse_qsl(query_text, keep_blank_values=True)}
        version, wall = _version(query), self.engine.clock.wall()
        subject = authenticate(scope["method"], raw_path, query_text, headers, self.account, self.tokens, wall)
        access.check(self.access, self.account, subject, scope["method"], raw_path)
        found = match(scope["method"], raw_path, version)
        self.counts[found.name] += 1
        headers["request-id"] = request_id
        call = Call(
            engine=self.engine,
            url=f"{scope['scheme']}://{headers.get('host', '127.0.0.1')}",
            api_version=version,
            path=found.path,
            query=query,
            headers=headers,
            body=self._joined(subject, _json(scope["method"], body)),
            now=now,
            node_root=self.node_root,
            request_path=raw_path,
            applications=lambda: self.access.applications(self.account),
        )
        return _response(scope["method"], found.handler(call))

    def _joined(self, subject: str | None, body: dict[str, Any]) -> dict[str, Any]:
        """The body, if whoever names a subnet in it may put machines there."""
        subnet = str((body.get("networkConfiguration") or {}).get("subnetId") or "")
        if subnet and subject is not None and not self.access.may_join(subject, subnet):
            raise Refused("PermissionDenied", {"Action": JOIN, "Scope": subnet, "ObjectId": subject})
        return body


def _version(query: Mapping[str, str]) -> str:
    version = query.get("api-version")
    if version is None:
        raise Refused("MissingRequiredQueryParameter", {"QueryParameterName": "api-version"})
    if not _VERSION.match(version):
        raise Refused("UnsupportedRequestVersion", {"Version": version[:40]})
    return version


async def _read(receive: Receive, headers: Mapping[str, str]) -> bytes:
    """The body, up to the service's limit; a larger one is not kept."""
    too_large = Refused("RequestBodyTooLarge", {"MaxLimit": str(MAX_BODY)})
    length = headers.get("content-length", "0")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            break
    if size > MAX_BODY or (length.isdigit() and int(length) > MAX_BODY):
        raise too_large
    return b"".join(parts)


def _json(method: str, body: bytes) -> dict[str, Any]:
    if method in {"GET", "HEAD", "DELETE"} or not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("InvalidRequestBody", {"Reason": "The body is not JSON"}) from None
    if not isinstance(value, dict):
        raise Refused("InvalidRequestBody", {"Reason": "The body is not a JSON object"})
    try:
        checked = decode.coerce(value)
    except (AttributeError, TypeError, KeyError):
        raise Refused("InvalidRequestBody") from None
    assert isinstance(checked, dict)
    return checked


def _refusal(method: str, refusal: Refused, request_id: str, now: datetime) -> Response:
    status = status_of(refusal.code)
    if refusal.code == "ConditionNotMet" and method in {"GET", "HEAD"}:
        return Response(status_code=304)
    headers = {"Retry-After": "30"} if status in {429, 503} else {}
    if method == "HEAD":
        return Response(status_code=status, headers=headers)
    content = error_body(refusal.code, refusal.message, refusal.values, request_id, now)
    return Response(content, status, headers, media_type=JSON)


def _response(method: str, reply: Reply) -> Response:
    headers = dict(reply.headers)
    if reply.modified is not None:
        headers["ETag"] = etag(reply.modified)
        headers["Last-Modified"] = http_date(reply.modified)
    if reply.file is not None and reply.span is not None:
        headers["Content-Length"] = str(reply.span[1])
        return StreamingResponse(_stream(reply.file, *reply.span), reply.status, headers)
    if reply.head or method == "HEAD":
        response = Response(status_code=reply.status, headers=headers)
        if "Content-Length" in reply.headers:
            response.headers["content-length"] = reply.headers["Content-Length"]
        return response
    if reply.body is None:
        return Response(status_code=reply.status, headers=headers)
    content = json.dumps(reply.body, separators=(",", ":"), default=str).encode()
    return Response(content, reply.status, headers, media_type=JSON)


async def _stream(path: Path, start: int, length: int) -> AsyncIterator[bytes]:
    """Bytes of a file, exactly `length` of them: one that shrinks meanwhile ends the connection, not the emulator."""
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(start)
        while length > 0:
            part = await file.read(min(CHUNK, length))
            if not part:
                return
            length -= len(part)
            yield part
