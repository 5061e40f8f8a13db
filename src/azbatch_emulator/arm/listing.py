"""Lists that are no plain collections: roles with the built-in ones, assignments above and below a scope. Pure."""

from __future__ import annotations

import re
from typing import Any

from azbatch_emulator.arm import policy, rbac
from azbatch_emulator.arm.ids import ResourceId
from azbatch_emulator.arm.kinds import Resources
from azbatch_emulator.arm.providers.authorization import built_in, custom, permission_body, role_body
from azbatch_emulator.arm.records import ArmRefused, Resource
from azbatch_emulator.arm.roles import BUILT_IN

__all__ = ["built_in_role", "permission_body", "special"]
_EQUALS = re.compile(r"^(\w+)\s+eq\s+'([^']*)'$")
_ASSIGNED = re.compile(r"^assignedTo\('([^']*)'\)$", re.IGNORECASE)


def special(kind: str, scope: str, condition: str, resources: Resources) -> list[dict[str, Any] | Resource] | None:
    """The list of roles, role assignments or policy assignments at a scope; None for other types. Raises ArmRefused."""
    lower = kind.lower()
    clauses = [part.strip() for part in condition.split(" and ") if part.strip()]
    if lower == rbac.DEFINITION.lower():
        wanted = _wanted(clauses, condition, {"rolename", "type"})
        name, only = wanted.get("rolename"), wanted.get("type", "").lower()
        found: list[dict[str, Any] | Resource] = []
        if only != "customrole":
            found += built_in(scope, name)
        if only != "builtinrole":
            found += custom(scope, name, resources)
        return found
    if lower == rbac.ASSIGNMENT.lower():
        wanted = _wanted(clauses, condition, {"principalid"})
        exact = any(part.lower() == "atscope()" for part in clauses)
        return [
            one
            for one in resources.of_type(rbac.ASSIGNMENT)
            if (rbac.contains(one.id.scope, scope) or (not exact and one.id.lies_in(scope)))
            and wanted.get("principalid", one.properties["principalId"]).lower()
            == str(one.properties["principalId"]).lower()
        ]
    if lower == policy.ASSIGNMENT.lower():
        exact = any(part.lower() in {"atscope()", "atexactscope()"} for part in clauses)
        return [
            one
            for one in resources.of_type(policy.ASSIGNMENT)
            if rbac.contains(one.id.scope, scope) or (not exact and one.id.lies_in(scope))
        ]
    return None


def _wanted(clauses: list[str], condition: str, names: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for clause in clauses:
        equals, assigned = _EQUALS.match(clause), _ASSIGNED.match(clause)
        if equals and equals[1].lower() in names:
            found[equals[1].lower()] = equals[2]
        elif assigned and "principalid" in names:
            found["principalid"] = assigned[1]
        elif clause.lower() not in {"atscope()", "atexactscope()", "atscopeandbelow()"}:
            raise ArmRefused(400, "UnsupportedQuery", f"The filter '{condition[:200]}' is not supported.")
    return found


def built_in_role(id: ResourceId) -> dict[str, Any] | None:
    """A built-in role by its address, at whatever scope."""
    found = BUILT_IN.get(id.name.lower()) if id.type.lower() == rbac.DEFINITION.lower() else None
    return None if found is None else role_body(id.name.lower(), *found, id.scope)
