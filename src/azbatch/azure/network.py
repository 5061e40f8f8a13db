"""A network security group through Azure Resource Manager: implements azbatch.network.ports.SecurityGroupPort.

Source: Network Security Groups and Security Rules, api-version 2024-05-01.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from azbatch.errors import AzbatchError, ServiceError
from azbatch.network.way_out import has_way_out

API_VERSION = "2024-05-01"
Body = Mapping[str, Any]
Json = dict[str, Any]


class Arm(Protocol):
    """What is needed of azbatch.azure.arm; writes return when the operation has ended. All raise ServiceError."""

    def get(self, id: str, api_version: str) -> Body | None: ...

    def put(self, id: str, api_version: str, body: Body) -> Body: ...

    def patch(self, id: str, api_version: str, body: Body) -> Body: ...

    def delete(self, id: str, api_version: str) -> bool: ...


class SecurityGroup:
    """The group of resource id `id`. Raises AzbatchError on first use where it does not exist."""

    def __init__(self, arm: Arm, id: str) -> None:
        self._arm = arm
        self.id = id
        self._networks: tuple[list[str], list[str], list[str]] | None = None
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
        return self._places()[0]

    @property
    def nodes(self) -> Sequence[str]:
        return self._places()[1]

    @property
    def closed_subnets(self) -> Sequence[str]:
        """Resource ids of the subnets that have no way to the internet, whatever the rules say."""
        return self._places()[2]

    def _body(self) -> Body:
        body = self._arm.get(self.id, API_VERSION)
        if body is None:
            raise AzbatchError(
                f"There is no security group {self.name}: ask the owner to run `azbatch workspace enable` again."
            )
        return body

    def _places(self) -> tuple[list[str], list[str], list[str]]:
        """CIDRs of the networks, and of the subnets, that the group guards; those of the subnets without a way out."""
        if self._networks is None:
            networks: dict[str, None] = {}
            nodes: list[str] = []
            closed: list[str] = []
            for entry in (self._body().get("properties") or {}).get("subnets") or ():
                subnet = (self._arm.get(str(entry["id"]), API_VERSION) or {}).get("properties") or {}
                nodes += _prefixes(subnet)
                closed += [] if has_way_out(subnet) else [str(entry["id"])]
                network = self._arm.get(str(entry["id"]).rpartition("/subnets/")[0], API_VERSION) or {}
                space = ((network.get("properties") or {}).get("addressSpace") or {}).get("addressPrefixes") or ()
                networks.update(dict.fromkeys(str(prefix) for prefix in space))
            self._networks = (list(networks), nodes, closed)
        return self._networks

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
