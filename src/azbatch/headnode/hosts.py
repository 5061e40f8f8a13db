"""Names and addresses in a hosts file, each once, without touching the lines of others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from azbatch.errors import ConfigurationError

MARK = "# azbatch"
# What a head node asks for; nodes are managed by their own endpoint, in their own network.
GROUPS = frozenset({"batchaccount", "blob"})


def with_records(endpoint: Mapping[str, Any], groups: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """An endpoint with the names and addresses that its DNS zone groups keep: Azure tells them there only, then."""
    records = [
        {"fqdn": str(record["fqdn"]).replace(".privatelink.", "."), "ipAddresses": record.get("ipAddresses") or ()}
        for group in groups
        for zone in (group.get("properties") or {}).get("privateDnsZoneConfigs") or ()
        for record in (zone.get("properties") or {}).get("recordSets") or ()
    ]
    properties = endpoint.get("properties") or {}
    told = properties.get("customDnsConfigs") or records
    return {**endpoint, "properties": {**properties, "customDnsConfigs": told}}


def looked_up(endpoints: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """name -> address, of private endpoints (bodies of Azure Resource Manager) that lead to Batch accounts and blobs.

    One with a DNS zone group has no addresses in its body: the zone has them.
    Raises ConfigurationError where a name has several addresses, with all of them: never the first one found.
    """
    found: dict[str, dict[str, str]] = {}
    for endpoint in endpoints:
        properties = endpoint.get("properties") or {}
        links = [link.get("properties") or {} for link in properties.get("privateLinkServiceConnections") or ()]
        if not any(str(group).lower() in GROUPS for link in links for group in link.get("groupIds") or ()):
            continue
        for entry in properties.get("customDnsConfigs") or ():
            for address in entry.get("ipAddresses") or ():
                found.setdefault(str(entry["fqdn"]).lower(), {})[str(address)] = str(endpoint.get("name"))
    faults = [
        f"{name} has several private addresses ("
        + ", ".join(f"{address} of {endpoint}" for address, endpoint in addresses.items())
        + "): give update_hosts the one that is meant."
        for name, addresses in found.items()
        if len(addresses) > 1
    ]
    if faults:
        raise ConfigurationError(faults)
    return {name: next(iter(addresses)) for name, addresses in found.items()}


def merged(text: str, addresses: Mapping[str, str]) -> str:
    """The file with `addresses` (name -> address) as lines of ours at its end; ours of before are replaced.

    Other lines stay, but for a name of ours in them, which would win over our line: it is taken out of its line.
    """
    wanted = {name.lower(): address for name, address in addresses.items()}
    kept: list[str] = []
    for line in text.splitlines():
        body, hash_, comment = line.partition("#")
        if line.rstrip().endswith(MARK):
            continue
        words = body.split()
        if words and any(word.lower() in wanted for word in words[1:]):
            words = [words[0], *(word for word in words[1:] if word.lower() not in wanted)]
            if len(words) == 1:
                continue
            line = " ".join(words) + (f" {hash_}{comment}" if hash_ else "")
        kept.append(line)
    ours = [f"{address} {name} {MARK}" for name, address in sorted(wanted.items())]
    return "\n".join([*kept, *ours]) + "\n"
