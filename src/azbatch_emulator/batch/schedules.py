"""Handlers of job schedules. Source: REST, Job Schedules."""

from __future__ import annotations

from typing import Any

from azbatch_emulator import events
from azbatch_emulator.batch import decode, encode, jobs, stats
from azbatch_emulator.batch.call import Call, Reply, check_conditions, expanded, page, selected, wanted_filter
from azbatch_emulator.records import JobSchedule


def _existing(call: Call) -> JobSchedule:
    schedule = call.world.schedule(call.path["jobScheduleId"])
    check_conditions(call, schedule.last_modified)
    return schedule


def _encoded(call: Call, schedule: JobSchedule) -> dict[str, Any]:
    body = encode.job_schedule(schedule, call.url)
    if expanded(call):
        made = [job.id for job in call.world.jobs.values() if job.schedule_id == schedule.id]
        tasks = (task for job in made for task in call.world.tasks(job).values())
        body["stats"] = stats.job_schedule(schedule, tasks, call.url, call.now)
    return body


def _touched(call: Call, schedule: JobSchedule, status: int) -> Reply:
    present = call.world.schedules.get(schedule.id.lower())
    modified = present.last_modified if present is not None else None
    return Reply(status, None, modified, {"DataServiceId": f"{call.url}/jobschedules/{schedule.id}"})


def add(call: Call) -> Reply:
    spec = decode.job_schedule(call.body)
    jobs.check_packages(call, spec.get("jobSpecification") or {})
    call.engine.submit(events.AddJobSchedule(spec=spec))
    made = call.world.schedule(spec["id"])
    address = f"{call.url}/jobschedules/{made.id}"
    return Reply(201, None, made.last_modified, {"Location": address, "DataServiceId": address})


def list_(call: Call) -> Reply:
    wanted = wanted_filter(call)
    return page(
        call,
        call.world.schedules.values(),
        lambda schedule: _encoded(call, schedule),
        lambda schedule: schedule.id.lower(),
        test=wanted.test if wanted else None,
    )


def get(call: Call) -> Reply:
    schedule = _existing(call)
    return Reply(200, selected(call, _encoded(call, schedule)), schedule.last_modified)


def exists(call: Call) -> Reply:
    return Reply(200, None, _existing(call).last_modified, head=True)


def patch(call: Call) -> Reply:
    schedule = _existing(call)
    changes = decode.job_schedule_changes(call.body)
    jobs.check_packages(call, changes.get("jobSpecification") or {})
    call.engine.submit(events.PatchJobSchedule(schedule_id=schedule.id, changes=changes))
    return _touched(call, schedule, 200)


def put(call: Call) -> Reply:
    schedule = _existing(call)
    changes = decode.job_schedule_replacement(call.body)
    jobs.check_packages(call, changes.get("jobSpecification") or {})
    call.engine.submit(events.PatchJobSchedule(schedule_id=schedule.id, changes=changes))
    return _touched(call, schedule, 200)


def delete(call: Call) -> Reply:
    schedule = _existing(call)
    call.engine.submit(events.DeleteJobSchedule(schedule_id=schedule.id))
    return Reply(202)


def disable(call: Call) -> Reply:
    schedule = _existing(call)
    call.engine.submit(events.DisableJobSchedule(schedule_id=schedule.id))
    return _touched(call, schedule, 204)


def enable(call: Call) -> Reply:
    schedule = _existing(call)
    call.engine.submit(events.EnableJobSchedule(schedule_id=schedule.id))
    return _touched(call, schedule, 204)


def terminate(call: Call) -> Reply:
    schedule = _existing(call)
    call.engine.submit(events.TerminateJobSchedule(schedule_id=schedule.id))
    return _touched(call, schedule, 202)


def list_jobs(call: Call) -> Reply:
    """The jobs that the schedule has made and that are still there."""
    schedule = call.world.schedule(call.path["jobScheduleId"])
    wanted = wanted_filter(call)
    return page(
        call,
        [job for job in call.world.jobs.values() if job.schedule_id == schedule.id],
        lambda job: jobs.encoded(call, job),
        lambda job: int(job.id.rsplit("-", 1)[1]),
        test=wanted.test if wanted else None,
    )
