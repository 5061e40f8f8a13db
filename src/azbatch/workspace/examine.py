"""Reads what the doctor looks at: any Batch environment of a workspace, also one that azbatch did not make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azbatch.errors import ConfigurationError, ServiceError
from azbatch.workspace import design, doctor, doctor_ways
from azbatch.workspace.gather import BATCH_API, NETWORK_API, Gatherer
from azbatch.workspace.model import Body, Facts, Finding, Options
from azbatch.workspace.ports import Arm

DNS_API = "2024-06-01"


def examine(arm: Arm, options: Options, now: datetime, images: Mapping[str, datetime | None]) -> list[Finding]:
    """The doctor's findings. Raises ConfigurationError where there is no such workspace, or head node as named."""
    facts = Gatherer(arm, options).facts()
    faults = list(facts.faults)
    if options.head_node is not None:
        try:
            design.head_node(facts)
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError(faults)
    group = f"{facts.group['id']}/providers"
    account = next(iter(arm.list(f"{group}/Microsoft.Batch/batchAccounts", BATCH_API)), None)
    endpoints = list(arm.list(f"{group}/Microsoft.Network/privateEndpoints", NETWORK_API))
    zones = []
    for zone in arm.list(f"{group}/Microsoft.Network/privateDnsZones", DNS_API):
        links = list(arm.list(f"{zone['id']}/virtualNetworkLinks", DNS_API))
        zones.append((zone, links, list(arm.list(f"{zone['id']}/A", DNS_API))))
    pools = list(arm.list(f"{account['id']}/pools", BATCH_API)) if account else []
    own = _workspace_network(facts)
    network = _nodes_network(arm, group, pools, own)
    guard = _security_group(arm, network)
    found = doctor.doctor(
        account,
        network,
        guard,
        endpoints,
        zones,
        pools,
        interfaces=facts.interfaces,
        workspace_network=own,
        images=images,
        quota=(account.get("properties") or {}).get("dedicatedCoreQuota") if account else None,
        now=now,
    )
    gateways, tables = _hung_on(arm, network, "natGateway"), _hung_on(arm, network, "routeTable")
    found += doctor_ways.ways_out(network, guard, gateways, tables)
    found += doctor_ways.storage(_storage(facts), network, guard, endpoints, zones, facts.interfaces)
    return found


def _storage(facts: Facts) -> Body | None:
    try:
        return design.storage_account(facts)
    except ConfigurationError:
        return None


def _hung_on(arm: Arm, network: Body | None, member: str) -> dict[str, Body | None]:
    """What the network's subnets refer to, by lower-case id; None where it may not be read."""
    found: dict[str, Body | None] = {}
    for subnet in ((network or {}).get("properties") or {}).get("subnets") or ():
        id = str(((subnet.get("properties") or {}).get(member) or {}).get("id", ""))
        if id and id.lower() not in found:
            try:
                found[id.lower()] = arm.get(id, NETWORK_API)
            except ServiceError as error:
                if error.status != 403:
                    raise
                found[id.lower()] = None
    return found


def _workspace_network(facts: Facts) -> str:
    try:
        return design.workspace_subnet(facts, design.head_node(facts))[0].id
    except ConfigurationError:
        return facts.networks[0].id if facts.networks else ""


def _nodes_network(arm: Arm, group: str, pools: list[Body], own: str) -> Body | None:
    """The network that pools stand in; without pools, the one that is not the workspace's."""
    used = {doctor.pool_subnet(pool).rpartition("/subnets/")[0].lower() for pool in pools} - {""}
    others: list[Body] = []
    for network in arm.list(f"{group}/Microsoft.Network/virtualNetworks", NETWORK_API):
        if str(network["id"]).lower() in used:
            return network
        if str(network["id"]).lower() != own.lower():
            others.append(network)
    return others[0] if others else None


def _security_group(arm: Arm, network: Body | None) -> Body | None:
    for subnet in ((network or {}).get("properties") or {}).get("subnets") or ():
        reference: Any = (subnet.get("properties") or {}).get("networkSecurityGroup")
        if reference:
            return arm.get(str(reference["id"]), NETWORK_API)
    return None
