"""Microsoft.ManagedIdentity: user-assigned identities."""

from __future__ import annotations

from azbatch_emulator.arm.kinds import Draft, Edit, Kind, Provider

TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"


def _put(edit: Edit) -> Draft:
    ids = (
        edit.before.properties
        if edit.before
        else {"principalId": edit.new_id(), "clientId": edit.new_id(), "tenantId": ""}
    )
    return Draft(body={**edit.body, "properties": dict(ids)})


PROVIDER = Provider(
    namespace="Microsoft.ManagedIdentity",
    kinds=(Kind(type=TYPE, put=_put),),
)
