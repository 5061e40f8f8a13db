"""Whether a policy of the organisation would deny a resource: Azure Policy's conditions on our own bodies. Pure.

Source: "Azure Policy definition structure". A condition that is not understood is taken not to hold: a preflight warns,
the service decides.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PARAMETER = re.compile(r"^\[parameters\('([^']+)'\)\]$")


def denies(assignment: Mapping[str, Any], id: str, kind: str, body: Mapping[str, Any]) -> bool:
    """`assignment` has its definition expanded under "definition"."""
    properties = assignment.get("properties") or {}
    definition = (assignment.get("definition") or {}).get("properties") or {}
    if properties.get("enforcementMode") == "DoNotEnforce":
        return False
    if any(f"{id.lower()}/".startswith(f"{str(one).lower()}/") for one in properties.get("notScopes") or ()):
        return False
    given = properties.get("parameters") or {}
    values = {
        name: (given.get(name) or {}).get("value", facts.get("defaultValue"))
        for name, facts in (definition.get("parameters") or {}).items()
    }
    rule = definition.get("policyRule") or {}
    effect = str(_filled((rule.get("then") or {}).get("effect"), values)).lower()
    return effect == "deny" and _holds(rule.get("if") or {}, id, kind, body, values)


def _filled(value: Any, parameters: Mapping[str, Any]) -> Any:
    found = _PARAMETER.match(value) if isinstance(value, str) else None
    return parameters.get(found[1]) if found else value


def _holds(
    condition: Mapping[str, Any], id: str, kind: str, body: Mapping[str, Any], values: Mapping[str, Any]
) -> bool:
    rest = {name.lower(): value for name, value in condition.items()}
    if "allof" in rest:
        return all(_holds(one, id, kind, body, values) for one in rest["allof"])
    if "anyof" in rest:
        return any(_holds(one, id, kind, body, values) for one in rest["anyof"])
    if "not" in rest:
        return not _holds(rest["not"], id, kind, body, values)
    field = str(_filled(rest.pop("field", ""), values))
    operator, wanted = next(iter(rest.items()), ("", None))
    found = list(_values(field, id, kind, body))
    wanted = _filled(wanted, values)
    if "[*]" in field and found:
        return all(_compare(operator, one, wanted) for one in found)
    return _compare(operator, found[0] if found else None, wanted)


def _values(field: str, id: str, kind: str, body: Mapping[str, Any]) -> Iterator[Any]:
    lower = field.lower()
    if lower == "type":
        yield kind
    elif lower in {"name", "id"}:
        yield id.rsplit("/", 1)[1] if lower == "name" else id
    elif lower in {"location", "kind"}:
        yield body.get(lower)
    elif lower.startswith("tags"):
        name = field[4:].strip(".[]'")
        yield next((value for key, value in (body.get("tags") or {}).items() if key.lower() == name.lower()), None)
    elif lower.startswith(f"{kind.lower()}/"):
        yield from _walk(body.get("properties") or {}, lower[len(kind) + 1 :].replace("[*]", ".[*]").split("."))


def _walk(found: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield found
    elif path[0] == "[*]":
        for one in found if isinstance(found, list | tuple) else ():
            yield from _walk(one, path[1:])
    elif isinstance(found, Mapping):
        for name, value in found.items():
            if name.lower() == path[0]:
                yield from _walk(value, path[1:])


def _compare(operator: str, found: Any, wanted: Any) -> bool:
    have, want = str(found).lower(), str(wanted).lower()
    many = {str(one).lower() for one in wanted} if isinstance(wanted, list | tuple) else set()
    table = {
        "exists": (found is not None) == (want == "true"),
        "equals": found is not None and have == want,
        "notequals": found is None or have != want,
        "in": have in many,
        "notin": have not in many,
        "like": found is not None and fnmatch.fnmatchcase(have, want),
        "notlike": found is None or not fnmatch.fnmatchcase(have, want),
        "contains": found is not None and want in have,
        "notcontains": found is None or want not in have,
    }
    return table.get(operator, False)
