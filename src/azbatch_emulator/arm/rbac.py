"""Who may do what: role assignments in force, and the wildcards of actions. Pure.

Source: "Understand Azure role definitions": an action is allowed if one assignment whose scope contains the resource
has a role that allows it and does not except it; exceptions of one role do not bind another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from azbatch_emulator.arm.kinds import Resources
from azbatch_emulator.arm.records import Resource
from azbatch_emulator.arm.roles import BUILT_IN, Permissions

ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
DEFINITION = "Microsoft.Authorization/roleDefinitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role assignment: who, which role (its GUID), where, and from when to when it is in force."""

    principal: str
    role: str
    scope: str
    since: datetime
    until: datetime | None = None


@lru_cache(maxsize=4096)
def _pattern(wildcard: str) -> re.Pattern[str]:
    # `a/*/b` covers `a/b` too: so Azure's own roles are written (userAssignedIdentities/*/assign/action).
    parts = [re.escape(part) for part in wildcard.lower().replace("/*/", "/\0").split("*")]
    return re.compile(".*".join(parts).replace(re.escape("\0"), "(?:.*/)?"))


def covers(wildcards: Iterable[str], action: str) -> bool:
    """Whether one of them (`*` stands for anything, slashes included; case does not matter) matches the action."""
    return any(_pattern(wildcard).fullmatch(action.lower()) for wildcard in wildcards)


def allows(permissions: Permissions, action: str, *, data: bool = False) -> bool:
    """Whether a role's permissions contain an action, of the data plane if `data`."""
    if data:
        return covers(permissions.data_actions, action) and not covers(permissions.not_data_actions, action)
    return covers(permissions.actions, action) and not covers(permissions.not_actions, action)


def role_permissions(guid: str, resources: Resources) -> tuple[Permissions, ...]:
    """Of a built-in or custom role; none for one that is unknown."""
    found = BUILT_IN.get(guid.lower())
    if found is not None:
        return (found[1],)
    for role in resources.of_type(DEFINITION):
        if role.id.name.lower() == guid.lower():
            return tuple(
                Permissions(
                    actions=tuple(one.get("actions") or ()),
                    not_actions=tuple(one.get("notActions") or ()),
                    data_actions=tuple(one.get("dataActions") or ()),
                    not_data_actions=tuple(one.get("notDataActions") or ()),
                )
                for one in role.properties.get("permissions") or ()
            )
    return ()


def grant(assignment: Resource, propagation: timedelta) -> Grant:
    """What a role assignment gives, in force `propagation` after it was made."""
    return Grant(
        principal=str(assignment.properties.get("principalId", "")).lower(),
        role=str(assignment.properties.get("roleDefinitionId", "")).rsplit("/", 1)[-1].lower(),
        scope=assignment.id.scope,
        since=assignment.created + propagation,
    )


def grants(resources: Resources, propagation: timedelta) -> Iterator[Grant]:
    """What all role assignments give."""
    for found in resources.of_type(ASSIGNMENT):
        yield grant(found, propagation)


def contains(scope: str, inner: str) -> bool:
    """Whether a scope is an id or contains it."""
    outer, text = scope.lower().rstrip("/"), inner.lower().rstrip("/")
    return text == outer or text.startswith(f"{outer}/")


def effective(
    principal: str, scope: str, given: Iterable[Grant], resources: Resources, now: datetime
) -> tuple[Permissions, ...]:
    """The permissions someone has at a scope now, a role each."""
    found: list[Permissions] = []
    for grant in given:
        in_force = grant.since <= now and (grant.until is None or now < grant.until)
        if grant.principal == principal.lower() and in_force and contains(grant.scope, scope):
            found += role_permissions(grant.role, resources)
    return tuple(found)


def permitted(permissions: Iterable[Permissions], action: str, *, data: bool = False) -> bool:
    """Whether one role allows the action."""
    return any(allows(one, action, data=data) for one in permissions)
