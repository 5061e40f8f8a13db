"""Adding many tasks: 100 a call, a part of them refused or not, repeated without harm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azbatch.errors import ServiceError
from azbatch.jobs.ports import JobPort
from azbatch.jobs.spec import TaskSpec

Json = dict[str, Any]
MOST_TASKS = 100
MOST_BYTES = 900_000  # the service takes about 1 MB a call
ATTEMPTS = 3


def chunks(bodies: Sequence[Json], most: int = MOST_TASKS, most_bytes: int = MOST_BYTES) -> Iterator[list[Json]]:
    """The bodies in order, in groups of at most `most` and about `most_bytes`; a single large one goes alone."""
    group: list[Json] = []
    size = 0
    for body in bodies:
        length = len(json.dumps(body))
        if group and (len(group) == most or size + length > most_bytes):
            yield group
            group, size = [], 0
        group.append(body)
        size += length
    if group:
        yield group


def submit(port: JobPort, job_id: str, tasks: Sequence[TaskSpec]) -> Mapping[str, str | None]:
    """Add tasks to a job: for each id None, or why it was refused.

    Ids are chosen by the caller, so a repetition after a lost answer finds TaskExists, which counts as added. It takes
    ceil(n/100) calls where nothing fails.
    Raises ServiceError where the job as a whole refuses.
    """
    outcome: dict[str, str | None] = {}
    for group in chunks([task.body() for task in tasks]):
        outcome |= _add(port, job_id, group)
    return outcome


def _add(port: JobPort, job_id: str, group: list[Json]) -> dict[str, str | None]:
    outcome: dict[str, str | None] = {}
    left = group
    for attempt in range(1, ATTEMPTS + 1):
        try:
            results = port.add_tasks(job_id, left)
        except ServiceError as error:
            if error.code != "RequestBodyTooLarge" or len(left) == 1:
                raise
            half = len(left) // 2
            return outcome | _add(port, job_id, left[:half]) | _add(port, job_id, left[half:])
        again = _judge(results, outcome, last=attempt == ATTEMPTS)
        answered = {str(result.get("taskId")) for result in results}
        again |= {body["id"] for body in left} - answered
        left = [body for body in left if body["id"] in again]
        if not left:
            return outcome
    return outcome | {
        body["id"]: "the service gave no answer for the task" for body in left if body["id"] not in outcome
    }


def _judge(results: Sequence[Json], outcome: dict[str, str | None], *, last: bool) -> set[str]:
    """Note each result; the ids to try again: those the server itself failed at."""
    again: set[str] = set()
    for result in results:
        task, status = str(result.get("taskId")), str(result.get("status")).lower()
        error = result.get("error") or {}
        if status == "success" or error.get("code") == "TaskExists":
            outcome[task] = None
        elif status == "servererror" and not last:
            again.add(task)
        else:
            outcome[task] = _reason(error)
    return again


def _reason(error: Mapping[str, Any]) -> str:
    message = error.get("message")
    text = str(message.get("value") if isinstance(message, dict) else message).split("\n")[0]
    details = ", ".join(f"{item.get('key')}: {item.get('value')}" for item in error.get("values") or ())
    return f"{error.get('code')}: {text}" + (f" [{details}]" if details else "")
