"""What a pool's containerConfiguration and a task's containerSettings demand of each other. Pure.

Source: REST, Pools - Create Pool, Tasks - Create Task (containerSettings: "If the Pool that will run this Task has
containerConfiguration set, this must be set as well", and must not where it has none; start, preparation and release
tasks may run on the host of such a pool too). Codes: Azure SDK's live tests, reports of users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azbatch_emulator import faults
from azbatch_emulator.commands import Kind
from azbatch_emulator.records import Fault

Spec = Mapping[str, Any]
_OWN: frozenset[Kind] = frozenset({"task", "coordination"})  # those that a container pool runs in containers only


def configuration(pool: Spec) -> Spec | None:
    """The containerConfiguration of a pool's body, which may be empty; None for a pool without containers."""
    found = (pool.get("virtualMachineConfiguration") or {}).get("containerConfiguration")
    return found if isinstance(found, Mapping) else None


def images(pool: Spec) -> tuple[str, ...]:
    """The images that nodes of the pool pull while they boot."""
    return tuple(str(name) for name in (configuration(pool) or {}).get("containerImageNames") or ())


def misfit(pool: Spec, kind: Kind, task: Spec) -> Fault | None:
    """Why a task cannot run on the pool's nodes: a container without support for it, or the other way round."""
    supported = configuration(pool) is not None
    if task.get("containerSettings"):
        return None if supported else faults.fault("ContainerPoolNotSupported")
    return faults.fault("ContainerTaskSettingsNotFound") if supported and kind in _OWN else None
