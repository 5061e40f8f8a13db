"""azure-mgmt-network, unchanged, on the emulated ways out: public addresses, NAT gateways, route tables, eTags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.network import NetworkManagementClient

from azbatch_emulator import Emulator
from tests.contract.sdk import Token

AT: dict[str, Any] = {"location": "westeurope"}
STANDARD: dict[str, Any] = {**AT, "sku": {"name": "Standard"}}
STATIC = {"publicIPAllocationMethod": "Static"}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with Emulator(storage=False, runner="instant", speed=20_000) as running:
        running.control("workspace", name="lab")
        with NetworkManagementClient(
            Token(running),
            "00000000-0000-4000-8000-000000000001",
            base_url=running.https_url,
            credential_scopes=["https://management.azure.com/.default"],
            connection_verify=str(running.ca_bundle),
            polling_interval=0,
        ) as made:
            yield made


def address(client: Any, name: str) -> Any:
    return client.public_ip_addresses.begin_create_or_update("lab", name, {**STANDARD, "properties": STATIC}).result()


def gateway(client: Any, name: str, *addresses: str, **more: Any) -> Any:
    properties = {"publicIpAddresses": [{"id": id} for id in addresses], **more}
    return client.nat_gateways.begin_create_or_update("lab", name, {**STANDARD, "properties": properties}).result()


def network(client: Any, name: str, number: int, **properties: Any) -> Any:
    subnet = {"name": "one", "properties": {"addressPrefix": f"10.{number}.0.0/24", **properties}}
    space = {"addressSpace": {"addressPrefixes": [f"10.{number}.0.0/16"]}, "subnets": [subnet]}
    return client.virtual_networks.begin_create_or_update("lab", name, {**AT, "properties": space}).result()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**AT, "properties": STATIC}, "IPv4BasicSkuPublicIpCountLimitReached"),
        ({**AT, "sku": {"name": "Basic"}, "properties": STATIC}, "IPv4BasicSkuPublicIpCountLimitReached"),
        ({**STANDARD, "properties": {}}, "StandardAndStandardV2SkuPublicIPAddressesMustBeStatic"),
        (
            {**STANDARD, "properties": {"publicIPAllocationMethod": "Dynamic"}},
            "StandardAndStandardV2SkuPublicIPAddressesMustBeStatic",
        ),
    ],
)
def test_a_public_address_is_standard_and_static(client: Any, body: Any, code: str) -> None:
    """Basic ones are not made any more; a dynamic one was never Standard."""
    with pytest.raises(HttpResponseError, match=code):
        client.public_ip_addresses.begin_create_or_update("lab", "no", body).result()


def test_addresses_differ_and_stay(client: Any) -> None:
    """Each has its own at once, and keeps it through an update."""
    first, second = address(client, "a1"), address(client, "a2")
    assert first.ip_address != second.ip_address
    assert address(client, "a1").ip_address == first.ip_address
    with pytest.raises(HttpResponseError, match="SkuCannotBeChangedOnUpdate"):
        client.public_ip_addresses.begin_create_or_update(
            "lab", "a1", {**AT, "sku": {"name": "StandardV2"}, "properties": STATIC}
        ).result()


def test_nothing_in_use_goes_and_each_tells_its_user(client: Any) -> None:
    """Address, gateway, subnet: deletion only from the outside in; back references as the service shows them, and not
    as somebody sends them."""
    held = address(client, "held")
    made = gateway(client, "way", held.id, subnets=[{"id": "/subscriptions/none"}])
    assert made.subnets is None, "read-only"
    table = client.route_tables.begin_create_or_update("lab", "table", {**AT, "properties": {}}).result()
    net = network(client, "out", 91, natGateway={"id": made.id}, routeTable={"id": table.id})
    subnet = net.subnets[0].id
    assert [one.id for one in client.nat_gateways.get("lab", "way").subnets] == [subnet]
    assert [one.id for one in client.route_tables.get("lab", "table").subnets] == [subnet]
    assert client.public_ip_addresses.get("lab", "held").nat_gateway.id == made.id
    with pytest.raises(HttpResponseError, match="PublicIPAddressInUse"):
        gateway(client, "second", held.id)
    refusals = [
        (client.public_ip_addresses, "held", "PublicIPAddressCannotBeDeleted"),
        (client.nat_gateways, "way", "InUseNatGatewayCannotBeDeleted"),
        (client.route_tables, "table", "InUseRouteTableCannotBeDeleted"),
    ]
    for operations, name, code in refusals:
        with pytest.raises(HttpResponseError, match=code):
            operations.begin_delete("lab", name).result()
    client.virtual_networks.begin_delete("lab", "out").result()
    for operations, name in ((client.nat_gateways, "way"), (client.public_ip_addresses, "held")):
        operations.begin_delete("lab", name).result()
    client.route_tables.begin_delete("lab", "table").result()
    assert "way" not in {one.name for one in client.nat_gateways.list("lab")}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"sku": {}}, "needs the sku Standard"),
        ({"properties": {"idleTimeoutInMinutes": 3}}, "InvalidIdleTimeoutInMinutes"),
        ({"properties": {"publicIpAddresses": [{"id": "GROUP/publicIPAddresses/none"}]}}, "InvalidResourceReference"),
        (
            {"location": "northeurope", "properties": {"publicIpAddresses": [{"id": "HERE"}]}},
            "InvalidResourceReference",
        ),
        (
            {"sku": {"name": "StandardV2"}, "properties": {"publicIpAddresses": [{"id": "HERE"}]}},
            "NatGatewayAndPublicIpSkuMismatch",
        ),
    ],
)
def test_a_gateway_is_refused_as_the_service_refuses_it(client: Any, more: Any, code: str) -> None:
    """Its sku, its time, its address in the same region and of the same sku."""
    here = address(client, "here").id
    body = {**STANDARD, "properties": {}, **more}
    for one in body["properties"].get("publicIpAddresses", ()):
        one["id"] = one["id"].replace("GROUP", here.rpartition("/publicIP")[0]).replace("HERE", here)
    with pytest.raises(HttpResponseError, match=code):
        client.nat_gateways.begin_create_or_update("lab", "no", body).result()


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ({"addressPrefix": "0.0.0.0/0", "nextHopType": "Elsewhere"}, "invalid nextHopType"),
        ({"addressPrefix": "0.0.0.0/0", "nextHopType": "VirtualAppliance"}, "NextHopIpAddressMismatch"),
        ({"addressPrefix": "0.0.0.0/0", "nextHopType": "None", "nextHopIpAddress": "10.0.0.1"}, "Mismatch"),
        ({"addressPrefix": "anywhere", "nextHopType": "Internet"}, "InvalidAddressPrefixFormat"),
    ],
)
def test_a_route_is_refused_as_the_service_refuses_it(client: Any, route: Any, code: str) -> None:
    """Next hops by name, an appliance with its address, a prefix that is one."""
    client.route_tables.begin_create_or_update("lab", "routes", {**AT, "properties": {}}).result()
    with pytest.raises(HttpResponseError, match=code):
        client.routes.begin_create_or_update("lab", "routes", "r", {"properties": route}).result()


def test_a_network_changes_its_etag_with_its_subnets(client: Any) -> None:
    """So that who read the network before a subnet changed does not overwrite that: 412."""
    network(client, "tagged", 92)
    before = client.virtual_networks.get("lab", "tagged")
    subnet = client.subnets.get("lab", "tagged", "one").as_dict()
    subnet["properties"]["privateEndpointNetworkPolicies"] = "Enabled"
    client.subnets.begin_create_or_update("lab", "tagged", "one", subnet).result()
    after = client.virtual_networks.get("lab", "tagged")
    assert after.etag != before.etag
    for tag, refused in ((before.etag, True), (after.etag, False)):
        ask = client.virtual_networks.begin_create_or_update
        if refused:
            with pytest.raises(HttpResponseError, match="PreconditionFailed"):
                ask("lab", "tagged", after, headers={"If-Match": tag})
        else:
            ask("lab", "tagged", after, headers={"If-Match": tag}).result()


def test_a_range_and_its_subnet_come_together(client: Any) -> None:
    """One request that adds an address range and a subnet in it: the subnet is checked against the new ranges."""
    network(client, "grows", 93)
    body = client.virtual_networks.get("lab", "grows").as_dict()
    body["properties"]["addressSpace"]["addressPrefixes"].append("10.94.0.0/16")
    body["properties"]["subnets"].append({"name": "two", "properties": {"addressPrefix": "10.94.0.0/24"}})
    made = client.virtual_networks.begin_create_or_update("lab", "grows", body).result()
    assert [one.name for one in made.subnets] == ["one", "two"]
