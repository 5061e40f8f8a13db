"""What may happen to a world: requests of clients, reports of runners, faults, and the passing of time.

`World.apply(event, now)` takes one of these, changes the world, and returns commands; it raises
`Refused` and changes nothing where the service would refuse. Events are plain data, so that a
sequence of them can be written down and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator.records import DeallocationOption, Fault, NodeUser

Spec = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""


# Requests. Specs are wire bodies, validated, with the service's defaults filled in.


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPool(Event):
    spec: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPool(Event):
    """Replaces the named top-level properties of the pool's spec; a value of None removes one."""

    pool_id: str
    changes: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePool(Event):
    pool_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizePool(Event):
    """None keeps the present target (the service needs at least one of the two)."""

    pool_id: str
    dedicated: int | None
    spot: int | None
    timeout: timedelta = timedelta(minutes=15)
    deallocation: DeallocationOption = DeallocationOption.REQUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class StopResize(Event):
    pool_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableAutoScale(Event):
    pool_id: str
    formula: str | None
    interval: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableAutoScale(Event):
    pool_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNodes(Event):
    pool_id: str
    node_ids: Sequence[str]
    timeout: timedelta = timedelta(minutes=15)
    deallocation: DeallocationOption = DeallocationOption.REQUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootNode(Event):
    pool_id: str
    node_id: str
    option: DeallocationOption = DeallocationOption.REQUEUE
    reimage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNodeScheduling(Event):
    pool_id: str
    node_id: str
    enabled: bool
    option: DeallocationOption = DeallocationOption.REQUEUE  # what happens to running tasks when disabled


@dataclass(frozen=True, slots=True, kw_only=True)
class AddJob(Event):
    spec: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchJob(Event):
    job_id: str
    changes: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableJob(Event):
    job_id: str
    tasks: DeallocationOption  # requeue | terminate | taskcompletion stands for "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableJob(Event):
    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateJob(Event):
    job_id: str
    reason: str = "UserTerminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJob(Event):
    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddTasks(Event):
    """Adds each task or refuses it by itself; `World.added` tells which (see `World.apply`)."""

    job_id: str
    specs: Sequence[Spec]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceTask(Event):
    """PUT of a task: only its constraints change."""

    job_id: str
    task_id: str
    constraints: Spec | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateTask(Event):
    job_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTask(Event):
    job_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivateTask(Event):
    job_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddJobSchedule(Event):
    spec: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchJobSchedule(Event):
    """Replaces the named top-level properties of the schedule's spec; a value of None removes one."""

    schedule_id: str
    changes: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableJobSchedule(Event):
    schedule_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableJobSchedule(Event):
    schedule_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateJobSchedule(Event):
    schedule_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJobSchedule(Event):
    schedule_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeallocateNode(Event):
    pool_id: str
    node_id: str
    option: DeallocationOption = DeallocationOption.REQUEUE


@dataclass(frozen=True, slots=True, kw_only=True)
class StartNode(Event):
    pool_id: str
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNodeUser(Event):
    pool_id: str
    node_id: str
    user: NodeUser


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceNodeUser(Event):
    """`expires` and `ssh_public_key` of a user that is there; None leaves one as it is."""

    pool_id: str
    node_id: str
    name: str
    expires: datetime | None = None
    ssh_public_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNodeUser(Event):
    pool_id: str
    node_id: str
    name: str


# Reports of a runner. `run` names one start of one command: see commands.Run.


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """The command ended, or could not be started (`exit_code` None and a `failure`); uploads are done.

    `failure` is given also for a non-zero exit (FailureExitCode) and for failed transfers; `container` is the id of the
    container that it ran in.
    """

    run: str
    exit_code: int | None
    failure: Fault | None = None
    container: str | None = None


# Faults, caused through the control surface.


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptNode(Event):
    pool_id: str
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakNode(Event):
    """The node becomes unusable with this error, its tasks requeued."""

    pool_id: str
    node_id: str
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class SetQuota(Event):
    """Cores an account may hold (None: any number); a resize beyond ends with AccountCoreQuotaReached."""

    dedicated_cores: int | None = None
    spot_cores: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailStartTasks(Event):
    """The next `count` start tasks of the pool fail with this exit code, without being run."""

    pool_id: str
    count: int
    exit_code: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FailNodes(Event):
    """The next `count` nodes of the pool that boot are unusable, with this error."""

    pool_id: str
    count: int
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class FailResizes(Event):
    """The next `count` resizes of the pool that want more nodes get none, with this error; later ones succeed."""

    pool_id: str
    count: int
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Event):
    """The emulator was restarted: nothing that ran runs any more, and all nodes reboot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed(Event):
    """Do all that is due at `now`: boots, samples, evaluations, time-outs (see `World.next_due`)."""
