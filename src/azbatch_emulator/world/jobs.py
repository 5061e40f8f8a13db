"""Jobs: adding, changing, disabling, ending, deleting; preparation and release tasks on nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Any

from azbatch_emulator import durations, events
from azbatch_emulator.commands import DropDirectory, Kill, Run
from azbatch_emulator.lifecycle.job import JOB, TRANSITIONAL, JobHappening
from azbatch_emulator.lifecycle.refusals import refusal
from azbatch_emulator.records import (
    DeallocationOption,
    Execution,
    Fault,
    Job,
    JobState,
    Node,
    Refused,
    Task,
    TaskState,
)
from azbatch_emulator.world import nodes, pools, schedules, tasks
from azbatch_emulator.world.state import ActiveRun, JobTasks, State, touched

_UNCHANGEABLE = frozenset({JobState.COMPLETED, JobState.DELETING, JobState.TERMINATING})


def _step(state: State, job: Job, happening: JobHappening, now: datetime, /, **changes: Any) -> Job:
    """Take the job along its table and store it; refuses what the table does not have."""
    after = JOB.step(job.state, happening)
    if after is None:
        raise refusal("job", happening, job.state)
    if job.state not in TRANSITIONAL:
        changes |= {"previous_state": job.state, "previous_state_since": job.state_since}
    job = replace(job, state=after, state_since=now, last_modified=touched(job.last_modified, now), **changes)
    state.jobs[job.id.lower()] = job
    return job


def add(state: State, event: events.AddJob, now: datetime, schedule_id: str | None = None) -> Job:
    spec = event.spec
    key = str(spec["id"]).lower()
    if key in state.jobs:
        raise refusal("job", "add", state.jobs[key].state)
    info = spec.get("poolInfo") or {}
    automatic = info.get("autoPoolSpecification")
    pool_id = str(info.get("poolId") or "")
    if automatic:
        pool_id = _auto_pool(state, automatic, now)
    job = Job(
        id=spec["id"],
        spec=spec,
        pool_id=pool_id,
        created=now,
        last_modified=now,
        state_since=now,
        start_time=now,
        schedule_id=schedule_id,
    )
    state.jobs[key] = job
    state.tasks[key] = JobTasks()
    _limit_time(state, job, now)
    manager = spec.get("jobManagerTask")
    if manager:
        tasks.add(state, events.AddTasks(job_id=job.id, specs=[manager]), now)
    _end_if_all_complete(state, job, now)
    return state.jobs[key]


def _auto_pool(state: State, automatic: Mapping[str, Any], now: datetime) -> str:
    number = f"{state.rng.getrandbits(128):032X}"
    name = "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))
    prefix = automatic.get("autoPoolIdPrefix")
    pool_id = f"{prefix}_{name}" if prefix else name
    pools.add(state, events.AddPool(spec={**automatic["pool"], "id": pool_id}), now)
    return pool_id


def _limit_time(state: State, job: Job, now: datetime) -> None:
    limit = durations.limit((job.spec.get("constraints") or {}).get("maxWallClockTime"))
    if limit is not None:
        remaining = max(limit - (now - job.start_time), limit * 0)
        state.after(now, remaining, "job limit", job.id.lower(), job.start_time)


def out_of_time(state: State, key: str, started: datetime, now: datetime) -> None:
    job = state.jobs.get(key)
    if job is None or job.start_time != started or JOB.step(job.state, JobHappening.TERMINATE) is None:
        return
    limit = durations.limit((job.spec.get("constraints") or {}).get("maxWallClockTime"))
    if limit is not None and now - started >= limit:
        end(state, job, "MaxWallClockTimeExpiry", now)


def patch(state: State, event: events.PatchJob, now: datetime) -> Job:
    job = state.job(event.job_id)
    if job.state in _UNCHANGEABLE:
        raise refusal("job", "patch", job.state)
    spec = {name: value for name, value in {**job.spec, **event.changes}.items() if value is not None}
    job = replace(job, spec=spec, last_modified=touched(job.last_modified, now))
    pool_id = str((event.changes.get("poolInfo") or {}).get("poolId") or job.pool_id)
    if pool_id.lower() != job.pool_id.lower():
        if job.state is not JobState.DISABLED:
            raise Refused("JobNotDisabled")
        job = replace(job, pool_id=pool_id)
    state.jobs[job.id.lower()] = job
    if "priority" in event.changes and job.pool_id.lower() in state.ready:
        state.ready[job.pool_id.lower()].set_priority(job.id.lower(), int(spec.get("priority", 0)))
    if "constraints" in event.changes:
        _limit_time(state, job, now)
    _end_if_all_complete(state, job, now)
    return state.jobs[job.id.lower()]


def disable(state: State, event: events.DisableJob, now: datetime) -> None:
    job = state.job(event.job_id)
    # To disable what is disabled, or being disabled, is allowed; the latter may now stop its tasks.
    if job.state is JobState.DISABLED:
        return
    if job.state is not JobState.DISABLING:
        job = _step(state, job, JobHappening.DISABLE, now)
    if event.tasks is not DeallocationOption.TASK_COMPLETION:
        _stop_running(state, job, now, terminate=event.tasks is DeallocationOption.TERMINATE)
    if job.pool_id.lower() in state.ready:
        state.ready[job.pool_id.lower()].drop_job(job.id.lower())
    _disabled_if_quiet(state, job, now)


def _stop_running(state: State, job: Job, now: datetime, *, terminate: bool) -> None:
    book = state.tasks[job.id.lower()]
    for task in [book.all[key] for key in (*book.by_state[TaskState.RUNNING], *book.by_state[TaskState.PREPARING])]:
        name = book.run.get(task.id.lower())
        if name is not None:
            state.out.append(Kill(run=name))
            tasks.lost(state, name, now, terminate=terminate)
        elif terminate:
            tasks.end_by_request(state, job, task, now)
        else:
            tasks.put_back(state, job, task, now)


def _disabled_if_quiet(state: State, job: Job, now: datetime) -> None:
    if job.state is JobState.DISABLING and state.tasks[job.id.lower()].tasks.running == 0:
        _step(state, job, JobHappening.DISABLED, now)


def enable(state: State, event: events.EnableJob, now: datetime) -> None:
    job = _step(state, state.job(event.job_id), JobHappening.ENABLE, now)
    requeue_active(state, job)


def requeue_active(state: State, job: Job) -> None:
    """Let the job's active tasks wait for slots (again): it was enabled, or its pool has come."""
    book = state.tasks[job.id.lower()]
    for key in list(book.by_state[TaskState.ACTIVE]):
        if key not in book.blocked:
            tasks.enqueue(state, job, book.all[key])


def pool_added(state: State, pool_id: str) -> None:
    """Jobs may be older than their pool: their tasks begin to wait for its slots."""
    for job in list(state.jobs.values()):
        if job.pool_id.lower() == pool_id.lower() and job.state is JobState.ACTIVE:
            requeue_active(state, job)


# Ending


def terminate(state: State, event: events.TerminateJob, now: datetime) -> None:
    end(state, state.job(event.job_id), event.reason, now)


def end(state: State, job: Job, reason: str, now: datetime) -> None:
    """End all tasks, release the nodes, complete the job."""
    job = _step(state, job, JobHappening.TERMINATE, now, terminate_reason=reason)
    _end_tasks(state, job, now)
    _release(state, state.jobs[job.id.lower()], now)
    _finish(state, job.id.lower(), now)


def _end_tasks(state: State, job: Job, now: datetime) -> None:
    if job.pool_id.lower() in state.ready:
        state.ready[job.pool_id.lower()].drop_job(job.id.lower())
    for task in list(state.tasks[job.id.lower()].all.values()):
        if task.state is not TaskState.COMPLETED:
            tasks.end_by_request(state, job, task, now)
    for name, run in list(state.runs.items()):
        if run.kind == "preparation" and run.job == job.id.lower():
            state.out.append(Kill(run=name))
            state.end_run(name)


def _release(state: State, job: Job, now: datetime) -> None:
    spec = job.spec.get("jobReleaseTask")
    if not spec:
        return
    key = job.id.lower()
    for node in list(state.nodes.get(job.pool_id.lower(), {}).values()):
        if key not in node.jobs_prepared or key in node.jobs_released:
            continue
        name = state.new_run(ActiveRun("release", node.pool_id.lower(), node.id.lower(), key))
        state.releasing.setdefault(key, set()).add(name)
        execution = Execution(state="running", start_time=now, root_directory=_directory(job, "jobrelease"))
        state.put_node(replace(node, jobs_released={**node.jobs_released, key: execution}))
        state.ask(_run(state, name, "release", node, job, spec, "jobrelease"))


def _finish(state: State, key: str, now: datetime) -> None:
    """Once no release task runs any more: a terminated job completes, a deleted one is gone."""
    job = state.jobs.get(key)
    if job is None or state.releasing.get(key):
        return
    if job.state is JobState.TERMINATING:
        job = _step(state, job, JobHappening.TERMINATED, now, end_time=now)
        automatic = (job.spec.get("poolInfo") or {}).get("autoPoolSpecification")
        if automatic and not automatic.get("keepAlive") and job.pool_id.lower() in state.pools:
            pools.delete(state, events.DeletePool(pool_id=job.pool_id), now)
        schedules.job_ended(state, job, now)
    elif job.state is JobState.DELETING:
        _forget(state, job)
        schedules.job_ended(state, job, now)


def _forget(state: State, job: Job) -> None:
    key = job.id.lower()
    for task in state.tasks[key].all.values():
        tasks.drop_directory(state, task)
    for node in list(state.nodes.get(job.pool_id.lower(), {}).values()):
        if key in node.jobs_prepared:
            state.out.append(DropDirectory(pool_id=node.pool_id, node_id=node.id, directory=job.directory))
            left = {other: run for other, run in node.jobs_prepared.items() if other != key}
            released = {other: run for other, run in node.jobs_released.items() if other != key}
            state.put_node(replace(node, jobs_prepared=left, jobs_released=released))
    del state.jobs[key], state.tasks[key]
    state.releasing.pop(key, None)


def delete(state: State, event: events.DeleteJob, now: datetime) -> None:
    job = state.job(event.job_id)
    job = _step(state, job, JobHappening.DELETE, now)
    _end_tasks(state, job, now)
    _release(state, state.jobs[job.id.lower()], now)
    _finish(state, job.id.lower(), now)


def task_completed(state: State, job: Job, task: Task, now: datetime) -> None:
    """What the end of one task means for its job."""
    job = state.jobs[job.id.lower()]
    if job.state is JobState.DISABLING:
        _disabled_if_quiet(state, job, now)
        return
    if job.state is not JobState.ACTIVE:
        return
    manager = job.spec.get("jobManagerTask") or {}
    if str(manager.get("id", "")).lower() == task.id.lower() and manager.get("killJobOnCompletion", True):
        end(state, job, "JMComplete", now)
        return
    if task.execution.result == "failure" and job.spec.get("onTaskFailure") == "performexitoptionsjobaction":
        action = tasks.exit_options(task).get("jobAction", "none")
        if action == "terminate":
            end(state, job, "TaskFailed", now)
            return
        if action == "disable":
            disable(state, events.DisableJob(job_id=job.id, tasks=DeallocationOption.REQUEUE), now)
            return
    _end_if_all_complete(state, job, now)


def _end_if_all_complete(state: State, job: Job, now: datetime) -> None:
    if job.state is not JobState.ACTIVE or job.spec.get("onAllTasksComplete") != "terminatejob":
        return
    counts = state.tasks[job.id.lower()].tasks
    if counts.active == 0 and counts.running == 0:
        end(state, job, "AllTasksComplete", now)


# Preparation and release on a node


class Preparedness(Enum):
    """How far a node is with a job's preparation task."""

    NONE = 0
    RUNNING = 1
    READY = 2
    FAILED = 3


def preparedness(job: Job, node: Node) -> Preparedness:
    spec = job.spec.get("jobPreparationTask")
    if not spec:
        return Preparedness.READY
    execution = node.jobs_prepared.get(job.id.lower())
    if execution is None:
        return Preparedness.NONE
    if execution.state != "completed":
        return Preparedness.RUNNING if spec.get("waitForSuccess", True) else Preparedness.READY
    good = execution.result == "success" or not spec.get("waitForSuccess", True)
    return Preparedness.READY if good else Preparedness.FAILED


def _directory(job: Job, name: str) -> str:
    return f"{job.directory}/{name}"


def preparation_directory(job: Job) -> str | None:
    spec = job.spec.get("jobPreparationTask")
    return _directory(job, str(spec.get("id") or "jobpreparation")) if spec else None


def with_common_environment(job: Job, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec with the job's commonEnvironmentSettings; the task's own win."""
    common = job.spec.get("commonEnvironmentSettings")
    if not common:
        return spec
    own = spec.get("environmentSettings") or []
    names = {setting["name"] for setting in own}
    return {**spec, "environmentSettings": [*(s for s in common if s["name"] not in names), *own]}


def _run(state: State, name: str, kind: Any, node: Node, job: Job, spec: Mapping[str, Any], default_id: str) -> Run:
    task_id = str(spec.get("id") or default_id)
    return Run(
        run=name,
        kind=kind,
        pool_id=node.pool_id,
        node_id=node.id,
        job_id=job.id,
        task_id=task_id,
        spec=with_common_environment(job, spec),
        directory=_directory(job, task_id),
        preparation_directory=preparation_directory(job),
        environment={**nodes.environment(node), "AZ_BATCH_JOB_ID": job.id, "AZ_BATCH_TASK_ID": task_id},
        max_wall_clock=durations.limit((spec.get("constraints") or {}).get("maxWallClockTime")),
        pool=state.pools[node.pool_id.lower()].spec,
    )


def prepare(state: State, node: Node, job: Job, now: datetime, before: Execution | None = None) -> None:
    """Run the job's preparation task on a node that is about to run its first task of the job."""
    spec = job.spec["jobPreparationTask"]
    execution = replace(
        before or Execution(), state="running", start_time=now, root_directory=preparation_directory(job)
    )
    current = state.nodes[node.pool_id.lower()][node.id.lower()]
    state.put_node(replace(current, jobs_prepared={**current.jobs_prepared, job.id.lower(): execution}))
    name = state.new_run(ActiveRun("preparation", node.pool_id.lower(), node.id.lower(), job.id.lower()))
    state.ask(_run(state, name, "preparation", node, job, spec, "jobpreparation"))


def preparation_lost(state: State, run: ActiveRun) -> None:
    node = state.nodes.get(run.pool, {}).get(run.node)
    if node is not None:
        left = {job: execution for job, execution in node.jobs_prepared.items() if job != run.job}
        # Kept until the bound tasks were put back: requeue_preparing finds them by it.
        state.put_node(replace(node, jobs_prepared=left))


def preparation_ended(state: State, name: str, exit_code: int | None, failure: Fault | None, now: datetime) -> None:
    run = state.end_run(name)
    node = state.nodes.get(run.pool, {}).get(run.node) if run else None
    job = state.jobs.get(run.job or "") if run else None
    if node is None or job is None:
        return
    spec = job.spec.get("jobPreparationTask") or {}
    execution = _ended(node.jobs_prepared[job.id.lower()], exit_code, failure, now)
    retries = int((spec.get("constraints") or {}).get("maxTaskRetryCount", 0))
    if execution.result == "failure" and exit_code is not None and (retries == -1 or execution.retry_count < retries):
        prepare(
            state,
            node,
            job,
            now,
            replace(execution, retry_count=execution.retry_count + 1, last_retry_time=now),
        )
        return
    state.put_node(replace(node, jobs_prepared={**node.jobs_prepared, job.id.lower(): execution}))
    current = state.nodes[run.pool][run.node] if run else node
    tasks.prepared(state, node, job, preparedness(job, current) is Preparedness.READY, now)


def _ended(execution: Execution, exit_code: int | None, failure: Fault | None, now: datetime) -> Execution:
    good = exit_code == 0 and failure is None
    return replace(
        execution,
        state="completed",
        end_time=now,
        exit_code=exit_code,
        failure=failure,
        result="success" if good else "failure",
    )


def release_ended(state: State, name: str, exit_code: int | None, failure: Fault | None, now: datetime) -> None:
    run = state.end_run(name)
    if run is None or run.job is None:
        return
    node = state.nodes.get(run.pool, {}).get(run.node)
    if node is not None and run.job in node.jobs_released:
        execution = _ended(node.jobs_released[run.job], exit_code, failure, now)
        state.put_node(replace(node, jobs_released={**node.jobs_released, run.job: execution}))
    released(state, run.job, name, now)


def released(state: State, job: str, name: str, now: datetime) -> None:
    state.releasing.get(job, set()).discard(name)
    _finish(state, job, now)
