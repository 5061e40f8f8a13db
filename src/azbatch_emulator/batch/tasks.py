"""Handlers of tasks. Source: REST, Tasks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from azbatch_emulator import events
from azbatch_emulator.batch import applications, decode, encode, rules, stats
from azbatch_emulator.batch.call import (
    PAGE,
    Call,
    Reply,
    after,
    check_conditions,
    expanded,
    page,
    selected,
    wanted_filter,
)
from azbatch_emulator.batch.errors import error_content, status_of
from azbatch_emulator.batch.odata import Filter
from azbatch_emulator.batch.times import etag, stamp
from azbatch_emulator.records import Refused, Task, TaskState

SPARSE = 20  # tasks of a state among all, above which all are gone through


def _existing(call: Call) -> Task:
    task = call.world.task(call.path["jobId"], call.path["taskId"])
    check_conditions(call, task.last_modified)
    return task


def add(call: Call) -> Reply:
    job = call.world.job(call.path["jobId"])
    spec = decode.task(call.body, job.spec)
    applications.check(call.applications, spec)
    (result,) = call.engine.submit(events.AddTasks(job_id=job.id, specs=[spec])).results
    if isinstance(result, Refused):
        raise result
    address = f"{call.url}/jobs/{job.id}/tasks/{result.id}"
    return Reply(201, None, result.last_modified, {"Location": address, "DataServiceId": address})


def add_collection(call: Call) -> Reply:
    """Each task is taken or refused by itself; results may come in any order."""
    job = call.world.job(call.path["jobId"])
    specs: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for body in call.body["value"]:
        try:
            spec = decode.task(rules.read("CreateTask", body, call.context), job.spec)
            applications.check(call.applications, spec)
            specs.append(spec)
        except Refused as refusal:
            # What the parser cannot read is the fault of the whole request.
            if refusal.code == "InvalidRequestBody":
                raise
            results.append(_refused(call, str(body.get("id", "")), refusal))
    outcomes = call.engine.submit(events.AddTasks(job_id=job.id, specs=specs)).results
    for spec, outcome in zip(specs, outcomes, strict=True):
        if isinstance(outcome, Refused):
            results.append(_refused(call, spec["id"], outcome))
        else:
            results.append(
                {
                    "status": "Success",
                    "taskId": outcome.id,
                    "eTag": etag(outcome.last_modified),
                    "lastModified": stamp(outcome.last_modified),
                    "location": f"{call.url}/jobs/{job.id}/tasks/{outcome.id}",
                }
            )
    return Reply(body={"odata.metadata": f"{call.url}/$metadata#taskaddresult", "value": results})


def _refused(call: Call, task_id: str, refusal: Refused) -> dict[str, Any]:
    status = "clienterror" if status_of(refusal.code) < 500 else "servererror"
    error = error_content(refusal.code, refusal.message, refusal.values, call.headers["request-id"], call.now)
    return {"status": status, "taskId": task_id, "error": error}


def _encoded(call: Call, task: Task) -> dict[str, Any]:
    body = encode.task(task, call.url)
    if expanded(call):
        body["stats"] = stats.task(task, call.url, call.now)
    return body


def get(call: Call) -> Reply:
    task = _existing(call)
    return Reply(200, selected(call, _encoded(call, task)), task.last_modified)


def list_(call: Call) -> Reply:
    wanted = wanted_filter(call)
    few = _few(call, wanted)
    last = after(call)
    return page(
        call,
        call.world.tasks_after(call.path["jobId"], last if isinstance(last, int) else -1) if few is None else few,
        lambda task: _encoded(call, task),
        lambda task: task.number,
        test=wanted.test if wanted else None,
        sort=few is not None,
    )


def _few(call: Call, wanted: Filter | None) -> Iterable[Task] | None:
    """What the filter can match, by the world's indexes, so that a poll costs by what it returns; None for too many."""
    job = call.path["jobId"]
    required = wanted.required if wanted else ()
    state = next((str(value).lower() for name, sign, value in required if (name, sign) == ("state", "eq")), None)
    if state not in set(TaskState):
        return None
    since = next(
        (
            value
            for name, sign, value in required
            if name == "stateTransitionTime" and sign in {"gt", "ge", "eq"} and isinstance(value, datetime)
        ),
        None,
    )
    if since is not None:
        return call.world.tasks_in_state_since(job, TaskState(state), since)
    # Most of many are met on the way through all of them as well.
    many = call.world.number_in_state(job, TaskState(state)) > max(PAGE, len(call.world.tasks(job)) // SPARSE)
    return None if many else call.world.tasks_in_state(job, TaskState(state))


def put(call: Call) -> Reply:
    _existing(call)
    job = call.world.job(call.path["jobId"])
    checked = decode.task({"id": "x", "commandLine": "x", "constraints": call.body.get("constraints")}, job.spec)
    call.engine.submit(
        events.ReplaceTask(job_id=call.path["jobId"], task_id=call.path["taskId"], constraints=checked["constraints"])
    )
    return _touched(call, 200)


def _touched(call: Call, status: int) -> Reply:
    task = call.world.task(call.path["jobId"], call.path["taskId"])
    return Reply(status, None, task.last_modified, {"DataServiceId": f"{call.url}/jobs/{task.job_id}/tasks/{task.id}"})


def delete(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.DeleteTask(job_id=call.path["jobId"], task_id=call.path["taskId"]))
    return Reply(200)


def terminate(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.TerminateTask(job_id=call.path["jobId"], task_id=call.path["taskId"]))
    return _touched(call, 204)


def reactivate(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.ReactivateTask(job_id=call.path["jobId"], task_id=call.path["taskId"]))
    return _touched(call, 204)


def subtasks(call: Call) -> Reply:
    """Subtasks are those of a multi-instance task but the first; an ordinary task has none."""
    task = call.world.task(call.path["jobId"], call.path["taskId"])
    return page(call, task.subtasks, lambda one: encode.subtask(one, task, call.url), lambda one: one.id)
