"""What Azure would do to a node, predicted from the configuration alone: each fault with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from azbatch.workspace import ranges
from azbatch.workspace.model import Body, Finding
from azbatch.workspace.records import endpoint_addresses

ZONE = "privatelink.batch.azure.com"
AGENT_PORTS = ("29876", "29877")  # of the classic node communication, retired in March 2026


def doctor(
    account: Body | None,
    network: Body | None,
    group: Body | None,
    endpoints: Sequence[Body],
    zones: Sequence[tuple[Body, Sequence[Body], Sequence[Body]]],
    pools: Sequence[Body],
    *,
    interfaces: Sequence[Body] = (),
    workspace_network: str,
    images: Mapping[str, datetime | None],
    quota: int | None,
    now: datetime,
) -> list[Finding]:
    """Findings for a workspace's Batch environment.

    `zones` are private DNS zones with their links and A records; `images` maps `offer:sku` to its end of support (None:
    open);
    `quota` is the account's dedicated cores. All bodies as ARM returns them.
    """
    if account is None:
        return [
            _finding("NoAccount", "workspace", "The workspace has no Batch account.", "Run azbatch workspace enable.")
        ]
    found = [*_account(account), *_endpoints(account, network, endpoints, zones, workspace_network, interfaces)]
    if network is None:
        found.append(
            _finding(
                "NoNetwork", str(account["id"]), "There is no network for the nodes.", "Run azbatch workspace enable."
            )
        )
    else:
        found += _subnets(network, group, endpoints, pools, interfaces)
    found += _group(group, now)
    found += _pools(pools, images, quota, now)
    return found


def _finding(code: str, subject: str, sentence: str, remedy: str, *, fatal: bool = True) -> Finding:
    return Finding(code=code, subject=subject, sentence=sentence, remedy=remedy, fatal=fatal)


def _account(account: Body) -> Iterator[Finding]:
    properties, name = account.get("properties") or {}, str(account.get("name"))
    if properties.get("publicNetworkAccess") != "Disabled":
        yield _finding(
            "PublicAccess",
            name,
            f"The account {name} answers on the internet.",
            "Set publicNetworkAccess to Disabled: azbatch workspace enable.",
            fatal=False,
        )
    if "SharedKey" in (properties.get("allowedAuthenticationModes") or ("SharedKey",)):
        yield _finding(
            "SharedKeys",
            name,
            f"The account {name} takes shared keys.",
            "Allow AAD only: azbatch workspace enable.",
            fatal=False,
        )


def _connections(endpoint: Body) -> Iterator[Mapping[str, Any]]:
    for one in (endpoint.get("properties") or {}).get("privateLinkServiceConnections") or ():
        yield one.get("properties") or {}


def _endpoints(
    account: Body,
    network: Body | None,
    endpoints: Sequence[Body],
    zones: Sequence[tuple[Body, Sequence[Body], Sequence[Body]]],
    workspace_network: str,
    interfaces: Sequence[Body],
) -> Iterator[Finding]:
    if (account.get("properties") or {}).get("publicNetworkAccess") != "Disabled":
        return
    groups = {
        str(group).lower()
        for endpoint in endpoints
        for one in _connections(endpoint)
        if str(one.get("privateLinkServiceId", "")).lower() == str(account["id"]).lower()
        for group in one.get("groupIds") or ()
    }
    wanted = (
        ("batchaccount", "batchAccount", "machines of the workspace do not reach the account"),
        ("nodemanagement", "nodeManagement", "nodes never become idle: they go unusable"),
    )
    for key, name, what in wanted:
        if key not in groups:
            yield _finding(
                f"Missing{name[0].upper()}{name[1:]}Endpoint",
                str(account["name"]),
                f"There is no private endpoint {name}: {what}.",
                "Run azbatch workspace enable.",
            )
    ours = [zone for zone in zones if str(zone[0].get("name", "")).lower() == ZONE]
    if not ours:
        yield _finding(
            "MissingDns",
            ZONE,
            f"There is no private DNS zone {ZONE}: the account's names resolve to its closed public address.",
            "Run azbatch workspace enable, or let the owner of your DNS make the records.",
        )
        return
    linked = {
        str(((link.get("properties") or {}).get("virtualNetwork") or {}).get("id", "")).lower()
        for _, links, _ in ours
        for link in links
    }
    for id, what in (
        (workspace_network, "the workspace's network"),
        (str((network or {}).get("id", "")), "the Batch network"),
    ):
        if id and id.lower() not in linked:
            yield _finding(
                "DnsNotLinked",
                id,
                f"The zone {ZONE} is not linked to {what}: names of the account do not resolve there.",
                "Run azbatch workspace enable.",
            )
    records = {str(record.get("name", "")).lower(): _record_addresses(record) for _, _, some in ours for record in some}
    for member, key in (("accountEndpoint", "batchaccount"), ("nodeManagementEndpoint", "nodemanagement")):
        name = str((account.get("properties") or {}).get(member, "")).lower()
        held = records.get(name.removesuffix(".batch.azure.com"))
        real = _addresses(endpoints, interfaces, key, str(account["id"]))
        if name and held is None:
            yield _finding(
                "MissingRecord", name, f"The zone {ZONE} has no record for {name}.", "Run azbatch workspace enable."
            )
        elif name and held and real and not held & real:
            yield _finding(
                "WrongRecord",
                name,
                f"The record of {name} leads to {', '.join(sorted(held))}, and its private endpoint has "
                f"{', '.join(sorted(real))}.",
                "Delete the record's DNS zone group and run azbatch workspace enable.",
            )


def _record_addresses(record: Body) -> set[str]:
    return {str(one.get("ipv4Address")) for one in (record.get("properties") or {}).get("aRecords") or ()}


def _addresses(endpoints: Sequence[Body], interfaces: Sequence[Body], group: str, account: str) -> set[str]:
    """The addresses of the account's private endpoints of a group."""
    return {
        address
        for endpoint in endpoints
        if any(
            group in {str(each).lower() for each in one.get("groupIds") or ()}
            and str(one.get("privateLinkServiceId", "")).lower() == account.lower()
            for one in _connections(endpoint)
        )
        for address in endpoint_addresses(endpoint, interfaces)
    }


def _subnets(
    network: Body, group: Body | None, endpoints: Sequence[Body], pools: Sequence[Body], interfaces: Sequence[Body]
) -> Iterator[Finding]:
    for subnet in (network.get("properties") or {}).get("subnets") or ():
        properties = subnet.get("properties") or {}
        mine = [pool for pool in pools if pool_subnet(pool).lower() == str(subnet.get("id", "")).lower()]
        left = ranges.free(
            str(properties.get("addressPrefix", "10.0.0.0/24")), len(properties.get("ipConfigurations") or ())
        )
        wanted = sum(most_nodes(pool) for pool in mine)
        if mine and wanted > left:
            names = ", ".join(str(pool.get("name")) for pool in mine)
            yield _finding(
                "SubnetTooSmall",
                str(subnet.get("name")),
                f"The subnet {subnet.get('name')} has {left} addresses, and its pools ({names}) may ask for "
                f"{wanted} nodes.",
                "Make the pools smaller, or the subnet larger.",
            )
        if mine and not properties.get("networkSecurityGroup"):
            yield _finding(
                "NoSecurityGroup",
                str(subnet.get("name")),
                f"The subnet {subnet.get('name')} has no security group: nodes reach the internet if they have a "
                f"way out.",
                "Run azbatch workspace enable.",
                fatal=False,
            )
        policies = properties.get("serviceEndpointPolicies") or ()
        for pool in mine:
            for image in container_images(pool):
                host = image.split("/")[0]
                public = host.endswith(("azurecr.io", "mcr.microsoft.com")) and not _registry_endpoint(host, endpoints)
                if policies and public:
                    yield _finding(
                        "PolicyBlocksRegistry",
                        str(pool.get("name")),
                        f"The image {image} of pool {pool.get('name')} cannot be pulled: its layers lie in "
                        f"Microsoft's storage, which the subnet's service endpoint policy does not allow.",
                        "Give the registry a private endpoint, or host the image in the workspace.",
                    )
    address = _management_address(endpoints, interfaces)
    if group is not None and address is not None and not reaches(group, address, 443):
        yield _finding(
            "GroupBlocksManagement",
            str(group.get("name")),
            f"The security group {group.get('name')} keeps nodes from the private endpoint nodeManagement "
            f"({address}, port 443): they go unusable.",
            "Run azbatch workspace enable.",
        )


def _management_address(endpoints: Sequence[Body], interfaces: Sequence[Body]) -> IPv4Address | None:
    for endpoint in endpoints:
        if any(
            "nodemanagement" in {str(group).lower() for group in one.get("groupIds") or ()}
            for one in _connections(endpoint)
        ):
            for address in endpoint_addresses(endpoint, interfaces):
                return IPv4Address(address)
    return None


def _registry_endpoint(host: str, endpoints: Sequence[Body]) -> bool:
    name = host.split(".")[0].lower()
    return any(
        str(one.get("privateLinkServiceId", "")).lower().endswith(f"/registries/{name}")
        for endpoint in endpoints
        for one in _connections(endpoint)
    )


def pool_subnet(pool: Body) -> str:
    """The subnet id of an ARM pool body."""
    return str(((pool.get("properties") or {}).get("networkConfiguration") or {}).get("subnetId", ""))


def most_nodes(pool: Body) -> int:
    """The most nodes a pool of fixed size asks for; 0 for an autoscaled one, whose formula is not evaluated here."""
    fixed = ((pool.get("properties") or {}).get("scaleSettings") or {}).get("fixedScale") or {}
    return int(fixed.get("targetDedicatedNodes") or 0) + int(fixed.get("targetLowPriorityNodes") or 0)


def container_images(pool: Body) -> list[str]:
    """Images that a pool pulls ahead."""
    machine = ((pool.get("properties") or {}).get("deploymentConfiguration") or {}).get(
        "virtualMachineConfiguration"
    ) or {}
    return [str(one) for one in (machine.get("containerConfiguration") or {}).get("containerImageNames") or ()]


def _group(group: Body | None, now: datetime) -> Iterator[Finding]:
    if group is None:
        return
    rules = [
        (str(one.get("name")), one.get("properties") or {})
        for one in (group.get("properties") or {}).get("securityRules") or ()
    ]
    denies = [
        (name, rule) for name, rule in rules if rule.get("access") == "Deny" and rule.get("direction") == "Outbound"
    ]
    everything = [
        name
        for name, rule in denies
        if rule.get("protocol") == "*" and rule.get("destinationAddressPrefix") in {"*", "Internet"}
    ]
    name = str(group.get("name"))
    if denies and not everything:
        protocols = ", ".join(sorted({str(rule.get("protocol")) for _, rule in denies}))
        yield _finding(
            "DenyNotForAllProtocols",
            name,
            f"The security group {name} denies {protocols} only: other protocols (UDP, ICMP) get out.",
            "Run azbatch workspace enable.",
        )
    if not denies:
        yield _finding(
            "OpenOutbound",
            name,
            f"The security group {name} denies nothing: nodes reach the internet if they have a way out.",
            "Run azbatch workspace enable.",
            fatal=False,
        )
    for rule_name, rule in rules:
        ports = [
            str(rule.get("destinationPortRange", "")),
            *(str(one) for one in rule.get("destinationPortRanges") or ()),
        ]
        if (
            rule.get("direction") == "Inbound"
            and rule.get("access") == "Allow"
            and (set(ports) & set(AGENT_PORTS) or "29876-29877" in ports)
        ):
            yield _finding(
                "ClassicPortsOpen",
                rule_name,
                f"The rule {rule_name} opens ports of the classic node communication, which was retired in March 2026.",
                "Delete the rule.",
                fatal=False,
            )
        expiry = _expiry(str(rule.get("description", "")))
        if expiry is not None and expiry <= now:
            yield _finding(
                "OpeningExpired",
                rule_name,
                f"The opening {rule_name} expired at {expiry:%Y-%m-%d %H:%M} and is still there.",
                "Run azbatch network refresh.",
                fatal=False,
            )


def _expiry(description: str) -> datetime | None:
    _, mark, rest = description.partition("until=")
    try:
        return datetime.fromisoformat(rest.split(";")[0].split()[0]) if mark else None
    except (ValueError, IndexError):
        return None


def _pools(
    pools: Sequence[Body], images: Mapping[str, datetime | None], quota: int | None, now: datetime
) -> Iterator[Finding]:
    if quota == 0:
        yield _finding(
            "NoCores",
            "quota",
            "The account may have no cores: pools stay at zero nodes.",
            "Ask for a quota: Azure portal, Batch account, Quotas.",
        )
    for pool in pools:
        machine = ((pool.get("properties") or {}).get("deploymentConfiguration") or {}).get(
            "virtualMachineConfiguration"
        ) or {}
        image = machine.get("imageReference") or {}
        key = f"{image.get('offer')}:{image.get('sku')}".lower()
        end = images.get(key)
        if end is not None and end <= now:
            yield _finding(
                "ImageRetired",
                str(pool.get("name")),
                f"The image {key} of pool {pool.get('name')} is out of support since {end:%Y-%m-%d}.",
                "Make the pool anew with a supported image: azbatch pool create.",
            )


def reaches(group: Body, address: IPv4Address, port: int) -> bool:
    """Whether a security group lets TCP out to an address, by those of its rules that name addresses."""
    rules = [one.get("properties") or {} for one in (group.get("properties") or {}).get("securityRules") or ()]
    for rule in sorted(
        (one for one in rules if one.get("direction") == "Outbound"), key=lambda one: int(one["priority"])
    ):
        prefix, ports = str(rule.get("destinationAddressPrefix", "*")), str(rule.get("destinationPortRange", "*"))
        low, _, high = ports.partition("-")
        in_ports = ports == "*" or int(low) <= port <= int(high or low)
        try:
            in_prefix = prefix == "*" or address in IPv4Network(prefix)
        except ValueError:
            in_prefix = False
        if in_ports and in_prefix and str(rule.get("protocol")).lower() in {"*", "tcp"}:
            return rule.get("access") == "Allow"
    return False
