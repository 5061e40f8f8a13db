"""The nouns of the emulator: what a world holds, as frozen records.

A record keeps the JSON body its owner sent (`spec`, wire names, defaults filled in by the wire
layer) beside the state the service adds. Source of the names: Azure Batch REST API 2025-06-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

Spec = Mapping[str, Any]


class PoolState(StrEnum):
    ACTIVE = "active"
    DELETING = "deleting"


class AllocationState(StrEnum):
    STEADY = "steady"
    RESIZING = "resizing"
    STOPPING = "stopping"


class NodeState(StrEnum):
    CREATING = "creating"
    STARTING = "starting"
    WAITING_FOR_START_TASK = "waitingforstarttask"
    START_TASK_FAILED = "starttaskfailed"
    IDLE = "idle"
    RUNNING = "running"
    REBOOTING = "rebooting"
    REIMAGING = "reimaging"
    UNUSABLE = "unusable"
    UNKNOWN = "unknown"
    LEAVING_POOL = "leavingpool"
    OFFLINE = "offline"
    PREEMPTED = "preempted"
    UPGRADING_OS = "upgradingos"
    DEALLOCATING = "deallocating"
    DEALLOCATED = "deallocated"


class SchedulingState(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"


class JobState(StrEnum):
    ACTIVE = "active"
    DISABLING = "disabling"
    DISABLED = "disabled"
    ENABLING = "enabling"
    TERMINATING = "terminating"
    COMPLETED = "completed"
    DELETING = "deleting"


class JobScheduleState(StrEnum):
    ACTIVE = "active"
    COMPLETED = "completed"
    DISABLED = "disabled"
    TERMINATING = "terminating"
    DELETING = "deleting"


class TaskState(StrEnum):
    ACTIVE = "active"
    PREPARING = "preparing"
    RUNNING = "running"
    COMPLETED = "completed"


class DeallocationOption(StrEnum):
    REQUEUE = "requeue"
    TERMINATE = "terminate"
    TASK_COMPLETION = "taskcompletion"
    RETAINED_DATA = "retaineddata"


class Refused(Exception):
    """The service refuses a request; the wire turns it into an error body.

    `code` is one of Azure's error codes (see `batch.errors` for status and message);
    `values` are the key/value details of the body.
    """

    def __init__(self, code: str, values: Mapping[str, str] | None = None, message: str | None = None) -> None:
        super().__init__(message or code)
        self.code = code
        self.values = dict(values or {})
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error the service reports as data: a resize error, a node error, a task's failureInfo."""

    code: str
    message: str
    category: str = "usererror"  # or "servererror"; written for tasks only
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScaleRun:
    """The outcome of one evaluation: `results` as the service prints it, `error` if it failed."""

    timestamp: datetime
    results: str
    error: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    id: str
    spec: Spec  # the create body: vmSize, virtualMachineConfiguration, startTask, taskSlotsPerNode, metadata, ...
    created: datetime
    last_modified: datetime  # the eTag is made of it; strictly increasing per object
    state: PoolState = PoolState.ACTIVE
    state_since: datetime
    allocation_state: AllocationState = AllocationState.STEADY
    allocation_since: datetime
    target_dedicated: int = 0
    target_spot: int = 0
    resize_timeout: timedelta = timedelta(minutes=15)
    deallocation: DeallocationOption = DeallocationOption.REQUEUE
    resize_errors: tuple[Fault, ...] = ()
    autoscale_formula: str | None = None  # None = fixed scale
    autoscale_interval: timedelta = timedelta(minutes=15)
    autoscale_run: AutoScaleRun | None = None
    autoscale_enabled: datetime | None = None  # when a client last enabled it; creation does not count

    @property
    def slots_per_node(self) -> int:
        return int(self.spec.get("taskSlotsPerNode", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of a command on a node: a task, start, preparation or release task."""

    state: str = "active"  # start/prep/release: "running" | "completed"
    start_time: datetime | None = None
    end_time: datetime | None = None
    exit_code: int | None = None
    result: str | None = None  # "success" | "failure"
    failure: Fault | None = None
    retry_count: int = 0
    last_retry_time: datetime | None = None
    requeue_count: int = 0
    last_requeue_time: datetime | None = None
    root_directory: str | None = None  # relative to the node's root
    container: str | None = None  # id of the container it ran in


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentTask:
    """An entry of a node's `recentTasks`."""

    job_id: str
    task_id: str
    subtask_id: int = 0
    state: TaskState
    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUser:
    """An account on a node, as data: nobody logs in on a directory. Its password is not kept."""

    name: str
    is_admin: bool
    expires: datetime
    ssh_public_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    pool_id: str
    id: str  # tvmps_<64 hex>_d (dedicated) or _p (spot)
    dedicated: bool
    ip: str
    vm_size: str
    slots: int
    state: NodeState = NodeState.CREATING
    state_since: datetime
    scheduling: SchedulingState = SchedulingState.ENABLED
    allocation_time: datetime
    last_boot_time: datetime | None = None
    start_task: Execution | None = None
    errors: tuple[Fault, ...] = ()
    slots_used: int = 0
    running_tasks: int = 0
    total_run: int = 0
    total_succeeded: int = 0
    recent: tuple[RecentTask, ...] = ()
    jobs_prepared: Mapping[str, Execution] = field(default_factory=dict)  # job id -> preparation task on this node
    jobs_released: Mapping[str, Execution] = field(default_factory=dict)  # job id -> release task on this node
    users: Mapping[str, NodeUser] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    id: str
    spec: Spec
    pool_id: str
    created: datetime
    last_modified: datetime
    state: JobState = JobState.ACTIVE
    state_since: datetime
    previous_state: JobState | None = None
    previous_state_since: datetime | None = None
    start_time: datetime
    end_time: datetime | None = None
    terminate_reason: str | None = None
    scheduling_error: Fault | None = None
    schedule_id: str | None = None  # of the job schedule that made it

    @property
    def directory(self) -> str:
        """Where its tasks' directories lie below a node's root; a schedule's jobs share the schedule's [documented]."""
        if self.schedule_id is None:
            return f"workitems/{self.id}/job-1"
        return f"workitems/{self.schedule_id}/{self.id.rsplit(':', 1)[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSchedule:
    """`due` is the recurrence that the latest job was made for, or that waits for the job before it (`waiting`)."""

    id: str
    spec: Spec  # schedule, jobSpecification, displayName, metadata
    created: datetime
    last_modified: datetime
    state: JobScheduleState = JobScheduleState.ACTIVE
    state_since: datetime
    previous_state: JobScheduleState | None = None
    previous_state_since: datetime | None = None
    next_run: datetime | None = None
    due: datetime | None = None
    waiting: bool = False
    runs: int = 0  # jobs made so far
    recent_job: str | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtask:
    """One instance of a multi-instance task besides the primary; it ends with the primary."""

    id: int  # 1 ... numberOfInstances - 1
    pool_id: str
    node_id: str
    state: TaskState = TaskState.PREPARING
    state_since: datetime
    previous_state: TaskState | None = None
    previous_state_since: datetime | None = None
    execution: Execution = Execution()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    job_id: str
    id: str
    spec: Spec
    created: datetime
    last_modified: datetime
    state: TaskState = TaskState.ACTIVE
    state_since: datetime
    previous_state: TaskState | None = None
    previous_state_since: datetime | None = None
    execution: Execution = Execution()
    pool_id: str | None = None  # where it runs or ran
    node_id: str | None = None
    number: int = 0  # grows with each task added; lists are in this order
    attempt: int = 0  # counts starts, so that a late report of an earlier start is recognised

    subtasks: tuple[Subtask, ...] = ()  # of its present or last start

    @property
    def required_slots(self) -> int:
        return int(self.spec.get("requiredSlots", 1))

    @property
    def instances(self) -> int:
        """The nodes it runs on at once; 0 for an ordinary task."""
        settings = self.spec.get("multiInstanceSettings")
        return int(settings.get("numberOfInstances", 1)) if settings else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application with its active versions."""

    id: str
    display_name: str | None
    versions: tuple[str, ...]
    default_version: str | None

    def resolve(self, version: str | None) -> str | None:
        """A version's own spelling, the default one for None; None where there is none of it."""
        wanted = (version or self.default_version or "").lower()
        return next((one for one in self.versions if one.lower() == wanted), None)
