"""The world: everything the service knows, changed only by `apply(event, now)`. No I/O, no clock, no threads."""

from __future__ import annotations

import copy
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from azbatch_emulator import events
from azbatch_emulator.commands import Command
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import AutoScaleRun, Job, JobSchedule, Node, NodeState, Pool, Refused, Task, TaskState
from azbatch_emulator.world import autoscaling, jobs, multi_instance, node_users, nodes, pools, schedules, tasks
from azbatch_emulator.world.state import ActiveRun, Counts, PastNode, State

__all__ = ["Applied", "Counts", "PastNode", "World"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What an event led to: commands for the outside, in order, and the outcome of each task of an AddTasks."""

    commands: tuple[Command, ...]
    results: tuple[Task | Refused, ...] = ()


Handler = Callable[[State, Any, datetime], Any]


def _run_ended(state: State, event: events.RunEnded, now: datetime) -> None:
    run = state.runs.get(event.run)
    if run is not None:
        if event.container is not None:
            _note_container(state, run, event.container)
        _ENDED[run.kind](state, event.run, event.exit_code, event.failure, now)


def _note_container(state: State, run: ActiveRun, container: str) -> None:
    """Keep which container a task, or a node's start task, ran in."""
    if run.kind == "task" and run.job is not None and run.task is not None:
        task = state.tasks[run.job].all[run.task]
        state.put_task(replace(task, execution=replace(task.execution, container=container)))
    elif run.kind == "start":
        node = state.nodes[run.pool][run.node]
        if node.start_task is not None:
            state.put_node(replace(node, start_task=replace(node.start_task, container=container)))


_ENDED: dict[str, Callable[..., None]] = {
    "pull": nodes.images_pulled,
    "start": nodes.start_task_ended,
    "preparation": jobs.preparation_ended,
    "coordination": multi_instance.coordinated,
    "task": tasks.ended,
    "release": jobs.release_ended,
}


def _add_pool(state: State, event: events.AddPool, now: datetime) -> None:
    jobs.pool_added(state, pools.add(state, event, now).id)


def _set_quota(state: State, event: events.SetQuota, _now: datetime) -> None:
    state.quota_dedicated, state.quota_spot = event.dedicated_cores, event.spot_cores


def _ignore(_state: State, _event: events.Event, _now: datetime) -> None:
    """The world learns nothing new from this report."""


_HANDLERS: dict[type[events.Event], Handler] = {
    events.AddPool: _add_pool,
    events.PatchPool: pools.patch,
    events.DeletePool: pools.delete,
    events.ResizePool: pools.resize,
    events.StopResize: pools.stop_resize,
    events.EnableAutoScale: pools.enable_autoscale,
    events.DisableAutoScale: pools.disable_autoscale,
    events.RemoveNodes: pools.remove_nodes,
    events.RebootNode: nodes.reboot,
    events.SetNodeScheduling: nodes.set_scheduling,
    events.AddJob: jobs.add,
    events.PatchJob: jobs.patch,
    events.DisableJob: jobs.disable,
    events.EnableJob: jobs.enable,
    events.TerminateJob: jobs.terminate,
    events.DeleteJob: jobs.delete,
    events.AddJobSchedule: schedules.add,
    events.PatchJobSchedule: schedules.patch,
    events.DisableJobSchedule: schedules.disable,
    events.EnableJobSchedule: schedules.enable,
    events.TerminateJobSchedule: schedules.terminate,
    events.DeleteJobSchedule: schedules.delete,
    events.DeallocateNode: nodes.deallocate,
    events.StartNode: nodes.start,
    events.AddNodeUser: node_users.add,
    events.ReplaceNodeUser: node_users.replace_user,
    events.DeleteNodeUser: node_users.delete,
    events.AddTasks: tasks.add,
    events.ReplaceTask: tasks.replace_constraints,
    events.TerminateTask: tasks.terminate,
    events.DeleteTask: tasks.delete,
    events.ReactivateTask: tasks.reactivate,
    events.RunStarted: _ignore,
    events.RunEnded: _run_ended,
    events.PreemptNode: nodes.preempt,
    events.BreakNode: nodes.break_node,
    events.SetQuota: _set_quota,
    events.FailStartTasks: nodes.fail_start_tasks,
    events.FailNodes: nodes.fail_nodes,
    events.FailResizes: pools.fail_resizes,
    events.Restart: nodes.restart,
}

_TIMERS: dict[str, Callable[..., None]] = {
    "allocate": pools.allocate,
    "settle": pools.settle,
    "timeout": pools.time_out,
    "booted": nodes.booted,
    "evicted": nodes.evicted,
    "left": nodes.left,
    "deallocated": nodes.deallocated,
    "job schedule": schedules.come_due,
    "restored": nodes.restored,
    "sample": autoscaling.sample,
    "autoscale": autoscaling.evaluate_now,
    "job limit": jobs.out_of_time,
    "retention": tasks.retention_over,
}


class World:
    """Reads are properties and queries; the only write is `apply`."""

    def __init__(self, profile: Profile, rng: random.Random, started: datetime) -> None:
        self._state = State(profile, rng, started)

    def apply(self, event: events.Event, now: datetime) -> Applied:
        """Change the world by one event.

        Raises Refused, with nothing changed, where the service would refuse the request.
        """
        state = self._state
        state.out = []
        results: Any = None
        if isinstance(event, events.TimePassed):
            while (happening := state.pop_due(now)) is not None:
                _TIMERS[happening[0]](state, *happening[1:], now)
                self._place(now)
        else:
            results = _HANDLERS[type(event)](state, event, now)
            self._place(now)
        return Applied(tuple(state.out), results if isinstance(event, events.AddTasks) else ())

    def _place(self, now: datetime) -> None:
        state = self._state
        while state.dirty or state.unfit:
            if state.unfit:
                name, fault = state.unfit.pop(0)
                _run_ended(state, events.RunEnded(run=name, exit_code=None, failure=fault), now)
            else:
                tasks.place_waiting(state, state.dirty.pop(), now)

    def resume(self, profile: Profile, now: datetime) -> None:
        """Go on with a profile after a restart of the emulator; `events.Restart` is to be applied next."""
        self._state.resume(profile, now)

    def next_due(self) -> datetime | None:
        """When TimePassed is to be applied next; None while nothing is awaited."""
        return self._state.next_due()

    # Reading

    @property
    def pools(self) -> Mapping[str, Pool]:
        return self._state.pools

    @property
    def jobs(self) -> Mapping[str, Job]:
        return self._state.jobs

    @property
    def schedules(self) -> Mapping[str, JobSchedule]:
        return self._state.schedules

    @property
    def nodes(self) -> Mapping[str, Mapping[str, Node]]:
        return self._state.nodes

    @property
    def runs(self) -> Mapping[str, ActiveRun]:
        return self._state.runs

    def tasks(self, job_id: str) -> Mapping[str, Task]:
        """The job's tasks by lower-cased id, in order of adding. Raises Refused(JobNotFound)."""
        self._state.job(job_id)
        return self._state.tasks[job_id.lower()].all

    def tasks_after(self, job_id: str, number: int) -> Iterator[Task]:
        """The tasks with higher numbers, in order of adding, without looking at the others."""
        self._state.job(job_id)
        book = self._state.tasks[job_id.lower()]
        for place in range(bisect_right(book.numbers, number), len(book.numbers)):
            task = book.all.get(book.keys[place])
            if task is not None and task.number == book.numbers[place]:
                yield task

    def tasks_in_state(self, job_id: str, state: TaskState) -> Iterator[Task]:
        """The tasks of one state, in order of entering it, without looking at the others."""
        self._state.job(job_id)
        book = self._state.tasks[job_id.lower()]
        return (book.all[key] for key in list(book.by_state[state]))

    def number_in_state(self, job_id: str, state: TaskState) -> int:
        """Raises Refused(JobNotFound)."""
        self._state.job(job_id)
        return len(self._state.tasks[job_id.lower()].by_state[state])

    def tasks_in_state_since(self, job_id: str, state: TaskState, since: datetime) -> list[Task]:
        """The tasks that entered the state at or after a time, in order of entering, without looking at older ones."""
        self._state.job(job_id)
        book = self._state.tasks[job_id.lower()]
        found: list[Task] = []
        for key in reversed(book.by_state[state]):
            if book.all[key].state_since < since:
                break
            found.append(book.all[key])
        return found[::-1]

    def pool(self, pool_id: str) -> Pool:
        """Raises Refused(PoolNotFound)."""
        return self._state.pool(pool_id)

    def node(self, pool_id: str, node_id: str) -> Node:
        """Raises Refused(PoolNotFound | NodeNotFound)."""
        return self._state.node(pool_id, node_id)

    def job(self, job_id: str) -> Job:
        """Raises Refused(JobNotFound)."""
        return self._state.job(job_id)

    def schedule(self, schedule_id: str) -> JobSchedule:
        """Raises Refused(JobScheduleNotFound)."""
        return self._state.schedule(schedule_id)

    def task(self, job_id: str, task_id: str) -> Task:
        """Raises Refused(JobNotFound | TaskNotFound)."""
        return self._state.task(job_id, task_id)

    def task_counts(self, job_id: str) -> tuple[Counts, Counts]:
        """Tasks and slots of the job by state: (tasks, slots). Raises Refused(JobNotFound)."""
        self._state.job(job_id)
        book = self._state.tasks[job_id.lower()]
        return replace(book.tasks), replace(book.slots)

    def node_counts(self, pool_id: str) -> tuple[Mapping[NodeState, int], Mapping[NodeState, int]]:
        """Nodes by state: (dedicated, spot). Raises Refused(PoolNotFound)."""
        pool = self._state.pool(pool_id)
        dedicated = dict.fromkeys(NodeState, 0)
        spot = dict.fromkeys(NodeState, 0)
        for node in self._state.nodes[pool.id.lower()].values():
            (dedicated if node.dedicated else spot)[node.state] += 1
        return dedicated, spot

    def machines(self, now: datetime) -> list[PastNode]:
        """All nodes there ever were, and when; those that are still there until `now`."""
        present = [
            PastNode(node.pool_id, node.vm_size, node.allocation_time, now)
            for pool in self._state.nodes.values()
            for node in pool.values()
        ]
        return [*self._state.past_nodes, *present]

    def evaluate(self, pool_id: str, formula: str, now: datetime) -> AutoScaleRun:
        """What the formula would do to the pool at `now`; nothing changes. Raises Refused(PoolNotFound)."""
        # Dice of its own: reading draws nothing from those of the world, which the journal replays.
        rng = copy.deepcopy(self._state.rng)
        return autoscaling.run(self._state, self._state.pool(pool_id), formula, now, rng)[0]
