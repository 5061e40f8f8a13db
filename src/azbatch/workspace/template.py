"""A plan as an ARM template, for organisations that deploy by pipeline. Pure.

Source: "ARM template structure"; "Subscription deployments" (definitions live above the resource group, so in a nested
deployment).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from azbatch.workspace.compare import merged
from azbatch.workspace.model import Ownership, Plan, Verb, Wanted

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SUBSCRIPTION_SCHEMA = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"
DEFINITIONS = "azbatch-definitions"


def template(plan: Plan, location: str) -> dict[str, Any]:
    """The wanted resources, to be deployed into the workspace's resource group.

    Parts of others' resources (a storage rule, an identity) are not in it, since a template would replace the whole;
    they are told under `outputs` to whoever runs the pipeline.
    """
    changes = [one for one in plan.changes if one.verb is not Verb.REMOVE]
    parts = [one.wanted for one in changes if one.wanted.ownership is Ownership.PART]
    own = [_whole(one.wanted, parts) for one in changes if one.wanted.ownership is not Ownership.PART]
    above = [one for one in own if "/resourceGroups/" not in one.id]
    inside = [one for one in own if one not in above]
    nested = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": DEFINITIONS,
        "subscriptionId": above[0].id.split("/")[2],
        "location": location,
        "properties": {
            "mode": "Incremental",
            "template": {
                "$schema": SUBSCRIPTION_SCHEMA,
                "contentVersion": "1.0.0.0",
                "resources": [_resource(one, above) for one in above],
            },
        },
    }
    resources = [_resource(one, inside, {other.id.lower() for other in above}) for one in inside]
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "resources": [nested, *resources],
        "outputs": {
            f"byHand{number}": {"type": "string", "value": one.sentence}
            for number, one in enumerate(parts)
            if not any(_inside(one, other) for other in own)
        },
    }


def _inside(part: Wanted, whole: Wanted) -> bool:
    return part.id.lower().startswith(f"{whole.id.lower()}/")


def _whole(one: Wanted, parts: Sequence[Wanted]) -> Wanted:
    """A resource of ours with the parts of its children in their place: what hangs on a subnet, in its network."""
    for part in [part for part in parts if _inside(part, one)]:
        kind, name = part.id[len(one.id) + 1 :].split("/")
        child = {"name": name, **part.body}
        needs = tuple(id for id in part.depends_on if id.lower() != one.id.lower())
        body = merged({"properties": {kind: [child]}}, one.body)
        one = replace(one, body=body, depends_on=(*one.depends_on, *needs))
    return one


def _resource(one: Wanted, peers: Sequence[Wanted], above: set[str] | None = None) -> dict[str, Any]:
    ids = {peer.id.lower() for peer in peers}
    needs = [id for id in one.depends_on if id.lower() in ids]
    if any(id.lower() in (above or set()) for id in one.depends_on):
        needs.append(f"[resourceId('Microsoft.Resources/deployments', '{DEFINITIONS}')]")
    scope, _, rest = one.id.rpartition("/providers/")
    parts = rest.split("/")
    found: dict[str, Any] = {
        "type": "/".join((parts[0], *parts[1::2])),
        "apiVersion": one.api_version,
        "name": "/".join(parts[2::2]),
    }
    if "/providers/" in scope:
        found["scope"] = scope
    return {**found, **_referenced(one.body), "dependsOn": needs}


def _referenced(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "$reference" in value:
            path = str(value["$path"])
            if path.startswith("properties."):
                return f"[reference('{value['$reference']}', '2023-01-31').{path.removeprefix('properties.')}]"
            return f"[reference('{value['$reference']}', '2024-07-01', 'full').{path}]"
        return {name: _referenced(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_referenced(one) for one in value]
    return value
