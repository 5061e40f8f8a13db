"""Deny policies: the rule language of Azure Policy, as far as conditions on one resource go. Pure.

Source: "Azure Policy definition structure". Effects other than deny (audit, modify, ...) change no answer.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from azbatch_emulator.arm.ids import ResourceId
from azbatch_emulator.arm.kinds import Body, Resources
from azbatch_emulator.arm.records import Resource

DEFINITION = "Microsoft.Authorization/policyDefinitions"
ASSIGNMENT = "Microsoft.Authorization/policyAssignments"
_PARAMETER = re.compile(r"^\[parameters\('([^']+)'\)\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """An assignment that forbids a resource, and the definition behind it."""

    assignment: Resource
    definition: Resource


def denial(id: ResourceId, body: Body, resources: Resources) -> Denial | None:
    """The first policy in force that denies the resource as it would be."""
    for assignment in resources.of_type(ASSIGNMENT):
        if not id.lies_in(assignment.id.scope) or assignment.properties.get("enforcementMode") == "DoNotEnforce":
            continue
        if any(id.lies_in(scope) for scope in assignment.properties.get("notScopes") or ()):
            continue
        definition = resources.get(str(assignment.properties.get("policyDefinitionId", "")))
        if definition is not None and _denies(id, body, assignment, definition):
            return Denial(assignment=assignment, definition=definition)
    return None


def _denies(id: ResourceId, body: Body, assignment: Resource, definition: Resource) -> bool:
    rule = definition.properties.get("policyRule") or {}
    values = {
        name: (assignment.properties.get("parameters") or {}).get(name, {}).get("value", given.get("defaultValue"))
        for name, given in (definition.properties.get("parameters") or {}).items()
    }
    effect = _value((rule.get("then") or {}).get("effect", ""), values)
    return str(effect).lower() == "deny" and holds(rule.get("if") or {}, id, body, values)


def _value(given: Any, parameters: Mapping[str, Any]) -> Any:
    found = _PARAMETER.match(given) if isinstance(given, str) else None
    if found is None:
        return given
    return next((value for name, value in parameters.items() if name.lower() == found[1].lower()), None)


def holds(condition: Mapping[str, Any], id: ResourceId, body: Body, parameters: Mapping[str, Any]) -> bool:
    """Whether a condition is true of the resource. Names ignore case. Raises ValueError for an unknown operator."""
    members = {name.lower(): value for name, value in condition.items()}
    if "allof" in members:
        return all(holds(one, id, body, parameters) for one in members["allof"])
    if "anyof" in members:
        return any(holds(one, id, body, parameters) for one in members["anyof"])
    if "not" in members:
        return not holds(members["not"], id, body, parameters)
    if "field" in members:
        name = str(_value(members.pop("field"), parameters))
        values = list(field_values(name, id, body))
        every = "[*]" in name
    elif "value" in members:
        values, every = [_value(members.pop("value"), parameters)], False
    else:
        raise ValueError(f"a condition without field or value: {condition}")
    operator, wanted = next(iter(members.items()))
    wanted = _value(wanted, parameters)
    if every and values:
        return all(_compare(operator, value, wanted) for value in values)
    return _compare(operator, values[0] if values else None, wanted)


def field_values(name: str, id: ResourceId, body: Body) -> Iterator[Any]:
    """What a field or alias names in a resource: one value, those of an array for `[*]`, nothing where it is absent."""
    lower = name.lower()
    plain = {"name": id.name, "fullname": "/".join(id.names), "type": id.type, "id": id.text}
    if lower in plain:
        yield plain[lower]
        return
    if lower in {"location", "kind"} or lower.startswith("tags") or lower.startswith("identity."):
        yield from _walk(body, lower.replace("tags[", "tags.").strip("]").replace("'", "").split("."))
        return
    if lower.startswith(f"{id.type.lower()}/"):
        path = re.sub(r"\[\*\]", ".[*]", lower[len(id.type) + 1 :]).split(".")
        yield from _walk(body if path[0] in {"sku", "identity"} else body.get("properties") or {}, path)


def _walk(found: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield found
    elif path[0] == "[*]":
        for item in found if isinstance(found, list | tuple) else ():
            yield from _walk(item, path[1:])
    elif isinstance(found, Mapping):
        for name, value in found.items():
            if name.lower() == path[0]:
                yield from _walk(value, path[1:])


def _text(value: Any) -> str:
    return str(value).lower()


def _compare(operator: str, found: Any, wanted: Any) -> bool:
    match operator:
        case "exists":
            return (found is not None) == (_text(wanted) == "true")
        case "equals":
            return found is not None and _text(found) == _text(wanted)
        case "notequals":
            return found is None or _text(found) != _text(wanted)
        case "in":
            return _text(found) in {_text(one) for one in wanted}
        case "notin":
            return _text(found) not in {_text(one) for one in wanted}
        case "like":
            return found is not None and fnmatch.fnmatchcase(_text(found), _text(wanted))
        case "notlike":
            return found is None or not fnmatch.fnmatchcase(_text(found), _text(wanted))
        case "contains":
            return found is not None and _text(wanted) in _text(found)
        case "notcontains":
            return found is None or _text(wanted) not in _text(found)
        case "containskey":
            return isinstance(found, Mapping) and _text(wanted) in {name.lower() for name in found}
        case "notcontainskey":
            return not (isinstance(found, Mapping) and _text(wanted) in {name.lower() for name in found})
        case "less" | "lessorequals" | "greater" | "greaterorequals":
            return found is not None and _order(operator, float(found), float(wanted))
    raise ValueError(f"the policy operator '{operator}' is not known")


def _order(operator: str, found: float, wanted: float) -> bool:
    return {
        "less": found < wanted,
        "lessorequals": found <= wanted,
        "greater": found > wanted,
        "greaterorequals": found >= wanted,
    }[operator]
