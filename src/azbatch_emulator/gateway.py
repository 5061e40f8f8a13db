"""In front of a storage account of the tenant: its network rules and its callers' roles; behind it, an Azurite.

What Azurite does not know is decided here; the request then goes on as it came, and the answer back, in pieces.
Source: "Configure Azure Storage firewalls and virtual networks"; "Authorize access to blobs using Microsoft Entra ID".
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import h11
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from azbatch_emulator.identity.tokens import Tokens

log = logging.getLogger(__name__)
AUDIENCES = ("https://storage.azure.com", "https://storage.azure.com/")
CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
KEYED = frozenset({"sharedkey", "sharedkeylite"})
PIECE = 256 * 1024
OUR_OWN = frozenset({b"connection", b"date"})  # said by the server that answers


class Denied(Exception):
    """A request the account refuses, with the service's code."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Rules(Protocol):
    """What the tenant says of a storage account."""

    def storage_reached(self, account_id: str, subnet_id: str | None) -> bool:
        """Whether the account lets callers in that stand in a subnet (None: the internet)."""
        ...

    def storage_permits(self, account_id: str, container: str, object_id: str, action: str, *, data: bool) -> bool: ...

    def storage_takes_keys(self, account_id: str) -> bool: ...


class Owners:
    """Rules of a storage account that belongs to the emulator's user: no network rules, every good token and key."""

    def storage_reached(self, account_id: str, subnet_id: str | None) -> bool:  # noqa: ARG002
        return True

    def storage_permits(self, account_id: str, container: str, object_id: str, action: str, *, data: bool) -> bool:  # noqa: ARG002
        return True

    def storage_takes_keys(self, account_id: str) -> bool:  # noqa: ARG002
        return True


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request does: an action of the data or control plane on a container ("" for the account)."""

    action: str
    data: bool
    container: str


def wanted(method: str, path: str, query: str) -> Wanted:
    """The action that a Blob REST request asks for. Pure."""
    names = {name.lower(): values[0].lower() for name, values in parse_qs(query, keep_blank_values=True).items()}
    parts = [part for part in path.split("/") if part][1:]  # the first is the account
    container = parts[0] if parts else ""
    verb = {"GET": "read", "HEAD": "read", "DELETE": "delete"}.get(method, "write")
    if names.get("comp") == "userdelegationkey":
        return Wanted(f"{CONTAINERS.removesuffix('/containers')}/generateUserDelegationKey/action", False, "")
    listing = names.get("restype") == "container" and names.get("comp") == "list"
    if len(parts) <= 1 and not listing:
        return Wanted(f"{CONTAINERS}/{verb}", False, container)
    return Wanted(f"{CONTAINERS}/blobs/{verb}", True, container)


def blob_operation(method: str, path: str) -> str:
    """A name for a request to storage, for the log."""
    asked = wanted(method, path, "")
    return f"blob:{asked.action.removeprefix(f'{CONTAINERS}/')}"


class Gateway:
    """One address of one storage account, for callers of one subnet (None: from the internet)."""

    def __init__(
        self,
        account_id: str,
        subnet_id: str | None,
        rules: Rules,
        tokens: Tokens,
        now: Callable[[], datetime],
        backend: Callable[[], Awaitable[str]],
        trust: ssl.SSLContext,
    ) -> None:
        self._account, self._subnet, self._rules = account_id, subnet_id, rules
        self._tokens, self._now, self._backend, self._trust = tokens, now, backend, trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.lower(), value) for name, value in scope["headers"] if name.lower() != b"host"]
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        try:
            if sum(name == b"authorization" for name, _ in headers) > 1:
                raise Denied("InvalidAuthenticationInfo", "There is more than one Authorization header.", 400)
            self._check(scope["method"], path, query, dict(headers))
            target = f"{path}?{query}" if query else path
            await self._forward(scope["method"], target, headers, receive, send)
        except Denied as denied:
            await _refusal(denied)(scope, receive, send)
        except (OSError, h11.ProtocolError) as error:
            log.warning("storage %s does not answer: %s", self._account, error)
            await _refusal(Denied("ServerBusy", "The storage service is not there.", 503))(scope, receive, send)

    def _check(self, method: str, path: str, query: str, headers: dict[bytes, bytes]) -> None:
        if not self._rules.storage_reached(self._account, self._subnet):
            raise Denied("AuthorizationFailure", "This request is not authorized to perform this operation.")
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            subject = self._tokens.subject(token.strip(), AUDIENCES, self._now())
            if subject is None:
                raise Denied("InvalidAuthenticationInfo", "The token is not valid for storage.", 401)
            asked = wanted(method, path, query)
            if not self._rules.storage_permits(self._account, asked.container, subject, asked.action, data=asked.data):
                raise Denied(
                    "AuthorizationPermissionMismatch",
                    "This request is not authorized to perform this operation using this permission.",
                )
        elif scheme.lower() in KEYED and not self._rules.storage_takes_keys(self._account):
            raise Denied(
                "KeyBasedAuthenticationNotPermitted", "Key based authentication is not permitted on this account."
            )
        elif scheme and scheme.lower() not in KEYED:
            # Azurite may read as a token, whose signature it does not check, what we do not.
            raise Denied("InvalidAuthenticationInfo", "The authentication scheme is not supported.", 400)

    async def _forward(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send
    ) -> None:
        place = urlsplit(await self._backend())
        reader, writer = await asyncio.open_connection(place.hostname, place.port, ssl=self._trust)
        try:
            wire = h11.Connection(our_role=h11.CLIENT)
            head = [*headers, (b"host", place.netloc.encode()), (b"connection", b"close")]
            kept = [(name, value) for name, value in head if name.lower() not in {b"expect"}]
            writer.write(wire.send(h11.Request(method=method, target=target, headers=kept)) or b"")
            more = True
            while more:
                message = await receive()
                more = message.get("more_body", False)
                if message.get("body"):
                    writer.write(wire.send(h11.Data(data=message["body"])) or b"")
                    await writer.drain()
            writer.write(wire.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            await _answer(wire, reader, send)
        finally:
            writer.transport.abort()


async def _answer(wire: h11.Connection, reader: asyncio.StreamReader, send: Send) -> None:
    while True:
        event: Any = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(PIECE))
        elif isinstance(event, h11.Response):
            headers = [(bytes(name), bytes(value)) for name, value in event.headers if name not in OUR_OWN]
            await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
        elif isinstance(event, h11.Data):
            await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
        elif isinstance(event, h11.EndOfMessage):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        elif isinstance(event, h11.ConnectionClosed):
            raise OSError("the connection was closed")


def _refusal(denied: Denied) -> Response:
    text = f"{escape(denied.message)}\nRequestId:{uuid.uuid4()}"
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{denied.code}</Code><Message>{text}</Message></Error>'
    headers = {"x-ms-error-code": denied.code, "x-ms-version": "2025-11-05"}
    if denied.status == 503:
        headers["Retry-After"] = "1"
    return Response(body, denied.status, headers, media_type="application/xml")
