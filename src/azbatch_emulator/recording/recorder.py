"""Writes requests and answers down, one JSON object a line.

Each has `at` (the emulator's time), `plane`, `own` (false: at the address of another Batch account), `method`,
`target`, `headers` and `body`, and of the answer `status` (null where the connection was reset), `answer_headers` and
`answer`. Headers are those of a short list, so that no authorization is among them; of bodies that are no JSON only the
length is kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.recording.redact import REMOVED, answers_secrets, redactor

ASKED = frozenset({"accept", "content-type", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"})
ASKED_RANGE = frozenset({"ocp-range", "range", "user-agent"})
ANSWERED = frozenset({"content-type", "etag", "last-modified", "location", "retry-after", "azure-asyncoperation"})
MOST = 4 * 1024 * 1024


class Recording:
    """A file that only its owner may read. Raises EmulatorError where it cannot be written."""

    def __init__(self, path: Path, secrets: Collection[str] = ()) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise EmulatorError(f"The recording {path} cannot be written: {error.strerror}.") from None
        self._file = os.fdopen(handle, "w")
        self.redact = redactor(secrets)

    def write(self, entry: dict[str, Any]) -> None:
        if not self._file.closed:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class Recorder:
    """An application whose requests are recorded."""

    def __init__(self, app: ASGIApp, recording: Recording, plane: str, own: bool, now: Callable[[], datetime]) -> None:
        self._app, self._recording, self._plane, self._own, self._now = app, recording, plane, own, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, answered = bytearray(), bytearray()
        start: Message = {}
        at = self._now()

        async def hear() -> Message:
            message = await receive()
            _keep(asked, message)
            return message

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            _keep(answered, message)
            await send(message)

        try:
            await self._app(scope, hear, tell)
        finally:
            self._recording.write(self._entry(scope, at, bytes(asked), start, bytes(answered)))

    def _entry(self, scope: Scope, at: datetime, asked: bytes, start: Message, answered: bytes) -> dict[str, Any]:
        redact = self._recording.redact
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        target = f"{path}?{query}" if query else path
        answer = REMOVED if answers_secrets(path) and start.get("status") == 200 else redact(_content(answered))
        return {
            "at": at.isoformat(),
            "plane": self._plane,
            "own": self._own,
            "method": scope["method"],
            "target": redact(target),
            "headers": redact(_headers(scope["headers"], ASKED | ASKED_RANGE)),
            "body": redact(_content(asked)),
            "status": start.get("status"),
            "answer_headers": redact(_headers(start.get("headers", ()), ANSWERED)),
            "answer": answer,
        }


def _keep(parts: bytearray, message: Message) -> None:
    if len(parts) <= MOST:
        parts += message.get("body") or b""


def _headers(given: Iterable[tuple[bytes, bytes]], kept: Collection[str]) -> dict[str, str]:
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in given}
    return {name: value for name, value in found.items() if name in kept}


def _content(body: bytes) -> Any:
    """JSON, null for nothing, else how long it was."""
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {"bytes": len(body)}
