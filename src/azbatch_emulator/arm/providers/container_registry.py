"""Microsoft.ContainerRegistry: registries, as far as a pool needs to know them."""

from __future__ import annotations

from azbatch_emulator.arm.kinds import Draft, Edit, Kind, Provider

TYPE = "Microsoft.ContainerRegistry/registries"


def _put(edit: Edit) -> Draft:
    properties = {"publicNetworkAccess": "Enabled", **(edit.body.get("properties") or {})}
    properties["loginServer"] = f"{edit.id.name.lower()}.azurecr.io"
    return Draft(body={"sku": {"name": "Premium"}, **edit.body, "properties": properties})


PROVIDER = Provider(namespace="Microsoft.ContainerRegistry", kinds=(Kind(type=TYPE, put=_put),))
