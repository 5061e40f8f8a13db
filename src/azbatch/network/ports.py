"""What network openings need of the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from azbatch.network.model import Json


class SecurityGroupPort(Protocol):
    """One network security group; implemented by `azbatch.azure.network`. All raise ServiceError."""

    @property
    def name(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def networks(self) -> Sequence[str]:
        """CIDRs of the virtual network behind the group."""
        ...

    @property
    def nodes(self) -> Sequence[str]:
        """CIDRs of the subnets that the group is attached to."""
        ...

    def rules(self) -> list[Json]:
        """All rules, the default ones included, as the service answers them."""
        ...

    def put_rule(self, name: str, properties: Json) -> None:
        """Write one rule; `SecurityRuleConflict` where another got its priority meanwhile."""
        ...

    def delete_rule(self, name: str) -> None:
        """Remove one rule; one that is not there is fine."""
        ...

    def tags(self) -> Mapping[str, str]: ...

    def merge_tags(self, tags: Mapping[str, str]) -> None:
        """Write these tags and leave the others."""
        ...
