"""Where this machine's workspace is: from the environment, else from instance metadata and the workspace's own tags.

Never "the first one found": what is there twice is an error that names both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from azbatch.errors import ConfigurationError

Body = Mapping[str, Any]
TAG = "azbatch-workspace"  # on every resource that `azbatch workspace` made
RESOURCES = "2021-04-01"
VARIABLES = {
    "account_url": "AZBATCH_ACCOUNT_URL",
    "storage_url": "AZBATCH_STORAGE_URL",
    "subnet_id": "AZBATCH_SUBNET_ID",
    "security_group_id": "AZBATCH_SECURITY_GROUP_ID",
    "node_identity_id": "AZBATCH_NODE_IDENTITY_ID",
    "subscription": "AZURE_SUBSCRIPTION_ID",
    "resource_group": "AZBATCH_WORKSPACE",
    "region": "AZBATCH_REGION",
}


class Reader(Protocol):
    """Azure Resource Manager, read by the machine's identity. Both raise ServiceError."""

    def get(self, id: str, api_version: str) -> Body | None: ...

    def list(self, path: str, api_version: str) -> Iterable[Body]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where things are; "" is not known. Names of accounts are as nf-azure wants them."""

    account_url: str
    account_name: str
    storage_url: str
    storage_name: str
    region: str = ""
    subscription: str = ""
    resource_group: str = ""
    subnet_id: str = ""
    security_group_id: str = ""
    node_identity_id: str = ""


def discover(
    environment: Mapping[str, str], metadata: Callable[[], Body | None], reader: Callable[[], Reader | None]
) -> Workspace:
    """The workspace of this machine. `metadata` gives the `compute` part of the instance metadata, None on no VM.

    Raises ConfigurationError with all that is missing or there twice.
    """
    known = {name: environment.get(variable, "").rstrip("/") for name, variable in VARIABLES.items()}
    known["region"] = known["region"] or _region_of(known["account_url"])
    placed = known["account_url"] and known["storage_url"]
    if not (placed and known["region"]):
        compute = metadata() or {}
        known["subscription"] = known["subscription"] or str(compute.get("subscriptionId", ""))
        known["resource_group"] = known["resource_group"] or str(compute.get("resourceGroupName", ""))
        known["region"] = known["region"] or str(compute.get("location", ""))
        arm = reader() if not placed and known["subscription"] and known["resource_group"] else None
        if arm is not None:
            for name, value in _found(arm, known["subscription"], known["resource_group"]).items():
                known[name] = known[name] or value
    faults = [
        f"The workspace's {what} is not known: set {VARIABLES[name]}, or run on the head node of a workspace."
        for name, what in (("account_url", "Batch account"), ("storage_url", "storage account"))
        if not known[name]
    ]
    if faults:
        raise ConfigurationError(faults)
    known["region"] = known["region"] or _region_of(known["account_url"])
    return Workspace(
        account_name=environment.get("AZBATCH_ACCOUNT_NAME") or _label(known["account_url"]),
        storage_name=_label(known["storage_url"]),
        **known,
    )


def _label(url: str) -> str:
    """The account in a URL: the first label of the host, or for an address the first part of the path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.split(".")[0]
    return parts.path.strip("/").split("/")[0]


def _region_of(account_url: str) -> str:
    labels = (urlsplit(account_url).hostname or "").split(".")
    return labels[1] if len(labels) >= 5 and labels[2] == "batch" else ""


def _found(arm: Reader, subscription: str, group: str) -> dict[str, str]:
    resources = list(arm.list(f"/subscriptions/{subscription}/resourceGroups/{group}/resources", RESOURCES))
    faults: list[str] = []

    def one(kind: str, what: str) -> str:
        ids = _of_type(resources, kind)
        if len(ids) > 1:
            names = ", ".join(id.rpartition("/")[2] for id in ids)
            faults.append(f"Workspace '{group}' has {len(ids)} of {what} ({names}): say which by its variable.")
        return ids[0] if len(ids) == 1 else ""

    account = one("Microsoft.Batch/batchAccounts", "Batch accounts made for it")
    group_id = one("Microsoft.Network/networkSecurityGroups", "Batch security groups")
    identity = one("Microsoft.ManagedIdentity/userAssignedIdentities", "identities for nodes")
    if faults:
        raise ConfigurationError(faults)
    found = {"security_group_id": group_id, "node_identity_id": identity}
    if account:
        body = arm.get(account, "2024-07-01") or {}
        endpoint = str((body.get("properties") or {}).get("accountEndpoint", ""))
        found["account_url"] = f"https://{endpoint}" if endpoint and "//" not in endpoint else endpoint
        found["region"] = str(body.get("location", ""))
        storage = str((body.get("tags") or {}).get("azbatch-storage", ""))
        if storage:
            found["storage_url"] = storage
    if group_id:
        body = arm.get(group_id, "2024-05-01") or {}
        subnets = [str(s["id"]) for s in (body.get("properties") or {}).get("subnets") or ()]
        found["subnet_id"] = subnets[0] if len(subnets) == 1 else ""
    if not found.get("storage_url"):
        found["storage_url"] = _storage(arm, resources)
    return {name: value for name, value in found.items() if value}


def _of_type(resources: Sequence[Body], kind: str) -> list[str]:
    return [
        str(entry["id"])
        for entry in resources
        if str(entry.get("type", "")).lower() == kind.lower() and TAG in (entry.get("tags") or {})
    ]


def _storage(arm: Reader, resources: Sequence[Body]) -> str:
    """The blob endpoint of the workspace's only storage account; "" where there is none or more."""
    ids = [str(r["id"]) for r in resources if str(r.get("type", "")).lower() == "microsoft.storage/storageaccounts"]
    if len(ids) != 1:
        return ""
    body = arm.get(ids[0], "2023-05-01") or {}
    endpoints = (body.get("properties") or {}).get("primaryEndpoints") or {}
    return str(endpoints.get("blob", "")).rstrip("/")
