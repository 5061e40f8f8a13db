"""One pool, two dialects: the data plane's body and ARM's. Pure.

Source: REST, Batch Management, Pool; Batch service, Pools - Create Pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from azbatch_emulator import durations
from azbatch_emulator.records import AllocationState, NodeState, Pool, PoolState

Body = Mapping[str, Any]
SAME = (
    "vmSize",
    "displayName",
    "networkConfiguration",
    "startTask",
    "taskSlotsPerNode",
    "taskSchedulingPolicy",
    "metadata",
    "userAccounts",
    "mountConfiguration",
    "upgradePolicy",
    "resourceTags",
)


# Enumerations that the dialects write in other capitals: the data plane `pack`, ARM `Pack`.
ENUMERATIONS = frozenset({"nodeFillType", "scope", "elevationLevel", "caching"})


# Of registries, users and mounted file systems.
SECRETS = frozenset({"password", "accountKey", "sasKey", "sshPrivateKey"})


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _recased(value: Any, change: Callable[[str], str]) -> Any:
    """The value with the members that are enumerations changed, at any depth."""
    if isinstance(value, list):
        return [_recased(item, change) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: change(item) if key in ENUMERATIONS and isinstance(item, str) else _recased(item, change)
        for key, item in value.items()
    }


def shown(value: Any) -> Any:
    """What was given, at any depth, without secrets: the service keeps those to itself."""
    if isinstance(value, list):
        return [shown(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {name: shown(item) for name, item in value.items() if name not in SECRETS}


def to_data_plane(name: str, body: Body) -> dict[str, Any]:
    """The body of a data-plane create for an ARM pool. Raises KeyError and ValueError for what is no pool."""
    properties = body.get("properties") or {}
    spec: dict[str, Any] = {"id": name, **{key: properties[key] for key in SAME if properties.get(key) is not None}}
    spec = {key: _recased(value, _lower) for key, value in spec.items()}
    machine = _recased(dict((properties.get("deploymentConfiguration") or {})["virtualMachineConfiguration"]), _lower)
    if "nodeAgentSkuId" in machine:
        machine["nodeAgentSKUId"] = machine.pop("nodeAgentSkuId")
    spec["virtualMachineConfiguration"] = machine
    spec["enableInterNodeCommunication"] = properties.get("interNodeCommunication") == "Enabled"
    scale = properties.get("scaleSettings") or {}
    if scale.get("autoScale"):
        spec["enableAutoScale"] = True
        spec["autoScaleFormula"] = scale["autoScale"].get("formula")
        if scale["autoScale"].get("evaluationInterval"):
            spec["autoScaleEvaluationInterval"] = scale["autoScale"]["evaluationInterval"]
    else:
        fixed = scale.get("fixedScale") or {}
        for key in ("targetDedicatedNodes", "targetLowPriorityNodes", "resizeTimeout"):
            if fixed.get(key) is not None:
                spec[key] = fixed[key]
    packages = properties.get("applicationPackages")
    if packages is not None:
        spec["applicationPackageReferences"] = [
            {"applicationId": str(one["id"]).rstrip("/").rsplit("/", 1)[-1], **_version_of(one)} for one in packages
        ]
    if body.get("identity"):
        spec["identity"] = identity_to_data_plane(body["identity"])
    return spec


def _version_of(reference: Body) -> dict[str, Any]:
    return {"version": reference["version"]} if reference.get("version") else {}


def identity_to_data_plane(identity: Body) -> dict[str, Any]:
    users = identity.get("userAssignedIdentities") or {}
    return {
        "type": identity.get("type"),
        "userAssignedIdentities": [{"resourceId": id, **(facts or {})} for id, facts in users.items()],
    }


def to_arm(
    pool: Pool, account_id: str, dedicated: Mapping[NodeState, int], spot: Mapping[NodeState, int]
) -> dict[str, Any]:
    """The body of the ARM resource for a pool of the data plane, with its node counts."""
    spec = pool.spec
    spec = {key: shown(_recased(value, _upper)) for key, value in spec.items()}
    machine = dict(spec.get("virtualMachineConfiguration") or {})
    if "nodeAgentSKUId" in machine:
        machine["nodeAgentSkuId"] = machine.pop("nodeAgentSKUId")
    if pool.autoscale_formula is not None:
        scale: dict[str, Any] = {
            "autoScale": {
                "formula": pool.autoscale_formula,
                "evaluationInterval": durations.text(pool.autoscale_interval),
            }
        }
    else:
        scale = {
            "fixedScale": {
                "targetDedicatedNodes": pool.target_dedicated,
                "targetLowPriorityNodes": pool.target_spot,
                "resizeTimeout": durations.text(pool.resize_timeout),
            }
        }
    allocation = {
        AllocationState.STEADY: "Steady",
        AllocationState.RESIZING: "Resizing",
        AllocationState.STOPPING: "Stopping",
    }[pool.allocation_state]
    properties: dict[str, Any] = {
        **{key: spec[key] for key in SAME if key in spec},
        "deploymentConfiguration": {"virtualMachineConfiguration": machine},
        "interNodeCommunication": "Enabled" if spec.get("enableInterNodeCommunication") else "Disabled",
        "scaleSettings": scale,
        "allocationState": allocation,
        "currentDedicatedNodes": sum(dedicated.values()),
        "currentLowPriorityNodes": sum(spot.values()),
        "creationTime": pool.created.isoformat(),
        "lastModified": pool.last_modified.isoformat(),
    }
    if pool.state is PoolState.DELETING:
        properties["provisioningState"] = "Deleting"
    if pool.resize_errors:
        errors = [{"code": one.code, "message": one.message} for one in pool.resize_errors]
        properties["resizeOperationStatus"] = {"errors": errors}
    packages = spec.get("applicationPackageReferences")
    if packages is not None:
        properties["applicationPackages"] = [
            {"id": f"{account_id}/applications/{one['applicationId']}", **_version_of(one)} for one in packages
        ]
    body: dict[str, Any] = {"properties": properties}
    identity = spec.get("identity") or {}
    if identity.get("userAssignedIdentities"):
        users = {
            one["resourceId"]: {key: one[key] for key in ("principalId", "clientId") if key in one}
            for one in identity["userAssignedIdentities"]
        }
        body["identity"] = {"type": identity.get("type", "UserAssigned"), "userAssignedIdentities": users}
    return body
