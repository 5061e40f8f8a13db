"""What a world holds, and the small writes from which all others are made."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator.autoscale import MetricHistory
from azbatch_emulator.commands import Command, Kill, Kind, Run
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import (
    Fault,
    Job,
    JobSchedule,
    Node,
    NodeState,
    Pool,
    Refused,
    SchedulingState,
    Task,
    TaskState,
)
from azbatch_emulator.schedule import FreeSlots, ReadyTasks
from azbatch_emulator.world import containers

MOST_LINGERING = 1000
SCHEDULABLE = frozenset({NodeState.IDLE, NodeState.RUNNING})


@dataclass(slots=True)
class Counts:
    """Task counts of a job, as tasks and as slots. Source: REST, Jobs - Get Job Task Counts."""

    active: int = 0
    running: int = 0
    completed: int = 0
    succeeded: int = 0
    failed: int = 0

    def move(self, task: Task, weight: int) -> None:
        """Count `task` in by `weight`, or out by a negative one."""
        if task.state is TaskState.COMPLETED:
            self.completed += weight
            if task.execution.result == "success":
                self.succeeded += weight
            else:
                self.failed += weight
        elif task.state is TaskState.ACTIVE:
            self.active += weight
        else:
            self.running += weight


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A command that the outside was asked to run and has not ended."""

    kind: Kind
    pool: str
    node: str
    job: str | None = None
    task: str | None = None
    slots: int = 0
    instance: int = 0  # of a multi-instance task


@dataclass(frozen=True, slots=True)
class PastNode:
    """What is left of a node that is gone: when there was one."""

    pool_id: str
    vm_size: str
    began: datetime
    ended: datetime


@dataclass(slots=True)
class JobTasks:
    """The tasks of one job with their indexes."""

    all: dict[str, Task] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)  # of the tasks ever added, ascending; those of deleted ones linger
    keys: list[str] = field(default_factory=list)  # the ids that go with them
    by_state: dict[TaskState, dict[str, None]] = field(default_factory=lambda: {state: {} for state in TaskState})
    tasks: Counts = field(default_factory=Counts)
    slots: Counts = field(default_factory=Counts)
    run: dict[str, str] = field(default_factory=dict)  # task -> run
    coordinating: dict[str, dict[int, str]] = field(default_factory=dict)  # multi-instance task -> runs by instance
    coordinated: dict[str, set[int]] = field(default_factory=dict)  # the instances whose coordination has ended well
    more_instances: int = 0  # those of active multi-instance tasks besides the first
    blocked: dict[str, set[str]] = field(default_factory=dict)  # task -> ids it waits for
    dependents: dict[str, list[str]] = field(default_factory=dict)  # id -> tasks that wait for it


class State:
    """All data of a world. Keys are lower-cased ids: Batch's ids ignore case."""

    def __init__(self, profile: Profile, rng: random.Random, started: datetime) -> None:
        self.profile = profile
        self.rng = rng
        self.started = started
        self.service_start = started
        self.pools: dict[str, Pool] = {}
        self.nodes: dict[str, dict[str, Node]] = {}
        self.free: dict[str, FreeSlots] = {}
        self.ready: dict[str, ReadyTasks] = {}
        self.history: dict[str, MetricHistory] = {}
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, JobSchedule] = {}
        self.tasks: dict[str, JobTasks] = {}
        self.runs: dict[str, ActiveRun] = {}
        self.node_runs: dict[tuple[str, str], dict[str, None]] = {}
        self.releasing: dict[str, set[str]] = {}  # job -> release runs under way
        self.autoscale_stamp: dict[str, datetime] = {}  # pool -> which formula its evaluations belong to
        self.failing_starts: dict[str, list[int]] = {}  # pool -> exit codes of start tasks to come
        self.failing_boots: dict[str, list[Fault]] = {}  # pool -> what befalls the nodes that boot next
        self.failing_resizes: dict[str, list[Fault]] = {}  # pool -> how its next resizes end
        self.evictions: dict[tuple[str, str], datetime] = {}  # spot node -> when its machine is taken away
        self.past_nodes: list[PastNode] = []  # for usage metrics
        self.quota_dedicated: int | None = None
        self.quota_spot: int | None = None
        self.out: list[Command] = []
        self.unfit: list[tuple[str, Fault]] = []  # runs that end without having begun, and why
        self.dirty: set[str] = set()  # pools whose waiting tasks may fit now
        self._timers: list[tuple[datetime, int, tuple[Any, ...]]] = []
        self._sequence = 0
        self._runs = 0

    # Timers

    def after(self, now: datetime, delay: timedelta, *happening: Any) -> None:
        """Ask for `happening` at `now + delay`; whoever handles it checks that it still applies."""
        self._sequence += 1
        heapq.heappush(self._timers, (now + delay, self._sequence, happening))

    def next_due(self) -> datetime | None:
        return self._timers[0][0] if self._timers else None

    def pop_due(self, now: datetime) -> tuple[Any, ...] | None:
        if self._timers and self._timers[0][0] <= now:
            return heapq.heappop(self._timers)[2]
        return None

    def service_time(self, now: datetime) -> datetime:
        """The time that autoscale formulas see: `speed` service seconds for each second since the start."""
        return self.service_start + (now - self.started) * self.profile.speed

    def resume(self, profile: Profile, now: datetime) -> None:
        """Go on with another profile; service time goes on from where it is."""
        self.service_start, self.started, self.profile = self.service_time(now), now, profile
        for history in self.history.values():
            history.period, history.lag = profile.sample_period, profile.sample_lag

    # Look-ups that refuse

    def pool(self, pool_id: str) -> Pool:
        try:
            return self.pools[pool_id.lower()]
        except KeyError:
            raise Refused("PoolNotFound") from None

    def node(self, pool_id: str, node_id: str) -> Node:
        self.pool(pool_id)
        try:
            return self.nodes[pool_id.lower()][node_id.lower()]
        except KeyError:
            raise Refused("NodeNotFound") from None

    def job(self, job_id: str) -> Job:
        try:
            return self.jobs[job_id.lower()]
        except KeyError:
            raise Refused("JobNotFound") from None

    def schedule(self, schedule_id: str) -> JobSchedule:
        try:
            return self.schedules[schedule_id.lower()]
        except KeyError:
            raise Refused("JobScheduleNotFound") from None

    def task(self, job_id: str, task_id: str) -> Task:
        self.job(job_id)
        try:
            return self.tasks[job_id.lower()].all[task_id.lower()]
        except KeyError:
            raise Refused("TaskNotFound") from None

    # Writes

    def put_node(self, node: Node) -> None:
        """Store a node; its free slots follow from its state and load."""
        pool = node.pool_id.lower()
        self.nodes[pool][node.id.lower()] = node
        usable = node.state in SCHEDULABLE and node.scheduling is SchedulingState.ENABLED
        self.free[pool].set(node.id.lower(), node.slots - node.slots_used if usable else None)
        if usable and node.slots > node.slots_used:
            self.dirty.add(pool)

    def drop_node(self, node: Node, now: datetime) -> None:
        pool = node.pool_id.lower()
        self.past_nodes.append(PastNode(node.pool_id, node.vm_size, node.allocation_time, now))
        self.free[pool].set(node.id.lower(), None)
        del self.nodes[pool][node.id.lower()]
        self.node_runs.pop((pool, node.id.lower()), None)
        self.evictions.pop((pool, node.id.lower()), None)

    def put_task(self, task: Task) -> None:
        """Store a task and keep counts and indexes; records of the former state are counted out."""
        book, key = self.tasks[task.job_id.lower()], task.id.lower()
        before = book.all.get(key)
        if before is not None:
            self._count(book, before, -1)
        if before is None:
            book.numbers.append(task.number)
            book.keys.append(key)
        book.all[key] = task
        self._count(book, task, 1)
        if before is None or before.state is not task.state:
            if before is not None:
                del book.by_state[before.state][key]
            book.by_state[task.state][key] = None

    def drop_task(self, task: Task) -> None:
        book, key = self.tasks[task.job_id.lower()], task.id.lower()
        gone = book.all.pop(key)
        self._count(book, gone, -1)
        del book.by_state[gone.state][key]
        book.blocked.pop(key, None)
        if len(book.keys) > 2 * len(book.all) + MOST_LINGERING:
            book.numbers = [one.number for one in book.all.values()]
            book.keys = list(book.all)

    @staticmethod
    def _count(book: JobTasks, task: Task, sign: int) -> None:
        book.tasks.move(task, sign)
        book.slots.move(task, sign * task.required_slots)
        if task.instances and task.state is TaskState.ACTIVE:
            book.more_instances += sign * (task.instances - 1)

    def next_number(self) -> int:
        """A number higher than any before: the order in which tasks were added, for paging."""
        self._sequence += 1
        return self._sequence

    def new_run(self, run: ActiveRun) -> str:
        """A name for a command about to be run, registered as active."""
        self._runs += 1
        name = f"run-{self._runs}"
        self.runs[name] = run
        self.node_runs.setdefault((run.pool, run.node), {})[name] = None
        return name

    def ask(self, run: Run) -> None:
        """Have a command run; one that its pool cannot run ends at once, when the present event is dealt with."""
        fault = containers.misfit(self.pools[run.pool_id.lower()].spec, run.kind, run.spec)
        if fault is None:
            self.out.append(run)
        else:
            self.unfit.append((run.run, fault))

    def kill(self, name: str) -> None:
        """End a run, unless it is one that never begins."""
        kept = [entry for entry in self.unfit if entry[0] != name]
        if len(kept) == len(self.unfit):
            self.out.append(Kill(run=name))
        self.unfit = kept

    def end_run(self, name: str) -> ActiveRun | None:
        run = self.runs.pop(name, None)
        if run is not None:
            self.node_runs.get((run.pool, run.node), {}).pop(name, None)
        return run


def touched(before: datetime, now: datetime) -> datetime:
    """A later lastModified than `before`, so that each change has an eTag of its own."""
    return now if now > before else before + timedelta(microseconds=1)


__all__ = ["ActiveRun", "Counts", "JobTasks", "PastNode", "State", "replace", "touched"]
