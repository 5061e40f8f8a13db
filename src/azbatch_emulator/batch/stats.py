"""The statistics that $expand=stats adds. Times and counts are the world's own; what a node does not measure is zero.

Source: REST, Jobs - Get Job (BatchJobStatistics) and its kin. The service refreshes them about twice an hour; here they
are of now. Whole numbers travel as strings.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator import durations
from azbatch_emulator.batch.times import stamp
from azbatch_emulator.records import Job, JobSchedule, Node, Pool, Task
from azbatch_emulator.vm_sizes import cores_of

Json = dict[str, Any]
_UNMEASURED: Json = {
    "userCPUTime": "PT0S",
    "kernelCPUTime": "PT0S",
    "readIOps": "0",
    "writeIOps": "0",
    "readIOGiB": 0.0,
    "writeIOGiB": 0.0,
}
_UNMEASURED_OF_NODES: Json = {
    **dict.fromkeys(
        (
            "avgCPUPercentage", "avgMemoryGiB", "peakMemoryGiB", "avgDiskGiB", "peakDiskGiB", "diskReadGiB",
            "diskWriteGiB", "networkReadGiB", "networkWriteGiB",
        ),
        0.0,
    ),
    "diskReadIOps": "0",
    "diskWriteIOps": "0",
}  # fmt: skip


def _span(url: str, since: datetime, now: datetime) -> Json:
    return {"url": f"{url}/lifetimestats", "startTime": stamp(since), "lastUpdateTime": stamp(now)}


def _wall(record: Task, now: datetime) -> timedelta:
    run = record.execution
    return timedelta(0) if run.start_time is None else (run.end_time or now) - run.start_time


def _wait(record: Task, now: datetime) -> timedelta:
    """From the task's being added to its start, or to now, or to its end if it never started."""
    return (record.execution.start_time or record.execution.end_time or now) - record.created


def task(record: Task, url: str, now: datetime) -> Json:
    return {
        **_span(f"{url}/jobs/{record.job_id}/tasks/{record.id}", record.created, now),
        **_UNMEASURED,
        "wallClockTime": durations.text(_wall(record, now)),
        "waitTime": durations.text(_wait(record, now)),
    }


def _of_tasks(tasks: Iterable[Task], now: datetime) -> Json:
    wall = wait = timedelta(0)
    results = {"success": 0, "failure": 0}
    retries = 0
    for one in tasks:
        wall, wait = wall + _wall(one, now), wait + _wait(one, now)
        retries += one.execution.retry_count
        if one.execution.result is not None:
            results[one.execution.result] += 1
    return {
        **_UNMEASURED,
        "wallClockTime": durations.text(wall),
        "waitTime": durations.text(wait),
        "numSucceededTasks": str(results["success"]),
        "numFailedTasks": str(results["failure"]),
        "numTaskRetries": str(retries),
    }


def job(record: Job, tasks: Iterable[Task], url: str, now: datetime) -> Json:
    return {**_span(f"{url}/jobs/{record.id}", record.created, now), **_of_tasks(tasks, now)}


def job_schedule(record: JobSchedule, tasks: Iterable[Task], url: str, now: datetime) -> Json:
    """`tasks` are those of the jobs that the schedule has made and that are still there."""
    return {**_span(f"{url}/jobschedules/{record.id}", record.created, now), **_of_tasks(tasks, now)}


def pool(record: Pool, nodes: Iterable[Node], url: str, now: datetime) -> Json:
    """Core time is that of the dedicated nodes that are there."""
    seconds = sum(
        cores_of(node.vm_size) * (now - node.allocation_time).total_seconds() for node in nodes if node.dedicated
    )
    span = {"startTime": stamp(record.created), "lastUpdateTime": stamp(now)}
    return {
        **_span(f"{url}/pools/{record.id}", record.created, now),
        "usageStats": {**span, "dedicatedCoreTime": durations.text(timedelta(seconds=seconds))},
        "resourceStats": {**span, **_UNMEASURED_OF_NODES},
    }
