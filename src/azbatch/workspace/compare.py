"""What is found against what is wanted: differences, foreign additions, and the body that mends it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from azbatch.workspace.model import Body, Difference

_OPEN = frozenset({"addressPrefixes"})  # lists of values to which others may add
_GUESTS = ("natGateway", "routeTable", "delegations")  # what others hang on a subnet of ours
_IGNORED = frozenset({"etag", "provisioningState", "id", "name", "type", "systemData"})


def resolved(value: Any, found: Mapping[str, Body | None], *, keep: bool = False) -> Any:
    """The value with references replaced by what the resources they name have.

    What is not known yet is None, or with `keep` the reference itself.
    """
    if isinstance(value, Mapping):
        if "$reference" in value:
            held: Any = found.get(str(value["$reference"]).lower())
            for step in str(value["$path"]).split("."):
                held = held.get(step) if isinstance(held, Mapping) else None
            return value if held is None and keep else held
        return {name: resolved(inner, found, keep=keep) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(inner, found, keep=keep) for inner in value]
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
    elif not (_is_open(path, found) and _holds_all(wanted, found)) and not _same(wanted, found):
        yield Difference(path=path, found=found, wanted=wanted)


def _is_open(path: str, found: Any) -> bool:
    return path.rpartition(".")[2] in _OPEN and isinstance(found, list | tuple)


def _holds_all(wanted: Any, found: Any) -> bool:
    return all(any(_same(one, other) for other in found) for one in wanted)


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


def merged(wanted: Any, found: Any, name: str = "") -> Any:
    """`found` with `wanted` written into it: what others added stays. `name` is the member's."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {**found, **{name: merged(inner, found.get(name), name) for name, inner in wanted.items()}}
    if _is_open(name, found):
        return [*wanted, *(one for one in found if not _holds_all([one], wanted))]
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


def foreign(wanted: Body, found: Body, ours: Collection[str] = ()) -> Iterator[str]:
    """Named elements that others put into lists of ours (rules, subnets), and what they hung on our subnets.

    `ours` are lower-case ids of what we hang there ourselves.
    """
    for name, inner in (wanted.get("properties") or {}).items():
        held = (found.get("properties") or {}).get(name)
        if isinstance(inner, list | tuple) and isinstance(held, list | tuple):
            for one in held:
                label = one.get("name") if isinstance(one, Mapping) else None
                mine = any(isinstance(mine, Mapping) and _same(mine.get("name"), label) for mine in inner)
                if label and not mine:
                    yield f"{name}/{label}"
                elif label and name == "subnets":
                    yield from (f"{name}/{label}/{guest}" for guest in _guests(one.get("properties") or {}, ours))


def _guests(subnet: Mapping[str, Any], ours: Collection[str]) -> Iterator[str]:
    for member in _GUESTS:
        held = subnet.get(member)
        id = str(held.get("id", "")) if isinstance(held, Mapping) else ""
        if held and id.lower() not in ours:
            yield f"{member} {id.rsplit('/', 1)[-1]}".strip()


def cleaned(body: Any) -> Any:
    """A found body fit to be sent back: without what only the service says."""
    if not isinstance(body, Mapping):
        return body
    kept = {name: value for name, value in body.items() if name not in _IGNORED}
    if isinstance(kept.get("properties"), Mapping):
        kept["properties"] = {name: value for name, value in kept["properties"].items() if name != "provisioningState"}
    return kept
