"""Sends a recording to an emulator again, and tells where it answers otherwise.

Ids and addresses of nodes, and eTags, are made anew each time: those of the recording stand for those
in their place.
"""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from azbatch_emulator.errors import EmulatorError

RESOURCES = {"batch": "https://batch.core.windows.net/", "arm": "https://management.azure.com/"}
TIMEOUT = 60.0
_MADE = re.compile(
    r"tvmps_[0-9a-f]{64}_[dp]|\b10(?:\.\d{1,3}){3}\b|0x[0-9A-F]{10,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?")
_PLACE = re.compile(r"https?://[^/\s\"]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One answer that is not as recorded: `where` is `status`, or the path of a property."""

    line: int
    request: str
    where: str
    recorded: Any
    now: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """`skipped` are requests of accounts other than the built-in one, whose addresses are not the emulator's own."""

    sent: int
    skipped: int
    differences: tuple[Difference, ...]


def read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of a recording, numbered from 1. Raises EmulatorError."""
    try:
        with path.open() as file:
            for number, line in enumerate(file, 1):
                entry = json.loads(line)
                if not isinstance(entry, dict) or not {"method", "target", "status", "plane"} <= entry.keys():
                    raise ValueError("it is no request")
                yield number, entry
    except OSError as error:
        raise EmulatorError(f"The recording {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise EmulatorError(f"The file {path} is no recording of the emulator: {error}.") from None


def replay(
    path: Path, url: str, *, pace: float | None = None, sleep: Callable[[float], object] = time.sleep
) -> Replayed:
    """Send the requests in order to the emulator at `url` (http), each once the one before is answered.

    `pace` keeps the recorded times between requests, divided by it; None does not wait.
    """
    entries = list(read(path))
    tokens = {plane: _token(url, resource) for plane, resource in RESOURCES.items()}
    names: dict[str, str] = {}
    differences: list[Difference] = []
    sent = skipped = 0
    last: datetime | None = None
    for number, entry in entries:
        if not entry.get("own", True):
            skipped += 1
            continue
        at = datetime.fromisoformat(entry["at"])
        if pace is not None and last is not None:
            sleep(max(0.0, (at - last).total_seconds() / pace))
        last = at
        status, answer = _send(url, entry, tokens.get(entry["plane"], ""), names)
        sent += 1
        differences += _compared(number, entry, status, answer, names)
    return Replayed(sent=sent, skipped=skipped, differences=tuple(differences))


def _token(url: str, resource: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - the emulator's address
        f"{url}/metadata/identity/oauth2/token?resource={quote(resource)}&api-version=2018-02-01",
        headers={"Metadata": "true"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return str(json.load(answer)["access_token"])
    except OSError as error:
        raise EmulatorError(f"The emulator at {url} gives no token: {error}.") from None


def _send(url: str, entry: dict[str, Any], token: str, names: dict[str, str]) -> tuple[int | None, Any]:
    """Status None where the connection breaks, as the recording has it."""

    def renewed(text: str) -> str:
        return _MADE.sub(lambda found: names.get(found.group(), found.group()), text)

    body = None if entry.get("body") is None else renewed(json.dumps(entry["body"])).encode()
    headers = {name: renewed(value) for name, value in entry["headers"].items()} | {"Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        connection.request(entry["method"], renewed(entry["target"]), body, headers)
        answer = connection.getresponse()
        content = answer.read()
        for name, value in entry["answer_headers"].items():
            _learn(value, answer.headers.get(name, ""), names)
        return answer.status, _json(content)
    except (ConnectionError, http.client.HTTPException):
        return None, None
    finally:
        connection.close()


def _json(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return {"bytes": len(content)}


def _compared(
    line: int, entry: dict[str, Any], status: int | None, answer: Any, names: dict[str, str]
) -> Iterator[Difference]:
    request = f"{entry['method']} {entry['target'].partition('?')[0]}"
    if status != entry["status"]:
        yield Difference(line=line, request=request, where="status", recorded=entry["status"], now=status)
        return
    for where, before, now in _pairs(entry["answer"], answer, ""):
        _learn(before, now, names)
        if _plain(before) != _plain(now):
            yield Difference(line=line, request=request, where=where or "answer", recorded=before, now=now)


def _pairs(before: Any, now: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """What stands at the same place in both, down to the leaves; null for what one lacks."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _pairs(before.get(name), now.get(name), f"{where}/{name}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _pairs(one, other, f"{where}/{index}")
    else:
        yield where, before, now


def _learn(before: Any, now: Any, names: dict[str, str]) -> None:
    if isinstance(before, str) and isinstance(now, str):
        old, new = _MADE.findall(before), _MADE.findall(now)
        if len(old) == len(new):
            names.update(zip(old, new, strict=True))


def _plain(value: Any) -> Any:
    """Without what is made anew each time: ids, times, and the emulator's address."""
    if isinstance(value, str):
        return _PLACE.sub("URL", _TIME.sub("TIME", _MADE.sub("ID", value)))
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
