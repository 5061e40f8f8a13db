"""Odd requests get the service's own errors: never a traceback, never a 500."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Token

JSON = {"Content-Type": "application/json; odata=minimalmetadata"}


@pytest.fixture
def session(azbatch_emulator: Emulator) -> requests.Session:
    """Signed in by token, over plain http, which raw clients may do."""
    made = requests.Session()
    token = Token(azbatch_emulator).get_token("https://batch.core.windows.net//.default").token
    made.headers["Authorization"] = f"Bearer {token}"
    return made


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/pools", None, 400, "MissingRequiredQueryParameter"),
        ("GET", "/pools?api-version=yesterday", None, 400, "UnsupportedRequestVersion"),
        ("POST", "/pools?api-version=2025-06-01", b"{not json", 400, "InvalidRequestBody"),
        ("POST", "/pools?api-version=2025-06-01", b"[1]", 400, "InvalidRequestBody"),
        ("POST", "/pools?api-version=2025-06-01", b"[" * 100_000, 400, "InvalidRequestBody"),
        ("POST", "/pools?api-version=2025-06-01", b"{}", 400, "MissingRequiredProperty"),
        ("POST", "/pools?api-version=2025-06-01", b'{"id": 5}', 400, "InvalidRequestBody"),
        ("POST", "/jobs?api-version=2025-06-01", b'{"id": "j", "poolInfo": [1]}', 400, "InvalidRequestBody"),
        ("POST", "/jobs?api-version=2025-06-01", b" " * 1_048_577, 413, "RequestBodyTooLarge"),
        ("GET", "/jobs?api-version=2025-06-01&$filter=state%20is%20odd", None, 400, "InvalidQueryParameterValue"),
        ("GET", "/jobs?api-version=2025-06-01&maxresults=0", None, 400, "InvalidQueryParameterValue"),
        ("GET", "/jobs/none?api-version=2024-07-01.20.0", None, 404, "JobNotFound"),
        ("GET", "/nothing?api-version=2099-01-01", None, 404, "OperationNotFound"),
        ("PATCH", "/supportedimages?api-version=2025-06-01", None, 405, "UnsupportedHttpVerb"),
        ("POST", "/jobschedules?api-version=2025-06-01", b"{}", 400, "MissingRequiredProperty"),
        ("GET", "/pools/p/nodes/n/files/..%2F..%2Fsecrets.json?api-version=2025-06-01", None, 404, "PoolNotFound"),
    ],
)
def test_odd_requests(
    azbatch_emulator: Emulator, session: requests.Session, method: str, path: str, body: Any, status: int, code: str
) -> None:
    """Each kind of odd request has its status and code, with message, request id and time."""
    answer = session.request(method, azbatch_emulator.http_url + path, data=body, headers=JSON, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["request-id"] in answer.json()["message"]["value"]
    assert answer.headers["dataserviceversion"] == "3.0"


def test_without_a_signature_nothing_is_told(azbatch_emulator: Emulator) -> None:
    """No Authorization: 400 MissingRequiredHeader; HEAD has no body."""
    answer = requests.get(f"{azbatch_emulator.http_url}/pools?api-version=2025-06-01", timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (400, "MissingRequiredHeader")
    head = requests.head(f"{azbatch_emulator.http_url}/pools/p?api-version=2025-06-01", timeout=20)
    assert (head.status_code, head.content) == (400, b"")


def test_paths_do_not_climb_out(azbatch_emulator: Emulator, session: requests.Session) -> None:
    """A node's files are those below its root; neither dots nor links lead out of it."""
    from tests.contract.sdk import pool

    version = {"api-version": "2025-06-01"}
    url = azbatch_emulator.http_url
    session.post(f"{url}/pools", params=version, json=pool("climb"), timeout=20)
    nodes: list[Any] = []
    while [node["state"] for node in nodes] != ["idle"]:
        nodes = session.get(f"{url}/pools/climb/nodes", params=version, timeout=20).json()["value"]
    for path in ("..%2F..%2F..%2Fsecrets.json", "%2Fetc%2Fpasswd", "shared%2F..%2F..%2F..%2F..%2Fsecrets.json"):
        answer = session.get(f"{url}/pools/climb/nodes/{nodes[0]['id']}/files/{path}", params=version, timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (404, "FileNotFound")
    session.delete(f"{url}/pools/climb", params=version, timeout=20)
