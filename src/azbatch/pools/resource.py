"""A pool in the words of Azure Resource Manager. Pure.

The data plane and Resource Manager describe the same pool with other names, another nesting and other capitals; only
Resource Manager gives a pool an identity. Source: REST, Microsoft.Batch batchAccounts/pools, 2024-07-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
API_VERSION = "2024-07-01"
_SAME = ("vmSize", "taskSlotsPerNode", "metadata")
_DISK_TYPES = {"standard_lrs": "Standard_LRS", "premium_lrs": "Premium_LRS", "standardssd_lrs": "StandardSSD_LRS"}


def to_resource(body: Mapping[str, Any]) -> Json:
    """The resource for a body of Pools - Create that `PoolSpec.body` made; without identity."""
    properties: Json = {name: body[name] for name in _SAME if name in body}
    properties["deploymentConfiguration"] = {"virtualMachineConfiguration": _machine(body)}
    properties["scaleSettings"] = _scale(body)
    properties["taskSchedulingPolicy"] = _pascal(body["taskSchedulingPolicy"])
    if "networkConfiguration" in body:
        network = dict(body["networkConfiguration"])
        if "publicIPAddressConfiguration" in network:
            network["publicIPAddressConfiguration"] = _pascal(network["publicIPAddressConfiguration"])
        properties["networkConfiguration"] = network
    if "startTask" in body:
        user = _pascal(body["startTask"]["userIdentity"]["autoUser"])
        properties["startTask"] = {**body["startTask"], "userIdentity": {"autoUser": user}}
    return {"properties": properties}


def _machine(body: Mapping[str, Any]) -> Json:
    machine = dict(body["virtualMachineConfiguration"])
    machine["nodeAgentSkuId"] = machine.pop("nodeAgentSKUId")
    containers = machine.get("containerConfiguration")
    if containers is not None:
        machine["containerConfiguration"] = {**containers, "type": "DockerCompatible"}
    if "dataDisks" in machine:
        machine["dataDisks"] = [
            {**disk, "caching": "ReadOnly", "storageAccountType": _DISK_TYPES[disk["storageAccountType"]]}
            for disk in machine["dataDisks"]
        ]
    return machine


def _scale(body: Mapping[str, Any]) -> Json:
    if body.get("enableAutoScale"):
        interval = body["autoScaleEvaluationInterval"]
        return {"autoScale": {"formula": body["autoScaleFormula"], "evaluationInterval": interval}}
    counts = ("targetDedicatedNodes", "targetLowPriorityNodes")
    return {"fixedScale": {name: body[name] for name in counts}}


def _pascal(values: Mapping[str, str]) -> Json:
    return {name: value[:1].upper() + value[1:] for name, value in values.items()}
