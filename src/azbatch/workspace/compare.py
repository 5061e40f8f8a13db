"""What is found against what is wanted: differences, foreign additions, and the body that mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azbatch.workspace.model import Body, Difference

_IGNORED = frozenset({"etag", "provisioningState", "id", "name", "type", "systemData"})


def resolved(value: Any, found: Mapping[str, Body | None]) -> Any:
    """The value with references replaced by what the resources they name have; None for what is not known yet."""
    if isinstance(value, Mapping):
        if "$reference" in value:
            held: Any = found.get(str(value["$reference"]).lower())
            for step in str(value["$path"]).split("."):
                held = held.get(step) if isinstance(held, Mapping) else None
            return held
        return {name: resolved(inner, found) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(inner, found) for inner in value]
    return value


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[Difference]:
    """Where `found` does not contain `wanted`. Elements of a list belong together by name or id."""
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            yield Difference(path=path, found=found, wanted=wanted)
            return
        for name, inner in wanted.items():
            yield from differences(inner, found.get(name), f"{path}.{name}" if path else name)
    elif _of_objects(wanted, found):
        for one in wanted:
            partner = _partner(one, found or ())
            label = f"{path}[{one.get('name') or one.get('id') or one.get('service') or ''}]"
            if partner is None:
                yield Difference(path=label, found=None, wanted=one)
            else:
                yield from differences(one, partner, label)
    elif not _same(wanted, found):
        yield Difference(path=path, found=found, wanted=wanted)


def _of_objects(wanted: Any, found: Any) -> bool:
    """Whether these are lists of objects, which may hold others' besides ours; lists of values are whole."""
    if not isinstance(wanted, list | tuple):
        return False
    held = wanted or (found if isinstance(found, list | tuple) else ())
    return bool(held) and all(isinstance(one, Mapping) for one in held)


def _partner(one: Mapping[str, Any], others: Any) -> Mapping[str, Any] | None:
    for key in ("name", "id", "service"):
        if key in one:
            return next((other for other in others if _same(other.get(key), one[key])), None)
    return next((other for other in others if not list(differences(one, other))), None)


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted.lower().replace(" ", "") == found.lower().replace(" ", "")
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        return sorted(map(str, wanted)) == sorted(map(str, found))
    return bool(wanted == found)


def merged(wanted: Any, found: Any) -> Any:
    """`found` with `wanted` written into it: what others added stays."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {**found, **{name: merged(inner, found.get(name)) for name, inner in wanted.items()}}
    if _of_objects(wanted, found) and isinstance(found, list | tuple):
        partners = [(_partner(one, found), one) for one in wanted]
        held = [partner for partner, _ in partners if partner is not None]
        return [
            *(one for one in found if one not in held),
            *(merged(one, partner) if partner else one for partner, one in partners),
        ]
    return wanted


def without(part: Any, found: Any) -> Any:
    """`found` with the list elements of `part` taken out, all else as it is."""
    if isinstance(part, Mapping) and isinstance(found, Mapping):
        return {name: without(part[name], inner) if name in part else inner for name, inner in found.items()}
    if isinstance(part, list | tuple) and isinstance(found, list | tuple):
        gone = [_partner(one, found) for one in part if isinstance(one, Mapping)]
        return [one for one in found if one not in gone]
    return found


def foreign(wanted: Body, found: Body) -> Iterator[str]:
    """Named elements that others put into lists of ours: rules, subnets."""
    for name, inner in (wanted.get("properties") or {}).items():
        held = (found.get("properties") or {}).get(name)
        if isinstance(inner, list | tuple) and isinstance(held, list | tuple):
            for one in held:
                label = one.get("name") if isinstance(one, Mapping) else None
                if label and not any(isinstance(mine, Mapping) and _same(mine.get("name"), label) for mine in inner):
                    yield f"{name}/{label}"


def cleaned(body: Any) -> Any:
    """A found body fit to be sent back: without what only the service says."""
    if not isinstance(body, Mapping):
        return body
    kept = {name: value for name, value in body.items() if name not in _IGNORED}
    if isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {name: value for name, value in kept["properties"].items() if name != "provisioningState"}
    return kept
