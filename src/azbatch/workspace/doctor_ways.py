"""The doctor's second half: does what was opened find a way out, and do nodes reach their storage? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from azbatch.workspace import ranges
from azbatch.workspace.doctor import reaches
from azbatch.workspace.model import Body, Finding
from azbatch.workspace.names import BLOB_ZONE
from azbatch.workspace.records import endpoint_addresses

ENABLE = "Run azbatch workspace enable."
Found = Mapping[str, Body | None]  # lower-case id -> body, None where it is gone or may not be read


def ways_out(network: Body | None, group: Body | None, gateways: Found, tables: Found) -> Iterator[Finding]:
    """Openings without a way, NAT gateways without an address, routes that come before a gateway.

    Source: "What is Azure NAT Gateway": a route to 0.0.0.0/0 of the subnet's route table overrides the gateway.
    """
    openings = list(_openings(group))
    for subnet in _nodes_subnets(network):
        properties, name = subnet.get("properties") or {}, str(subnet.get("name"))
        gateway, table = _id(properties.get("natGateway")), _id(properties.get("routeTable"))
        route = _default_route(tables.get(table.lower()))
        body = gateways.get(gateway.lower())
        if body is not None and not _has_address(body):
            yield Finding(
                code="GatewayWithoutAddress",
                subject=gateway,
                sentence=f"The NAT gateway {gateway.rpartition('/')[2]} of the subnet {name} has no public address: "
                f"nothing gets out.",
                remedy=f"Give it one; where azbatch made it: {ENABLE}",
            )
        if gateway and route is not None:
            yield Finding(
                code="RouteBeforeGateway",
                subject=table,
                sentence=f"The route table {table.rpartition('/')[2]} of the subnet {name} sends 0.0.0.0/0 to {route}: "
                f"its NAT gateway is not used.",
                remedy="Take the route out, or say --way-out none.",
                fatal=False,
            )
        closed = properties.get("defaultOutboundAccess") is False and not gateway and not table
        if openings and (closed or (route == "None" and not gateway)):
            yield Finding(
                code="OpeningsWithoutWay",
                subject=name,
                sentence=f"What is opened ({', '.join(openings)}) lets nothing out: the subnet {name} has no way to "
                f"the internet.",
                remedy="Run azbatch workspace enable --way-out nat-gateway, or close it: azbatch network deny.",
                fatal=False,
            )


def storage(
    account: Body | None,
    network: Body | None,
    group: Body | None,
    endpoints: Sequence[Body],
    zones: Sequence[tuple[Body, Sequence[Body], Sequence[Body]]],
    interfaces: Sequence[Body],
) -> Iterator[Finding]:
    """Whether nodes reach the workspace's storage: by its private endpoint in their network, or by its rules."""
    if account is None or network is None:
        return
    name, mine = str(account.get("name")), [one for one in endpoints if _serves(one, account, network)]
    if mine:
        real = {address for one in mine for address in endpoint_addresses(one, interfaces)}
        yield from _resolved(name, network, zones, real)
        if group is not None and not all(reaches(group, IPv4Address(text), 443) for text in real):
            yield Finding(
                code="GroupBlocksStorage",
                subject=name,
                sentence=f"The security group {group.get('name')} keeps nodes from the private endpoint of the storage "
                f"account {name}.",
                remedy=ENABLE,
            )
        return
    properties = account.get("properties") or {}
    rules = properties.get("networkAcls") or {}
    let_in = {_id(one).lower() for one in rules.get("virtualNetworkRules") or ()}
    if properties.get("publicNetworkAccess") == "Disabled":
        yield Finding(
            code="StorageClosed",
            subject=name,
            sentence=f"The storage account {name} has no public access, and no private endpoint in the nodes' network: "
            f"nodes reach no data.",
            remedy="Run azbatch workspace enable --storage-private-endpoint.",
        )
    elif rules.get("defaultAction") == "Deny" and not any(
        _id(one).lower() in let_in for one in _nodes_subnets(network)
    ):
        yield Finding(
            code="StorageClosed",
            subject=name,
            sentence=f"The storage account {name} does not let the nodes' subnet in: nodes reach no data.",
            remedy=ENABLE,
        )


def _resolved(
    name: str, network: Body, zones: Sequence[tuple[Body, Sequence[Body], Sequence[Body]]], real: set[str]
) -> Iterator[Finding]:
    """Whether the storage's name leads to its private endpoint, seen from the nodes' network."""
    linked = [
        records
        for zone, links, records in zones
        if str(zone.get("name", "")).lower() == BLOB_ZONE
        and any(
            _id((link.get("properties") or {}).get("virtualNetwork")).lower() == _id(network).lower() for link in links
        )
    ]
    held = {
        str(one.get("ipv4Address"))
        for records in linked
        for record in records
        if str(record.get("name", "")).lower() == name.lower()
        for one in (record.get("properties") or {}).get("aRecords") or ()
    }
    if not held & real:
        where = f"to {', '.join(sorted(held))}" if held else "to its public address"
        yield Finding(
            code="StorageName",
            subject=name,
            sentence=f"In the nodes' network the name of the storage account {name} leads {where}, and not to its "
            f"private endpoint: no zone {BLOB_ZONE} that is linked there has its record.",
            remedy=f"{ENABLE[:-1]}, or let the owner of your DNS make the record.",
        )


def _serves(endpoint: Body, account: Body, network: Body) -> bool:
    """Whether a private endpoint is one of the account's blobs, in a subnet of the network."""
    properties = endpoint.get("properties") or {}
    inside = _id(properties.get("subnet")).lower().startswith(f"{_id(network).lower()}/")
    return inside and any(
        _text(one, "privateLinkServiceId") == _id(account).lower()
        and "blob" in {str(group).lower() for group in (one.get("properties") or {}).get("groupIds") or ()}
        for one in properties.get("privateLinkServiceConnections") or ()
    )


def _text(connection: Body, member: str) -> str:
    return str((connection.get("properties") or {}).get(member, "")).lower()


def _id(value: Body | None) -> str:
    return str((value or {}).get("id", ""))


def _nodes_subnets(network: Body | None) -> list[Body]:
    """Those that a security group guards: nodes stand there; private endpoints need none."""
    subnets = list(((network or {}).get("properties") or {}).get("subnets") or ())
    return [one for one in subnets if (one.get("properties") or {}).get("networkSecurityGroup")] or subnets


def _has_address(gateway: Body) -> bool:
    properties = gateway.get("properties") or {}
    return bool(properties.get("publicIpAddresses") or properties.get("publicIpPrefixes"))


def _default_route(table: Body | None) -> str | None:
    """Where a route table sends everything that it knows nothing better for."""
    for route in ((table or {}).get("properties") or {}).get("routes") or ():
        properties = route.get("properties") or {}
        if properties.get("addressPrefix") == "0.0.0.0/0":
            return str(properties.get("nextHopType"))
    return None


def _openings(group: Body | None) -> Iterator[str]:
    """Names of rules that let something out to where only a way to the internet leads."""
    for rule in ((group or {}).get("properties") or {}).get("securityRules") or ():
        properties, name = rule.get("properties") or {}, str(rule.get("name"))
        if (properties.get("access"), properties.get("direction")) != ("Allow", "Outbound"):
            continue
        single = properties.get("destinationAddressPrefix")
        targets = [*([single] if single else []), *(properties.get("destinationAddressPrefixes") or ())]
        if not name.startswith("azbatch-") and any(_is_public(str(one)) for one in targets):
            yield name


def _is_public(target: str) -> bool:
    if target.lower() in {"virtualnetwork", "azureloadbalancer"}:
        return False
    try:
        network = IPv4Network(target, strict=False)
    except ValueError:
        return ":" not in target
    return not any(network.subnet_of(IPv4Network(one)) for one in ranges.PRIVATE)
