"""Who there is: people, applications, machines. A machine's metadata service and the sign-in endpoints ask here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A principal that tokens are made out to. `client_id` is what its application or managed identity is called by."""

    object_id: str
    client_id: str
    name: str
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Identity({self.name})"


class Directory(Protocol):
    """Looks identities up."""

    def identity_of(self, who: str, selector: Mapping[str, str]) -> Identity | None:
        """Of a person, application or machine by name. On a machine `selector` may name one of its identities by
        client_id, object_id (or principal_id) or msi_res_id (or mi_res_id).
        """
        ...

    def instance(self, who: str) -> Mapping[str, Any] | None:
        """What the metadata service tells a machine about itself (`compute`); None where there is no such machine."""
        ...

    def application(self, client_id: str) -> Identity | None:
        """An application with a secret."""
        ...
