"""Ways out of a subnet: public addresses, NAT gateways, route tables.

Source: REST, Public IP Addresses, Nat Gateways and Route Tables; "What is Azure NAT Gateway"; "Basic SKU public IP
addresses are retired" (September 2025). Codes and messages as the service words them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from azbatch_emulator.arm.kinds import Body, Delete, Draft, Edit, Kind, Put, Resources
from azbatch_emulator.arm.records import ArmRefused, Resource, Style

ADDRESS = "Microsoft.Network/publicIPAddresses"
GATEWAY = "Microsoft.Network/natGateways"
TABLE = "Microsoft.Network/routeTables"
ROUTE = f"{TABLE}/routes"
SUBNET = "Microsoft.Network/virtualNetworks/subnets"
INTERFACE = "Microsoft.Network/networkInterfaces"
HOPS = ("VirtualNetworkGateway", "VnetLocal", "Internet", "VirtualAppliance", "None")
MOST_ADDRESSES = 16  # of one NAT gateway
PUBLIC = IPv4Network("198.51.100.0/24")  # kept for documentation (RFC 5737): the tenant's own public addresses


def reference(found: Any) -> str:
    """The id of a sub-resource reference, "" for none."""
    return str((found or {}).get("id", "")) if isinstance(found, Mapping) else ""


def check_reference(id: str, edit: Edit) -> Resource | None:
    """The resource referred to, None for no reference. Raises ArmRefused where there is none, or in another region."""
    if not id:
        return None
    found = edit.resources.get(id)
    here = str(edit.body.get("location") or "")
    if found is None or (here and found.location and _region(found.location) != _region(here)):
        raise ArmRefused(
            400,
            "InvalidResourceReference",
            f"Resource {id} referenced by resource {edit.id.text} was not found. Please make sure that the "
            f"referenced resource exists, and that both resources are in the same region.",
        )
    return found


def _region(text: str) -> str:
    return text.lower().replace(" ", "")


# Public addresses


def _address(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    sku = str((edit.body.get("sku") or {}).get("name") or "Basic")
    if edit.before is not None and sku != (edit.before.body.get("sku") or {}).get("name"):
        raise ArmRefused(
            400,
            "SkuCannotBeChangedOnUpdate",
            f"Sku property is set at creation time and cannot be changed on resource update for resource "
            f"{edit.id.text}.",
        )
    if sku == "Basic":
        raise ArmRefused(
            400,
            "IPv4BasicSkuPublicIpCountLimitReached",
            "Cannot create more than 0 IPv4 Basic SKU public IP addresses for this subscription in this region.",
        )
    if sku not in {"Standard", "StandardV2"}:
        raise ArmRefused(400, "InvalidRequestFormat", f"The sku '{sku}' of public IP {edit.id.name} is invalid.")
    if str(properties.get("publicIPAllocationMethod", "Dynamic")).lower() != "static":
        raise ArmRefused(
            400,
            "StandardAndStandardV2SkuPublicIPAddressesMustBeStatic",
            f"Standard sku publicIp {edit.id.text} must have AllocationMethod set to Static.",
        )
    for name in ("natGateway", "ipConfiguration"):
        properties.pop(name, None)
    properties |= {
        "publicIPAllocationMethod": "Static",
        "publicIPAddressVersion": properties.get("publicIPAddressVersion", "IPv4"),
        "idleTimeoutInMinutes": properties.get("idleTimeoutInMinutes", 4),
        "ipAddress": str(edit.before.properties["ipAddress"]) if edit.before else _free_address(edit),
    }
    return Draft(body={**edit.body, "sku": {"name": sku, "tier": "Regional"}, "properties": properties})


def _free_address(edit: Edit) -> str:
    taken = {IPv4Address(str(one.properties["ipAddress"])) for one in edit.resources.of_type(ADDRESS)}
    for address in PUBLIC.hosts():
        if address not in taken:
            return str(address)
    raise ArmRefused(
        400,
        "StaticPublicIPCountLimitReached",
        f"Cannot create more than {len(taken)} public IP addresses with static allocation method for this "
        f"subscription in this region.",
    )


def _gateway_of(address: str, resources: Resources) -> Resource | None:
    """The NAT gateway that a public address belongs to."""
    for gateway in resources.of_type(GATEWAY):
        if address.lower() in {id.lower() for id in addresses_of(gateway)}:
            return gateway
    return None


def _configuration_of(address: str, resources: Resources) -> str | None:
    """The id of the interface's configuration that a public address belongs to."""
    for card in resources.of_type(INTERFACE):
        for one in card.properties.get("ipConfigurations") or ():
            if reference((one.get("properties") or {}).get("publicIPAddress")).lower() == address.lower():
                return f"{card.id.text}/ipConfigurations/{one.get('name')}"
    return None


def _address_shown(resource: Resource, resources: Resources) -> Body:
    found: dict[str, Any] = {}
    gateway, configuration = _gateway_of(resource.id.text, resources), _configuration_of(resource.id.text, resources)
    if gateway is not None:
        found["natGateway"] = {"id": gateway.id.text}
    if configuration is not None:
        found["ipConfiguration"] = {"id": configuration}
    return {**resource.body, "properties": {**resource.properties, **found}}


def _address_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    gateway = _gateway_of(edit.id.text, edit.resources)
    user = gateway.id.text if gateway else _configuration_of(edit.id.text, edit.resources)
    if user is not None:
        raise ArmRefused(
            400,
            "PublicIPAddressCannotBeDeleted",
            f"Public IP address {edit.id.text} can not be deleted since it is still allocated to resource {user}. In "
            f"order to delete the public IP, disassociate/detach the Public IP address from the resource. To learn "
            f"how to do this, see aka.ms/deletepublicip.",
        )
    return ()


# NAT gateways


def addresses_of(gateway: Resource) -> list[str]:
    """Ids of a NAT gateway's public addresses."""
    return [reference(one) for one in gateway.properties.get("publicIpAddresses") or ()]


def _gateway(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    sku = str((edit.body.get("sku") or {}).get("name") or "")
    if sku not in {"Standard", "StandardV2"}:
        raise ArmRefused(
            400, "InvalidRequestFormat", f"NAT gateway {edit.id.name} needs the sku Standard; it is '{sku}'."
        )
    idle = properties.setdefault("idleTimeoutInMinutes", 4)
    if not isinstance(idle, int) or not 4 <= idle <= 120:
        raise ArmRefused(
            400, "InvalidIdleTimeoutInMinutes", f"The idle timeout of NAT gateway {edit.id.name} is 4 to 120 minutes."
        )
    given = [reference(one) for one in properties.get("publicIpAddresses") or ()]
    if len(given) > MOST_ADDRESSES:
        raise ArmRefused(
            400,
            "NatGatewayPublicIpCountLimitReached",
            f"NAT gateway {edit.id.name} may have {MOST_ADDRESSES} public IP addresses at most.",
        )
    for id in given:
        _check_address(id, sku, edit)
    properties.pop("subnets", None)  # read-only: the subnets say which gateway is theirs
    return Draft(body={**edit.body, "sku": {"name": sku}, "properties": properties})


def _check_address(id: str, sku: str, edit: Edit) -> None:
    address = check_reference(id, edit)
    if address is None or (address.body.get("sku") or {}).get("name") != sku:
        raise ArmRefused(
            400,
            "NatGatewayAndPublicIpSkuMismatch",
            f"NAT gateway {edit.id.text} of sku {sku} cannot use public IP '{id}' of another sku.",
        )
    other, configuration = _gateway_of(id, edit.resources), _configuration_of(id, edit.resources)
    user = other.id.text if other is not None and other.id.key != edit.id.key else configuration
    if user is not None:
        raise ArmRefused(
            400,
            "PublicIPAddressInUse",
            f"Resource {edit.id.text} cannot use public IP {id}, which is already allocated to resource {user}.",
        )


def _gateway_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    given = [reference(one) for one in (edit.body.get("properties") or {}).get("publicIpAddresses") or ()]
    return tuple((id, f"{ADDRESS}/join/action") for id in given if id)


def _users(id: str, member: str, resources: Resources) -> Iterator[Resource]:
    """The subnets whose `member` refers to a resource."""
    for subnet in resources.of_type(SUBNET):
        if reference(subnet.properties.get(member)).lower() == id.lower():
            yield subnet


def _gateway_shown(resource: Resource, resources: Resources) -> Body:
    users = [{"id": one.id.text} for one in _users(resource.id.text, "natGateway", resources)]
    return {**resource.body, "properties": {**resource.properties, **({"subnets": users} if users else {})}}


def _gateway_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for subnet in _users(edit.id.text, "natGateway", edit.resources):
        raise ArmRefused(
            400,
            "InUseNatGatewayCannotBeDeleted",
            f"Nat gateway {edit.id.text} is in use by {subnet.id.text} and cannot be deleted. In order to delete the "
            f"Nat gateway, remove the association with the resource(s).",
        )
    return ()


# Route tables


def _route(edit: Edit) -> Draft:
    properties = edit.body.get("properties") or {}
    hop, prefix = str(properties.get("nextHopType", "")), str(properties.get("addressPrefix", ""))
    if hop not in HOPS:
        raise ArmRefused(400, "InvalidRequestFormat", f"Route {edit.id.name} has an invalid nextHopType: '{hop}'.")
    if (hop == "VirtualAppliance") != bool(properties.get("nextHopIpAddress")):
        raise ArmRefused(
            400,
            "RouteTableNextHopIpAddressMismatch",
            f"Route {edit.id.name}: nextHopIpAddress goes with the next hop VirtualAppliance, and with no other.",
        )
    try:
        IPv4Network(prefix)
    except ValueError:
        raise ArmRefused(
            400, "InvalidAddressPrefixFormat", f"Address prefix '{prefix}' of route {edit.id.name} is invalid."
        ) from None
    return Draft(body={"properties": dict(properties)})


def _table_shown(resource: Resource, resources: Resources) -> Body:
    users = [{"id": one.id.text} for one in _users(resource.id.text, "routeTable", resources)]
    return {**resource.body, "properties": {**resource.properties, **({"subnets": users} if users else {})}}


def _table(edit: Edit) -> Draft:
    properties = {name: value for name, value in (edit.body.get("properties") or {}).items() if name != "subnets"}
    return Draft(body={**edit.body, "properties": properties})


def _table_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for subnet in _users(edit.id.text, "routeTable", edit.resources):
        raise ArmRefused(
            400,
            "InUseRouteTableCannotBeDeleted",
            f"Route table {edit.id.name} is in use and cannot be deleted: {subnet.id.text}.",
        )
    return ()


def next_hop(subnet: Resource, address: IPv4Address, resources: Resources) -> str:
    """Where a subnet's route table sends an address (longest prefix first); "" where no route of it matches."""
    table = reference(subnet.properties.get("routeTable"))
    routes = [one.properties for one in resources.of_type(ROUTE, table)] if table else []
    fitting = [one for one in routes if address in IPv4Network(str(one["addressPrefix"]))]
    fitting.sort(key=lambda one: IPv4Network(str(one["addressPrefix"])).prefixlen)
    return str(fitting[-1]["nextHopType"]) if fitting else ""


def gateway_works(subnet: Resource, resources: Resources) -> bool:
    """Whether a subnet has a NAT gateway with an address to the internet."""
    gateway = resources.get(reference(subnet.properties.get("natGateway")))
    return gateway is not None and bool(
        gateway.properties.get("publicIpAddresses") or gateway.properties.get("publicIpPrefixes")
    )


_ASYNC: dict[str, Any] = {
    "style": Style.ASYNC_OPERATION,
    "delete_style": Style.ASYNC_OPERATION,
    "create_delay": timedelta(seconds=4),
    "update_delay": timedelta(seconds=4),
    "delete_delay": timedelta(seconds=10),
}
KINDS = (
    Kind(type=ADDRESS, put=_address, delete=_address_gone, show=_address_shown, **_ASYNC),
    Kind(type=GATEWAY, put=_gateway, delete=_gateway_gone, show=_gateway_shown, links=_gateway_links, **_ASYNC),
    Kind(type=TABLE, put=_table, delete=_table_gone, show=_table_shown, children={"routes": ROUTE}, **_ASYNC),
    Kind(type=ROUTE, put=_route, **_ASYNC),
)
