"""A security group's outbound rules as Azure applies them: by priority, the first that matches decides. Pure.

Source: "How network security groups filter network traffic". Flows are stateful, so answers need no rule.
Chosen here: ICMP has no ports, so only a rule for all ports matches it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from azbatch.network.model import Json, Transport
from azbatch.network.rules import port_ranges, prefixes

LAST_ADDRESS, LAST_PORT = 2**32 - 1, 65535
PRIVATE = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
Interval = tuple[int, int]  # both ends included
Tags = Mapping[str, Sequence[str]]  # service tag -> CIDRs, where they are known


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    transport: Transport  # never ANY
    address: str
    port: int = 0  # 0 for ICMP


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`rule` decided, None where none matched (denied). `unknown` are rules before it whose service tag is not known
    here, and which may decide otherwise."""

    allowed: bool
    rule: str | None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One outbound rule: what it matches as intervals. `unknown` are its service tags with addresses not known here."""

    name: str
    allow: bool
    transport: Transport | None  # None for a protocol that nodes do not use, such as Esp
    addresses: tuple[Interval, ...]
    ports: tuple[Interval, ...]
    unknown: tuple[str, ...] = ()

    def covers(self, transport: Transport) -> bool:
        return self.transport in {Transport.ANY, transport}


def interval(prefix: str) -> Interval | None:
    """A CIDR or address as numbers; None for IPv6 and for what is no address."""
    try:
        network = ipaddress.ip_network(prefix, strict=False)
    except ValueError:
        return None
    if network.version != 4:
        return None
    return int(network.network_address), int(network.broadcast_address)


def compiled(rules: Iterable[Json], tags: Tags, sources: Sequence[str] = ()) -> list[Compiled]:
    """The outbound rules in the order in which they decide. Of rules for some sources only those for the nodes count:
    `sources` are the nodes' CIDRs; none given counts every rule."""
    outbound = [rule for rule in rules if str(rule["properties"]["direction"]).lower() == "outbound"]
    outbound.sort(key=lambda rule: int(rule["properties"]["priority"]))
    return [_compile(rule, tags) for rule in outbound if _for_nodes(rule["properties"], tags, sources)]


def _for_nodes(properties: Json, tags: Tags, sources: Sequence[str]) -> bool:
    wanted, unknown = _addresses(prefixes(properties, "source"), tags)
    nodes = [found for source in sources if (found := interval(source))]
    return bool(unknown) or not nodes or any(a[0] <= n[1] and n[0] <= a[1] for a in wanted for n in nodes)


def _compile(rule: Json, tags: Tags) -> Compiled:
    properties = rule["properties"]
    addresses, unknown = _addresses(prefixes(properties, "destination"), tags)
    spelled = {str(transport).lower(): transport for transport in Transport}
    return Compiled(
        name=str(rule["name"]),
        allow=str(properties["access"]).lower() == "allow",
        transport=spelled.get(str(properties["protocol"]).lower()),
        addresses=tuple(addresses),
        ports=tuple(_ports(text) for text in port_ranges(properties)),
        unknown=tuple(unknown),
    )


def _addresses(texts: Iterable[str], tags: Tags) -> tuple[list[Interval], list[str]]:
    known = {name.lower(): ranges for name, ranges in tags.items()}
    found: list[Interval] = []
    unknown: list[str] = []
    for text in texts:
        if text in {"*", "Any"}:
            found.append((0, LAST_ADDRESS))
        elif text.lower() in known:
            found += [one for prefix in known[text.lower()] if (one := interval(prefix))]
        elif (one := interval(text)) is not None:
            found.append(one)
        elif ":" not in text:
            unknown.append(text)
    return found, unknown


def _ports(text: str) -> Interval:
    if text == "*":
        return 0, LAST_PORT
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def decide(rules: Sequence[Compiled], packet: Packet) -> Decision:
    """What happens to the packet, and by which rule."""
    address = int(ipaddress.IPv4Address(packet.address))
    unknown: list[str] = []
    for rule in rules:
        if not rule.covers(packet.transport) or not any(low <= packet.port <= high for low, high in rule.ports):
            continue
        if any(low <= address <= high for low, high in rule.addresses):
            return Decision(allowed=rule.allow, rule=rule.name, unknown=tuple(unknown))
        if rule.unknown:
            unknown.append(rule.name)
    return Decision(allowed=False, rule=None, unknown=tuple(unknown))


def default_tags(network_prefixes: Sequence[str]) -> dict[str, list[str]]:
    """The tags whose addresses are known without asking: the network's own, the public internet, the probe's.

    Internet is what is outside of the network and public: private addresses elsewhere are in neither.
    """
    inside = [ipaddress.IPv4Network(prefix) for prefix in network_prefixes]
    outside = [ipaddress.IPv4Network("0.0.0.0/0")]
    for network in (*inside, *PRIVATE):
        outside = [part for whole in outside for part in _without(whole, network)]
    return {
        "VirtualNetwork": [str(network) for network in inside],
        "Internet": [str(network) for network in outside],
        "AzureLoadBalancer": ["168.63.129.16/32"],
    }


def _without(whole: ipaddress.IPv4Network, part: ipaddress.IPv4Network) -> list[ipaddress.IPv4Network]:
    if part.supernet_of(whole):
        return []
    return list(whole.address_exclude(part)) if whole.supernet_of(part) else [whole]
