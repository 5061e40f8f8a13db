"""What the service says to a request that the state of its object does not allow: one table, state -> code.

Source: "Batch Status and Error Codes"; docstrings of azure-batch 15.1. A lifecycle's table says which requests are
allowed; this one says how the others are refused. A row for one request goes before the row for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from azbatch_emulator.records import (
    AllocationState,
    JobScheduleState,
    JobState,
    NodeState,
    PoolState,
    Refused,
    TaskState,
)

J, T, N = JobState, TaskState, NodeState
ANY = "*"
INVALID = "OperationInvalidForCurrentState"

# kind of object -> request -> state -> code
REFUSALS: Mapping[str, Mapping[str, Mapping[StrEnum, str]]] = {
    "pool": {
        ANY: {
            PoolState.DELETING: "PoolBeingDeleted",
            AllocationState.RESIZING: "PoolBeingResized",
            AllocationState.STOPPING: "PoolBeingResized",
        },
        "add": {PoolState.ACTIVE: "PoolExists"},
    },
    "node": {
        ANY: {
            N.CREATING: "NodeBeingCreated",
            N.STARTING: "NodeBeingStarted",
            N.WAITING_FOR_START_TASK: "NodeBeingStarted",
            N.REBOOTING: "NodeBeingRebooted",
            N.REIMAGING: "NodeBeingReimaged",
            N.UNUSABLE: "NodeStateUnusable",
        },
    },
    "job": {
        ANY: {
            J.COMPLETED: "JobCompleted",
            J.DELETING: "JobBeingDeleted",
            J.TERMINATING: "JobBeingTerminated",
            J.DISABLED: "JobDisabled",
            J.DISABLING: "JobDisabled",
        },
        "add": dict.fromkeys((J.ACTIVE, J.DISABLING, J.DISABLED, J.ENABLING, J.TERMINATING, J.COMPLETED), "JobExists"),
        "reactivate task": {J.TERMINATING: "JobNotActive", J.DELETING: "JobNotActive"},
    },
    "job schedule": {
        ANY: {
            JobScheduleState.COMPLETED: "JobScheduleCompleted",
            JobScheduleState.DELETING: "JobScheduleBeingDeleted",
            JobScheduleState.TERMINATING: "JobScheduleBeingTerminated",
        },
        "add": dict.fromkeys(
            (
                JobScheduleState.ACTIVE,
                JobScheduleState.DISABLED,
                JobScheduleState.COMPLETED,
                JobScheduleState.TERMINATING,
            ),
            "JobScheduleExists",
        ),
    },
    "task": {
        ANY: {T.COMPLETED: "TaskCompleted"},
        "reactivate": dict.fromkeys((T.ACTIVE, T.PREPARING, T.RUNNING), "TaskNotCompleted"),
    },
}


def refusal(kind: str, request: str, state: StrEnum) -> Refused:
    """How a request to an object in a state that does not allow it is refused."""
    rows = REFUSALS[kind]
    return Refused(rows.get(request, {}).get(state) or rows[ANY].get(state) or INVALID)
