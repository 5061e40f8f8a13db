"""Microsoft.Authorization: roles, assignments, permissions, policies, locks. Source: REST, Authorization and Policy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azbatch_emulator.arm import policy, rbac
from azbatch_emulator.arm.kinds import Body, Delete, Draft, Edit, Kind, Provider, Put, Resources
from azbatch_emulator.arm.records import Answer, ArmRefused, Request, Resource
from azbatch_emulator.arm.roles import BUILT_IN, Permissions

LOCK = "Microsoft.Authorization/locks"


def _assignment(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    principal, role = str(properties.get("principalId") or ""), str(properties.get("roleDefinitionId") or "")
    if not principal or not role:
        raise ArmRefused(400, "BadRequest", "A role assignment needs principalId and roleDefinitionId.")
    if not rbac.role_permissions(role.rsplit("/", 1)[-1], edit.resources):
        raise ArmRefused(
            404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{role}' does not exist."
        )
    if edit.before is not None:
        same = all(
            str(edit.before.properties.get(name, "")).lower() == str(properties.get(name, "")).lower()
            for name in ("principalId", "roleDefinitionId")
        )
        if not same:
            raise ArmRefused(
                409,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )
        raise ArmRefused(409, "RoleAssignmentExists", "The role assignment already exists.")
    for other in edit.resources.of_type(rbac.ASSIGNMENT):
        if (
            other.id.scope.lower() == edit.id.scope.lower()
            and str(other.properties["principalId"]).lower() == principal.lower()
            and str(other.properties["roleDefinitionId"]).rsplit("/", 1)[-1].lower() == role.rsplit("/", 1)[-1].lower()
        ):
            raise ArmRefused(
                409,
                "RoleAssignmentExists",
                f"The role assignment already exists. The ID of the conflicting role assignment is {other.id.name}.",
            )
    properties.setdefault("principalType", "ServicePrincipal")
    return Draft(body={"properties": {**properties, "scope": edit.id.scope or "/"}})


def _definition(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    scopes = properties.get("assignableScopes") or []
    if not properties.get("roleName") or not scopes or not properties.get("permissions"):
        raise ArmRefused(
            400, "InvalidRoleDefinition", "A role definition needs roleName, permissions and assignableScopes."
        )
    for other in edit.resources.of_type(rbac.DEFINITION):
        if other.id.key != edit.id.key and other.properties.get("roleName") == properties["roleName"]:
            raise ArmRefused(
                409,
                "RoleDefinitionWithSameNameExists",
                f"A custom role with the same name already exists in this directory: '{properties['roleName']}'.",
            )
    properties["type"] = "CustomRole"
    return Draft(body={"properties": properties})


def _definition_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for other in edit.resources.of_type(rbac.ASSIGNMENT):
        if str(other.properties.get("roleDefinitionId", "")).rsplit("/", 1)[-1].lower() == edit.id.name.lower():
            raise ArmRefused(
                409,
                "RoleDefinitionHasAssignments",
                "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments).",
            )
    return ()


def _policy_definition(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    rule = properties.get("policyRule")
    if not isinstance(rule, Mapping) or "if" not in rule or "then" not in rule:
        raise ArmRefused(400, "InvalidPolicyRule", "Failed to parse policy rule: 'if' and 'then' are needed.")
    try:
        policy.holds(rule["if"], edit.id, {}, {})
    except (ValueError, TypeError, AttributeError) as error:
        raise ArmRefused(400, "InvalidPolicyRule", f"Failed to parse policy rule: {error}.") from None
    return Draft(body={"properties": {"policyType": "Custom", "mode": "All", **properties}})


def _policy_definition_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    for other in edit.resources.of_type(policy.ASSIGNMENT):
        if str(other.properties.get("policyDefinitionId", "")).lower() == edit.id.key:
            raise ArmRefused(
                400,
                "PolicyDefinitionInUse",
                f"The policy definition '{edit.id.name}' cannot be deleted because it is used by the policy "
                f"assignment '{other.id.text}'.",
            )
    return ()


def _policy_assignment(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    if edit.resources.get(str(properties.get("policyDefinitionId") or "")) is None:
        raise ArmRefused(
            404,
            "PolicyDefinitionNotFound",
            f"The policy definition '{properties.get('policyDefinitionId')}' could not be found.",
        )
    return Draft(body={**edit.body, "properties": {"enforcementMode": "Default", **properties, "scope": edit.id.scope}})


def _lock(edit: Edit) -> Draft:
    if (edit.body.get("properties") or {}).get("level") not in {"CanNotDelete", "ReadOnly"}:
        raise ArmRefused(400, "InvalidLockLevel", "The lock level must be CanNotDelete or ReadOnly.")
    return Draft(body=edit.body)


def role_body(guid: str, name: str, permissions: Permissions, scope: str) -> dict[str, Any]:
    """A built-in role as the service shows it."""
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{guid}",
        "name": guid,
        "type": rbac.DEFINITION,
        "properties": {
            "roleName": name,
            "type": "BuiltInRole",
            "description": name,
            "assignableScopes": ["/"],
            "permissions": [permission_body(permissions)],
        },
    }


def permission_body(permissions: Permissions) -> dict[str, Any]:
    return {
        "actions": list(permissions.actions),
        "notActions": list(permissions.not_actions),
        "dataActions": list(permissions.data_actions),
        "notDataActions": list(permissions.not_data_actions),
    }


def built_in(scope: str, wanted: str | None) -> list[dict[str, Any]]:
    """Built-in roles, all or those of one name."""
    return [
        role_body(guid, name, permissions, scope)
        for guid, (name, permissions) in BUILT_IN.items()
        if wanted is None or name.lower() == wanted.lower()
    ]


def custom(scope: str, wanted: str | None, resources: Resources) -> list[Resource]:
    """Custom roles assignable at a scope."""
    return [
        role
        for role in resources.of_type(rbac.DEFINITION)
        if (wanted is None or str(role.properties.get("roleName", "")).lower() == wanted.lower())
        and any(
            rbac.contains(str(one), scope) or rbac.contains(scope, str(one))
            for one in role.properties["assignableScopes"]
        )
    ]


def _stamped(resource: Resource, _resources: Resources) -> Body:
    stamps = {"createdOn": resource.created.isoformat(), "updatedOn": resource.changed.isoformat()}
    return {**resource.body, "properties": {**resource.properties, **stamps}}


def _deny_assignments(_request: Request, _names: Mapping[str, str], _resources: Resources, _now: datetime) -> Answer:
    return Answer(status=200, body={"value": []})


PROVIDER = Provider(
    namespace="Microsoft.Authorization",
    kinds=(
        Kind(type=rbac.ASSIGNMENT, put=_assignment, show=_stamped, plain=True),
        Kind(type=rbac.DEFINITION, put=_definition, delete=_definition_gone, show=_stamped, plain=True),
        Kind(type=policy.DEFINITION, put=_policy_definition, delete=_policy_definition_gone, plain=True),
        Kind(type=policy.ASSIGNMENT, put=_policy_assignment, plain=True),
        Kind(type=LOCK, put=_lock, plain=True),
    ),
)
