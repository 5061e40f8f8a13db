"""Compute node. Source: REST, Nodes - Get Node (BatchNodeState)."""

from __future__ import annotations

from enum import StrEnum

from azbatch_emulator.lifecycle.table import Table, each
from azbatch_emulator.records import NodeState as N


class NodeHappening(StrEnum):
    ALLOCATED = "allocated"
    START_TASK_BEGINS = "start task begins"
    READY = "ready"
    START_TASK_FAILED = "start task failed"
    TASK_PLACED = "task placed"
    LAST_TASK_ENDED = "last task ended"
    PREEMPTED = "preempted"
    RESTORED = "capacity restored"
    BROKEN = "broken"
    REBOOT = "reboot"
    REIMAGE = "reimage"
    BOOTED = "booted"
    DISABLED = "scheduling disabled"
    ENABLED = "scheduling enabled"
    LEAVE = "leave"
    DEALLOCATE = "deallocate"
    DEALLOCATED = "machine given back"
    START = "start"


H = NodeHappening
_USABLE = (N.IDLE, N.RUNNING, N.OFFLINE)
_BOOTING = (N.STARTING, N.REBOOTING, N.REIMAGING)
_PRESENT = (*_USABLE, *_BOOTING, N.CREATING, N.WAITING_FOR_START_TASK, N.START_TASK_FAILED, N.UNUSABLE)

NODE = Table(
    "node",
    N.CREATING,
    {
        (N.CREATING, H.ALLOCATED): N.STARTING,
        **each(_BOOTING, H.START_TASK_BEGINS, N.WAITING_FOR_START_TASK),
        **each((*_BOOTING, N.WAITING_FOR_START_TASK), H.READY, N.IDLE),
        (N.WAITING_FOR_START_TASK, H.START_TASK_FAILED): N.START_TASK_FAILED,
        (N.IDLE, H.TASK_PLACED): N.RUNNING,
        (N.RUNNING, H.TASK_PLACED): N.RUNNING,
        (N.RUNNING, H.LAST_TASK_ENDED): N.IDLE,
        (N.OFFLINE, H.LAST_TASK_ENDED): N.OFFLINE,
        (N.LEAVING_POOL, H.LAST_TASK_ENDED): N.LEAVING_POOL,
        **each(_PRESENT, H.PREEMPTED, N.PREEMPTED),
        (N.PREEMPTED, H.RESTORED): N.STARTING,
        **each(_PRESENT, H.BROKEN, N.UNUSABLE),
        **each((*_USABLE, N.START_TASK_FAILED, N.UNUSABLE), H.REBOOT, N.REBOOTING),
        **each((*_USABLE, N.START_TASK_FAILED, N.UNUSABLE), H.REIMAGE, N.REIMAGING),
        **each((N.IDLE, N.RUNNING), H.DISABLED, N.OFFLINE),
        (N.OFFLINE, H.ENABLED): N.IDLE,
        **each((*_PRESENT, N.PREEMPTED, N.DEALLOCATING, N.DEALLOCATED), H.LEAVE, N.LEAVING_POOL),
        **each((*_USABLE, N.START_TASK_FAILED, N.UNUSABLE), H.DEALLOCATE, N.DEALLOCATING),
        (N.DEALLOCATING, H.LAST_TASK_ENDED): N.DEALLOCATING,
        (N.DEALLOCATING, H.DEALLOCATED): N.DEALLOCATED,
        (N.DEALLOCATED, H.START): N.STARTING,
    },
)

SCHEDULABLE = frozenset({N.IDLE, N.RUNNING})
