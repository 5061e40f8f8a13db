"""Job schedules: when their jobs are made, and how they end. Source: REST, Job Schedules.

At most one job of a schedule is active. A recurrence that comes due meanwhile waits for the end of that job, no longer
than the start window and until the next one comes due.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator import durations, events
from azbatch_emulator.lifecycle.job_schedule import JOB_SCHEDULE, JobScheduleHappening
from azbatch_emulator.lifecycle.refusals import refusal
from azbatch_emulator.records import Job, JobSchedule, JobScheduleState, JobState
from azbatch_emulator.world import jobs
from azbatch_emulator.world.state import State, touched

_UNCHANGEABLE = frozenset({JobScheduleState.COMPLETED, JobScheduleState.DELETING, JobScheduleState.TERMINATING})
_ENDED = frozenset({JobState.COMPLETED, JobState.DELETING})
# Passed through by themselves; previousState skips them, as it does for jobs.
_TRANSITIONAL = frozenset({JobScheduleState.TERMINATING, JobScheduleState.DELETING})


def _step(
    state: State, schedule: JobSchedule, happening: JobScheduleHappening, now: datetime, /, **changes: Any
) -> JobSchedule:
    after = JOB_SCHEDULE.step(schedule.state, happening)
    if after is None:
        raise refusal("job schedule", happening, schedule.state)
    if after is not schedule.state:
        changes |= {"state": after, "state_since": now}
        if schedule.state not in _TRANSITIONAL:
            changes |= {"previous_state": schedule.state, "previous_state_since": schedule.state_since}
    return _put(state, replace(schedule, last_modified=touched(schedule.last_modified, now), **changes))


def _put(state: State, schedule: JobSchedule) -> JobSchedule:
    state.schedules[schedule.id.lower()] = schedule
    return schedule


# The calendar


def _time(schedule: JobSchedule, name: str) -> datetime | None:
    text = (schedule.spec.get("schedule") or {}).get(name)
    return None if text is None else datetime.fromisoformat(text)


def _length(schedule: JobSchedule, name: str) -> timedelta | None:
    return durations.limit((schedule.spec.get("schedule") or {}).get(name))


def following(due: datetime, recurrence: timedelta | None, now: datetime) -> datetime | None:
    """The last recurrence at or before `now`, else the next one after `due`; None without recurrence.

    What was missed while nothing could be made is not made up for.
    """
    if recurrence is None:
        return None
    passed = max(1, (now - due) // recurrence)
    try:
        return due + passed * recurrence
    except OverflowError:
        return None  # the calendar ends before


def _await(state: State, schedule: JobSchedule, now: datetime) -> JobSchedule:
    """Ask to be woken at the next run, unless it lies after the last time at which jobs are made."""
    last = _time(schedule, "doNotRunAfter")
    if schedule.next_run is not None and last is not None and schedule.next_run > last:
        schedule = _put(state, replace(schedule, next_run=None))
    if schedule.next_run is not None:
        delay = max(schedule.next_run - now, timedelta(0))
        state.after(now, delay, "job schedule", schedule.id.lower(), schedule.next_run)
    return schedule


def come_due(state: State, key: str, due: datetime, now: datetime) -> None:
    """A job is to be made; one that was overtaken by a change of the schedule is not."""
    schedule = state.schedules.get(key)
    if schedule is None or schedule.next_run != due or schedule.state is not JobScheduleState.ACTIVE:
        return
    recurrence = _length(schedule, "recurrenceInterval")
    after = following(due, recurrence, now)
    if after is not None and after <= now:  # the latest of several that were missed
        due, after = after, following(after, recurrence, now)
    schedule = _put(state, replace(schedule, due=due, waiting=True, next_run=after))
    _make_or_wait(state, _await(state, schedule, now), now)


def _make_or_wait(state: State, schedule: JobSchedule, now: datetime) -> None:
    if schedule.waiting and schedule.due is not None and schedule.state is JobScheduleState.ACTIVE:
        window = _length(schedule, "startWindow")
        last = _time(schedule, "doNotRunAfter")
        if (window is not None and now - schedule.due > window) or (last is not None and now > last):
            schedule = _put(state, replace(schedule, waiting=False))
        elif _active_job(state, schedule) is None:
            _make_job(state, schedule, now)
            return
    _complete_if_over(state, schedule, now)


def _active_job(state: State, schedule: JobSchedule) -> Job | None:
    job = state.jobs.get((schedule.recent_job or "").lower())
    return job if job is not None and job.state is not JobState.COMPLETED else None


def _make_job(state: State, schedule: JobSchedule, now: datetime) -> None:
    number = schedule.runs + 1
    job_id = f"{schedule.id}:job-{number}"
    # Stored first: a job without tasks may end as soon as it is there.
    _put(state, replace(schedule, waiting=False, runs=number, recent_job=job_id))
    jobs.add(state, events.AddJob(spec={**schedule.spec["jobSpecification"], "id": job_id}), now, schedule.id)


def _complete_if_over(state: State, schedule: JobSchedule, now: datetime) -> None:
    over = schedule.next_run is None and not schedule.waiting
    ends = schedule.state is JobScheduleState.TERMINATING or (schedule.state is JobScheduleState.ACTIVE and over)
    if ends and _active_job(state, schedule) is None:
        _step(state, schedule, JobScheduleHappening.ENDED, now, next_run=None, waiting=False, end_time=now)


def job_ended(state: State, job: Job, now: datetime) -> None:
    """A job completed or is gone: the schedule it belongs to may make another, or is over."""
    schedule = state.schedules.get((job.schedule_id or "").lower())
    if schedule is None:
        return
    if schedule.state is JobScheduleState.DELETING:
        _forget_if_empty(state, schedule)
    else:
        _make_or_wait(state, schedule, now)


# Requests


def add(state: State, event: events.AddJobSchedule, now: datetime) -> None:
    key = str(event.spec["id"]).lower()
    present = state.schedules.get(key)
    if present is not None:
        raise refusal("job schedule", "add", present.state)
    schedule = JobSchedule(
        id=event.spec["id"], spec=event.spec, created=now, last_modified=now, state_since=now, next_run=now
    )
    first = _time(schedule, "doNotRunUntil")
    if first is not None and first > now:
        _await(state, _put(state, replace(schedule, next_run=first)), now)
        return
    _put(state, schedule)
    come_due(state, key, now, now)


def patch(state: State, event: events.PatchJobSchedule, now: datetime) -> None:
    """What is replaced takes effect with the next job; a job that is there stays as it is."""
    schedule = state.schedule(event.schedule_id)
    if schedule.state in _UNCHANGEABLE:
        raise refusal("job schedule", "patch", schedule.state)
    spec = {name: value for name, value in {**schedule.spec, **event.changes}.items() if value is not None}
    schedule = replace(schedule, spec=spec, last_modified=touched(schedule.last_modified, now))
    if "schedule" in event.changes:
        first, recurrence = _time(schedule, "doNotRunUntil"), _length(schedule, "recurrenceInterval")
        if schedule.due is not None:
            upcoming = following(schedule.due, recurrence, schedule.due)
            upcoming = None if upcoming is None else max(upcoming, first or upcoming)
        else:
            upcoming = max(first or now, now)
        schedule = _await(state, _put(state, replace(schedule, next_run=upcoming)), now)
    _put(state, schedule)
    _make_or_wait(state, schedule, now)


def disable(state: State, event: events.DisableJobSchedule, now: datetime) -> None:
    """No job is made until the schedule is enabled; one that is there goes on."""
    _step(state, state.schedule(event.schedule_id), JobScheduleHappening.DISABLE, now)


def enable(state: State, event: events.EnableJobSchedule, now: datetime) -> None:
    schedule = _step(state, state.schedule(event.schedule_id), JobScheduleHappening.ENABLE, now)
    if schedule.next_run is not None and schedule.next_run <= now:
        come_due(state, schedule.id.lower(), schedule.next_run, now)
    else:
        _make_or_wait(state, _await(state, schedule, now), now)


def terminate(state: State, event: events.TerminateJobSchedule, now: datetime) -> None:
    """End the active job, then the schedule."""
    schedule = _step(state, state.schedule(event.schedule_id), JobScheduleHappening.TERMINATE, now)
    job = _active_job(state, schedule)
    if job is not None and job.state not in _ENDED and job.state is not JobState.TERMINATING:
        jobs.end(state, job, "UserTerminate", now)
    else:
        _complete_if_over(state, schedule, now)


def delete(state: State, event: events.DeleteJobSchedule, now: datetime) -> None:
    """Delete all jobs of the schedule, then the schedule."""
    schedule = _step(state, state.schedule(event.schedule_id), JobScheduleHappening.DELETE, now, next_run=None)
    for job in of_schedule(state, schedule):
        if job.state is not JobState.DELETING:
            jobs.delete(state, events.DeleteJob(job_id=job.id), now)
    _forget_if_empty(state, schedule)


def of_schedule(state: State, schedule: JobSchedule) -> list[Job]:
    """The jobs that the schedule has made and that are still there, oldest first."""
    return [job for job in state.jobs.values() if job.schedule_id == schedule.id]


def _forget_if_empty(state: State, schedule: JobSchedule) -> None:
    if not of_schedule(state, schedule):
        state.schedules.pop(schedule.id.lower(), None)
