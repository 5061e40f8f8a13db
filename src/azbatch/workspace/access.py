"""Who may do what: the head node's and the nodes' roles, and the policy against public Batch. Pure.

The head node needs least: to read the workspace, to put machines into the Batch subnet, to manage pools and jobs of
this account, to give the nodes their identity, and blobs. It may neither open the network nor read keys.
"""

from __future__ import annotations

from azbatch.workspace.choices import identity_code
from azbatch.workspace.model import Body, Machine, Options, Ownership, Wanted, reference
from azbatch.workspace.names import Names

ROLE_API, POLICY_API = "2022-04-01", "2023-04-01"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
BATCH_DATA_CONTRIBUTOR = "6aaa78f1-f7de-44ca-8722-c64a23943cae"
IDENTITY_OPERATOR = "f1a07417-d97a-45cb-824c-7a7467783830"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
HEAD_ROLE, JOIN_ROLE = "head-node", "node-placement"
READS = (
    "Microsoft.Authorization/permissions/read",
    "Microsoft.Batch/batchAccounts/read",
    "Microsoft.Batch/locations/*/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.ManagedIdentity/userAssignedIdentities/read",
    "Microsoft.Network/natGateways/read",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkSecurityGroups/read",
    "Microsoft.Network/networkSecurityGroups/securityRules/read",
    "Microsoft.Network/privateEndpoints/read",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups/read",
    "Microsoft.Network/publicIPAddresses/read",
    "Microsoft.Network/serviceEndpointPolicies/read",
    "Microsoft.Network/virtualNetworks/read",
    "Microsoft.Network/virtualNetworks/subnets/read",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Storage/storageAccounts/read",
)
JOINS = ("Microsoft.Network/virtualNetworks/read", "Microsoft.Network/virtualNetworks/subnets/join/action")


def _role(names: Names, what: str, title: str, actions: tuple[str, ...], sentence: str) -> Wanted:
    return Wanted(
        code="r1" if what == HEAD_ROLE else "r2",
        id=names.role(what),
        api_version=ROLE_API,
        ownership=Ownership.SHARED,
        sentence=sentence,
        body={
            "properties": {
                "roleName": f"azbatch {title} ({names.subscription[:8]})",
                "description": f"{title} of azbatch workspaces",
                "assignableScopes": [names.scope],
                "permissions": [{"actions": list(actions), "notActions": [], "dataActions": [], "notDataActions": []}],
            }
        },
    )


def _assignment(
    names: Names, code: str, scope: str, role: str, principal: object, depends_on: tuple[str, ...], sentence: str
) -> Wanted:
    return Wanted(
        code=code,
        id=names.assignment(scope, code),
        api_version=ROLE_API,
        depends_on=depends_on,
        sentence=sentence,
        body={
            "properties": {
                "principalId": principal,
                "principalType": "ServicePrincipal",
                "roleDefinitionId": role,
                "description": "made by azbatch",
            }
        },
    )


def identity(head: Machine) -> Wanted:
    """The head node's own identity switched on; others that it has stay."""
    users = "UserAssigned" in head.identity_type
    return Wanted(
        code=identity_code(head),
        id=head.id,
        api_version="2024-07-01",
        ownership=Ownership.PART,
        body={"identity": {"type": "SystemAssigned, UserAssigned" if users else "SystemAssigned"}},
        sentence=f"the head node {head.name} gets an identity of its own",
    )


def roles(names: Names, principal: object, on: tuple[str, ...], storage: Body, who: str) -> list[Wanted]:
    """Of the head node: two custom roles, five assignments. `on` is what has to be there before its principal is."""
    storage_id = str(storage["id"])
    head_role, join_role = names.role(HEAD_ROLE), names.role(JOIN_ROLE)
    return [
        _role(names, HEAD_ROLE, "head node", READS, "a role that reads what a head node must know"),
        _role(names, JOIN_ROLE, "node placement", JOINS, "a role that puts machines into a subnet, and nothing else"),
        _assignment(names, "a1", names.group, head_role, principal, (*on, head_role), f"{who} may read the workspace"),
        _assignment(
            names, "a2", names.network, join_role, principal, (*on, join_role, names.network),
            f"{who} may put pools into the Batch network",
        ),
        _assignment(
            names, "a3", names.account, names.built_in(BATCH_DATA_CONTRIBUTOR), principal, (*on, names.account),
            f"{who} may make pools and run jobs in the Batch account",
        ),
        _assignment(
            names, "a4", names.node_identity, names.built_in(IDENTITY_OPERATOR), principal, (*on, names.node_identity),
            f"{who} may give pools the node identity",
        ),
        _assignment(
            names, "a5", storage_id, names.built_in(BLOB_CONTRIBUTOR), principal, on,
            f"{who} may read and write blobs of the workspace's storage",
        ),
    ]  # fmt: skip


def node_identity(names: Names, location: str, storage: Body, registry: Body | None, tags: Body) -> list[Wanted]:
    """The nodes' identity with blobs, and the registry's images where there is one."""
    principal = reference(names.node_identity, "properties.principalId")
    found = [
        Wanted(
            code="id",
            id=names.node_identity,
            api_version="2023-01-31",
            body={"location": location, "tags": dict(tags)},
            sentence="an identity for the nodes",
        ),
        _assignment(
            names, "a6", str(storage["id"]), names.built_in(BLOB_CONTRIBUTOR), principal, (names.node_identity,),
            "the nodes may read and write blobs of the workspace's storage",
        ),
    ]  # fmt: skip
    if registry is not None:
        found.append(
            _assignment(
                names,
                "a7",
                str(registry["id"]),
                names.built_in(ACR_PULL),
                principal,
                (names.node_identity,),
                f"the nodes may pull images from {registry.get('name')}",
            )
        )
    return found


def policy(names: Names, _options: Options) -> list[Wanted]:
    """No Batch account with public access, no pool with public addresses: defined once, assigned to each workspace."""
    account, pool = "Microsoft.Batch/batchAccounts", "Microsoft.Batch/batchAccounts/pools"
    provision = f"{pool}/networkConfiguration.publicIPAddressConfiguration.provision"
    rule = {
        "if": {
            "anyOf": [
                {
                    "allOf": [
                        {"field": "type", "equals": account},
                        {"field": f"{account}/publicNetworkAccess", "notEquals": "Disabled"},
                    ]
                },
                {
                    "allOf": [
                        {"field": "type", "equals": pool},
                        {"field": provision, "notEquals": "NoPublicIPAddresses"},
                    ]
                },
            ]
        },
        "then": {"effect": "deny"},
    }
    return [
        Wanted(
            code="pd",
            id=names.policy,
            api_version=POLICY_API,
            ownership=Ownership.SHARED,
            sentence="a policy that denies public Batch accounts and pools with public addresses",
            body={
                "properties": {
                    "displayName": "azbatch: no public Batch accounts or pools",
                    "mode": "All",
                    "policyRule": rule,
                }
            },
        ),
        Wanted(
            code="pa",
            id=names.policy_assignment,
            api_version=POLICY_API,
            depends_on=(names.policy,),
            sentence="that policy is assigned to this workspace",
            body={
                "properties": {
                    "displayName": "azbatch: no public Batch accounts or pools",
                    "policyDefinitionId": names.policy,
                }
            },
        ),
    ]
