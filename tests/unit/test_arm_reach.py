"""By which way a packet leaves a subnet of the emulated network, if by any."""

from __future__ import annotations

from typing import Any

import pytest

from azbatch_emulator.arm import reach
from tests.unit.test_arm_core import AT, NETWORK, VNET, Tenant

GATEWAY, EMPTY, ADDRESS = f"{NETWORK}/natGateways/n", f"{NETWORK}/natGateways/e", f"{NETWORK}/publicIPAddresses/p"
PRIVATE: dict[str, Any] = {"defaultOutboundAccess": False}
STORAGE = {"serviceEndpoints": [{"service": "Microsoft.Storage"}]}


def table(hop: str) -> dict[str, Any]:
    return {"routeTable": {"id": f"{NETWORK}/routeTables/{hop.lower()}"}}


def tenant(properties: dict[str, Any]) -> Tenant:
    """A network with one subnet of these properties, and what it may refer to."""
    made = Tenant()
    standard: dict[str, Any] = {**AT, "sku": {"name": "Standard"}}
    made.ask("PUT", ADDRESS, {**standard, "properties": {"publicIPAllocationMethod": "Static"}})
    made.ask("PUT", GATEWAY, {**standard, "properties": {"publicIpAddresses": [{"id": ADDRESS}]}})
    made.ask("PUT", EMPTY, {**standard, "properties": {}})
    for hop, more in (
        ("None", {}),
        ("Internet", {}),
        ("VirtualAppliance", {"nextHopIpAddress": "10.0.0.9"}),
    ):
        everything = {"name": "all", "properties": {"addressPrefix": "0.0.0.0/0", "nextHopType": hop, **more}}
        one = {"name": "one", "properties": {"addressPrefix": "198.18.0.0/15", "nextHopType": "Internet"}}
        made.ask("PUT", f"{NETWORK}/routeTables/{hop.lower()}", {**AT, "properties": {"routes": [everything, one]}})
    subnet = {"name": "a", "properties": {"addressPrefix": "10.0.0.0/24", **properties}}
    space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [subnet]}
    made.ask("PUT", VNET, {**AT, "properties": space})
    return made


@pytest.mark.parametrize(
    ("properties", "name", "missing"),
    [
        ({}, "quay.io", None),
        (PRIVATE, "quay.io", "no NAT gateway"),
        ({**PRIVATE, "natGateway": {"id": GATEWAY}}, "quay.io", None),
        ({**PRIVATE, "natGateway": {"id": EMPTY}}, "quay.io", "no public address"),
        ({**PRIVATE, **table("VirtualAppliance")}, "quay.io", None),
        ({**PRIVATE, **table("Internet")}, "quay.io", "no NAT gateway"),
        ({**PRIVATE, **table("None")}, "quay.io", "drops it"),
        ({**PRIVATE, **table("None"), "natGateway": {"id": GATEWAY}}, "quay.io", "drops it"),
        ({**PRIVATE, **table("None"), "natGateway": {"id": GATEWAY}}, "mcr.microsoft.com", None),
        ({**PRIVATE, **table("Internet"), "natGateway": {"id": GATEWAY}}, "quay.io", None),
        (table("None"), "quay.io", "drops it"),
        ({**PRIVATE, **STORAGE, **table("None")}, "data.blob.core.windows.net", None),
        ({**PRIVATE, **table("None"), "natGateway": {"id": GATEWAY}}, "data.blob.core.windows.net", None),
    ],
)
def test_which_way_leads_out(properties: dict[str, Any], name: str, missing: str | None) -> None:
    """A service endpoint before the route table (its longest prefix first), and that before the NAT gateway, which
    needs an address."""
    made = tenant(properties)
    subnet = made.arm.store.get(f"{VNET}/subnets/a")
    assert subnet is not None
    found = reach.connects(subnet, name, 443, "westeurope", made.arm.store)
    assert (found is None) is (missing is None)
    if found is not None and missing is not None:
        assert found.code == "NoOutboundAccess"
        assert missing in found.message
