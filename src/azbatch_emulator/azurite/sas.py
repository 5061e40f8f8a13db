"""Shared access signatures for the emulator's own storage. Pure.

Source: REST, Create an account SAS; Create a service SAS (versions from 2020-12-06).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import urlencode

VERSION = "2021-12-02"


def _signed(key: str, parts: list[str]) -> str:
    digest = hmac.new(base64.b64decode(key), "\n".join(parts).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _time(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def blob_query(account: str, key: str, container: str, blob: str, permissions: str, expiry: datetime) -> str:
    """The query of a URL that opens one blob, `permissions` such as "r" or "rw"."""
    resource = f"/blob/{account}/{container}/{blob}"
    parts = [permissions, "", _time(expiry), resource, "", "", "", VERSION, "b", "", "", "", "", "", "", ""]
    fields = {"sv": VERSION, "sr": "b", "sp": permissions, "se": _time(expiry), "sig": _signed(key, parts)}
    return urlencode(fields)


def container_query(account: str, key: str, expiry: datetime) -> str:
    """The query of a URL that creates containers of the account."""
    parts = [account, "c", "b", "c", "", _time(expiry), "", "", VERSION, "", ""]
    fields = {"sv": VERSION, "ss": "b", "srt": "c", "sp": "c", "se": _time(expiry), "sig": _signed(key, parts)}
    return urlencode(fields)
