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
from azbatch_emulator.batch import access, rules
from azbatch_emulator.batch.auth import authenticate
from azbatch_emulator.batch.call import Call, Reply, check_query
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
MAX_DRAINED = 64 * MAX_BODY  # of a body that is too large: so much is read before the answer
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[0-9]+\.[0-9]+)?(-preview)?")
# Source: "Batch Service REST API Versioning". Others that look like one are served too, unless in strict mode.
VERSIONS = frozenset(
    {
        "2025-06-01", "2024-07-01.20.0", "2024-02-01.19.0", "2023-11-01.18.0", "2023-05-01.17.0", "2022-10-01.16.0",
        "2022-01-01.15.0", "2021-06-01.14.0", "2020-09-01.12.0", "2020-03-01.11.0", "2019-08-01.10.0",
        "2019-06-01.9.0", "2018-12-01.8.0", "2018-08-01.7.0", "2018-03-01.6.1", "2017-09-01.6.0", "2017-06-01.5.1",
        "2017-05-01.5.0", "2017-01-01.4.0", "2016-07-01.3.1", "2016-02-01.3.0",
    }
)  # fmt: skip


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
    """One account's data plane. `counts` holds the requests by operation since the last reset.

    `strict` refuses what the service refuses and a careful emulator need not: unknown properties and parameters, and
    api-versions that the service does not have.
    """

    def __init__(
        self,
        engine: Engine,
        account: Account,
        tokens: Tokens,
        node_root: Path | None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        allowed: access.Access | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self.strict = strict
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
        headers = _headers(scope)
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
        query = _query(query_text)
        version, wall = _version(query, self.strict), self.engine.clock.wall()
        subject = authenticate(scope["method"], raw_path, query_text, headers, self.account, self.tokens, wall)
        access.check(self.access, self.account, subject, scope["method"], raw_path)
        found = match(scope["method"], raw_path, version)
        self.counts[found.name] += 1
        headers["request-id"] = request_id
        check_query(found.name, query, strict=self.strict)
        context = rules.Context(self.strict, version)
        given = rules.read(found.name, _json(scope["method"], headers, body), context)
        call = Call(
            engine=self.engine,
            url=f"{scope['scheme']}://{headers.get('host', '127.0.0.1')}",
            api_version=version,
            path=found.path,
            query=query,
            headers=headers,
            body=self._joined(subject, given),
            now=now,
            node_root=self.node_root,
            request_path=raw_path,
            applications=lambda: self.access.applications(self.account),
            operation=found.name,
            context=context,
        )
        return _response(scope["method"], found.handler(call))

    def _joined(self, subject: str | None, body: dict[str, Any]) -> dict[str, Any]:
        """The body, if whoever names a subnet in it may put machines there."""
        network = body.get("networkConfiguration")
        subnet = str(network.get("subnetId") or "") if isinstance(network, dict) else ""
        if subnet and subject is not None and not self.access.may_join(subject, subnet):
            raise Refused("PermissionDenied", {"Action": JOIN, "Scope": subnet, "ObjectId": subject})
        return body


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; one that comes more than once has all its values, as in HTTP."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _query(text: str) -> dict[str, str]:
    """Parameters by lower-case name; one that comes with several values has them all, which none of them means."""
    query: dict[str, str] = {}
    for raw_name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
        name = raw_name.lower()
        query[name] = f"{query[name]},{value}" if query.get(name, value) != value else value
    return query


def _version(query: Mapping[str, str], strict: bool) -> str:
    version = query.get("api-version")
    if version is None:
        raise Refused("MissingRequiredQueryParameter", {"QueryParameterName": "api-version"})
    if not _VERSION.fullmatch(version) or (strict and version not in VERSIONS):
        raise Refused("UnsupportedRequestVersion", {"Version": version[:40]})
    return version


async def _read(receive: Receive, headers: Mapping[str, str]) -> bytes:
    """The body, up to the service's limit; a larger one is not kept, and one without an end is not read to it."""
    length = headers.get("content-length", "0")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        elif parts:
            parts.clear()
        if message["type"] == "http.disconnect" or not message.get("more_body", False) or size > MAX_DRAINED:
            break
    if size > MAX_BODY or (length.isdigit() and int(length[:20]) > MAX_BODY):
        raise Refused("RequestBodyTooLarge", {"MaxLimit": str(MAX_BODY)})
    return b"".join(parts)


def _json(method: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The body as it came. Raises Refused for what is no JSON object, or says that it is something else."""
    if method in {"GET", "HEAD", "DELETE"} or not body.strip():
        return {}
    media = headers.get("content-type", "application/json")
    if media.partition(";")[0].strip().lower() != "application/json":
        raise Refused("InvalidHeaderValue", {"HeaderName": "Content-Type", "HeaderValue": media[:200]})
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("InvalidRequestBody", {"Reason": "The body is not JSON"}) from None
    if not isinstance(value, dict):
        raise Refused("InvalidRequestBody", {"Reason": "The body is not a JSON object"})
    return value


def _no_number(text: str) -> float:
    """NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(text)


def _refusal(method: str, refusal: Refused, request_id: str, now: datetime) -> Response:
    status = status_of(refusal.code)
    if refusal.code == "ConditionNotMet" and method in {"GET", "HEAD"}:
        return Response(status_code=304)
    headers = {"Retry-After": "30"} if status in {429, 503} else {}
    if status == 413:
        headers["Connection"] = "close"  # what is left of the body is not read
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
