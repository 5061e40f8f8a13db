"""What the head node's identity may do where nodes are made, and what it must not. Pure but for the reader.

Source: "Permissions - List For Resource", api-version 2022-04-01: what the caller's roles allow at a resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azbatch.headnode.discover import Reader, Workspace

Body = Mapping[str, Any]
API_VERSION = "2022-04-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """An action on a resource; `may` is how it should be."""

    words: str
    id: str
    action: str
    may: bool = True


def needed(place: Workspace) -> list[Right]:
    """For all of the workspace that is known."""
    rights = (
        Right(words="make pools", id=place.account_id, action="Microsoft.Batch/batchAccounts/pools/write"),
        Right(
            words="put nodes into the subnet",
            id=place.subnet_id,
            action="Microsoft.Network/virtualNetworks/subnets/join/action",
        ),
        Right(
            words="give nodes their identity",
            id=place.node_identity_id,
            action="Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        ),
        Right(
            words="open the network",
            id=place.security_group_id,
            action="Microsoft.Network/networkSecurityGroups/securityRules/write",
            may=False,
        ),
    )
    return [right for right in rights if right.id]


def allows(permissions: Iterable[Body], action: str) -> bool:
    """Whether some role allows the action, by its wildcards, and does not take it away again itself."""
    return any(
        _matches(one.get("actions") or (), action) and not _matches(one.get("notActions") or (), action)
        for one in permissions
    )


def _matches(wildcards: Sequence[str], action: str) -> bool:
    return any(re.fullmatch(_pattern(text.lower()), action.lower()) for text in wildcards)


def _pattern(wildcard: str) -> str:
    # `a/*/b` covers `a/b` too: so Azure's own roles are written (userAssignedIdentities/*/assign/action).
    return re.escape(wildcard).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*")


def look(arm: Reader, place: Workspace) -> tuple[list[str], list[str]]:
    """(what is missing, what is too much), in words. Raises ServiceError."""
    missing, excess = [], []
    for right in needed(place):
        held = list(arm.list(f"{right.id}/providers/Microsoft.Authorization/permissions", API_VERSION))
        if right.may and not allows(held, right.action):
            missing.append(right.words)
        if not right.may and allows(held, right.action):
            excess.append(right.words)
    return missing, excess
