"""A network security group through Azure Resource Manager: implements azbatch.network.ports.SecurityGroupPort.

Source: Network Security Groups and Security Rules, api-version 2024-05-01.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from azbatch.errors import AzbatchError, ServiceError
from azbatch.network.way_out import has_way_out

API_VERSION = "2024-05-01"
TAG = "azbatch-workspace"  # on every resource that `azbatch workspace` made
Body = Mapping[str, Any]
Json = dict[str, Any]


class Arm(Protocol):
    """What is needed of azbatch.azure.arm; writes return when the operation has ended. All raise ServiceError."""

    def get(self, id: str, api_version: str) -> Body | None: ...

    def put(self, id: str, api_version: str, body: Body) -> Body: ...

    def patch(self, id: str, api_version: str, body: Body) -> Body: ...

    def delete(self, id: str, api_version: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What a group guards: CIDRs of the networks and of the subnets, ids of the subnets without a way out, and the
    public addresses by which the others leave."""

    networks: Sequence[str]
    nodes: Sequence[str]
    closed: Sequence[str]
    public: Sequence[str]


class SecurityGroup:
    """The group of resource id `id`. Raises AzbatchError on first use where it does not exist."""

    def __init__(self, arm: Arm, id: str) -> None:
        self._arm = arm
        self.id = id
        self._networks: Places | None = None
        self._region: str | None = None

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    @property
    def region(self) -> str:
        if self._region is None:
            self._region = str(self._body().get("location", ""))
        return self._region

    @property
    def networks(self) -> Sequence[str]:
        return self._places().networks

    @property
    def nodes(self) -> Sequence[str]:
        return self._places().nodes

    @property
    def closed_subnets(self) -> Sequence[str]:
        """Resource ids of the subnets that have no way to the internet, whatever the rules say."""
        return self._places().closed

    @property
    def public_addresses(self) -> Sequence[str]:
        """The addresses of the subnets' NAT gateways, as far as they may be read."""
        return self._places().public

    @property
    def workspace(self) -> str | None:
        """The workspace whose Batch network azbatch guards with this group; None for a group of others."""
        return self.tags().get(TAG)

    def _body(self) -> Body:
        body = self._arm.get(self.id, API_VERSION)
        if body is None:
            raise AzbatchError(
                f"There is no security group {self.name}: ask the owner to run `azbatch workspace enable` again."
            )
        return body

    def _places(self) -> Places:
        if self._networks is None:
            networks: dict[str, None] = {}
            nodes: list[str] = []
            closed: list[str] = []
            public: dict[str, None] = {}
            for entry in (self._body().get("properties") or {}).get("subnets") or ():
                subnet = (self._arm.get(str(entry["id"]), API_VERSION) or {}).get("properties") or {}
                nodes += _prefixes(subnet)
                gateway = self._readable(str((subnet.get("natGateway") or {}).get("id", "")))
                closed += [] if has_way_out(subnet, gateway) else [str(entry["id"])]
                public.update(dict.fromkeys(self._addresses(gateway)))
                network = self._arm.get(str(entry["id"]).rpartition("/subnets/")[0], API_VERSION) or {}
                space = ((network.get("properties") or {}).get("addressSpace") or {}).get("addressPrefixes") or ()
                networks.update(dict.fromkeys(str(prefix) for prefix in space))
            self._networks = Places(networks=list(networks), nodes=nodes, closed=closed, public=list(public))
        return self._networks

    def _addresses(self, gateway: Body | None) -> Iterator[str]:
        for one in ((gateway or {}).get("properties") or {}).get("publicIpAddresses") or ():
            found = (self._readable(str(one.get("id", ""))) or {}).get("properties") or {}
            if found.get("ipAddress"):
                yield str(found["ipAddress"])

    def _readable(self, id: str) -> Body | None:
        """A resource, None where there is none or it may not be read: a person may have rights on the group only."""
        try:
            return self._arm.get(id, API_VERSION) if id else None
        except ServiceError as error:
            if error.status != 403:
                raise
            return None

    def rules(self) -> list[Json]:
        properties = self._body().get("properties") or {}
        found = (*(properties.get("securityRules") or ()), *(properties.get("defaultSecurityRules") or ()))
        return [dict(rule) for rule in found]

    def put_rule(self, name: str, properties: Json) -> None:
        with self._rights():
            self._arm.put(f"{self.id}/securityRules/{name}", API_VERSION, {"properties": properties})

    def delete_rule(self, name: str) -> None:
        with self._rights():
            self._arm.delete(f"{self.id}/securityRules/{name}", API_VERSION)

    def tags(self) -> Mapping[str, str]:
        return {str(name): str(value) for name, value in (self._body().get("tags") or {}).items()}

    def merge_tags(self, tags: Mapping[str, str]) -> None:
        """The group's own update replaces all tags, so the others are sent too; Network Contributor suffices for it."""
        with self._rights():
            self._arm.patch(self.id, API_VERSION, {"tags": {**self.tags(), **tags}})

    @contextmanager
    def _rights(self) -> Iterator[None]:
        try:
            yield
        except ServiceError as error:
            if error.code not in {"AuthorizationFailed", "LinkedAuthorizationFailed"}:
                raise
            raise ServiceError(
                f"Whoever signed in may not change {self.name} ({error.code}): ask the workspace's owner for the role "
                "Network Contributor on it, or use another account after `azbatch network sign-out`.",
                code=error.code,
                status=error.status,
            ) from error


def _prefixes(subnet: Body) -> list[str]:
    single = subnet.get("addressPrefix")
    return [*([str(single)] if single else []), *(str(prefix) for prefix in subnet.get("addressPrefixes") or ())]


def resolve(host: str) -> list[str]:
    """The IPv4 addresses of a host name, by this machine's resolver; none where it does not resolve."""
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return []
    return sorted({str(entry[4][0]) for entry in found})
