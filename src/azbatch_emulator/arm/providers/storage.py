"""Microsoft.Storage: accounts with their network rules, containers. Blobs themselves are Azurite's."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator.arm.kinds import Body, Draft, Edit, Function, Kind, Provider, Resources
from azbatch_emulator.arm.records import Answer, ArmRefused, Request, Resource, Style

TYPE = "Microsoft.Storage/storageAccounts"
_NAME = re.compile(r"^[a-z0-9]{3,24}$")


def _name_fault(name: str, resources: Resources, own: str = "") -> tuple[str, str] | None:
    if not _NAME.match(name):
        return (
            "AccountNameInvalid",
            (
                f"{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters "
                f"in length and use numbers and lower-case letters only."
            ),
        )
    if any(one.id.name.lower() == name.lower() and one.id.key != own for one in resources.of_type(TYPE)):
        return "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken."
    return None


def _put(edit: Edit) -> Draft:
    fault = _name_fault(edit.id.name, edit.resources, edit.id.key)
    if fault is not None:
        raise ArmRefused(409 if fault[0].endswith("Taken") else 400, *fault)
    properties: dict[str, Any] = {
        "allowSharedKeyAccess": True,
        "publicNetworkAccess": "Enabled",
        **(edit.body.get("properties") or {}),
    }
    given = properties.get("networkAcls") or (edit.before.properties.get("networkAcls") if edit.before else None) or {}
    rules = {"bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [], "virtualNetworkRules": [], **given}
    rules["virtualNetworkRules"] = [_network_rule(rule, edit) for rule in rules["virtualNetworkRules"]]
    properties["networkAcls"] = rules
    properties["primaryEndpoints"] = {"blob": f"https://{edit.id.name}.blob.core.windows.net/"}
    properties["primaryLocation"] = edit.body.get("location")
    return Draft(
        body={
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS", "tier": "Standard"},
            **edit.body,
            "properties": properties,
        }
    )


def _network_rule(rule: Mapping[str, Any], edit: Edit) -> dict[str, Any]:
    subnet = edit.resources.get(str(rule.get("id", "")))
    if subnet is None:
        raise ArmRefused(
            400,
            "NetworkAclsValidationFailure",
            f"Validation of network acls failure: SubnetNotFound: the subnet {rule.get('id')} does not exist.",
        )
    services = {str(one.get("service", "")).lower() for one in subnet.properties.get("serviceEndpoints") or ()}
    if not services & {"microsoft.storage", "microsoft.storage.global"}:
        raise ArmRefused(
            400,
            "NetworkAclsValidationFailure",
            f"Validation of network acls failure: SubnetsHaveNoServiceEndpointsConfigured: subnets {subnet.id.text} "
            f"do not have ServiceEndpoints for Microsoft.Storage resources configured.",
        )
    return {"action": "Allow", "state": "Succeeded", **rule, "id": subnet.id.text}


def _links(edit: Edit) -> tuple[tuple[str, str], ...]:
    rules = ((edit.body.get("properties") or {}).get("networkAcls") or {}).get("virtualNetworkRules") or ()
    join = "Microsoft.Network/virtualNetworks/subnets/joinViaServiceEndpoint/action"
    before = (edit.before.properties.get("networkAcls") or {}).get("virtualNetworkRules", ()) if edit.before else ()
    known = {str(rule.get("id", "")).lower() for rule in before}
    return tuple((str(rule.get("id", "")), join) for rule in rules if str(rule.get("id", "")).lower() not in known)


def account_key(name: str, number: int) -> str:
    """The emulated keys of an account: functions of its name, for a service that only loopback reaches."""
    return base64.b64encode(hashlib.sha512(f"{name}/{number}".encode()).digest()).decode()


def _list_keys(edit: Edit) -> Answer:
    keys = [
        {"keyName": f"key{number}", "permissions": "FULL", "value": account_key(edit.id.name, number)}
        for number in (1, 2)
    ]
    return Answer(status=200, body={"keys": keys})


def _show(resource: Resource, resources: Resources) -> Body:
    connections = [
        {
            "id": f"{resource.id.text}/privateEndpointConnections/{one.id.name}",
            "properties": {"privateEndpoint": {"id": one.id.text}},
        }
        for one in resources.of_type("Microsoft.Network/privateEndpoints")
        if any(
            str((link.get("properties") or {}).get("privateLinkServiceId", "")).lower() == resource.id.key
            for link in one.properties.get("privateLinkServiceConnections") or ()
        )
    ]
    return {**resource.body, "properties": {**resource.properties, "privateEndpointConnections": connections}}


def _check_name(request: Request, _names: Mapping[str, str], resources: Resources, _now: datetime) -> Answer:
    fault = _name_fault(str((request.body or {}).get("name", "")), resources)
    if fault is None:
        return Answer(status=200, body={"nameAvailable": True})
    reason = "AlreadyExists" if fault[0].endswith("Taken") else "AccountNameInvalid"
    return Answer(status=200, body={"nameAvailable": False, "reason": reason, "message": fault[1]})


PROVIDER = Provider(
    namespace="Microsoft.Storage",
    kinds=(
        Kind(
            type=TYPE,
            put=_put,
            show=_show,
            links=_links,
            style=Style.LOCATION,
            create_delay=timedelta(seconds=20),
            actions={"listkeys": _list_keys},
        ),
        Kind(type=f"{TYPE}/blobServices"),
        Kind(type=f"{TYPE}/blobServices/containers"),
    ),
    functions=(
        Function(
            method="POST",
            pattern="/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability",
            permission="Microsoft.Storage/checknameavailability/read",
            answer=_check_name,
        ),
    ),
)
