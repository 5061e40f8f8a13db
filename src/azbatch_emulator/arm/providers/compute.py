"""Microsoft.Compute: virtual machines with identities, VM sizes, core quotas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator.arm.kinds import Draft, Edit, Function, Kind, Provider, Resources
from azbatch_emulator.arm.records import Answer, ArmRefused, Request, Resource, Style

TYPE = "Microsoft.Compute/virtualMachines"
POWER = "powerState"  # kept beside the properties, and shown by the instance view only
FAMILIES = {
    "standardDDSv5Family": 100,
    "standardFSv2Family": 100,
    "standardESv5Family": 50,
    "standardNCASv3_T4Family": 0,
}


def _put(edit: Edit) -> Draft:
    properties = dict(edit.body.get("properties") or {})
    if not (properties.get("hardwareProfile") or {}).get("vmSize"):
        raise ArmRefused(400, "InvalidParameter", "Required parameter 'hardwareProfile.vmSize' is missing (null).")
    for interface in (properties.get("networkProfile") or {}).get("networkInterfaces") or ():
        if edit.resources.get(str(interface.get("id"))) is None:
            raise ArmRefused(
                400,
                "InvalidResourceReference",
                f"Resource {interface.get('id')} referenced by resource {edit.id.text} was not found.",
            )
    body = {name: value for name, value in edit.body.items() if name != POWER} | {"properties": properties}
    if edit.before is not None and POWER in edit.before.body:
        body[POWER] = edit.before.body[POWER]
    identity = identity_of(edit)
    if identity:
        body["identity"] = identity
    else:
        body.pop("identity", None)
    return Draft(body=body)


def identity_of(edit: Edit) -> dict[str, Any]:
    """The identity block: a system-assigned principal is made once and kept while it is on."""
    given = dict(edit.body.get("identity") or {})
    kinds = {part.strip().lower() for part in str(given.get("type", "None")).split(",")} - {"none", ""}
    if not kinds:
        return {}
    before = (edit.before.body.get("identity") or {}) if edit.before else {}
    made: dict[str, Any] = {"type": given["type"]}
    if "systemassigned" in kinds:
        made["principalId"] = before.get("principalId") or edit.new_id()
        made["tenantId"] = before.get("tenantId", "")
    if "userassigned" in kinds:
        users: dict[str, Any] = {}
        for id in given.get("userAssignedIdentities") or {}:
            found = edit.resources.get(id)
            if found is None:
                raise ArmRefused(
                    400,
                    "FailedIdentityOperation",
                    f"Identity operation for resource '{edit.id.text}' failed with error 'Failed to perform "
                    f"resource identity operation. Status: 'BadRequest'. Response: the identity {id} was not found.'.",
                )
            users[found.id.text] = {name: found.properties.get(name) for name in ("principalId", "clientId")}
        made["userAssignedIdentities"] = users
    return made


def identity_links(edit: Edit) -> tuple[tuple[str, str], ...]:
    """Whoever gives a resource a user-assigned identity must be allowed to."""
    given = (edit.body.get("identity") or {}).get("userAssignedIdentities") or {}
    return tuple((id, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action") for id in given)


def _powered(state: str) -> Callable[[Edit], Mapping[str, Any]]:
    """The machine with another power state; a running one carries none."""

    def change(edit: Edit) -> Mapping[str, Any]:
        assert edit.before is not None
        body = {name: value for name, value in edit.before.body.items() if name != POWER}
        return body if state == "running" else {**body, POWER: state}

    return change


def _shown(machine: Resource, _resources: Resources) -> Mapping[str, Any]:
    """Without the power state, which only the instance view tells."""
    return {name: value for name, value in machine.body.items() if name != POWER}


def _instance_view(edit: Edit) -> Answer:
    assert edit.before is not None
    state = edit.before.body.get(POWER, "running")
    power = {"code": f"PowerState/{state}", "level": "Info", "displayStatus": f"VM {state}"}
    done = {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}
    return Answer(status=200, body={"statuses": [done, power]})


def _usages(_request: Request, _names: Mapping[str, str], _resources: Resources, _now: datetime) -> Answer:
    total = {
        "name": {"value": "cores", "localizedValue": "Total Regional vCPUs"},
        "currentValue": 0,
        "limit": 350,
        "unit": "Count",
    }
    families = [
        {"name": {"value": name, "localizedValue": name}, "currentValue": 0, "limit": limit, "unit": "Count"}
        for name, limit in FAMILIES.items()
    ]
    return Answer(status=200, body={"value": [total, *families]})


PROVIDER = Provider(
    namespace="Microsoft.Compute",
    kinds=(
        Kind(
            type=TYPE,
            put=_put,
            style=Style.ASYNC_OPERATION,
            delete_style=Style.ASYNC_OPERATION,
            create_delay=timedelta(seconds=40),
            update_delay=timedelta(seconds=10),
            delete_delay=timedelta(seconds=30),
            links=identity_links,
            show=_shown,
            actions={"get instanceview": _instance_view},
            changes={
                "start": _powered("running"),
                "restart": _powered("running"),
                "poweroff": _powered("stopped"),
                "deallocate": _powered("deallocated"),
            },
        ),
    ),
    functions=(
        Function(
            method="GET",
            pattern="/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/usages",
            permission="Microsoft.Compute/locations/usages/read",
            answer=_usages,
        ),
    ),
)
