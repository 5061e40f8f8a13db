"""Microsoft.Network: virtual networks and subnets, security groups, interfaces. Source: REST, Virtual Networks."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from azbatch_emulator.arm import addresses, packets
from azbatch_emulator.arm.kinds import Body, Delete, Draft, Edit, Kind, Provider, Put, Resources
from azbatch_emulator.arm.providers import network_outbound, network_private
from azbatch_emulator.arm.providers.network_outbound import check_reference, reference
from azbatch_emulator.arm.records import Answer, ArmRefused, Resource, Style

NETWORK = "Microsoft.Network/virtualNetworks"
SUBNET = f"{NETWORK}/subnets"
GROUP = "Microsoft.Network/networkSecurityGroups"
RULE = f"{GROUP}/securityRules"
INTERFACE = "Microsoft.Network/networkInterfaces"
POLICY = "Microsoft.Network/serviceEndpointPolicies"
PROTOCOLS = {"tcp", "udp", "icmp", "esp", "ah", "*"}
MOST_RULES = 1000


def _prefixes(edit_body: Body) -> list[IPv4Network]:
    given = ((edit_body.get("properties") or {}).get("addressSpace") or {}).get("addressPrefixes") or []
    try:
        found = [IPv4Network(str(text)) for text in given]
    except ValueError as error:
        raise ArmRefused(400, "InvalidAddressPrefixFormat", f"Address prefix is invalid: {error}.") from None
    if not found:
        raise ArmRefused(400, "InvalidRequestFormat", "A virtual network needs addressSpace.addressPrefixes.")
    return found


def _network(edit: Edit) -> Draft:
    spaces = _prefixes(edit.body)
    given = (edit.body.get("properties") or {}).get("subnets")
    networks: list[tuple[str, IPv4Network]] = []
    kept = edit.resources.of_type(SUBNET, edit.id.text) if given is None else ()
    for item in [*(given or ()), *({"name": one.id.name, "properties": one.properties} for one in kept)]:
        networks.append((str(item.get("name")), _subnet_prefix(item.get("properties") or {}, str(item.get("name")))))
    for number, (name, network) in enumerate(networks):
        _check_place(name, network, spaces, networks[:number], edit.id.name)
    return Draft(body=edit.body)


def _subnet_prefix(properties: Body, name: str) -> IPv4Network:
    text = str(properties.get("addressPrefix") or (properties.get("addressPrefixes") or [""])[0])
    try:
        return IPv4Network(text)
    except ValueError:
        raise ArmRefused(
            400,
            "InvalidCIDRNotation",
            f"The address prefix '{text}' of subnet '{name}' is not in CIDR notation, or its address has host bits.",
        ) from None


def _check_place(
    name: str, network: IPv4Network, spaces: list[IPv4Network], others: list[tuple[str, IPv4Network]], vnet: str
) -> None:
    if not any(network.subnet_of(space) for space in spaces):
        raise ArmRefused(
            400,
            "NetcfgInvalidSubnet",
            f"Subnet '{name}' is not valid because its IP address range is outside the IP address range of virtual "
            f"network '{vnet}'.",
        )
    if network.prefixlen > 29:
        raise ArmRefused(400, "NetcfgInvalidSubnet", f"Subnet '{name}' is not valid: the smallest subnet is a /29.")
    for other, taken in others:
        if network.overlaps(taken):
            raise ArmRefused(
                400,
                "NetcfgSubnetRangesOverlap",
                f"Subnet '{name}' is not valid because its IP address range overlaps with that of an existing "
                f"subnet '{other}' in virtual network '{vnet}'.",
            )


def _subnet(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    network = _subnet_prefix(properties, edit.id.name)
    parent = edit.id.parent
    vnet = edit.resources.get(parent.text) if parent else None
    if vnet is not None:
        others = [
            (one.id.name, IPv4Network(str(one.properties["addressPrefix"])))
            for one in edit.resources.of_type(SUBNET, vnet.id.text)
            if one.id.key != edit.id.key
        ]
        _check_place(edit.id.name, network, _prefixes(vnet.body), others, vnet.id.name)
    for name in ("networkSecurityGroup", "natGateway", "routeTable"):
        check_reference(reference(properties.get(name)), edit)
    for one in properties.get("serviceEndpointPolicies") or ():
        check_reference(reference(one), edit)
    if (
        edit.before is not None
        and IPv4Network(str(edit.before.properties["addressPrefix"])) != network
        and _users(edit.id.text, edit.resources)
    ):
        raise ArmRefused(400, "InUseSubnetCannotBeUpdated", f"Subnet {edit.id.name} is in use and cannot be updated.")
    properties["addressPrefix"] = str(network)
    properties.pop("addressPrefixes", None)
    properties.setdefault("privateEndpointNetworkPolicies", "Disabled")
    properties.setdefault("privateLinkServiceNetworkPolicies", "Enabled")
    properties["serviceEndpoints"] = [
        {"provisioningState": "Succeeded", "locations": ["*"], **one}
        for one in properties.get("serviceEndpoints") or ()
    ]
    for name in ("ipConfigurations", "privateEndpoints"):
        properties.pop(name, None)
    return Draft(body={"properties": {name: value for name, value in properties.items() if value is not None}})


def _subnet_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    properties = edit.body.get("properties") or {}
    members = (("networkSecurityGroup", GROUP), ("natGateway", network_outbound.GATEWAY),
               ("routeTable", network_outbound.TABLE))  # fmt: skip
    found = [(reference(properties.get(name)), f"{kind}/join/action") for name, kind in members]
    found += [(reference(one), f"{POLICY}/join/action") for one in properties.get("serviceEndpointPolicies") or ()]
    return tuple((id, action) for id, action in found if id)


def _users(subnet_id: str, resources: Resources) -> list[str]:
    """Ids of what stands in a subnet: interfaces' configurations, Batch pools."""
    found = []
    for interface in resources.of_type(INTERFACE):
        for configuration in interface.properties.get("ipConfigurations") or ():
            if reference((configuration.get("properties") or {}).get("subnet")).lower() == subnet_id.lower():
                found.append(f"{interface.id.text}/ipConfigurations/{configuration.get('name')}")
    for pool in resources.of_type("Microsoft.Batch/batchAccounts/pools"):
        if str((pool.properties.get("networkConfiguration") or {}).get("subnetId", "")).lower() == subnet_id.lower():
            found.append(pool.id.text)
    return found


def _subnet_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    users = _users(edit.id.text, edit.resources)
    if users:
        raise ArmRefused(
            400,
            "InUseSubnetCannotBeDeleted",
            f"Subnet {edit.id.name} is in use by {users[0]} and cannot be deleted. In order to delete the subnet, "
            f"delete all the resources within the subnet. See aka.ms/deletesubnet.",
        )
    return ()


def _network_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for subnet in edit.resources.of_type(SUBNET, edit.id.text):
        _subnet_gone(
            Edit(
                id=subnet.id,
                before=subnet,
                body={},
                caller=edit.caller,
                now=edit.now,
                resources=edit.resources,
                new_id=edit.new_id,
            )
        )
    for link in edit.resources.of_type("Microsoft.Network/privateDnsZones/virtualNetworkLinks"):
        if reference(link.properties.get("virtualNetwork")).lower() == edit.id.key:
            raise ArmRefused(
                400,
                "InUseVirtualNetworkCannotBeDeleted",
                f"Virtual network {edit.id.name} is linked to the private DNS zone by {link.id.text} and cannot be "
                f"deleted.",
            )
    return ()


def _show_subnet(resource: Resource, resources: Resources) -> Body:
    properties = dict(resource.properties)
    interfaces = [{"id": id} for id in _users(resource.id.text, resources) if "/ipConfigurations/" in id]
    endpoints = [
        {"id": one.id.text}
        for one in resources.of_type("Microsoft.Network/privateEndpoints")
        if reference(one.properties.get("subnet")).lower() == resource.id.key
    ]
    if interfaces:
        properties["ipConfigurations"] = interfaces
    if endpoints:
        properties["privateEndpoints"] = endpoints
    return {"properties": properties}


def _address_available(edit: Edit) -> Answer:
    wanted = str((edit.body.get("?") or {}).get("ipaddress", ""))
    for subnet in edit.resources.of_type(SUBNET, edit.id.text):
        network = IPv4Network(str(subnet.properties["addressPrefix"]))
        try:
            inside = IPv4Address(wanted) in network
        except ValueError:
            raise ArmRefused(400, "InvalidIPAddress", f"The IP address '{wanted[:60]}' is invalid.") from None
        if inside:
            left = list(addresses.free(subnet.id.text, edit.resources))
            return Answer(
                status=200,
                body={
                    "available": IPv4Address(wanted) in left,
                    "availableIPAddresses": [str(one) for one in left[:5]],
                    "isPlatformReserved": False,
                },
            )
    raise ArmRefused(
        400,
        "PrivateIPAddressNotInAnySubnet",
        f"Private static IP address {wanted} does not belong to the range of any subnet of the virtual network "
        f"{edit.id.name}.",
    )


# Security groups


def _rule(edit: Edit) -> Draft:
    rule = dict(edit.body.get("properties") or {})
    where = f"security rule {edit.id.name}"
    for name, allowed in (
        ("direction", {"inbound", "outbound"}),
        ("access", {"allow", "deny"}),
        ("protocol", PROTOCOLS),
    ):
        if str(rule.get(name, "")).lower() not in allowed:
            raise ArmRefused(400, "InvalidRequestFormat", f"The {where} has an invalid {name}: '{rule.get(name)}'.")
    priority = rule.get("priority")
    if not isinstance(priority, int) or not 100 <= priority <= 4096:
        raise ArmRefused(
            400,
            "SecurityRuleInvalidPriority",
            f"Security rule has invalid Priority. Value provided: {priority} Allowed range 100-4096.",
        )
    for name in ("sourceAddressPrefix", "destinationAddressPrefix"):
        given = packets.many(rule, name)
        if not given:
            raise ArmRefused(400, "SecurityRuleMissingAddressPrefix", f"The {where} needs {name} or its plural.")
        for text in given:
            _check_prefix(text, where)
    for name in ("sourcePortRange", "destinationPortRange"):
        given = packets.many(rule, name)
        if not given:
            raise ArmRefused(400, "SecurityRuleMissingPortRange", f"The {where} needs {name} or its plural.")
        for text in given:
            _check_ports(text, where)
    parent = edit.id.parent
    others = list(edit.resources.of_type(RULE, parent.text)) if parent else []
    for other in others:
        same = (
            other.properties.get("priority") == priority
            and str(other.properties.get("direction")).lower() == str(rule["direction"]).lower()
        )
        if same and other.id.key != edit.id.key:
            raise ArmRefused(
                400,
                "SecurityRuleConflict",
                f"Security rule {edit.id.name} conflicts with rule {other.id.name}. Rules cannot have the same "
                f"Priority and Direction.",
            )
    if edit.before is None and len(others) >= MOST_RULES:
        raise ArmRefused(
            400, "NetworkSecurityGroupRulesLimitReached", f"The network security group already has {MOST_RULES} rules."
        )
    rule["direction"], rule["access"] = str(rule["direction"]).capitalize(), str(rule["access"]).capitalize()
    return Draft(body={"properties": rule})


def _check_prefix(text: str, where: str) -> None:
    if text in {"*"} or addresses.known_tag(text):
        return
    try:
        IPv4Network(text)
    except ValueError:
        raise ArmRefused(
            400,
            "SecurityRuleInvalidAddressPrefix",
            f"Security rule has invalid Address prefix. Value provided: {text} ({where}).",
        ) from None


def _check_ports(text: str, where: str) -> None:
    low, dash, high = text.partition("-")
    good = text == "*" or (
        low.isdigit() and (not dash or high.isdigit()) and 0 <= int(low) <= int(high or low) <= 65535
    )
    if not good:
        raise ArmRefused(
            400,
            "SecurityRuleInvalidPortRange",
            f"Security rule has invalid Port range. Value provided: {text} ({where}). Value should be an integer OR "
            f"integer range with '-' delimiter. Valid range 0-65535.",
        )


def _group(edit: Edit) -> Draft:
    seen: dict[tuple[str, int], str] = {}
    for rule in (edit.body.get("properties") or {}).get("securityRules") or ():
        inner = rule.get("properties") or {}
        place = (str(inner.get("direction")).lower(), int(inner.get("priority") or 0))
        if place in seen:
            raise ArmRefused(
                400,
                "SecurityRuleConflict",
                f"Security rule {rule.get('name')} conflicts with rule {seen[place]}. Rules cannot have the same "
                f"Priority and Direction.",
            )
        seen[place] = str(rule.get("name"))
    read_only = {"defaultSecurityRules", "networkInterfaces", "subnets"}
    properties = {name: value for name, value in (edit.body.get("properties") or {}).items() if name not in read_only}
    return Draft(body={**edit.body, "properties": properties})


def _group_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for subnet in edit.resources.of_type(SUBNET):
        if reference(subnet.properties.get("networkSecurityGroup")).lower() == edit.id.key:
            raise ArmRefused(
                400,
                "InUseNetworkSecurityGroupCannotBeDeleted",
                f"Network security group {edit.id.text} cannot be deleted because it is in use by the following "
                f"resources: {subnet.id.text}. In order to delete the Network security group, remove the "
                f"association with the resource(s).",
            )
    return ()


def _show_group(resource: Resource, resources: Resources) -> Body:
    users = [
        {"id": one.id.text}
        for one in resources.of_type(SUBNET)
        if reference(one.properties.get("networkSecurityGroup")).lower() == resource.id.key
    ]
    rules = [{"id": f"{resource.id.text}/defaultSecurityRules/{one['name']}", **one} for one in packets.DEFAULT_RULES]
    properties = {**resource.properties, "defaultSecurityRules": rules}
    if users:
        properties["subnets"] = users
    return {**resource.body, "properties": properties}


# Interfaces and service endpoint policies


def _interface(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    configurations: list[dict[str, Any]] = []
    given: set[IPv4Address] = set()
    before = (
        {one.get("name"): one.get("properties") or {} for one in (edit.before.properties.get("ipConfigurations") or ())}
        if edit.before
        else {}
    )
    for one in properties.get("ipConfigurations") or ():
        inner = dict(one.get("properties") or {})
        subnet = reference(inner.get("subnet"))
        check_reference(subnet, edit)
        check_reference(reference(inner.get("publicIPAddress")), edit)
        kept = before.get(one.get("name"), {}).get("privateIPAddress")
        address = kept or next(
            (str(free) for free in addresses.free(subnet, edit.resources) if free not in given), None
        )
        if address is None:
            raise network_private.full(subnet)
        given.add(IPv4Address(address))
        inner.update(
            privateIPAddress=address, privateIPAllocationMethod=inner.get("privateIPAllocationMethod", "Dynamic")
        )
        configurations.append(
            {"name": one.get("name"), "id": f"{edit.id.text}/ipConfigurations/{one.get('name')}", "properties": inner}
        )
    return Draft(body={**edit.body, "properties": {**properties, "ipConfigurations": configurations}})


def _interface_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    found = [
        reference((one.get("properties") or {}).get("subnet"))
        for one in (edit.body.get("properties") or {}).get("ipConfigurations") or ()
    ]
    return tuple((id, f"{SUBNET}/join/action") for id in found if id)


def _interface_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for machine in edit.resources.of_type("Microsoft.Compute/virtualMachines"):
        used = (machine.properties.get("networkProfile") or {}).get("networkInterfaces") or ()
        if any(reference(one).lower() == edit.id.key for one in used):
            raise ArmRefused(
                400,
                "NicInUse",
                f"Network Interface {edit.id.text} is used by existing resource {machine.id.text}. In order to "
                f"delete the network interface, it must be dissociated from the resource.",
            )
    return ()


def _policy(edit: Edit) -> Draft:
    properties = {name: value for name, value in (edit.body.get("properties") or {}).items() if name != "subnets"}
    return Draft(body={**edit.body, "properties": properties})


def _show_policy(resource: Resource, resources: Resources) -> Body:
    users = [
        {"id": one.id.text}
        for one in resources.of_type(SUBNET)
        if any(
            reference(each).lower() == resource.id.key for each in one.properties.get("serviceEndpointPolicies") or ()
        )
    ]
    return {**resource.body, "properties": {**resource.properties, **({"subnets": users} if users else {})}}


def _policy_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for subnet in edit.resources.of_type(SUBNET):
        if any(reference(one).lower() == edit.id.key for one in subnet.properties.get("serviceEndpointPolicies") or ()):
            raise ArmRefused(
                400,
                "InUseServiceEndpointPolicyCannotBeDeleted",
                f"Service endpoint policy {edit.id.text} is in use by subnet {subnet.id.text} and cannot be deleted.",
            )
    return ()


_QUICK = timedelta(seconds=4)
_ASYNC: dict[str, Any] = {
    "style": Style.ASYNC_OPERATION,
    "delete_style": Style.ASYNC_OPERATION,
    "create_delay": _QUICK,
    "update_delay": _QUICK,
    "delete_delay": timedelta(seconds=10),
}
PROVIDER = Provider(
    namespace="Microsoft.Network",
    kinds=(
        Kind(
            type=NETWORK,
            put=_network,
            delete=_network_gone,
            children={"subnets": SUBNET},
            actions={"get checkipaddressavailability": _address_available},
            **_ASYNC,
        ),
        Kind(type=SUBNET, put=_subnet, delete=_subnet_gone, show=_show_subnet, links=_subnet_links, **_ASYNC),
        Kind(type=f"{NETWORK}/virtualNetworkPeerings", **_ASYNC),
        Kind(type=GROUP, put=_group, delete=_group_gone, show=_show_group, children={"securityRules": RULE}, **_ASYNC),
        Kind(type=RULE, put=_rule, **_ASYNC),
        Kind(type=INTERFACE, put=_interface, delete=_interface_gone, links=_interface_links, **_ASYNC),
        Kind(
            type=POLICY,
            put=_policy,
            show=_show_policy,
            delete=_policy_gone,
            children={"serviceEndpointPolicyDefinitions": f"{POLICY}/serviceEndpointPolicyDefinitions"},
            **_ASYNC,
        ),
        Kind(type=f"{POLICY}/serviceEndpointPolicyDefinitions", **_ASYNC),
        *network_outbound.KINDS,
        *network_private.KINDS,
    ),
)
