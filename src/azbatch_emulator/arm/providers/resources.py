"""Microsoft.Resources: subscriptions, resource groups, providers and their registration, lists of resources."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from azbatch_emulator.arm.ids import GROUP_TYPE, SUBSCRIPTION_TYPE
from azbatch_emulator.arm.kinds import Body, Draft, Edit, Function, Kind, Provider, Resources
from azbatch_emulator.arm.records import Answer, ArmRefused, Request, Resource, Style

REGISTRATION = "Microsoft.Resources/registrations"
KNOWN = (
    "Microsoft.Authorization",
    "Microsoft.Batch",
    "Microsoft.Compute",
    "Microsoft.ContainerRegistry",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.Resources",
    "Microsoft.Storage",
)


def _group(edit: Edit) -> Draft:
    if not edit.body.get("location"):
        raise ArmRefused(400, "LocationRequired", "The location property is required for this definition.")
    if edit.before and str(edit.before.location).lower() != str(edit.body["location"]).lower():
        raise ArmRefused(
            409,
            "InvalidResourceGroupLocation",
            f"Invalid resource group location '{edit.body['location']}'. The Resource group already exists in location "
            f"'{edit.before.location}'.",
        )
    return Draft(body=edit.body)


def _subscription(resource: Resource, _resources: Resources) -> Body:
    return {
        **resource.body,
        "subscriptionId": resource.id.name,
        "displayName": resource.properties.get("displayName", resource.id.name),
        "state": "Enabled",
    }


def registration(namespace: str, subscription: str, resources: Resources) -> Mapping[str, object]:
    """A provider as a subscription sees it; what nobody has unregistered is registered."""
    found = resources.get(f"/subscriptions/{subscription}/providers/{REGISTRATION}/{namespace}")
    state = "Registered" if found is None else found.properties.get("registrationState", "Registered")
    return {
        "id": f"/subscriptions/{subscription}/providers/{namespace}",
        "namespace": namespace,
        "registrationState": state,
        "registrationPolicy": "RegistrationRequired",
        "resourceTypes": [],
    }


def _providers(_request: Request, names: Mapping[str, str], resources: Resources, _now: datetime) -> Answer:
    return Answer(status=200, body={"value": [registration(name, names["subscription"], resources) for name in KNOWN]})


def _provider(_request: Request, names: Mapping[str, str], resources: Resources, _now: datetime) -> Answer:
    known = next((name for name in KNOWN if name.lower() == names["namespace"].lower()), None)
    if known is None:
        raise ArmRefused(404, "InvalidResourceNamespace", f"The resource namespace '{names['namespace']}' is invalid.")
    return Answer(status=200, body=registration(known, names["subscription"], resources))


def _resources(request: Request, names: Mapping[str, str], resources: Resources, _now: datetime) -> Answer:
    """All tracked resources of a subscription or group, with $filter on type, tag and name."""
    scope = f"/subscriptions/{names['subscription']}"
    if "group" in names:
        scope += f"/resourceGroups/{names['group']}"
        if resources.get(scope) is None:
            raise ArmRefused(404, "ResourceGroupNotFound", f"Resource group '{names['group']}' could not be found.")
    wanted = _filter(request.query.get("$filter", ""))
    found = []
    for kind in TRACKED:
        for one in resources.of_type(kind, scope):
            matches = (
                wanted.get("resourcetype", kind).lower() == kind.lower()
                and wanted.get("name", one.id.name).lower() == one.id.name.lower()
                and (
                    "tagname" not in wanted
                    or one.tags.get(wanted["tagname"]) == wanted.get("tagvalue", one.tags.get(wanted["tagname"]))
                )
                and ("tagname" not in wanted or wanted["tagname"] in one.tags)
            )
            if matches:
                found.append(
                    {
                        "id": one.id.text,
                        "name": one.id.name,
                        "type": one.id.type,
                        "location": one.location,
                        "tags": one.tags,
                    }
                )
    return Answer(status=200, body={"value": found})


TRACKED = (
    "Microsoft.Batch/batchAccounts",
    "Microsoft.Compute/virtualMachines",
    "Microsoft.ContainerRegistry/registries",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.Network/virtualNetworks",
    "Microsoft.Network/networkSecurityGroups",
    "Microsoft.Network/natGateways",
    "Microsoft.Network/networkInterfaces",
    "Microsoft.Network/privateEndpoints",
    "Microsoft.Network/privateDnsZones",
    "Microsoft.Network/publicIPAddresses",
    "Microsoft.Network/routeTables",
    "Microsoft.Network/serviceEndpointPolicies",
    "Microsoft.Storage/storageAccounts",
)


def _filter(text: str) -> dict[str, str]:
    """`resourceType eq 'x' and tagName eq 'y' and tagValue eq 'z'`. Raises ArmRefused for anything else."""
    found: dict[str, str] = {}
    for clause in [part for part in text.split(" and ") if part.strip()]:
        name, _, value = (piece.strip() for piece in clause.partition(" eq "))
        if name.lower() not in {"resourcetype", "tagname", "tagvalue", "name"} or not value.startswith("'"):
            raise ArmRefused(
                400, "InvalidFilterInQueryString", f"Invalid $filter '{text[:200]}' specified in the query string."
            )
        found[name.lower()] = value.strip("'")
    return found


_GROUP_READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
PROVIDER = Provider(
    namespace="Microsoft.Resources",
    kinds=(
        Kind(type=SUBSCRIPTION_TYPE, show=_subscription, plain=True),
        Kind(type=GROUP_TYPE, put=_group, delete_style=Style.LOCATION, delete_delay=timedelta(seconds=60)),
        Kind(type=REGISTRATION, plain=True),
    ),
    functions=(
        Function(
            method="GET",
            pattern="/subscriptions/{subscription}/providers",
            permission="Microsoft.Resources/subscriptions/providers/read",
            answer=_providers,
        ),
        Function(
            method="GET",
            pattern="/subscriptions/{subscription}/providers/{namespace}",
            permission="Microsoft.Resources/subscriptions/providers/read",
            answer=_provider,
        ),
        Function(
            method="GET",
            pattern="/subscriptions/{subscription}/resources",
            permission="Microsoft.Resources/subscriptions/resources/read",
            answer=_resources,
        ),
        Function(
            method="GET",
            pattern="/subscriptions/{subscription}/resourceGroups/{group}/resources",
            permission=_GROUP_READ,
            answer=_resources,
        ),
    ),
)
