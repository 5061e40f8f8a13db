"""Whether a node of a pool would come up in its network, and why not. Pure.

Source: "Create an Azure Batch pool in a virtual network", "Use private endpoints with Azure Batch accounts", "Create a
simplified node communication pool without public IP addresses".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from azbatch_emulator.arm import addresses, packets
from azbatch_emulator.arm.ids import parse
from azbatch_emulator.arm.kinds import Resources
from azbatch_emulator.arm.providers.network_outbound import gateway_works, next_hop
from azbatch_emulator.arm.records import Resource

NETWORK = "Microsoft.Network/virtualNetworks"
PEERING = f"{NETWORK}/virtualNetworkPeerings"
DOCKER_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a node cannot do something: `code` as the service's node errors have it, and a sentence."""

    code: str
    message: str


def spaces(network: Resource, resources: Resources) -> list[IPv4Network]:
    """The prefixes of a network and its peers: what the tag VirtualNetwork stands for in it."""
    ids = [network.id.text]
    ids += [
        str((one.properties.get("remoteVirtualNetwork") or {}).get("id", ""))
        for one in resources.of_type(PEERING, network.id.text)
    ]
    found = []
    for id in ids:
        one = resources.get(id)
        for text in ((one.properties.get("addressSpace") or {}).get("addressPrefixes") or ()) if one else ():
            found.append(IPv4Network(str(text)))
    return found


def connects(subnet: Resource, name: str, port: int, region: str, resources: Resources) -> Obstacle | None:
    """Whether a machine in a subnet reaches a name on a TCP port: DNS, a way out, the security group."""
    network = resources.get(subnet.id.parent.text) if subnet.id.parent else None
    if network is None:
        return Obstacle(code="NodeNotReady", message=f"The network of {subnet.id.text} does not exist.")
    inside = spaces(network, resources)
    address = addresses.resolve(name, network.id.text, region, resources)
    private = any(address in space for space in inside)
    own = IPv4Network(str(subnet.properties["addressPrefix"]))[addresses.RESERVED]
    packet = packets.Packet(direction="Outbound", protocol="Tcp", source=own, destination=address, port=port)
    group = str((subnet.properties.get("networkSecurityGroup") or {}).get("id", "")) or None
    verdict = packets.judge(packet, group, inside, resources)
    if not verdict.passes:
        return Obstacle(
            code="NetworkSecurityGroupDenied",
            message=f"The rule '{verdict.rule}' of the network security group keeps nodes from {name}:{port} "
            f"({address}).",
        )
    missing = None if private else _no_way_out(subnet, name, address, resources)
    if missing is None:
        return None
    return Obstacle(code="NoOutboundAccess", message=f"The subnet has no way to {name}:{port} ({address}): {missing}.")


def _no_way_out(subnet: Resource, name: str, address: IPv4Address, resources: Resources) -> str | None:
    """Why a packet to a public address does not leave a subnet whose nodes have no public addresses; None if it does.

    Service endpoints come before the route table, and that before a NAT gateway. Where a route leads through an
    appliance or a gateway of the owner's, it is taken to let everything through.
    """
    services = {str(one.get("service", "")).lower() for one in subnet.properties.get("serviceEndpoints") or ()}
    if services & {"microsoft.storage", "microsoft.storage.global"} and ".blob." in name:
        return None
    hop = next_hop(subnet, address, resources)
    if hop == "None":
        return "its route table drops it"
    if hop in {"VirtualAppliance", "VirtualNetworkGateway"}:
        return None
    if gateway_works(subnet, resources) or subnet.properties.get("defaultOutboundAccess", True):
        return None
    if subnet.properties.get("natGateway"):
        return "no default outbound access, and its NAT gateway has no public address"
    return "no default outbound access, no NAT gateway"


def node_obstacle(spec: Mapping[str, Any], account: Resource, resources: Resources) -> Obstacle | None:
    """Why the nodes of a pool (data-plane body) of an account would be unusable; None if they would come up."""
    closed = account.properties.get("publicNetworkAccess") == "Disabled"
    networking = spec.get("networkConfiguration") or {}
    subnet_id = str(networking.get("subnetId") or "")
    if not subnet_id:
        if closed:
            return Obstacle(
                code="NodeManagementUnreachable",
                message="The account has no public access, and nodes outside a network reach no private endpoint.",
            )
        return None
    subnet = resources.get(subnet_id)
    if subnet is None:
        return Obstacle(code="SubnetNotFound", message=f"The subnet {subnet_id} does not exist.")
    return _management(subnet, account, closed, resources) or _images(spec, subnet, account.location, resources)


def _management(subnet: Resource, account: Resource, closed: bool, resources: Resources) -> Obstacle | None:
    name = str(account.properties["nodeManagementEndpoint"])
    network = resources.get(subnet.id.parent.text) if subnet.id.parent else None
    assert network is not None
    address = addresses.resolve(name, network.id.text, account.location, resources)
    private = any(address in space for space in spaces(network, resources))
    if closed and not private:
        return Obstacle(
            code="NodeManagementUnreachable",
            message=f"The account has no public access, and {name} resolves to no private endpoint (nodeManagement) in "
            "the pool's network: the endpoint, the zone privatelink.batch.azure.com or its link is missing.",
        )
    found = connects(subnet, name, 443, account.location, resources)
    return None if found is None else Obstacle(code="NodeManagementUnreachable", message=found.message)


def registry_of(image: str) -> str:
    """The host that an image is pulled from."""
    first = image.split("/")[0]
    return first if "/" in image and ("." in first or ":" in first) else DOCKER_HUB


def _images(spec: Mapping[str, Any], subnet: Resource, region: str, resources: Resources) -> Obstacle | None:
    containers = (spec.get("virtualMachineConfiguration") or {}).get("containerConfiguration") or {}
    for image in containers.get("containerImageNames") or ():
        host = registry_of(str(image)).split(":")[0]
        found = connects(subnet, host, 443, region, resources)
        policies = subnet.properties.get("serviceEndpointPolicies") or ()
        if (
            found is None
            and policies
            and host.endswith((".azurecr.io", "mcr.microsoft.com"))
            and not is_private(subnet, host, region, resources)
        ):
            found = Obstacle(
                code="ServiceEndpointPolicyDenied",
                message=f"The layers of {image} lie in storage accounts of Microsoft's, which the subnet's service "
                f"endpoint "
                "policy does not allow; give the registry a private endpoint.",
            )
        if found is not None:
            return Obstacle(
                code="ContainerInvalidImage", message=f"The image {image} cannot be pulled: {found.message}"
            )
    return None


def is_private(subnet: Resource, name: str, region: str, resources: Resources) -> bool:
    """Whether a name resolves, for machines in a subnet, to an address inside its network or a peered one."""
    network = resources.get(subnet.id.parent.text) if subnet.id.parent else None
    if network is None:
        return False
    address = addresses.resolve(name, network.id.text, region, resources)
    return any(address in space for space in spaces(network, resources))


def network_of(machine: Resource, resources: Resources) -> str | None:
    """The id of the network a virtual machine stands in."""
    subnet = subnet_of(machine, resources)
    parent = parse(subnet).parent if subnet else None
    return None if parent is None else parent.text


def subnet_of(machine: Resource, resources: Resources) -> str | None:
    """The id of the subnet a virtual machine stands in."""
    for interface in (machine.properties.get("networkProfile") or {}).get("networkInterfaces") or ():
        card = resources.get(str(interface.get("id", "")))
        for configuration in (card.properties.get("ipConfigurations") or ()) if card else ():
            subnet = str(((configuration.get("properties") or {}).get("subnet") or {}).get("id", ""))
            if subnet:
                return subnet
    return None
