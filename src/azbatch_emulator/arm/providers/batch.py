"""Microsoft.Batch: accounts, their pools (those of the data plane), quotas. Source: REST, Batch Management."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator.arm.kinds import Body, Delete, Draft, Edit, Function, Kind, Provider, Put, Resources
from azbatch_emulator.arm.providers import batch_applications
from azbatch_emulator.arm.providers.compute import identity_links, identity_of
from azbatch_emulator.arm.providers.network_private import ENDPOINT, connections
from azbatch_emulator.arm.records import Answer, ArmRefused, Request, Resource, Style

ACCOUNT = "Microsoft.Batch/batchAccounts"
POOL = f"{ACCOUNT}/pools"
JOIN = "Microsoft.Network/virtualNetworks/subnets/join/action"
MODES = ("AAD", "SharedKey", "TaskAuthenticationToken")
ACCOUNT_QUOTA = 3
_NAME = re.compile(r"^[a-z0-9]{3,24}$")
_POOL_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


def _name_fault(name: str, location: str, resources: Resources, own: str = "") -> tuple[str, str] | None:
    if not _NAME.match(name):
        return (
            "AccountNameInvalid",
            "The name must be between 3 and 24 characters in length and use numbers and lower-case letters only.",
        )
    for other in resources.of_type(ACCOUNT):
        if other.id.key != own and other.id.name == name and other.location.lower() == location.lower():
            return "AlreadyExists", f"An account named '{name}' is already in use in region {location}."
    return None


def _account(edit: Edit) -> Draft:
    location = str(edit.body.get("location") or (edit.before.location if edit.before else "")).lower().replace(" ", "")
    if not location:
        raise ArmRefused(400, "LocationRequired", "The location property is required for this definition.")
    fault = _name_fault(edit.id.name, location, edit.resources, edit.id.key)
    if fault is not None:
        raise ArmRefused(409 if fault[0] == "AlreadyExists" else 400, *fault)
    same = [
        one
        for one in edit.resources.of_type(ACCOUNT, f"/subscriptions/{edit.id.subscription}")
        if one.location == location
    ]
    if edit.before is None and len(same) >= ACCOUNT_QUOTA:
        raise ArmRefused(
            400,
            "SubscriptionQuotaExceeded",
            f"The regional account quota of {ACCOUNT_QUOTA} Batch accounts for the specified subscription has been "
            f"reached.",
        )
    properties = dict(edit.body.get("properties") or {})
    modes = properties.get("allowedAuthenticationModes")
    if modes is None:
        modes = edit.before.properties.get("allowedAuthenticationModes", list(MODES)) if edit.before else list(MODES)
    if set(modes) - set(MODES):
        raise ArmRefused(400, "InvalidRequestBody", f"allowedAuthenticationModes has an unknown value: {modes}.")
    guid = str(edit.before.properties["nodeManagementEndpoint"]).split(".")[0] if edit.before else edit.new_id()
    body = {
        **edit.body,
        "location": location,
        "identity": identity_of(edit) or {"type": "None"},
        "properties": {
            "poolAllocationMode": "BatchService",
            "publicNetworkAccess": "Enabled",
            **properties,
            "allowedAuthenticationModes": list(modes),
            "accountEndpoint": f"{edit.id.name}.{location}.batch.azure.com",
            "nodeManagementEndpoint": f"{guid}.{location}.service.batch.azure.com",
            "dedicatedCoreQuota": 350,
            "lowPriorityCoreQuota": 100,
            "dedicatedCoreQuotaPerVMFamilyEnforced": False,
            "poolQuota": 100,
            "activeJobAndJobScheduleQuota": 300,
        },
    }
    return Draft(body=body)


def _show(resource: Resource, resources: Resources) -> Body:
    found = []
    for endpoint in resources.of_type(ENDPOINT):
        for one in connections(endpoint.body):
            if str(one.get("privateLinkServiceId", "")).lower() == resource.id.key:
                found.append(
                    {
                        "id": f"{resource.id.text}/privateEndpointConnections/{endpoint.id.name}",
                        "name": endpoint.id.name,
                        "type": f"{ACCOUNT}/privateEndpointConnections",
                        "properties": {
                            "provisioningState": "Succeeded",
                            "privateEndpoint": {"id": endpoint.id.text},
                            "groupIds": one.get("groupIds"),
                            "privateLinkServiceConnectionState": one.get("privateLinkServiceConnectionState"),
                        },
                    }
                )
    return {**resource.body, "properties": {**resource.properties, "privateEndpointConnections": found}}


def _gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for endpoint in edit.resources.of_type(ENDPOINT):
        if any(str(one.get("privateLinkServiceId", "")).lower() == edit.id.key for one in connections(endpoint.body)):
            raise ArmRefused(
                409,
                "PrivateEndpointConnectionsExist",
                f"The Batch account {edit.id.name} has private endpoint connections ({endpoint.id.name}); delete "
                f"them first.",
            )
    return ()


def _keys(edit: Edit) -> Answer:
    assert edit.before is not None
    if "SharedKey" not in edit.before.properties.get("allowedAuthenticationModes", ()):
        raise ArmRefused(
            403, "SharedKeyNotAllowed", f"Shared key authentication is not allowed for the account {edit.id.name}."
        )
    from azbatch_emulator.arm.providers.storage import account_key

    keys = {
        "accountName": edit.id.name,
        "primary": account_key(edit.id.name, 1),
        "secondary": account_key(edit.id.name, 2),
    }
    return Answer(status=200, body=keys)


def _dependencies(edit: Edit) -> Answer:
    assert edit.before is not None
    region = edit.before.location
    groups = [
        ("Azure Batch", f"{edit.before.properties['nodeManagementEndpoint']}", "Applicable to all Azure Batch pools."),
        (
            "Azure Storage",
            f"*.blob.storage.azure.net ({region})",
            "Only for resource files, application packages and the like.",
        ),
    ]
    value = [
        {
            "category": name,
            "endpoints": [{"domainName": domain, "description": note, "endpointDetails": [{"port": 443}]}],
        }
        for name, domain, note in groups
    ]
    return Answer(status=200, body={"value": value})


def _link_resources(edit: Edit) -> Answer:
    value = [
        {
            "id": f"{edit.id.text}/privateLinkResources/{name}",
            "name": name,
            "type": f"{ACCOUNT}/privateLinkResources",
            "properties": {
                "groupId": name,
                "requiredMembers": [name],
                "requiredZoneNames": ["privatelink.batch.azure.com"],
            },
        }
        for name in ("batchAccount", "nodeManagement")
    ]
    return Answer(status=200, body={"value": value})


def _connections(edit: Edit) -> Answer:
    assert edit.before is not None
    shown = _show(edit.before, edit.resources)
    return Answer(status=200, body={"value": shown["properties"]["privateEndpointConnections"]})


def _pool(edit: Edit) -> Draft:
    if not _POOL_NAME.match(edit.id.name):
        raise ArmRefused(
            400,
            "InvalidPoolName",
            f"The pool name '{edit.id.name[:80]}' is invalid: 1 to 64 letters, digits, hyphens and underscores.",
        )
    properties = edit.body.get("properties") or {}
    if not properties.get("vmSize") or not properties.get("deploymentConfiguration"):
        raise ArmRefused(400, "PropertyMissing", "A pool needs vmSize and deploymentConfiguration.")
    subnet = pool_subnet(edit.body)
    if subnet and edit.resources.get(subnet) is None:
        raise ArmRefused(400, "InvalidResourceReference", f"The subnet {subnet} of pool {edit.id.name} was not found.")
    body = dict(edit.body)
    identity = identity_of(edit)
    if identity:
        body["identity"] = identity
    return Draft(body=body)


def pool_subnet(body: Body) -> str:
    return str(((body.get("properties") or {}).get("networkConfiguration") or {}).get("subnetId") or "")


def _pool_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    subnet = pool_subnet(edit.body)
    return (*identity_links(edit), *(((subnet, JOIN),) if subnet else ()))


def _check_name(request: Request, names: Mapping[str, str], resources: Resources, _now: datetime) -> Answer:
    fault = _name_fault(str((request.body or {}).get("name", "")), names["location"], resources)
    if fault is None:
        return Answer(status=200, body={"nameAvailable": True})
    reason = "AlreadyExists" if fault[0] == "AlreadyExists" else "Invalid"
    return Answer(status=200, body={"nameAvailable": False, "reason": reason, "message": fault[1]})


def _quotas(_request: Request, _names: Mapping[str, str], _resources: Resources, _now: datetime) -> Answer:
    return Answer(status=200, body={"accountQuota": ACCOUNT_QUOTA})


SIZES = (
    ("Standard_D2ds_v5", 2, 8),
    ("Standard_D4ds_v5", 4, 16),
    ("Standard_F2s_v2", 2, 4),
    ("Standard_E4ds_v5", 4, 32),
)


def _sizes(_request: Request, _names: Mapping[str, str], _resources: Resources, _now: datetime) -> Answer:
    value: list[dict[str, Any]] = [
        {
            "name": name,
            "familyName": "standardDDSv5Family",
            "capabilities": [{"name": "vCPUs", "value": str(cores)}, {"name": "MemoryGB", "value": str(memory)}],
        }
        for name, cores, memory in SIZES
    ]
    return Answer(status=200, body={"value": value})


_LOCATION = "/subscriptions/{subscription}/providers/Microsoft.Batch/locations/{location}"
PROVIDER = Provider(
    namespace="Microsoft.Batch",
    kinds=(
        Kind(
            type=ACCOUNT,
            put=_account,
            delete=_gone,
            show=_show,
            style=Style.LOCATION,
            delete_style=Style.LOCATION,
            create_delay=timedelta(seconds=30),
            delete_delay=timedelta(seconds=30),
            links=identity_links,
            actions={
                "listkeys": _keys,
                "get outboundnetworkdependenciesendpoints": _dependencies,
                "syncautostoragekeys": lambda _edit: Answer(status=204),
                "get privatelinkresources": _link_resources,
                "get privateendpointconnections": _connections,
            },
        ),
        Kind(type=POOL, put=_pool, links=_pool_links),
        *batch_applications.KINDS,
    ),
    functions=(
        Function(
            method="POST",
            pattern=f"{_LOCATION}/checkNameAvailability",
            permission="Microsoft.Batch/locations/checkNameAvailability/read",
            answer=_check_name,
        ),
        Function(
            method="GET",
            pattern=f"{_LOCATION}/quotas",
            permission="Microsoft.Batch/locations/quotas/read",
            answer=_quotas,
        ),
        Function(
            method="GET",
            pattern=f"{_LOCATION}/virtualMachineSkus",
            permission="Microsoft.Batch/locations/virtualMachineSkus/read",
            answer=_sizes,
        ),
    ),
)
