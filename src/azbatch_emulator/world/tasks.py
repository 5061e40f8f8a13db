"""Tasks: adding, waiting for others, being placed, run, retried, requeued, ended, deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from azbatch_emulator import durations, events
from azbatch_emulator.commands import DropDirectory, Kill, Kind, Run
from azbatch_emulator.lifecycle.refusals import refusal
from azbatch_emulator.lifecycle.task import TASK, TaskHappening
from azbatch_emulator.records import (
    Execution,
    Fault,
    Job,
    JobState,
    Node,
    RecentTask,
    Refused,
    Task,
    TaskState,
)
from azbatch_emulator.schedule import Fill
from azbatch_emulator.world import jobs, multi_instance, nodes
from azbatch_emulator.world.state import ActiveRun, State, touched

RECENT = 10
RETENTION = "P7D"
_TASK_ENDED = Fault(code="TaskEnded", message="Task Was Ended by User Request")


def move(task: Task, happening: TaskHappening, now: datetime, **changes: Any) -> Task | None:
    """The task one step along its table; None where the table has no such row. The eTag stays [recorded]."""
    after = TASK.step(task.state, happening)
    if after is None:
        return None
    return replace(
        task,
        state=after,
        state_since=now,
        previous_state=task.state,
        previous_state_since=task.state_since,
        **changes,
    )


# Adding


def add(state: State, event: events.AddTasks, now: datetime) -> tuple[Task | Refused, ...]:
    job = state.job(event.job_id)
    if job.state not in {JobState.ACTIVE, JobState.DISABLED, JobState.DISABLING, JobState.ENABLING}:
        raise refusal("job", "add tasks", job.state)
    results: list[Task | Refused] = []
    for spec in event.specs:
        try:
            results.append(_add_one(state, job, spec, now))
        except Refused as refused:
            results.append(refused)
    return tuple(results)


def _add_one(state: State, job: Job, spec: Mapping[str, Any], now: datetime) -> Task:
    book = state.tasks[job.id.lower()]
    key = str(spec["id"]).lower()
    if key in book.all:
        raise Refused("TaskExists")
    if spec.get("dependsOn") and not job.spec.get("usesTaskDependencies"):
        raise Refused("TaskDependenciesNotSpecifiedOnJob")
    task = Task(
        job_id=job.id,
        id=spec["id"],
        spec=spec,
        created=now,
        last_modified=now,
        state_since=now,
        number=state.next_number(),
    )
    waits = {other for other in depended(spec) if not _satisfied(book.all.get(other))}
    if waits:
        book.blocked[key] = waits
        for other in waits:
            book.dependents.setdefault(other, []).append(key)
    state.put_task(task)
    if not waits:
        enqueue(state, job, task)
    return task


def depended(spec: Mapping[str, Any]) -> Iterator[str]:
    """The lower-cased ids a task depends on, ranges spelled out (ids that are integers, both ends included)."""
    depends = spec.get("dependsOn") or {}
    for other in depends.get("taskIds") or ():
        yield str(other).lower()
    for span in depends.get("taskIdRanges") or ():
        for number in range(int(span["start"]), int(span["end"]) + 1):
            yield str(number)


def _satisfied(task: Task | None) -> bool:
    """Whether tasks that depend on this one may run: it succeeded, or its exit says so (dependencyAction)."""
    if task is None or task.state is not TaskState.COMPLETED:
        return False
    if task.execution.result == "success":
        return True
    return exit_options(task).get("dependencyAction") == "satisfy"


def exit_options(task: Task) -> Mapping[str, Any]:
    """The exitOptions that exitConditions give for the way the task ended; {} where none apply."""
    conditions = task.spec.get("exitConditions") or {}
    execution = task.execution
    code = execution.exit_code
    fault = execution.failure.code if execution.failure else ""
    if fault == "FileUploadAccessDenied" or fault.startswith("FileUpload"):
        return conditions.get("fileUploadError") or conditions.get("default") or {}
    if code is None and fault not in {"", "TaskEnded"}:
        return conditions.get("preProcessingError") or conditions.get("default") or {}
    for entry in conditions.get("exitCodes") or ():
        if code == int(entry["code"]):
            return entry.get("exitOptions") or {}
    for entry in conditions.get("exitCodeRanges") or ():
        if code is not None and int(entry["start"]) <= code <= int(entry["end"]):
            return entry.get("exitOptions") or {}
    return conditions.get("default") or {} if code != 0 else {}


def enqueue(state: State, job: Job, task: Task, *, front: bool = False) -> None:
    """Let an active task wait for slots of its job's pool, if there is such a pool and the job is active."""
    pool = job.pool_id.lower()
    ready = state.ready.get(pool)
    if ready is None or job.state is not JobState.ACTIVE:
        return
    if task.instances and not multi_instance.possible(state.pools[pool]):
        return
    ready.add(job.id.lower(), int(job.spec.get("priority", 0)), task.id.lower(), task.required_slots, front=front)
    state.dirty.add(pool)


# Placing


def place_waiting(state: State, pool: str, now: datetime) -> None:
    """Give the pool's free slots to its waiting tasks."""
    record, free = state.pools.get(pool), state.free.get(pool)
    if record is None or free is None:
        return
    policy = record.spec.get("taskSchedulingPolicy") or {}
    fill = Fill.PACK if str(policy.get("nodeFillType", "")).lower() == "pack" else Fill.SPREAD

    def live(job: str, key: str) -> bool:
        book = state.tasks.get(job)
        task = book.all.get(key) if book else None
        return task is not None and task.state is TaskState.ACTIVE and state.jobs[job].state is JobState.ACTIVE

    def place(job: str, key: str, required: int) -> bool:
        members = state.nodes[pool]

        def allowed(node_id: str) -> bool:
            # A node on which the preparation task failed is not used for the job again.
            return jobs.preparedness(state.jobs[job], members[node_id]) is not jobs.Preparedness.FAILED

        task = state.tasks[job].all[key]
        if task.instances:
            several = free.choose_several(task.instances, required, fill, allowed)
            if several is None:
                return False
            multi_instance.assign(state, [members[one] for one in several], state.jobs[job], task, now)
            return True
        chosen = free.choose(required, fill, allowed)
        if chosen is None:
            return False
        _assign(state, members[chosen], state.jobs[job], task, now)
        return True

    state.ready[pool].dispatch(lambda: free.largest, live, place)


def _assign(state: State, node: Node, job: Job, task: Task, now: datetime) -> None:
    preparedness = jobs.preparedness(job, node)
    node = nodes.loaded(state, node, task.required_slots, 1, now)
    bound = replace(task, pool_id=node.pool_id, node_id=node.id)
    if preparedness is jobs.Preparedness.READY:
        start(state, node, job, bound, now)
        return
    waiting = move(bound, TaskHappening.PREPARE, now)
    assert waiting is not None
    state.put_task(waiting)
    if preparedness is jobs.Preparedness.NONE:
        jobs.prepare(state, node, job, now)


def run_of(
    state: State, node: Node, job: Job, task: Task, kind: Kind, spec: Mapping[str, Any], instance: int = 0
) -> Run:
    """A command of the task on a node, registered as active."""
    name = state.new_run(
        ActiveRun(
            kind,
            node.pool_id.lower(),
            node.id.lower(),
            job.id.lower(),
            task.id.lower(),
            task.required_slots,
            instance,
        )
    )
    constraints = task.spec.get("constraints") or {}
    return Run(
        run=name,
        kind=kind,
        pool_id=node.pool_id,
        node_id=node.id,
        job_id=job.id,
        task_id=task.id,
        spec=jobs.with_common_environment(job, spec),
        directory=f"{job.directory}/{task.id}",
        preparation_directory=jobs.preparation_directory(job),
        environment={**nodes.environment(node), "AZ_BATCH_JOB_ID": job.id, "AZ_BATCH_TASK_ID": task.id},
        max_wall_clock=durations.limit(constraints.get("maxWallClockTime")),
        pool=state.pools[node.pool_id.lower()].spec,
    )


def start(state: State, node: Node, job: Job, task: Task, now: datetime) -> None:
    """Ask the outside to run the task on the node that holds slots for it."""
    running = started(state, job, task, now)
    run = run_of(state, node, job, running, "task", running.spec)
    state.tasks[job.id.lower()].run[task.id.lower()] = run.run
    state.ask(run)


def started(state: State, job: Job, task: Task, now: datetime) -> Task:
    """Store the task as running."""
    execution = replace(
        task.execution,
        start_time=now,
        end_time=None,
        exit_code=None,
        failure=None,
        result=None,
        container=None,
        root_directory=f"{job.directory}/{task.id}",
    )
    running = move(task, TaskHappening.START, now, execution=execution, attempt=task.attempt + 1)
    assert running is not None
    state.put_task(running)
    return running


def prepared(state: State, node: Node, job: Job, good: bool, now: datetime) -> None:
    """The preparation task ended: the tasks that wait for it on this node start, or go back to the queue."""
    book = state.tasks[job.id.lower()]
    for task in [book.all[key] for key in book.by_state[TaskState.PREPARING]]:
        if not multi_instance.is_on(task, node) or task.id.lower() in book.run:
            continue
        if good and task.instances:
            multi_instance.start_if_prepared(state, job, task, now)
        elif good:
            start(state, state.nodes[node.pool_id.lower()][node.id.lower()], job, task, now)
        else:
            put_back(state, job, task, now)


def requeue_preparing(state: State, node: Node, now: datetime) -> None:
    """The node is lost before the preparation task ended: its bound tasks go back."""
    for job in [state.jobs[key] for key in node.jobs_prepared if key in state.jobs]:
        book = state.tasks[job.id.lower()]
        for task in [book.all[key] for key in book.by_state[TaskState.PREPARING]]:
            if multi_instance.is_on(task, node):
                put_back(state, job, task, now)


def put_back(state: State, job: Job, task: Task, now: datetime) -> None:
    """Requeue a task that was bound to a node: not a retry, and counted apart."""
    multi_instance.release(state, job, task, now)
    _give_back(state, task, now)
    execution = replace(
        task.execution,
        start_time=None,
        requeue_count=task.execution.requeue_count + 1,
        last_requeue_time=now,
    )
    waiting = move(task, TaskHappening.REQUEUE, now, execution=execution, node_id=None, pool_id=None, subtasks=())
    assert waiting is not None
    state.put_task(waiting)
    enqueue(state, job, waiting, front=True)


def _give_back(state: State, task: Task, now: datetime, **changes: Any) -> None:
    node = state.nodes.get((task.pool_id or "").lower(), {}).get((task.node_id or "").lower())
    if node is not None:
        nodes.loaded(state, node, -task.required_slots, -1, now, **changes)


# Ending


def ended(state: State, name: str, exit_code: int | None, failure: Fault | None, now: datetime) -> None:
    """A runner reports the end of a task's command."""
    run = state.end_run(name)
    if run is None or run.job is None or run.task is None:
        return
    book, job = state.tasks[run.job], state.jobs[run.job]
    book.run.pop(run.task, None)
    task = book.all[run.task]
    good = exit_code == 0 and failure is None
    execution = replace(
        task.execution,
        end_time=now,
        exit_code=exit_code,
        failure=failure,
        result="success" if good else "failure",
    )
    retries = max_retries(job, task)
    # retryCount counts non-zero exits only; failed transfers are not retried.
    exited = failure is not None and failure.code == "FailureExitCode"
    if exited and (retries == -1 or execution.retry_count < retries) and job.state is JobState.ACTIVE:
        execution = replace(execution, retry_count=execution.retry_count + 1, last_retry_time=now)
        waiting = move(task, TaskHappening.RETRY, now, execution=execution, subtasks=())
        assert waiting is not None
        multi_instance.release(state, job, task, now)
        _give_back(state, task, now)
        state.put_task(waiting)
        enqueue(state, job, waiting, front=True)
        return
    _complete(state, job, task, TaskHappening.END, execution, now)


def max_retries(job: Job, task: Task) -> int:
    own = (task.spec.get("constraints") or {}).get("maxTaskRetryCount")
    if own is None:
        own = (job.spec.get("constraints") or {}).get("maxTaskRetryCount", 0)
    return int(own)


def _complete(
    state: State,
    job: Job,
    task: Task,
    happening: TaskHappening,
    execution: Execution,
    now: datetime,
    **changes: Any,
) -> None:
    changes["subtasks"] = multi_instance.release(state, job, task, now)
    done = move(task, happening, now, execution=execution, **changes)
    assert done is not None
    state.put_task(done)
    if task.state is not TaskState.ACTIVE:
        entry = RecentTask(job_id=job.id, task_id=task.id, state=done.state, execution=execution)
        node = state.nodes.get((task.pool_id or "").lower(), {}).get((task.node_id or "").lower())
        if node is not None:
            nodes.loaded(
                state,
                node,
                -task.required_slots,
                -1,
                now,
                recent=(entry, *node.recent[: RECENT - 1]),
                total_run=node.total_run + 1,
                total_succeeded=node.total_succeeded + (execution.result == "success"),
            )
        retention = durations.limit((task.spec.get("constraints") or {}).get("retentionTime") or RETENTION)
        if retention is not None:
            state.after(now, retention, "retention", job.id.lower(), task.id.lower(), now)
    _wake_dependents(state, job, done)
    jobs.task_completed(state, job, done, now)


def _wake_dependents(state: State, job: Job, task: Task) -> None:
    book, key = state.tasks[job.id.lower()], task.id.lower()
    if key not in book.dependents or not _satisfied(task):
        return
    for other in book.dependents.pop(key):
        waits = book.blocked.get(other)
        if waits is None:
            continue
        waits.discard(key)
        if not waits:
            del book.blocked[other]
            enqueue(state, job, book.all[other])


def lost(state: State, name: str, now: datetime, *, terminate: bool) -> None:
    """The node of a run is gone: a task goes back to the queue (or ends); other kinds just end."""
    run = state.runs[name]
    state.end_run(name)
    if run.kind == "preparation" and run.job in state.jobs:
        jobs.preparation_lost(state, run)
    if run.kind == "release" and run.job is not None:
        jobs.released(state, run.job, name, now)
    if run.kind not in {"task", "coordination"} or run.job is None or run.task is None:
        return
    book, job = state.tasks[run.job], state.jobs[run.job]
    task = book.all[run.task]
    if run.kind == "coordination":
        book.coordinating[run.task].pop(run.instance)
    else:
        book.run.pop(run.task, None)
    if terminate:
        execution = replace(task.execution, end_time=now, failure=_TASK_ENDED, result="failure")
        _complete(state, job, task, TaskHappening.TERMINATE, execution, now)
    else:
        put_back(state, job, task, now)


def end_by_request(state: State, job: Job, task: Task, now: datetime) -> None:
    """Terminate a task that is not completed: one that never ran has no start time and no node [recorded]."""
    book = state.tasks[job.id.lower()]
    name = book.run.pop(task.id.lower(), None)
    if name is not None:
        state.end_run(name)
        state.out.append(Kill(run=name))
    book.blocked.pop(task.id.lower(), None)
    execution = replace(task.execution, end_time=now, exit_code=None, failure=_TASK_ENDED, result="failure")
    changes: dict[str, Any] = {"last_modified": touched(task.last_modified, now)}
    _complete(state, job, task, TaskHappening.TERMINATE, execution, now, **changes)


# Requests on one task


def terminate(state: State, event: events.TerminateTask, now: datetime) -> None:
    task = state.task(event.job_id, event.task_id)
    if task.state is TaskState.COMPLETED:
        raise refusal("task", "change", task.state)
    end_by_request(state, state.job(event.job_id), task, now)


def delete(state: State, event: events.DeleteTask, now: datetime) -> None:
    task = state.task(event.job_id, event.task_id)
    job = state.job(event.job_id)
    if task.state is not TaskState.COMPLETED:
        end_by_request(state, job, task, now)
    drop_directory(state, state.task(event.job_id, event.task_id))
    state.drop_task(state.task(event.job_id, event.task_id))


def drop_directory(state: State, task: Task) -> None:
    if task.node_id is None or task.pool_id is None or task.execution.root_directory is None:
        return
    if task.node_id.lower() in state.nodes.get(task.pool_id.lower(), {}):
        state.out.append(
            DropDirectory(pool_id=task.pool_id, node_id=task.node_id, directory=task.execution.root_directory)
        )
    for one in task.subtasks:
        if one.node_id.lower() in state.nodes.get(one.pool_id.lower(), {}):
            state.out.append(
                DropDirectory(pool_id=one.pool_id, node_id=one.node_id, directory=task.execution.root_directory)
            )


def retention_over(state: State, job: str, key: str, ended_at: datetime, _now: datetime) -> None:
    book = state.tasks.get(job)
    task = book.all.get(key) if book else None
    if task is not None and task.state is TaskState.COMPLETED and task.execution.end_time == ended_at:
        drop_directory(state, task)


def replace_constraints(state: State, event: events.ReplaceTask, now: datetime) -> Task:
    task = state.task(event.job_id, event.task_id)
    if task.state is TaskState.COMPLETED:
        raise refusal("task", "change", task.state)
    spec = {**task.spec, "constraints": dict(event.constraints or {})}
    changed = replace(task, spec=spec, last_modified=touched(task.last_modified, now))
    state.put_task(changed)
    return changed


def reactivate(state: State, event: events.ReactivateTask, now: datetime) -> None:
    task = state.task(event.job_id, event.task_id)
    job = state.job(event.job_id)
    if task.state is not TaskState.COMPLETED:
        raise refusal("task", "reactivate", task.state)
    if task.execution.result == "success":
        raise Refused("TaskSucceeded")
    if job.state not in {JobState.ACTIVE, JobState.DISABLED, JobState.DISABLING, JobState.ENABLING}:
        raise refusal("job", "reactivate task", job.state)
    again = move(
        task,
        TaskHappening.REACTIVATE,
        now,
        execution=Execution(),
        node_id=None,
        pool_id=None,
        subtasks=(),
        last_modified=touched(task.last_modified, now),
    )
    assert again is not None
    state.put_task(again)
    enqueue(state, job, again)
