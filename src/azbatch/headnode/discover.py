"""Where this machine's workspace is: from the environment, else from instance metadata and the workspace's own tags.

Never "the first one found": what is there twice is an error that names both.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from azbatch.errors import ConfigurationError, ServiceError

Body = Mapping[str, Any]
TAG = "azbatch-workspace"  # on every resource that `azbatch workspace` made
RESOURCES = "2021-04-01"
VARIABLES = {
    "account_url": "AZBATCH_ACCOUNT_URL",
    "account_id": "AZBATCH_ACCOUNT_ID",
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
    """Where things are; "" is not known. Names of accounts are as nf-azure wants them; `..._id` are resource ids."""

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
    account_id: str = ""


def discover(
    environment: Mapping[str, str],
    metadata: Callable[[], Body | None],
    reader: Callable[[], Reader | None],
    needs: Sequence[str] = ("account_url", "storage_url"),
) -> Workspace:
    """The workspace of this machine. `metadata` gives the `compute` part of the instance metadata, None on no VM.

    What the environment says wins; where it names another account than the workspace's, nothing else of the workspace
    is taken. Raises ConfigurationError with all of `needs` that is missing, or what is there twice.
    """
    known = {name: environment.get(variable, "").rstrip("/") for name, variable in VARIABLES.items()}
    known["region"] = known["region"] or _region_of(known["account_url"])
    if not all(known.values()):
        compute = metadata() or {}
        known["subscription"] = known["subscription"] or str(compute.get("subscriptionId", ""))
        known["resource_group"] = known["resource_group"] or str(compute.get("resourceGroupName", ""))
        known["region"] = known["region"] or str(compute.get("location", ""))
        arm = reader() if known["subscription"] and known["resource_group"] else None
        for name, value in (_looked_up(arm, known, needs) if arm is not None else {}).items():
            known[name] = known[name] or value
    words = {
        "account_url": "Batch account",
        "storage_url": "storage account",
        "security_group_id": "Batch network's security group",
    }
    faults = [
        f"The workspace's {words[name]} is not known: set {VARIABLES[name]}, or run on the head node of a workspace."
        for name in needs
        if not known[name]
    ]
    if faults:
        raise ConfigurationError(faults)
    known["region"] = known["region"] or _region_of(known["account_url"])
    return Workspace(
        account_name=environment.get("AZBATCH_ACCOUNT_NAME")
        or known["account_id"].rpartition("/")[2]
        or _label(known["account_url"]),
        storage_name=_label(known["storage_url"]),
        **known,
    )


def locate(needs: Sequence[str] = ("account_url", "storage_url"), **chosen: str) -> Workspace:
    """`discover` on this machine. `chosen` stands for variables of those names, such as AZBATCH_ACCOUNT_URL.

    Raises ConfigurationError, ServiceError.
    """
    from azbatch.azure import clients, metadata

    environment = {**os.environ, **{name: value for name, value in chosen.items() if value}}
    return discover(environment, metadata.compute, lambda: clients.resource_manager(clients.machine()), needs)


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


def _looked_up(arm: Reader, known: Mapping[str, str], needs: Sequence[str]) -> dict[str, str]:
    """What the workspace's tags tell beyond what is known. Raises ConfigurationError for what is there twice."""
    group = known["resource_group"]
    path = f"/subscriptions/{known['subscription']}/resourceGroups/{group}/resources"
    try:
        resources = list(arm.list(path, RESOURCES))
        account = _account(arm, _of_type(resources, "Microsoft.Batch/batchAccounts"), known)
        if account is None and known["account_url"]:
            return {}  # another account than the workspace's: nothing of the workspace is its
        faults: list[str] = []
        ids = {
            name: _one(_of_type(resources, kind), what, VARIABLES[name], group, faults)
            for name, kind, what in (
                ("security_group_id", "Microsoft.Network/networkSecurityGroups", "Batch security groups"),
                ("node_identity_id", "Microsoft.ManagedIdentity/userAssignedIdentities", "identities for nodes"),
            )
            if not known[name]
        }
        if faults:
            raise ConfigurationError(faults)
        found = {**(account or {}), **ids}
        security_group = known["security_group_id"] or ids["security_group_id"]
        if security_group and not known["subnet_id"]:
            body = arm.get(security_group, "2024-05-01") or {}
            subnets = [str(s["id"]) for s in (body.get("properties") or {}).get("subnets") or ()]
            found["subnet_id"] = subnets[0] if len(subnets) == 1 else ""
        if not known["storage_url"] and not found.get("storage_url"):
            found["storage_url"] = _storage(arm, resources)
        return found
    except ServiceError:
        if all(known[name] for name in needs):
            return {}  # what must be known is known
        raise


def _one(ids: Sequence[str], what: str, variable: str, group: str, faults: list[str]) -> str:
    if len(ids) > 1:
        names = ", ".join(id.rpartition("/")[2] for id in ids)
        faults.append(f"Workspace '{group}' has {len(ids)} of {what} ({names}): say which with {variable}.")
    return ids[0] if len(ids) == 1 else ""


def _account(arm: Reader, ids: Sequence[str], known: Mapping[str, str]) -> dict[str, str] | None:
    """The workspace's account, or of several the one that is known by its id or URL."""
    found = []
    for id in ids:
        body = arm.get(id, "2024-07-01") or {}
        endpoint = str((body.get("properties") or {}).get("accountEndpoint", ""))
        one = {
            "account_id": id,
            "account_url": f"https://{endpoint}" if endpoint and "//" not in endpoint else endpoint,
            "region": str(body.get("location", "")),
            "storage_url": str((body.get("tags") or {}).get("azbatch-storage", "")),
        }
        if known["account_id"]:
            wanted = id.lower() == known["account_id"].lower()
        else:
            host = urlsplit(known["account_url"]).hostname
            wanted = not host or host == urlsplit(one["account_url"]).hostname
        if wanted:
            found.append(one)
    faults: list[str] = []
    _one([one["account_id"] for one in found], "Batch accounts made for it", VARIABLES["account_url"],
         known["resource_group"], faults)  # fmt: skip
    if faults:
        raise ConfigurationError(faults)
    return found[0] if found else None


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
