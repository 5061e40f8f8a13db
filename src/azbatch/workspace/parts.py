"""Parts of somebody else's resource, written into it and taken out of it as it is at that moment.

A virtual machine and a storage account are patched; a subnet can only be replaced, so all that it has is sent along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from azbatch.errors import AzbatchError, ServiceError
from azbatch.workspace.compare import cleaned, differences, merged, without
from azbatch.workspace.model import Body, Wanted
from azbatch.workspace.ports import Arm

TRIES = 5  # of a replacement that somebody else's change came before


def replaced(arm: Arm, one: Wanted, change: Callable[[Body | None], Body | None]) -> Body | None:
    """Replace a resource by what `change` makes of it as it is, None for leaving it; again where it changed meanwhile.

    Whoever changed it in between is not overwritten: the request names the eTag that was read.
    """
    for left in reversed(range(TRIES)):
        present = arm.get(one.id, one.api_version)
        body = change(present)
        if body is None:
            return present
        try:
            return arm.put(one.id, one.api_version, body, etag=str((present or {}).get("etag") or "") or None)
        except ServiceError as error:
            if error.status != 412 or not left:
                raise
    raise AssertionError("unreachable")


def put_in(arm: Arm, one: Wanted, body: Body) -> Body:
    """Write the part `body` in. Raises AzbatchError where the resource has gone."""

    def with_it(present: Body | None) -> Body | None:
        if present is None:
            raise AzbatchError(f"{one.id.rsplit('/', 1)[-1]} has gone meanwhile; run the command again.")
        return merged(body, cleaned(present)) if list(differences(body, present)) else None

    if _is_subnet(one):
        return replaced(arm, one, with_it) or {}
    present = arm.get(one.id, one.api_version)
    if with_it(present) is None or present is None:
        return present or {}
    if "identity" in body:
        return arm.patch(one.id, one.api_version, _identity(present, str(body["identity"]["type"])))
    rules = merged(body["properties"]["networkAcls"], (present.get("properties") or {}).get("networkAcls") or {})
    return arm.patch(one.id, one.api_version, {"properties": {"networkAcls": rules}})


def take_out(arm: Arm, one: Wanted) -> Body | None:
    """Take the part out; what is not there any more is fine."""
    if _is_subnet(one):
        return replaced(arm, one, lambda present: _left(one.body, present))
    present = arm.get(one.id, one.api_version)
    if present is None:
        return None
    if "identity" in one.body:
        users = (present.get("identity") or {}).get("userAssignedIdentities")
        return arm.patch(one.id, one.api_version, _identity(present, "UserAssigned" if users else "None"))
    rules = without(one.body["properties"]["networkAcls"], (present.get("properties") or {}).get("networkAcls") or {})
    return arm.patch(one.id, one.api_version, {"properties": {"networkAcls": rules}})


def _is_subnet(one: Wanted) -> bool:
    return "/subnets/" in one.id


def _left(part: Body, present: Body | None) -> Body | None:
    """A subnet without the members of a part that are as the part has them; None where there are none."""
    mine: Mapping[str, Any] = part["properties"]
    held = (present or {}).get("properties") or {}
    out = {name for name, value in mine.items() if name in held and not list(differences(value, held[name]))}
    if present is None or not out:
        return None
    return {**cleaned(present), "properties": {name: value for name, value in held.items() if name not in out}}


def _identity(present: Body, kind: str) -> dict[str, Any]:
    users = (present.get("identity") or {}).get("userAssignedIdentities") or {}
    identity: dict[str, Any] = {"type": kind}
    if users:
        identity["userAssignedIdentities"] = {id: {} for id in users}
    return {"identity": identity}
