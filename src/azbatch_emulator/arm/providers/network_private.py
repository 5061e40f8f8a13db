"""Private endpoints and private DNS. Source: REST, Private Link and Private DNS; "Azure Private Endpoint DNS"."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from azbatch_emulator.arm import addresses
from azbatch_emulator.arm.ids import ResourceId, parse
from azbatch_emulator.arm.kinds import Delete, Draft, Edit, Kind, Put, Resources
from azbatch_emulator.arm.records import ArmRefused, ProvisioningState, Resource, Style

ENDPOINT = "Microsoft.Network/privateEndpoints"
ZONE_GROUP = f"{ENDPOINT}/privateDnsZoneGroups"
ZONE = "Microsoft.Network/privateDnsZones"
LINK = f"{ZONE}/virtualNetworkLinks"
RECORD = f"{ZONE}/A"
INTERFACE = "Microsoft.Network/networkInterfaces"
GROUP_IDS = {
    "microsoft.batch/batchaccounts": ("batchAccount", "nodeManagement"),
    "microsoft.storage/storageaccounts": ("blob", "dfs", "file", "queue", "table"),
    "microsoft.containerregistry/registries": ("registry",),
}


def full(subnet: str) -> ArmRefused:
    """The refusal where a subnet has no free address."""
    return ArmRefused(
        400,
        "SubnetIsFull",
        f"Subnet {subnet.rsplit('/', 1)[-1]} with address prefix is already full: subnet {subnet} does not have "
        f"enough capacity for 1 IP addresses.",
    )


def names(target: Resource, group: str) -> list[tuple[str, str]]:
    """(name, zone) of each DNS name that a private endpoint of this group serves."""
    kind = target.id.type.lower()
    if kind == "microsoft.batch/batchaccounts":
        if group.lower() == "batchaccount":
            return [(str(target.properties["accountEndpoint"]), "privatelink.batch.azure.com")]
        return [(str(target.properties["nodeManagementEndpoint"]), "privatelink.batch.azure.com")]
    if kind == "microsoft.storage/storageaccounts":
        return [(f"{target.id.name}.{group.lower()}.core.windows.net", f"privatelink.{group.lower()}.core.windows.net")]
    return [(f"{target.id.name.lower()}.azurecr.io", "privatelink.azurecr.io")]


def connections(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The service connections of an endpoint, those approved by hand included."""
    properties = body.get("properties") or {}
    return [
        one.get("properties") or {}
        for name in ("privateLinkServiceConnections", "manualPrivateLinkServiceConnections")
        for one in properties.get(name) or ()
    ]


def _endpoint(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    subnet = str((properties.get("subnet") or {}).get("id", ""))
    if edit.resources.get(subnet) is None:
        raise ArmRefused(
            400, "InvalidResourceReference", f"Resource {subnet} referenced by resource {edit.id.text} was not found."
        )
    found = connections(edit.body)
    if len(found) != 1:
        raise ArmRefused(
            400,
            "PrivateEndpointRequiresOneConnection",
            f"Private endpoint {edit.id.name} needs exactly one service connection.",
        )
    target = edit.resources.get(str(found[0].get("privateLinkServiceId", "")))
    if target is None:
        raise ArmRefused(
            400,
            "InvalidPrivateLinkServiceId",
            f"The resource {found[0].get('privateLinkServiceId')} of private endpoint {edit.id.name} was not found.",
        )
    allowed = GROUP_IDS.get(target.id.type.lower(), ())
    groups = [str(group) for group in found[0].get("groupIds") or ()]
    if len(groups) != 1 or groups[0].lower() not in {one.lower() for one in allowed}:
        raise ArmRefused(
            400,
            "InvalidGroupId",
            f"The group ids {groups} are not valid for {target.id.text}; valid ones are {', '.join(allowed)}.",
        )
    interface = parse(f"{edit.id.scope}/providers/{INTERFACE}/{edit.id.name}.nic.{edit.id.resource_group}")
    address = _address(edit, subnet)
    properties["networkInterfaces"] = [{"id": interface.text}]
    properties["customDnsConfigs"] = [{"fqdn": name, "ipAddresses": [address]} for name, _ in names(target, groups[0])]
    properties["privateLinkServiceConnections"] = [
        {
            "name": one.get("name"),
            "id": f"{edit.id.text}/privateLinkServiceConnections/{one.get('name')}",
            "properties": {
                **(one.get("properties") or {}),
                "privateLinkServiceConnectionState": {
                    "status": "Approved",
                    "description": "Auto-Approved",
                    "actionsRequired": "None",
                },
            },
        }
        for one in properties.get("privateLinkServiceConnections") or ()
    ]
    card = {
        "location": edit.body.get("location"),
        "properties": {
            "ipConfigurations": [
                {
                    "name": "privateEndpointIpConfig",
                    "properties": {"subnet": {"id": subnet}, "privateIPAddress": address},
                }
            ],
            "privateEndpoint": {"id": edit.id.text},
        },
    }
    return Draft(body={**edit.body, "properties": properties}, also=(Put(interface, card),))


def _endpoint_shown(endpoint: Resource, resources: Resources) -> Mapping[str, Any]:
    """As Azure shows it: once a DNS zone group keeps the records, `customDnsConfigs` is empty."""
    if any(one.state is ProvisioningState.SUCCEEDED for one in resources.of_type(ZONE_GROUP, endpoint.id.text)):
        return {**endpoint.body, "properties": {**endpoint.properties, "customDnsConfigs": []}}
    return endpoint.body


def _address(edit: Edit, subnet: str) -> str:
    """The endpoint keeps the address it has, or takes the first that is neither used nor promised."""
    if edit.before is not None:
        return str(edit.before.properties["customDnsConfigs"][0]["ipAddresses"][0])
    promised = {
        address
        for other in edit.resources.of_type(ENDPOINT)
        if str((other.properties.get("subnet") or {}).get("id", "")).lower() == subnet.lower()
        for configuration in other.properties.get("customDnsConfigs") or ()
        for address in configuration["ipAddresses"]
    }
    for address in addresses.free(subnet, edit.resources):
        if str(address) not in promised:
            return str(address)
    raise full(subnet)


def _endpoint_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    subnet = str(((edit.body.get("properties") or {}).get("subnet") or {}).get("id", ""))
    found = [(subnet, "Microsoft.Network/virtualNetworks/subnets/join/action")] if subnet else []
    for one in connections(edit.body):
        target = str(one.get("privateLinkServiceId", ""))
        if edit.resources.get(target) is not None:
            found.append((target, f"{parse(target).type}/privateEndpointConnectionsApproval/action"))
    return tuple(found)


def _endpoint_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    assert edit.before is not None
    gone: list[Put | Delete] = [
        Delete(parse(str(one["id"]))) for one in edit.before.properties.get("networkInterfaces") or ()
    ]
    for group in edit.resources.of_type(ZONE_GROUP, edit.id.text):
        gone += [Delete(record) for record in _records(group)]
    return tuple(gone)


def _zone_group(edit: Edit) -> Draft:
    parent = edit.id.parent
    endpoint = edit.resources.get(parent.text) if parent else None
    if endpoint is None:
        raise ArmRefused(404, "ParentResourceNotFound", f"The private endpoint of {edit.id.text} was not found.")
    connection = connections(endpoint.body)[0]
    target = edit.resources.get(str(connection["privateLinkServiceId"]))
    assert target is not None
    address = endpoint.properties["customDnsConfigs"][0]["ipAddresses"][0]
    also: list[Put | Delete] = []
    configurations = []
    for one in (edit.body.get("properties") or {}).get("privateDnsZoneConfigs") or ():
        zone = edit.resources.get(str((one.get("properties") or {}).get("privateDnsZoneId", "")))
        if zone is None:
            raise ArmRefused(400, "InvalidPrivateDnsZoneIds", f"The private DNS zone of {edit.id.text} was not found.")
        records = []
        for name, wanted in names(target, str(connection["groupIds"][0])):
            if zone.id.name.lower() != wanted:
                continue
            record = name.lower().removesuffix(f".{wanted.removeprefix('privatelink.')}")
            id = zone.id.child("A", record)
            also.append(Put(id, {"properties": {"ttl": 10, "aRecords": [{"ipv4Address": address}]}}))
            records.append(
                {
                    "recordType": "A",
                    "recordSetName": record,
                    "fqdn": f"{record}.{zone.id.name}",
                    "ipAddresses": [address],
                }
            )
        inner = {**(one.get("properties") or {}), "recordSets": records}
        configurations.append({"name": one.get("name"), "properties": inner})
    if not configurations:
        raise ArmRefused(400, "PrivateDnsZoneGroupNeedsZone", f"The zone group {edit.id.text} needs a zone.")
    return Draft(body={"properties": {"privateDnsZoneConfigs": configurations}}, also=tuple(also))


def _records(group: Resource) -> list[ResourceId]:
    return [
        parse(str(one["properties"]["privateDnsZoneId"])).child("A", str(record["recordSetName"]))
        for one in group.properties.get("privateDnsZoneConfigs") or ()
        for record in one["properties"].get("recordSets") or ()
    ]


def _zone_group_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    return tuple(Delete(record) for record in _records(edit.before)) if edit.before else ()


def _zone_group_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    zones = [
        str((one.get("properties") or {}).get("privateDnsZoneId", ""))
        for one in (edit.body.get("properties") or {}).get("privateDnsZoneConfigs") or ()
    ]
    return tuple((zone, "Microsoft.Network/privateDnsZones/join/action") for zone in zones if zone)


def _zone(edit: Edit) -> Draft:
    if str(edit.body.get("location", "")).lower() != "global":
        raise ArmRefused(
            400,
            "LocationNotAvailableForResourceType",
            "The provided location is not available for resource type 'Microsoft.Network/privateDnsZones'; it is "
            "'global'.",
        )
    return Draft(body=edit.body)


def _zone_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    if any(edit.resources.of_type(LINK, edit.id.text)):
        raise ArmRefused(
            409,
            "CannotDeleteResource",
            f"Can not delete resource before nested resources are deleted: the zone {edit.id.name} has virtual "
            f"network links.",
        )
    return ()


def _link(edit: Edit) -> Draft:
    network = str(((edit.body.get("properties") or {}).get("virtualNetwork") or {}).get("id", ""))
    if edit.resources.get(network) is None:
        raise ArmRefused(400, "BadRequest", f"The virtual network {network} of link {edit.id.name} was not found.")
    assert edit.id.parent is not None
    for other in edit.resources.of_type(LINK):
        same_network = str((other.properties.get("virtualNetwork") or {}).get("id", "")).lower() == network.lower()
        zone = other.id.parent
        if (
            other.id.key != edit.id.key
            and same_network
            and zone is not None
            and zone.name.lower() == edit.id.parent.name.lower()
        ):
            raise ArmRefused(
                400,
                "BadRequest",
                f"A virtual network cannot be linked to multiple zones with overlapping namespaces. You tried to "
                f"link virtual network with '{edit.id.parent.name}' and '{zone.name}' zones.",
            )
    return Draft(body=edit.body)


def _link_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    network = str(((edit.body.get("properties") or {}).get("virtualNetwork") or {}).get("id", ""))
    return ((network, "Microsoft.Network/virtualNetworks/join/action"),) if network else ()


_DELAYS: dict[str, Any] = {"style": Style.ASYNC_OPERATION, "delete_style": Style.ASYNC_OPERATION}
KINDS = (
    Kind(
        type=ENDPOINT,
        put=_endpoint,
        delete=_endpoint_gone,
        show=_endpoint_shown,
        links=_endpoint_links,
        create_delay=timedelta(seconds=40),
        update_delay=timedelta(seconds=10),
        delete_delay=timedelta(seconds=30),
        **_DELAYS,
    ),
    Kind(
        type=ZONE_GROUP,
        put=_zone_group,
        delete=_zone_group_gone,
        links=_zone_group_links,
        create_delay=timedelta(seconds=10),
        delete_delay=timedelta(seconds=5),
        **_DELAYS,
    ),
    Kind(
        type=ZONE,
        put=_zone,
        delete=_zone_gone,
        create_delay=timedelta(seconds=30),
        delete_delay=timedelta(seconds=30),
        **_DELAYS,
    ),
    Kind(
        type=LINK,
        put=_link,
        links=_link_links,
        create_delay=timedelta(seconds=20),
        delete_delay=timedelta(seconds=20),
        **_DELAYS,
    ),
    Kind(type=RECORD),
)
