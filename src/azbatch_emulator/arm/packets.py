"""What a network security group does with a packet. Pure.

Source: "How network security groups filter network traffic": rules by priority, the first that matches decides; then
the default rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from azbatch_emulator.arm.addresses import prefix_of
from azbatch_emulator.arm.kinds import Resources

_PRIVATE = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """`protocol` is Tcp, Udp, Icmp...; `port` the destination's; direction `Outbound` or `Inbound`."""

    direction: str
    protocol: str
    source: IPv4Address
    destination: IPv4Address
    port: int


def _rule(name: str, priority: int, direction: str, access: str, source: str, destination: str) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            "priority": priority,
            "direction": direction,
            "access": access,
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": source,
            "destinationAddressPrefix": destination,
        },
    }


DEFAULT_RULES = (
    _rule("AllowVnetInBound", 65000, "Inbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
    _rule("AllowAzureLoadBalancerInBound", 65001, "Inbound", "Allow", "AzureLoadBalancer", "*"),
    _rule("DenyAllInBound", 65500, "Inbound", "Deny", "*", "*"),
    _rule("AllowVnetOutBound", 65000, "Outbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
    _rule("AllowInternetOutBound", 65001, "Outbound", "Allow", "*", "Internet"),
    _rule("DenyAllOutBound", 65500, "Outbound", "Deny", "*", "*"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the packet passes, and the rule that says so ("" where there is no group at all)."""

    passes: bool
    rule: str


def judge(packet: Packet, group_id: str | None, spaces: Iterable[IPv4Network], resources: Resources) -> Verdict:
    """What a group does with a packet; `spaces` are the prefixes of the network and its peers (tag VirtualNetwork)."""
    if group_id is None:
        return Verdict(passes=True, rule="")
    rules: list[tuple[str, Mapping[str, Any]]] = [
        (one.id.name, one.properties)
        for one in resources.of_type("Microsoft.Network/networkSecurityGroups/securityRules", group_id)
    ]
    rules += [(one["name"], one["properties"]) for one in DEFAULT_RULES]
    inside = tuple(spaces)
    for name, rule in sorted(rules, key=lambda item: int(item[1]["priority"])):
        if _matches(rule, packet, inside):
            return Verdict(passes=rule["access"] == "Allow", rule=name)
    return Verdict(passes=False, rule="")


def _matches(rule: Mapping[str, Any], packet: Packet, inside: tuple[IPv4Network, ...]) -> bool:
    return (
        str(rule["direction"]).lower() == packet.direction.lower()
        and str(rule["protocol"]).lower() in {"*", packet.protocol.lower()}
        and any(_address_in(text, packet.source, inside) for text in many(rule, "sourceAddressPrefix"))
        and any(_address_in(text, packet.destination, inside) for text in many(rule, "destinationAddressPrefix"))
        and any(_port_in(text, packet.port) for text in many(rule, "destinationPortRange"))
    )


def many(rule: Mapping[str, Any], name: str) -> list[str]:
    """A member that may be written in the singular or the plural."""
    plural = f"{name}es" if name.endswith("Prefix") else f"{name}s"
    found = [str(one) for one in rule.get(plural) or ()]
    return found or [str(rule[name])] if rule.get(name) else found


def _address_in(text: str, address: IPv4Address, inside: tuple[IPv4Network, ...]) -> bool:
    match text.lower():
        case "*" | "any":
            return True
        case "virtualnetwork":
            return any(address in space for space in inside)
        case "internet":
            return not any(address in space for space in (*inside, *_PRIVATE))
        case "azureloadbalancer":
            return address == IPv4Address("168.63.129.16")
    tagged = prefix_of(text)
    if tagged is not None:
        return address in tagged
    return address in IPv4Network(text, strict=False)


def _port_in(text: str, port: int) -> bool:
    if text == "*":
        return True
    low, _, high = text.partition("-")
    return int(low) <= port <= int(high or low)
