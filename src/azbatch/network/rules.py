"""Openings as security rules and back; only rules that we wrote are ever ours. Pure.

An opening is kept whole in its rule, for security rules have no tags:
name `azbatch-open-TARGET-PROTOCOL-PORTS-HASH`, description `TARGET|OWNER|MADE|EXPIRES|REASON` (times UTC, minutes).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from azbatch.errors import AzbatchError
from azbatch.network.model import Json, Opening, Transport

PREFIX = "azbatch-open-"
MOST_NAME, MOST_DESCRIPTION = 80, 140
MOST_OWNER = 30
FIRST, LAST = 1000, 1499  # 500 priorities of one direction, for openings only
_TIME = "%Y%m%dT%H%MZ"
_NEVER = "-"


def name_of(target: str, transport: Transport, ports: str) -> str:
    """The rule's name: the same opening has the same name, another one never."""
    kind = "any" if transport is Transport.ANY else transport.lower()
    which = "all" if ports == "*" else ports
    digest = hashlib.sha256(f"{target.lower()}|{kind}|{which}".encode()).hexdigest()[:8]
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", target)[: MOST_NAME - len(PREFIX) - len(kind) - len(which) - 11]
    return f"{PREFIX}{slug}-{kind}-{which}-{digest}"


def _clean(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def encode(opening: Opening, priority: int) -> Json:
    """The `properties` of the rule. A reason or owner too long for the description is cut, with an ellipsis."""
    expires = opening.expires.astimezone(UTC).strftime(_TIME) if opening.expires else _NEVER
    owner = _cut(_clean(opening.owner), MOST_OWNER)
    head = f"{opening.target}|{owner}|{opening.made.astimezone(UTC).strftime(_TIME)}|{expires}|"
    single = len(opening.destinations) == 1
    return {
        "description": head + _cut(_clean(opening.reason), MOST_DESCRIPTION - len(head)),
        "protocol": str(opening.transport),
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        **(
            {"destinationAddressPrefix": opening.destinations[0]}
            if single
            else {"destinationAddressPrefixes": list(opening.destinations)}
        ),
        "destinationPortRange": opening.ports,
        "access": "Allow",
        "direction": "Outbound",
        "priority": priority,
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def decode(rule: Json) -> Opening | None:
    """The opening a rule (as the service answers it) stands for; None for a rule that is not ours."""
    properties = rule.get("properties") or {}
    fields = str(properties.get("description") or "").split("|", 4)
    ours = (
        str(rule.get("name", "")).startswith(PREFIX)
        and str(properties.get("access")).lower() == "allow"
        and str(properties.get("direction")).lower() == "outbound"
        and FIRST <= int(properties.get("priority") or 0) <= LAST
        and len(fields) == 5
    )
    if not ours:
        return None
    try:
        made = datetime.strptime(fields[2], _TIME).replace(tzinfo=UTC)
        expires = None if fields[3] == _NEVER else datetime.strptime(fields[3], _TIME).replace(tzinfo=UTC)
        transport = next(t for t in Transport if t.lower() == str(properties.get("protocol")).lower())
    except (ValueError, StopIteration):
        return None
    opening = Opening(
        target=fields[0],
        destinations=tuple(prefixes(properties, "destination")),
        ports=str(properties.get("destinationPortRange") or "*"),
        transport=transport,
        owner=fields[1],
        reason=fields[4],
        made=made,
        expires=expires,
    )
    # A rule that was renamed or edited by hand into something else is no longer ours.
    return opening if name_of(opening.target, transport, opening.ports) == rule.get("name") else None


def prefixes(properties: Json, side: str) -> list[str]:
    """The address prefixes of a rule's `source` or `destination`, from its single and its plural member."""
    single = properties.get(f"{side}AddressPrefix")
    return [*([single] if single else []), *(properties.get(f"{side}AddressPrefixes") or ())]


def port_ranges(properties: Json) -> list[str]:
    """The destination port ranges of a rule."""
    single = properties.get("destinationPortRange")
    return [*([single] if single else []), *(properties.get("destinationPortRanges") or ())]


def openings(rules: Iterable[Json]) -> dict[str, Opening]:
    """Our openings by rule name, in order of priority."""
    ordered = sorted(rules, key=lambda rule: int(rule["properties"]["priority"]))
    return {str(rule["name"]): found for rule in ordered if (found := decode(rule)) is not None}


def priority_for(rules: Sequence[Json], name: str) -> int:
    """The priority a rule of this name has, else the smallest free one of ours: gaps are used again.

    Raises AzbatchError where all 500 are taken, or where a deny-everything rule before ours would make it idle.
    """
    taken: dict[int, str] = {}
    ceiling = LAST + 1
    for rule in rules:
        properties = rule["properties"]
        if str(properties["direction"]).lower() != "outbound":
            continue
        priority = int(properties["priority"])
        taken[priority] = str(rule["name"])
        if rule["name"] == name and decode(rule) is not None:
            return priority
        if _denies_all(properties):
            ceiling = min(ceiling, priority)
    for priority in range(FIRST, min(LAST + 1, ceiling)):
        if priority not in taken:
            return priority
    if ceiling <= FIRST:
        raise AzbatchError(
            f"Rule '{taken[ceiling]}' (priority {ceiling}) denies everything before openings count (from "
            f"{FIRST} on): ask its owner to move it behind {LAST}."
        )
    raise AzbatchError("All 500 openings are in use: close some with `azbatch network deny`.")


def _denies_all(properties: Json) -> bool:
    return (
        str(properties["access"]).lower() == "deny"
        and properties.get("protocol") == "*"
        and any(prefix in {"*", "0.0.0.0/0"} for prefix in prefixes(properties, "destination"))
        and "*" in port_ranges(properties)
        and any(prefix in {"*", "0.0.0.0/0", "VirtualNetwork"} for prefix in prefixes(properties, "source"))
    )
