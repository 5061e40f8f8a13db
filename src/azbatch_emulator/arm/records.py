"""The nouns of the emulated ARM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azbatch_emulator.arm.ids import ResourceId


class ArmRefused(Exception):
    """A request refused, as ARM words it: `{"error": {"code", "message", "details"}}` with an HTTP status."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: tuple[Mapping[str, Any], ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = details, dict(headers or {})


class ProvisioningState(StrEnum):
    """Of a resource, as its `properties.provisioningState` says."""

    CREATING = "Creating"
    UPDATING = "Updating"
    DELETING = "Deleting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Style(StrEnum):
    """How a provider answers a change that takes time."""

    SYNC = "sync"
    ASYNC_OPERATION = "azure-asyncoperation"  # 201 (create), 200 (update), 202 (delete) + Azure-AsyncOperation
    LOCATION = "location"  # 202 + Location and Retry-After until 200 or 204


class PrincipalKind(StrEnum):
    """As role assignments call it (`principalType`)."""

    USER = "User"
    SERVICE_PRINCIPAL = "ServicePrincipal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Someone with an object id: a user, an application, or the identity of a machine.

    `name` is what people call it; `client_id` names an application or managed identity; `resource` is the id of the
    managed identity or machine it belongs to.
    """

    object_id: str
    name: str
    kind: PrincipalKind
    client_id: str | None = None
    resource: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One stored resource; replaced, never mutated.

    `body` has the members of the JSON besides id, name, type and etag: location, tags, sku, kind, identity, zones,
    and `properties` without provisioningState.
    """

    id: ResourceId
    body: Mapping[str, Any]
    state: ProvisioningState = ProvisioningState.SUCCEEDED
    etag: str
    created: datetime
    changed: datetime

    @property
    def properties(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.body.get("properties") or {}
        return found

    @property
    def location(self) -> str:
        return str(self.body.get("location", ""))

    @property
    def tags(self) -> Mapping[str, str]:
        return self.body.get("tags") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came in.

    `path` has no query and no trailing slash; names in `query` and `headers` are lower-case; `base` is scheme and host.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None
    headers: Mapping[str, str]
    caller: Principal
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes out; no body where it is None."""

    status: int
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
