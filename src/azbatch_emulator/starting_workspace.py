"""What a workspace to start from is made of: storage, network, two Linux machines. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any

MACHINE = "Microsoft.Compute/virtualMachines"


def storage_name(name: str, group: str) -> str:
    """Of the workspace's storage account: within the rules for names, and nobody else's."""
    return re.sub(r"[^a-z0-9]", "", name.lower())[:12] + hashlib.sha256(group.lower().encode()).hexdigest()[:8]


def resources(name: str, group: str, location: str, storage: str, number: int) -> list[tuple[str, dict[str, Any]]]:
    """(id, body) of each resource, in the order of their making; `number` chooses the addresses."""
    network, cards = (
        f"{group}/providers/Microsoft.Network",
        f"{group}/providers/Microsoft.Network/networkInterfaces",
    )
    at = {"location": location, "tags": {"workspace": name}}
    subnet = {
        "name": "default",
        "properties": {
            "addressPrefix": f"10.{20 + number}.0.0/26",
            "networkSecurityGroup": {"id": f"{network}/networkSecurityGroups/{name}-nsg"},
            "serviceEndpoints": [{"service": "Microsoft.Storage"}],
        },
    }
    home = {"id": f"{network}/virtualNetworks/{name}-vnet/subnets/default", "action": "Allow"}
    rule = {
        "priority": 1000,
        "direction": "Inbound",
        "access": "Allow",
        "protocol": "Tcp",
        "sourceAddressPrefix": "VirtualNetwork",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "22",
    }
    steps: list[tuple[str, dict[str, Any]]] = [
        (group, dict(at)),
        (
            f"{network}/networkSecurityGroups/{name}-nsg",
            {**at, "properties": {"securityRules": [{"name": "ssh", "properties": rule}]}},
        ),
        (
            f"{network}/virtualNetworks/{name}-vnet",
            {
                **at,
                "properties": {
                    "addressSpace": {"addressPrefixes": [f"10.{20 + number}.0.0/24"]},
                    "subnets": [subnet],
                },
            },
        ),
        (
            f"{group}/providers/Microsoft.Storage/storageAccounts/{storage}",
            {**at, "properties": {"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": [home]}}},
        ),
    ]
    for machine, identity in ((f"{name}-head", {"type": "SystemAssigned"}), (f"{name}-desk", None)):
        card = {
            "ipConfigurations": [
                {
                    "name": "primary",
                    "properties": {"subnet": {"id": f"{network}/virtualNetworks/{name}-vnet/subnets/default"}},
                }
            ]
        }
        steps.append((f"{cards}/{machine}-nic", {**at, "properties": card}))
        body: dict[str, Any] = {
            **at,
            "properties": {
                "hardwareProfile": {"vmSize": "Standard_D2ds_v5"},
                "storageProfile": {"osDisk": {"osType": "Linux"}},
                "networkProfile": {"networkInterfaces": [{"id": f"{cards}/{machine}-nic"}]},
            },
        }
        if identity:
            body["identity"] = identity
        steps.append((f"{group}/providers/{MACHINE}/{machine}", body))
    return steps
