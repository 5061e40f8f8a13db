"""Azure's own role definitions, those that matter here. Source: "Azure built-in roles"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What a role may do: control plane (`actions`) and data plane (`data_actions`), minus the exceptions."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()


_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_DELEGATION = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"
_COMMON = ("Microsoft.Authorization/*/read", "Microsoft.Resources/deployments/*")
_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups/read"

# guid -> (name, permissions)
BUILT_IN: dict[str, tuple[str, Permissions]] = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": ("Owner", Permissions(actions=("*",))),
    "b24988ac-6180-42a0-ab88-20f7382dd24c": (
        "Contributor",
        Permissions(
            actions=("*",),
            not_actions=(
                "Microsoft.Authorization/*/Delete",
                "Microsoft.Authorization/*/Write",
                "Microsoft.Authorization/elevateAccess/Action",
                "Microsoft.Blueprint/blueprintAssignments/write",
                "Microsoft.Blueprint/blueprintAssignments/delete",
            ),
        ),
    ),
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": ("Reader", Permissions(actions=("*/read",))),
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": (
        "User Access Administrator",
        Permissions(actions=("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*")),
    ),
    "4d97b98b-1d4f-4787-a291-c67834d212e7": (
        "Network Contributor",
        Permissions(actions=(*_COMMON, _GROUPS, "Microsoft.Network/*")),
    ),
    "9980e02c-c2be-4d73-94e8-173b1dc7cf3c": (
        "Virtual Machine Contributor",
        Permissions(
            actions=(
                *_COMMON,
                _GROUPS,
                "Microsoft.Compute/virtualMachines/*",
                "Microsoft.Compute/disks/read",
                "Microsoft.Network/networkInterfaces/*",
                "Microsoft.Network/networkSecurityGroups/join/action",
                "Microsoft.Network/networkSecurityGroups/read",
                "Microsoft.Network/virtualNetworks/read",
                "Microsoft.Network/virtualNetworks/subnets/join/action",
                "Microsoft.Storage/storageAccounts/read",
            )
        ),
    ),
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": (
        "Storage Blob Data Owner",
        Permissions(actions=(f"{_BLOBS}/*", _DELEGATION), data_actions=(f"{_BLOBS}/blobs/*",)),
    ),
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": (
        "Storage Blob Data Contributor",
        Permissions(
            actions=(f"{_BLOBS}/delete", f"{_BLOBS}/read", f"{_BLOBS}/write", _DELEGATION),
            data_actions=tuple(
                f"{_BLOBS}/blobs/{verb}" for verb in ("delete", "read", "write", "move/action", "add/action")
            ),
        ),
    ),
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": (
        "Storage Blob Data Reader",
        Permissions(actions=(f"{_BLOBS}/read", _DELEGATION), data_actions=(f"{_BLOBS}/blobs/read",)),
    ),
    "f1a07417-d97a-45cb-824c-7a7467783830": (
        "Managed Identity Operator",
        Permissions(
            actions=(
                "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
                "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
                *_COMMON,
                _GROUPS,
            )
        ),
    ),
    "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59": (
        "Managed Identity Contributor",
        Permissions(
            actions=(
                "Microsoft.ManagedIdentity/userAssignedIdentities/read",
                "Microsoft.ManagedIdentity/userAssignedIdentities/write",
                "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
                *_COMMON,
                _GROUPS,
            )
        ),
    ),
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": (
        "AcrPull",
        Permissions(actions=("Microsoft.ContainerRegistry/registries/pull/read",)),
    ),
    "29fe4964-1e60-436b-bd3a-77fd4c178b3c": (
        "Azure Batch Account Contributor",
        Permissions(
            actions=(
                "Microsoft.Authorization/*/read",
                "Microsoft.Batch/*",
                "Microsoft.Resources/deployments/*",
                _GROUPS,
            ),
            data_actions=("Microsoft.Batch/batchAccounts/*",),
        ),
    ),
    "6aaa78f1-f7de-44ca-8722-c64a23943cae": (
        "Azure Batch Data Contributor",
        Permissions(
            actions=(
                "Microsoft.Authorization/*/read",
                "Microsoft.Batch/batchAccounts/read",
                "Microsoft.Batch/batchAccounts/applications/*",
                "Microsoft.Batch/batchAccounts/certificates/*",
                "Microsoft.Batch/batchAccounts/pools/*",
                "Microsoft.Resources/deployments/*",
                _GROUPS,
            ),
            data_actions=(
                "Microsoft.Batch/batchAccounts/jobSchedules/*",
                "Microsoft.Batch/batchAccounts/jobs/*",
            ),
        ),
    ),
    "48e5e92e-a480-4e71-aa9c-2778f4c13781": (
        "Azure Batch Job Submitter",
        Permissions(
            actions=(
                "Microsoft.Batch/batchAccounts/applications/read",
                "Microsoft.Batch/batchAccounts/applications/versions/read",
                "Microsoft.Batch/batchAccounts/pools/read",
                _GROUPS,
            ),
            data_actions=(
                "Microsoft.Batch/batchAccounts/jobSchedules/*",
                "Microsoft.Batch/batchAccounts/jobs/*",
            ),
        ),
    ),
    "11076f67-66f6-4be0-8f6b-f0609fd05cc9": (
        "Azure Batch Account Reader",
        Permissions(
            actions=("Microsoft.Batch/*/read", _GROUPS), data_actions=("Microsoft.Batch/batchAccounts/*/read",)
        ),
    ),
}

BY_NAME = {name: guid for guid, (name, _) in BUILT_IN.items()}
