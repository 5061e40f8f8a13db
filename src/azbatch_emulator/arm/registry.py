"""All resource providers, and the addresses that answer for the whole tenant."""

from __future__ import annotations

from azbatch_emulator.arm.kinds import Provider
from azbatch_emulator.arm.providers import (
    authorization,
    batch,
    compute,
    container_registry,
    managed_identity,
    network,
    resources,
    storage,
)

PROVIDERS: tuple[Provider, ...] = tuple(
    module.PROVIDER
    for module in (resources, authorization, managed_identity, network, storage, compute, container_registry, batch)
)
