"""For a removal: what others put into, or hang on, what has to go. Told before anything is taken away. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from azbatch.workspace.model import Body, Facts, Finding, Ownership, Plan, Verb
from azbatch.workspace.preflight import kind_of


def residents(facts: Facts, plan: Plan, links: Sequence[Body]) -> list[Finding]:
    """`links` are the virtual network links of the zones that have to go."""
    going = [one.wanted for one in plan.changes if one.verb is Verb.REMOVE and one.wanted.ownership is Ownership.OWNED]
    gone = [one.id.lower() for one in going]
    mine = {
        str(card.get("id", "")).lower() for id in gone for card in _properties(facts, id).get("networkInterfaces") or ()
    }
    found = []
    for one in going:
        for card in _interfaces(_properties(facts, one.id)) if one.code == "vn" else ():
            if card.lower() not in mine:
                what = f"The network interface {_name(card)} stands in the Batch network, not put there by azbatch."
                found.append(_in_the_way(one.id, what, "Delete it, or what it belongs to, first."))
        for user in _users(_properties(facts, one.id)):
            if not any(f"{user.lower()}/".startswith(f"{id}/") for id in gone):
                what = f"{_name(one.id)} is used by {_name(user)}, which azbatch did not make."
                found.append(_in_the_way(one.id, what, "Take it off there first."))
    for id in [str(link["id"]) for link in links]:
        if id.lower() not in gone:
            what = f"The network link {_name(id)} hangs on a DNS zone of azbatch, and was not made by it."
            found.append(_in_the_way(id, what, "Delete it first."))
    return found


def _in_the_way(subject: str, sentence: str, remedy: str) -> Finding:
    return Finding(code="InUse", subject=subject, sentence=sentence, remedy=remedy)


def _properties(facts: Facts, id: str) -> Body:
    return (facts.found.get(id.lower()) or {}).get("properties") or {}


def _name(id: str) -> str:
    parts = id.rsplit("/subnets/", 1)
    return f"{parts[0].rpartition('/')[2]}/{parts[1]}" if len(parts) == 2 else id.rpartition("/")[2]


def _interfaces(network: Body) -> Iterator[str]:
    """Ids of the network interfaces in a network. Nodes of pools are none of the subscription's: pools tell of them."""
    for subnet in network.get("subnets") or ():
        for one in (subnet.get("properties") or {}).get("ipConfigurations") or ():
            card, _, _ = str(one.get("id", "")).partition("/ipConfigurations/")
            if kind_of(card) == "Microsoft.Network/networkInterfaces":
                yield card


def _users(properties: Body) -> Iterator[str]:
    """Ids of what a resource says uses it: subnets of a group, a gateway or a policy; the user of a public address."""
    singles = (properties.get(name) for name in ("natGateway", "ipConfiguration"))
    for one in (*(properties.get("subnets") or ()), *singles):
        if isinstance(one, Mapping) and one.get("id"):
            yield str(one["id"])
