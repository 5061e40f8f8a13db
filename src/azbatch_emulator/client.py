"""Calls the control routes of a running emulator."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from azbatch_emulator.errors import EmulatorError

PREFIX, TOKEN_HEADER = "/_emulator", "x-azbatch-emulator-token"
READS = frozenset({"status", "requests", "accounts", "dump", "sign-ins", "faults", "struck", "clock", "health"})
TIMEOUT = 60.0


class ControlClient:
    """`token` is the one in the state folder; proxies are not used."""

    def __init__(self, http_url: str, token: str) -> None:
        self._url = f"{http_url}{PREFIX}"
        self._token = token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, path: str, /, **body: Any) -> dict[str, Any]:
        """The answer of a route. Raises EmulatorError where it refuses or nobody answers."""
        method = "GET" if path in READS and not body else "POST"
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self._url}/{path}",
            method=method,
            data=json.dumps(body).encode() if method == "POST" else None,
            headers={TOKEN_HEADER: self._token, "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                result: dict[str, Any] = json.load(answer)
                return result
        except urllib.error.HTTPError as error:
            with error:
                raise EmulatorError(f"The emulator refused {path!r}: {_reason(error)}") from None
        except OSError as error:
            raise EmulatorError(f"The emulator at {self._url} does not answer: {error}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        told = json.load(error)["error"]
        return f"{told['code']}: {told['message']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"
