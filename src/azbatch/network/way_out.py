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


def has_way_out(subnet: Body, gateway: Body | None = None) -> bool:
    """By a subnet's properties, and its NAT gateway's where they are known: without an address it is none.

    A route table is taken for a way: what it leads to only its owner knows.
    """
    works = bool(subnet.get("natGateway")) and (gateway is None or _has_address(gateway))
    return bool(works or subnet.get("routeTable") or subnet.get("defaultOutboundAccess") in {None, True})


def _has_address(gateway: Body) -> bool:
    properties = gateway.get("properties") or {}
    return bool(properties.get("publicIpAddresses") or properties.get("publicIpPrefixes"))


def sentence(subnets: Sequence[str], workspace: str | None = None) -> str:
    """What is missing, and how the owner gives it; `subnets` are resource ids, `workspace` the one they were made for
    by azbatch, None for a network of others.
    """
    _, _, subscription, _, group, *_, network, _, name = subnets[0].split("/")
    missing = (
        f"The nodes' subnet {network}/{name} has no way to the internet, whatever is opened. Its owner gives it one:"
    )
    if workspace is not None:
        return (
            f"{missing} azbatch workspace enable --subscription-id {subscription} --workspace {workspace} "
            f"--way-out nat-gateway"
        )
    return (
        f"{missing} az network nat gateway create -g {group} -n {network}-nat --public-ip-addresses PUBLIC_IP && "
        f"az network vnet subnet update -g {group} --vnet-name {network} -n {name} --nat-gateway {network}-nat"
    )


def leaves_by(addresses: Sequence[str]) -> str:
    """By which public addresses nodes are seen, for whoever has to let them in."""
    return f"Nodes leave by the NAT gateway, and are seen as {', '.join(addresses)}."


def confined(
    checked: Checked,
    addresses: Sequence[str],
    networks: Sequence[str],
    closed: Sequence[str],
    workspace: str | None = None,
) -> Checked:
    """`checked`, but not reachable where a public address is meant and `closed`, subnets without a way out, are not
    empty. `networks` are the CIDRs of the nodes' own network; `workspace` as in `sentence`."""
    if not closed or not checked.reachable:
        return checked
    inside = (*PRIVATE, *(ipaddress.IPv4Network(text) for text in networks))
    if addresses and all(any(ipaddress.IPv4Address(a) in network for network in inside) for a in addresses):
        return checked
    what = checked.lines[0].partition(" is ")[0]
    first = f"{what} is closed: the rules allow it, but there is no way out."
    return replace(checked, reachable=False, lines=(first, *checked.lines[1:], sentence(closed, workspace)))
