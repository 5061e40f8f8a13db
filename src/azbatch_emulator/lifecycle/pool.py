"""Pool: state and allocation state. Source: REST, Pool - Get (PoolState, AllocationState)."""

from __future__ import annotations

from enum import StrEnum

from azbatch_emulator.lifecycle.table import Table
from azbatch_emulator.records import AllocationState, PoolState


class PoolHappening(StrEnum):
    DELETE = "delete"


class AllocationHappening(StrEnum):
    RESIZE = "resize"
    SCALE = "scale"
    REMOVE_NODES = "remove nodes"
    STOP_RESIZE = "stop resize"
    SETTLED = "settled"
    DELETE = "delete"


POOL = Table("pool", PoolState.ACTIVE, {(PoolState.ACTIVE, PoolHappening.DELETE): PoolState.DELETING})

_STEADY, _RESIZING, _STOPPING = AllocationState.STEADY, AllocationState.RESIZING, AllocationState.STOPPING
ALLOCATION = Table(
    "pool allocation",
    _STEADY,
    {
        (_STEADY, AllocationHappening.RESIZE): _RESIZING,
        (_STEADY, AllocationHappening.REMOVE_NODES): _RESIZING,
        (_STEADY, AllocationHappening.SCALE): _RESIZING,
        (_STEADY, AllocationHappening.DELETE): _RESIZING,
        # A formula may ask for other targets before the former are reached [documented]; a client may not.
        (_RESIZING, AllocationHappening.SCALE): _RESIZING,
        (_RESIZING, AllocationHappening.STOP_RESIZE): _STOPPING,
        (_RESIZING, AllocationHappening.SETTLED): _STEADY,
        (_RESIZING, AllocationHappening.DELETE): _RESIZING,
        (_STOPPING, AllocationHappening.SETTLED): _STEADY,
        (_STOPPING, AllocationHappening.DELETE): _RESIZING,
    },
)
