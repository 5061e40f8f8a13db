"""The network of a pool: its subnet, its addresses, its endpoints with their rules. Source: as for pools."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azbatch_emulator.batch.rules.kinds import (
    BOOLEAN,
    NAME,
    TEXT,
    Choice,
    Context,
    Integer,
    ListOf,
    Shape,
    Text,
)
from azbatch_emulator.batch.rules.refusals import invalid, out_of_range

MAX_NAT_POOLS = 5
MAX_NAT_RULES = 25  # over all endpoints of a pool
LEAST_FRONTEND_PORTS = 40


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address, a subnet, a service tag, or `*`."""

    def read(self, value: Any, path: str, context: Context) -> str:
        text = TEXT.read(value, path, context)
        if text == "*" or re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*", text):
            return text
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise invalid(path, text, "The value is an IP address, an IP subnet, a tag, or *") from None
        return text


@dataclass(frozen=True, slots=True)
class PortRanges:
    """`*`, ports and ranges of ports, none of which overlap."""

    def read(self, value: Any, path: str, context: Context) -> list[str]:
        texts: list[str] = ListOf(TEXT).read(value, path, context)
        spans: list[tuple[int, int]] = []
        for text in texts:
            found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
            first, last = (0, 65535) if text == "*" else (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
            if not first <= last <= 65535:
                raise invalid(path, text, "The value is *, a port, or a range of ports from 0 to 65535")
            if any(first <= end and start <= last for start, end in spans):
                raise invalid(path, text, "Port ranges may not overlap")
            spans.append((first, last))
        return texts


NAT_RULE = Shape(
    "NetworkSecurityGroupRule",
    required={
        "priority": Integer(low=150, high=4096),
        "access": Choice("allow", "deny"),
        "sourceAddressPrefix": Address(),
    },
    optional={"sourcePortRanges": PortRanges()},
    defaults={"sourcePortRanges": ["*"]},
)
_FRONTEND = Integer(low=1, high=65534, reserved=(range(50000, 55001),), reason="Ports from 50000 to 55000 are reserved")


def _ports(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    """One endpoint: reserved ports differ by version, and its range of ports is wide enough."""
    if context.version < "2025" and body["backendPort"] in {22, 3389}:
        raise invalid(f"{prefix}backendPort", body["backendPort"], "Ports 22, 3389, 29876 and 29877 are reserved")
    if body["frontendPortRangeEnd"] - body["frontendPortRangeStart"] + 1 < LEAST_FRONTEND_PORTS:
        reason = f"A range contains at least {LEAST_FRONTEND_PORTS} ports"
        raise invalid(f"{prefix}frontendPortRangeEnd", body["frontendPortRangeEnd"], reason)


NAT_POOL = Shape(
    "InboundNATPool",
    required={
        "name": Text(
            longest=77,
            pattern=re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"),
            reason="A name starts with a letter or digit, ends with one or _, and contains these, periods and hyphens",
        ),
        "protocol": Choice("tcp", "udp"),
        "backendPort": Integer(
            low=1, high=65535, reserved=(range(29876, 29878),), reason="Ports 29876 and 29877 are reserved"
        ),
        "frontendPortRangeStart": _FRONTEND,
        "frontendPortRangeEnd": _FRONTEND,
    },
    optional={"networkSecurityGroupRules": ListOf(NAT_RULE)},
    relations=(_ports,),
)


def _endpoints(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    """All endpoints of a pool: no range overlaps another, no priority is there twice, no more rules than allowed."""
    spans: list[tuple[int, int]] = []
    priorities: set[int] = set()
    count = 0
    for number, one in enumerate(body["inboundNATPools"]):
        place = f"{prefix}inboundNATPools[{number}]"
        start, end = one["frontendPortRangeStart"], one["frontendPortRangeEnd"]
        if any(start <= last and first <= end for first, last in spans):
            raise invalid(f"{place}.frontendPortRangeStart", start, "Ranges of a pool may not overlap")
        if start <= 50000 and end >= 55000:
            raise invalid(f"{place}.frontendPortRangeStart", start, "Ports from 50000 to 55000 are reserved")
        spans.append((start, end))
        for rule in one.get("networkSecurityGroupRules") or ():
            count += 1
            if rule["priority"] in priorities:
                raise invalid(f"{place}.priority", rule["priority"], "Priorities within a pool must be unique")
            priorities.add(rule["priority"])
    if count > MAX_NAT_RULES:
        raise out_of_range(f"{prefix}networkSecurityGroupRules", count, 0, MAX_NAT_RULES)


def _distinct_backends(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    ports = [one["backendPort"] for one in body["inboundNATPools"]]
    for number, port in enumerate(ports):
        if port in ports[:number]:
            place = f"{prefix}inboundNATPools[{number}].backendPort"
            raise invalid(place, port, "The backend port must be unique within a pool")


def _no_endpoints_without_addresses(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    addresses = body.get("publicIPAddressConfiguration") or {}
    if addresses.get("provision") == "nopublicipaddresses" and "endpointConfiguration" in body:
        reason = "It cannot be specified where the pool has no public IP addresses"
        raise invalid(f"{prefix}endpointConfiguration", None, reason)
    if "ipAddressIds" in addresses and addresses.get("provision") != "usermanaged":
        reason = "It can be specified only where the pool's addresses are usermanaged"
        raise invalid(f"{prefix}publicIPAddressConfiguration.ipAddressIds", None, reason)


ENDPOINTS = Shape(
    "PoolEndpointConfiguration",
    required={"inboundNATPools": ListOf(NAT_POOL, most=MAX_NAT_POOLS, distinct="name")},
    relations=(_distinct_backends, _endpoints),
)
NETWORK = Shape(
    "NetworkConfiguration",
    optional={
        "subnetId": TEXT,
        "dynamicVNetAssignmentScope": Choice("none", "job"),
        "endpointConfiguration": ENDPOINTS,
        "publicIPAddressConfiguration": Shape(
            "PublicIPAddressConfiguration",
            optional={
                "provision": Choice("batchmanaged", "usermanaged", "nopublicipaddresses"),
                "ipFamilies": ListOf(Choice("IPv4", "IPv6"), most=2),
                "ipAddressIds": ListOf(NAME),
                "ipTags": ListOf(Shape("IPTag", optional={"ipTagType": TEXT, "tag": TEXT})),
            },
        ),
        "enableAcceleratedNetworking": BOOLEAN,
    },
    relations=(_no_endpoints_without_addresses,),
)
