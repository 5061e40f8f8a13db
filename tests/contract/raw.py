"""A client that sends any bytes, and what must hold of every answer of the service."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from azbatch_emulator.batch.errors import ERRORS

NO_FAULT_OF_OURS = {"TooManyEnableAutoScaleRequests"}


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` is the service's, "" for a success, "(protocol)" where the HTTP itself was refused."""

    status: int
    code: str
    headers: dict[str, str]
    body: bytes


class RawClient:
    """One connection, made again where the server has ended it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._address = (str(place.hostname), int(place.port or 0))
        self._socket: socket.socket | None = None
        self.counts: Counter[tuple[int, str]] = Counter()

    def send(self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> Answer:
        """The answer to a request; it has been held against what every answer must be."""
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join(lines).encode("latin-1", "replace")
        answer = self._exchange(method, head + b"\r\n\r\n" + body)
        check(method, answer)
        self.counts[(answer.status, answer.code)] += 1
        return answer

    def _exchange(self, method: str, request: bytes) -> Answer:
        for fresh in (False, True):
            if self._socket is None or fresh:
                self.close()
                self._socket = socket.create_connection(self._address, timeout=30)
            try:
                self._socket.sendall(request)
                response = http.client.HTTPResponse(self._socket, method=method)
                response.begin()
                content = response.read()
            except (ConnectionError, http.client.BadStatusLine, BrokenPipeError):
                if fresh:
                    raise
                continue
            found = {name.lower(): value for name, value in response.getheaders()}
            if response.will_close:
                self.close()
            return Answer(response.status, _code(response.status, found, content), found, content)
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _code(status: int, headers: dict[str, str], body: bytes) -> str:
    if status < 400 or not body:
        return ""
    if "request-id" not in headers:
        return "(protocol)"
    return str(json.loads(body)["code"])


def check(method: str, answer: Answer) -> None:
    """What holds of every answer: it is the service's, and no fault of the server's."""
    if answer.code == "(protocol)":
        assert (answer.status, answer.body) == (400, b"Invalid HTTP request received."), answer  # uvicorn's own
        return
    assert answer.status < 500 or answer.code in NO_FAULT_OF_OURS, answer
    assert "request-id" in answer.headers
    if answer.status == 304 or method == "HEAD":
        assert answer.body == b""
    elif answer.status >= 400:
        body = json.loads(answer.body)
        assert ERRORS[body["code"]][0] == answer.status
        assert body["message"]["value"].partition("RequestId:")[2].startswith(answer.headers["request-id"])
        assert all(set(one) == {"key", "value"} for one in body.get("values", ()))
    elif answer.body and answer.headers.get("content-type", "").startswith("application/json;"):
        json.loads(answer.body, parse_constant=_refuse)


def _refuse(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


class _Loud(logging.Handler):
    """Keeps what is logged as an error, or with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.messages.append(record.getMessage())


@contextmanager
def quiet_log() -> Iterator[None]:
    """Nothing is logged as an error, and no traceback, in the emulator of this process."""
    loud = _Loud()
    logging.getLogger().addHandler(loud)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(loud)
    assert loud.messages == []
