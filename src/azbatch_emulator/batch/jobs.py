"""Handlers of jobs. Source: REST, Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azbatch_emulator import events
from azbatch_emulator.batch import applications, decode, encode, stats
from azbatch_emulator.batch.call import Call, Reply, check_conditions, expanded, page, selected, wanted_filter
from azbatch_emulator.records import DeallocationOption, Execution, Job, Node, Refused


def _existing(call: Call) -> Job:
    job = call.world.job(call.path["jobId"])
    check_conditions(call, job.last_modified)
    return job


def add(call: Call) -> Reply:
    spec = decode.job(call.body)
    check_packages(call, spec)
    call.engine.submit(events.AddJob(spec=spec))
    job = call.world.job(spec["id"])
    # The service answers with /jobs/job-1, whatever the id [recorded].
    address = f"{call.url}/jobs/job-1"
    return Reply(201, None, job.last_modified, {"Location": address, "DataServiceId": address})


def check_packages(call: Call, spec: Mapping[str, Any]) -> None:
    """Raises Refused where the job's own pool or a task of it refers to a package that is not there."""
    automatic = (spec.get("poolInfo") or {}).get("autoPoolSpecification") or {}
    for part in (automatic.get("pool"), spec.get("jobManagerTask")):
        applications.check(call.applications, part or {})


def encoded(call: Call, job: Job) -> dict[str, Any]:
    """The job's body, with statistics where they are asked for."""
    body = encode.job(job, call.url)
    if expanded(call):
        body["stats"] = stats.job(job, call.world.tasks(job.id).values(), call.url, call.now)
    return body


def get(call: Call) -> Reply:
    job = _existing(call)
    return Reply(200, selected(call, encoded(call, job)), job.last_modified)


def list_(call: Call) -> Reply:
    wanted = wanted_filter(call)
    return page(
        call,
        call.world.jobs.values(),
        lambda job: encoded(call, job),
        lambda job: job.id.lower(),
        test=wanted.test if wanted else None,
    )


def _touched(call: Call, status: int) -> Reply:
    job = call.world.jobs.get(call.path["jobId"].lower())
    modified = job.last_modified if job is not None else None
    return Reply(status, None, modified, {"DataServiceId": f"{call.url}/jobs/{call.path['jobId']}"})


def patch(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.PatchJob(job_id=call.path["jobId"], changes=decode.job_changes(call.body)))
    return _touched(call, 200)


def put(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.PatchJob(job_id=call.path["jobId"], changes=decode.job_replacement(call.body)))
    return _touched(call, 200)


def delete(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.DeleteJob(job_id=call.path["jobId"]))
    return Reply(202)


def disable(call: Call) -> Reply:
    _existing(call)
    call.required("disableTasks")
    option = call.option("disableTasks", DeallocationOption.REQUEUE)
    call.engine.submit(events.DisableJob(job_id=call.path["jobId"], tasks=option))
    return _touched(call, 202)


def enable(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.EnableJob(job_id=call.path["jobId"]))
    return _touched(call, 202)


def terminate(call: Call) -> Reply:
    _existing(call)
    reason = str(call.body.get("terminateReason") or "UserTerminate")
    call.engine.submit(events.TerminateJob(job_id=call.path["jobId"], reason=reason))
    return _touched(call, 202)


def task_counts(call: Call) -> Reply:
    tasks, slots = call.world.task_counts(call.path["jobId"])
    return Reply(body={"taskCounts": encode.counts(tasks), "taskSlotCounts": encode.counts(slots)})


def preparation_and_release(call: Call) -> Reply:
    """One entry a node on which the preparation task ran; 409 for a job without such tasks [recorded]."""
    job = call.world.job(call.path["jobId"])
    if not job.spec.get("jobPreparationTask"):
        raise Refused("JobPreparationTaskNotSpecified")
    key = job.id.lower()
    found: list[tuple[Node, Execution | None, Execution | None]] = [
        (node, node.jobs_prepared.get(key), node.jobs_released.get(key))
        for node in call.world.nodes.get(job.pool_id.lower(), {}).values()
        if key in node.jobs_prepared
    ]
    wanted = wanted_filter(call)

    def entry(record: tuple[Node, Execution | None, Execution | None]) -> dict[str, Any]:
        node, preparation, release = record
        address = f"{call.url}/pools/{node.pool_id}/nodes/{node.id}"
        body = {
            "poolId": node.pool_id,
            "nodeId": node.id,
            "nodeUrl": address,
            "jobPreparationTaskExecutionInfo": encode.execution(preparation, address),
            "jobReleaseTaskExecutionInfo": encode.execution(release, address),
        }
        return {name: value for name, value in body.items() if value is not None}

    return page(call, found, entry, lambda record: record[0].id, test=wanted.test if wanted else None)
