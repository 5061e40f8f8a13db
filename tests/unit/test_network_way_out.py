"""Nodes without a way to the internet: what the rules allow is not what they reach."""

from __future__ import annotations

from typing import Any

import pytest

from azbatch.network.check import Checked
from azbatch.network.way_out import confined, has_way_out, sentence

SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/default"
OPEN = Checked(reachable=True, lines=("a.example:443/tcp is reachable.", "192.0.2.1: allowed by rule 'x'."))


@pytest.mark.parametrize(
    ("subnet", "expected"),
    [
        ({}, True),
        ({"defaultOutboundAccess": True}, True),
        ({"defaultOutboundAccess": False}, False),
        ({"defaultOutboundAccess": False, "natGateway": {"id": "n"}}, True),
        ({"defaultOutboundAccess": False, "routeTable": {"id": "r"}}, True),
        ({"defaultOutboundAccess": False, "natGateway": None}, False),
    ],
)
def test_which_subnets_have_a_way_out(subnet: Any, expected: bool) -> None:
    """A private subnet has one only through a gateway or route of its own."""
    assert has_way_out(subnet) is expected


def test_a_gateway_without_an_address_is_no_way_out() -> None:
    """Where the gateway may be read, it counts only with a public address."""
    subnet = {"defaultOutboundAccess": False, "natGateway": {"id": "n"}}
    assert not has_way_out(subnet, {"properties": {}})
    assert has_way_out(subnet, {"properties": {"publicIpAddresses": [{"id": "p"}]}})
    assert has_way_out(subnet, {"properties": {"publicIpPrefixes": [{"id": "p"}]}})


def test_the_owner_is_told_the_command_that_fits() -> None:
    """For a network that azbatch made, its own option; for another, the service's."""
    ours, theirs = sentence([SUBNET], "lab"), sentence([SUBNET])
    assert ours.endswith("azbatch workspace enable --subscription-id s --workspace lab --way-out nat-gateway")
    assert "az network nat gateway create -g g" in theirs


@pytest.mark.parametrize(
    ("addresses", "closed", "reachable"),
    [
        (["192.0.2.1"], [SUBNET], False),
        (["192.0.2.1", "10.1.0.4"], [SUBNET], False),
        ([], [SUBNET], False),
        (["10.1.0.4", "100.64.0.4"], [SUBNET], True),
        (["192.0.2.1"], [], True),
    ],
    ids=["public", "one of them public", "a service tag", "the network's own", "a way out"],
)
def test_an_opening_without_a_way_out_reaches_nothing(addresses: list[str], closed: list[str], reachable: bool) -> None:
    """Private addresses need no way out; for others it is said what is missing, and how the owner gives it."""
    found = confined(OPEN, addresses, ["100.64.0.0/16"], closed)
    assert found.reachable is reachable
    if not reachable:
        assert found.lines[0] == "a.example:443/tcp is closed: the rules allow it, but there is no way out."
        assert "az network vnet subnet update -g g --vnet-name v -n default --nat-gateway v-nat" in found.lines[-1]
    shut = Checked(reachable=False, lines=("closed",))
    assert confined(shut, addresses, [], closed) is shut
