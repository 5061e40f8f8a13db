"""Allow, deny, expire and refresh as steps on a security group. Pure: rules, names and time come in, steps go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from azbatch.errors import AzbatchError
from azbatch.network import rules as codec
from azbatch.network.model import Delete, Json, Opening, Put, Step
from azbatch.network.targets import PRESET_TAGS, hosts_of

Resolve = Callable[[str], Sequence[str]]  # host name -> IPv4 addresses, none where it does not resolve


def allow(rules: Sequence[Json], opening: Opening) -> list[Step]:
    """Open it; the same target, protocol and ports again renews reason, owner and expiry in the same rule.

    Raises AzbatchError for a full range, or a foreign rule of the same name.
    """
    name = codec.name_of(opening.target, opening.transport, opening.ports)
    held = next((rule for rule in rules if str(rule["name"]).lower() == name.lower()), None)
    if held is not None and codec.decode(held) is None:
        raise AzbatchError(f"There is a rule '{name}' that was changed by hand: remove it, then allow again.")
    return [Put(name=name, properties=codec.encode(opening, codec.priority_for(rules, name)))]


def deny(rules: Sequence[Json], what: str) -> list[Step]:
    """Close every opening of this target, or the one of this rule name. Raises AzbatchError where there is none."""
    found = codec.openings(rules)
    wanted = {what.lower(), *(tag.lower() for tag in PRESET_TAGS.get(what.lower(), ()))}
    hits = [name for name, opening in found.items() if wanted & {name.lower(), opening.target.lower()}]
    if hits:
        return [Delete(name=name) for name in hits]
    if any(str(rule["name"]).lower() == what.lower() for rule in rules):
        raise AzbatchError(f"Rule '{what}' was not made by `azbatch network allow`, so it is left alone.")
    there = ", ".join(sorted({opening.target for opening in found.values()})) or "none"
    raise AzbatchError(f"There is no opening '{what}'; open now: {there}.")


def expire(rules: Sequence[Json], now: datetime) -> list[Step]:
    """Remove openings whose time is over."""
    return [Delete(name=name) for name, opening in codec.openings(rules).items() if opening.expired(now)]


def refresh(rules: Sequence[Json], resolve: Resolve, now: datetime) -> tuple[list[Step], list[str]]:
    """Bring host names' addresses up to date and remove what expired: steps, and what could not be done.

    A name that does not resolve keeps the addresses it had.
    """
    steps, complaints = expire(rules, now), []
    gone = {step.name for step in steps}
    priorities = {str(rule["name"]): int(rule["properties"]["priority"]) for rule in rules}
    known: dict[str, tuple[str, ...]] = {}
    for name, opening in codec.openings(rules).items():
        hosts = hosts_of(opening.target)
        if name in gone or not hosts:
            continue
        for host in hosts:
            if host not in known:
                known[host] = tuple(resolve(host))
        lost = [host for host in hosts if not known[host]]
        complaints += [f"{host} does not resolve; its addresses stay as they were." for host in lost]
        addresses = addresses_of(known[host] for host in hosts)
        kept = tuple(sorted({*addresses, *opening.destinations})) if lost else addresses
        if set(kept) != set(opening.destinations):
            renewed = replace(opening, destinations=kept)
            steps.append(Put(name=name, properties=codec.encode(renewed, priorities[name])))
    return steps, complaints


def addresses_of(found: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All addresses, once each, in a stable order."""
    return tuple(sorted({address for addresses in found for address in addresses}))


def apply(rules: Sequence[Json], steps: Iterable[Step]) -> list[Json]:
    """The rules after the steps: what the service would hold."""
    held: Mapping[str, Json] = {str(rule["name"]): rule for rule in rules}
    after = dict(held)
    for step in steps:
        if isinstance(step, Put):
            after[step.name] = {"name": step.name, "properties": step.properties}
        else:
            after.pop(step.name, None)
    return list(after.values())
