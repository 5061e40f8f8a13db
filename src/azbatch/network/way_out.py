"""Whether packets that the rules allow find a way to the internet at all. Pure.

A subnet without default outbound access, NAT gateway or route of its own has none for nodes without public addresses:
openings of the security group then let nothing out. Source: "Default outbound access in Azure" (private subnets).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from azbatch.network.check import Checked

Body = Mapping[str, Any]
PRIVATE = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def has_way_out(subnet: Body) -> bool:
    """By a subnet's properties. A route table is taken for one: what it leads to only its owner knows."""
    return bool(
        subnet.get("natGateway") or subnet.get("routeTable") or subnet.get("defaultOutboundAccess") in {None, True}
    )


def sentence(subnets: Sequence[str]) -> str:
    """What is missing, and how the owner gives it; `subnets` are resource ids."""
    parts = subnets[0].split("/")
    group, network, name = parts[4], parts[8], parts[-1]
    return (
        f"The nodes' subnet {network}/{name} has no way to the internet, whatever is opened. Its owner gives it one: "
        f"az network nat gateway create -g {group} -n {network}-nat --public-ip-addresses PUBLIC_IP && "
        f"az network vnet subnet update -g {group} --vnet-name {network} -n {name} --nat-gateway {network}-nat"
    )


def confined(checked: Checked, addresses: Sequence[str], networks: Sequence[str], closed: Sequence[str]) -> Checked:
    """`checked`, but not reachable where a public address is meant and `closed`, subnets without a way out, are not
    empty. `networks` are the CIDRs of the nodes' own network."""
    if not closed or not checked.reachable:
        return checked
    inside = (*PRIVATE, *(ipaddress.IPv4Network(text) for text in networks))
    if addresses and all(any(ipaddress.IPv4Address(a) in network for network in inside) for a in addresses):
        return checked
    what = checked.lines[0].partition(" is ")[0]
    first = f"{what} is closed: the rules allow it, but there is no way out."
    return replace(checked, reachable=False, lines=(first, *checked.lines[1:], sentence(closed)))
