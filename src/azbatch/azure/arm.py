"""Azure Resource Manager by resource id: the one generic client of the control plane.

On azure-core's own pipeline (retries, tokens, long-running operations) rather than an azure-mgmt package per provider:
every object is `PUT/GET/DELETE id` with a JSON body. Source: "Azure Resource Manager: track asynchronous operations".
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from azbatch.errors import AzbatchError, ServiceError

Body = Mapping[str, Any]
ARM_URL, PUBLIC = "AZBATCH_ARM_URL", "https://management.azure.com"
PATIENCE = 1800.0  # seconds for one long-running operation
PASSING = frozenset(
    {
        "AnotherOperationInProgress",
        "RetryableError",
        "PrincipalNotFound",
        "ReferencedResourceNotProvisioned",
        "Conflict",
        "TooManyRequests",
        "OperationNotAllowedOnDeletingResource",
    }
)


class ArmClient:
    """Implements `azbatch.workspace.ports.Arm`. `requests` counts HTTP requests by method. Thread-safe.

    `url` is the endpoint, by default $AZBATCH_ARM_URL, else the public cloud's. Raises ServiceError with the service's
    code.
    """

    def __init__(
        self,
        url: str | None = None,
        credential: Any = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self.url = (url or os.environ.get(ARM_URL) or PUBLIC).rstrip("/")
        self.requests: Counter[str] = Counter()
        self._credential, self._sleep, self._patience = credential, sleep, patience
        self._client: Any = None
        self._session: Any = None
        self._lock = threading.Lock()

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                import requests
                from azure.core import PipelineClient
                from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy, UserAgentPolicy
                from azure.core.pipeline.transport import RequestsTransport
                from requests.adapters import HTTPAdapter

                from azbatch.azure.credentials import entra

                session = self._session = requests.Session()
                session.mount("https://", HTTPAdapter(pool_maxsize=32))
                self._client = PipelineClient(
                    self.url,
                    policies=[
                        UserAgentPolicy("azbatch"),
                        RetryPolicy(retry_total=6, retry_backoff_factor=0.5),
                        BearerTokenCredentialPolicy(self._credential or entra(), f"{_audience(self.url)}/.default"),
                    ],
                    transport=RequestsTransport(session=session, session_owner=False),
                )
        return self._client

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._session.close()

    # The port

    def get(self, id: str, api_version: str) -> Body | None:
        """The resource, None for 404."""
        answer = self._send("GET", self._address(id, api_version))
        return None if answer.status_code == 404 else _json(answer)

    def list(self, path: str, api_version: str, **query: str) -> Iterator[Body]:
        """All pages of a collection; nothing for 404."""
        address: str | None = self._address(path, api_version, **query)
        while address:
            answer = self._send("GET", address)
            if answer.status_code == 404:
                return
            page = _json(answer)
            yield from page.get("value") or ()
            address = page.get("nextLink")

    def put(self, id: str, api_version: str, body: Body, *, etag: str | None = None, new: bool = False) -> Body:
        """Create or replace; returns when the operation has ended. `new`: refused where it exists."""
        headers = {**({"If-Match": etag} if etag else {}), **({"If-None-Match": "*"} if new else {})}
        return self._write("PUT", id, api_version, body, headers)

    def patch(self, id: str, api_version: str, body: Body) -> Body:
        """Merge into the resource; returns when the operation has ended."""
        return self._write("PATCH", id, api_version, body, {})

    def delete(self, id: str, api_version: str) -> bool:
        """False where it was not there; returns when it is gone."""
        answer = self._patiently("DELETE", self._address(id, api_version), None, {})
        if answer.status_code in {204, 404}:
            return False
        self._await(answer, id)
        return True

    def post(self, path: str, api_version: str, body: Body | None = None) -> Body:
        """An action or question; its answer."""
        answer = self._patiently("POST", self._address(path, api_version), body, {})
        return _json(answer)

    # Within

    def _address(self, path: str, api_version: str, **query: str) -> str:
        text = urlencode({"api-version": api_version, **query}, quote_via=quote, safe="$'()")
        return f"{self.url}{quote(path, safe='/')}?{text}"

    def _write(self, method: str, id: str, api_version: str, body: Body, headers: Mapping[str, str]) -> Body:
        answer = self._patiently(method, self._address(id, api_version), body, headers)
        if answer.status_code == 404:
            raise _refused(answer, method, id)
        if self._await(answer, id) or answer.status_code == 202:
            return self.get(id, api_version) or {}
        return _json(answer)

    def _await(self, answer: Any, id: str) -> bool:
        """Follow a long-running operation to its end; False if there was none. Raises ServiceError if it failed."""
        operation, location = answer.headers.get("Azure-AsyncOperation"), answer.headers.get("Location")
        if not operation and not (location and answer.status_code == 202):
            return False
        end = time.monotonic() + self._patience
        wait = _retry_after(answer, 2.0)
        while time.monotonic() < end:
            self._sleep(wait)
            look = self._send("GET", operation or location)
            if operation:
                found = _json(look)
                status = str(found.get("status", "")).lower()
                if status == "succeeded":
                    return True
                if status in {"failed", "canceled"}:
                    error = found.get("error") or {}
                    code = str(error.get("code", status))
                    raise ServiceError(f"{_short(id)} failed: {error.get('message', status)}", code=code)
            elif look.status_code in {200, 201, 204, 404}:
                return True
            wait = _retry_after(look, min(wait * 1.5, 10.0))
        raise ServiceError(
            f"{_short(id)} is still under way after {self._patience:.0f} s; run the command again.", code="Timeout"
        )

    def _patiently(self, method: str, address: str, body: Body | None, headers: Mapping[str, str]) -> Any:
        """Send a write; conflicts that pass by themselves are waited out."""
        end, wait = time.monotonic() + self._patience, 0.5
        while True:
            answer = self._send(method, address, body, headers, raises=False)
            if answer.status_code < 400 or answer.status_code == 404:
                return answer
            refused = _refused(answer, method, address.partition("?")[0].removeprefix(self.url))
            passing = answer.status_code in {409, 429, 503, 400} and refused.code in PASSING
            if not passing or time.monotonic() > end:
                raise refused
            self._sleep(_retry_after(answer, wait))
            wait = min(wait * 1.5, 10.0)

    def _send(
        self,
        method: str,
        address: str,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        raises: bool = True,
    ) -> Any:
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        from azbatch.azure.faults import unreachable

        self.requests[method] += 1
        request = HttpRequest(method, address, headers=dict(headers or {}), json=body if body is not None else None)
        try:
            answer = self._connected().send_request(request)
            answer.read()
        except AzureError as error:
            raise unreachable(self.url, error) from None
        if raises and answer.status_code >= 400 and answer.status_code != 404:
            raise _refused(answer, method, address.partition("?")[0].removeprefix(self.url))
        if answer.status_code == 404 and _code(answer) in {"SubscriptionNotFound", "InvalidSubscriptionId"}:
            raise _refused(answer, method, address.partition("?")[0].removeprefix(self.url))
        return answer


def _audience(url: str) -> str:
    """What tokens are asked for: the endpoint itself in the clouds, the public one's name for an emulator."""
    return url if url.startswith("https://management.") else PUBLIC


def _json(answer: Any) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        found = json.loads(answer.content)
    except ValueError:
        raise AzbatchError(
            "Azure Resource Manager answered something that is not JSON; is a proxy in between?"
        ) from None
    return found if isinstance(found, dict) else {"value": found}


def _code(answer: Any) -> str:
    try:
        return str((_json(answer).get("error") or {}).get("code", ""))
    except AzbatchError:
        return ""


def _retry_after(answer: Any, otherwise: float) -> float:
    text = str(answer.headers.get("Retry-After", ""))
    return float(text) if text.isdigit() else otherwise


def _refused(answer: Any, method: str, id: str) -> ServiceError:
    error = _json(answer).get("error") or {}
    code, message = str(error.get("code") or answer.status_code), str(error.get("message") or answer.reason)
    verb = {"GET": "read", "PUT": "made or changed", "PATCH": "changed", "DELETE": "removed"}.get(method, "asked")
    return ServiceError(f"{_short(id)} could not be {verb}: {message} ({code})", code=code, status=answer.status_code)


def _short(id: str) -> str:
    """An id as people say it: the last type and name."""
    parts = id.strip("/").split("/")
    return f"{parts[-2]} '{parts[-1]}'" if len(parts) >= 2 else id
