"""Addresses of the emulated world: subnets' free ones, service tags, and what names resolve to. Pure.

Public services have addresses in 198.18.0.0/15 (kept for benchmarks, RFC 2544), everything else on the internet in
203.0.113.0/24 (RFC 5737): a function of the name, so that rules can be tried on them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from azbatch_emulator.arm.kinds import Resources

RESERVED = 5  # the first four addresses and the last of a subnet are Azure's
TAGS = (
    "AzureActiveDirectory",
    "AzureContainerRegistry",
    "AzureFrontDoor.FirstParty",
    "AzureMonitor",
    "BatchNodeManagement",
    "MicrosoftContainerRegistry",
    "Storage",
)
SPECIAL_TAGS = ("Internet", "VirtualNetwork", "AzureLoadBalancer")
_SERVICES = (
    (re.compile(r"\.blob\.(storage\.azure\.net|core\.windows\.net)$"), "Storage"),
    (re.compile(r"\.service\.batch\.azure\.com$"), "BatchNodeManagement"),
    (re.compile(r"\.data\.azurecr\.io$|\.azurecr\.io$"), "AzureContainerRegistry"),
    (re.compile(r"^mcr\.microsoft\.com$"), "MicrosoftContainerRegistry"),
    (re.compile(r"\.data\.mcr\.microsoft\.com$"), "AzureFrontDoor.FirstParty"),
    (re.compile(r"^login\.microsoftonline\.com$"), "AzureActiveDirectory"),
)
_BENCHMARK, _INTERNET = IPv4Network("198.18.0.0/15"), IPv4Network("203.0.113.0/24")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.lower().encode()).digest()[:4])


@lru_cache(maxsize=1024)
def prefix_of(tag: str) -> IPv4Network | None:
    """The prefix a service tag stands for; a regional one (`Storage.westeurope`) lies in the global one."""
    for number, name in enumerate(TAGS):
        if tag.lower() == name.lower():
            return list(_BENCHMARK.subnets(new_prefix=20))[number]
        if tag.lower().startswith(f"{name.lower()}."):
            whole = list(_BENCHMARK.subnets(new_prefix=20))[number]
            region = tag[len(name) + 1 :]
            return list(whole.subnets(new_prefix=24))[_hash(region) % 16]
    return None


def known_tag(text: str) -> bool:
    """Whether a rule may use the text as a service tag."""
    return text.lower() in {name.lower() for name in SPECIAL_TAGS} or prefix_of(text) is not None


def public_address(name: str, region: str) -> IPv4Address:
    """What a name resolves to on the internet; `region` is where the resource behind it lies."""
    for pattern, tag in _SERVICES:
        if pattern.search(name.lower()):
            prefix = prefix_of(tag if "." in tag else f"{tag}.{region}")
            assert prefix is not None
            return prefix[1 + _hash(name) % 250]
    if name.lower().endswith(".batch.azure.com"):
        return IPv4Network("198.19.255.0/24")[1 + _hash(name) % 250]
    return _INTERNET[1 + _hash(name) % 250]


def taken(subnet_id: str, resources: Resources) -> set[IPv4Address]:
    """Addresses of network interfaces in a subnet."""
    found = set()
    for interface in resources.of_type("Microsoft.Network/networkInterfaces"):
        for configuration in interface.properties.get("ipConfigurations") or ():
            inner = configuration.get("properties") or {}
            if str((inner.get("subnet") or {}).get("id", "")).lower() == subnet_id.lower() and inner.get(
                "privateIPAddress"
            ):
                found.add(IPv4Address(str(inner["privateIPAddress"])))
    return found


def free(subnet_id: str, resources: Resources) -> Iterator[IPv4Address]:
    """Addresses of a subnet that nobody has, in order."""
    subnet = resources.get(subnet_id)
    if subnet is None:
        return
    network, used = IPv4Network(str(subnet.properties["addressPrefix"])), taken(subnet_id, resources)
    for number in range(RESERVED - 1, network.num_addresses - 1):
        if network[number] not in used:
            yield network[number]


def resolve(name: str, network_id: str | None, region: str, resources: Resources) -> IPv4Address:
    """What a name resolves to, seen from a network (None: the internet): private zones linked to it come first.

    Azure's public DNS answers `x.batch.azure.com` with an alias for `x.privatelink.batch.azure.com` where a private
    endpoint exists; that name is looked up in the private zones linked to the network.
    """
    lower = name.lower()
    for suffix in ("batch.azure.com", "blob.core.windows.net", "azurecr.io"):
        if network_id is not None and lower.endswith(f".{suffix}"):
            record = lower.removesuffix(f".{suffix}")
            found = _private(record, f"privatelink.{suffix}", network_id, resources)
            if found is not None:
                return found
    return public_address(name, region)


def _private(record: str, zone_name: str, network_id: str, resources: Resources) -> IPv4Address | None:
    for zone in resources.of_type("Microsoft.Network/privateDnsZones"):
        if zone.id.name.lower() != zone_name or not _linked(zone.id.text, network_id, resources):
            continue
        for one in resources.of_type("Microsoft.Network/privateDnsZones/A", zone.id.text):
            addresses = one.properties.get("aRecords") or ()
            if one.id.name.lower() == record and addresses:
                return IPv4Address(str(addresses[0]["ipv4Address"]))
    return None


def _linked(zone_id: str, network_id: str, resources: Resources) -> bool:
    return any(
        str((link.properties.get("virtualNetwork") or {}).get("id", "")).lower() == network_id.lower()
        for link in resources.of_type("Microsoft.Network/privateDnsZones/virtualNetworkLinks", zone_id)
    )
