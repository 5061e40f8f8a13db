"""An in-memory account for users' own tests: what azbatch.jobs needs of Batch, honest about what it does not do.

Tasks are kept and never run; set their state by `tasks[job][id]["state"] = "completed"`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from azbatch.errors import ServiceError

Json = dict[str, Any]


class MemoryBatch:
    """Implements azbatch.jobs.JobPort.

    `refuse` maps a task id to (status, code) for every call, `refuse_once` for the next one; `files` maps
    (job, task, path) to bytes; `calls` counts. More than `most_tasks` in a call is RequestBodyTooLarge.
    """

    def __init__(self, most_tasks: int = 100) -> None:
        self.jobs: dict[str, Json] = {}
        self.tasks: dict[str, dict[str, Json]] = {}
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.refuse: dict[str, tuple[str, str]] = {}
        self.refuse_once: dict[str, tuple[str, str]] = {}
        self.calls: Counter[str] = Counter()
        self._most_tasks = most_tasks

    def _known(self, job_id: str) -> dict[str, Json]:
        if job_id not in self.tasks:
            raise ServiceError(f"There is no job '{job_id}'.", code="JobNotFound", status=404)
        return self.tasks[job_id]

    def create_job(self, body: Json) -> None:
        self.calls["create_job"] += 1
        self.jobs[body["id"]] = {**body, "state": "active"}
        self.tasks[body["id"]] = {}

    def get_job(self, job_id: str) -> Json:
        self._known(job_id)
        return self.jobs[job_id]

    def list_jobs(self) -> list[Json]:
        return list(self.jobs.values())

    def terminate_job(self, job_id: str, reason: str) -> None:
        self._known(job_id)
        self.jobs[job_id] |= {"state": "completed", "executionInfo": {"terminateReason": reason}}

    def delete_job(self, job_id: str) -> None:
        self.jobs.pop(job_id, None)
        self.tasks.pop(job_id, None)

    def add_tasks(self, job_id: str, bodies: Sequence[Json]) -> list[Json]:
        self.calls["add_tasks"] += 1
        known = self._known(job_id)
        if len(bodies) > self._most_tasks:
            raise ServiceError("The request body is too large.", code="RequestBodyTooLarge", status=413)
        return [self._added(known, body) for body in bodies]

    def _added(self, known: dict[str, Json], body: Json) -> Json:
        name = body["id"]
        refusal = self.refuse.get(name) or self.refuse_once.pop(name, None)
        if refusal is None and name in known:
            refusal = ("clienterror", "TaskExists")
        if refusal is not None:
            status, code = refusal
            return {"status": status, "taskId": name, "error": {"code": code, "message": {"value": code}}}
        known[name] = {**body, "state": "active"}
        return {"status": "Success", "taskId": name}

    def list_tasks(self, job_id: str, *, filter: str | None = None, select: str | None = None) -> list[Json]:  # noqa: ARG002
        """All tasks, or only completed ones where the filter asks for them; other filters are not understood."""
        self.calls["list_tasks"] += 1
        tasks = list(self._known(job_id).values())
        if filter is not None and "'completed'" in filter:
            return [task for task in tasks if task["state"] == "completed"]
        return tasks

    def read_task_file(self, job_id: str, task_id: str, path: str, last: int) -> bytes:
        try:
            return self.files[job_id, task_id, path][-last:]
        except KeyError:
            raise ServiceError(f"Task '{task_id}' has no file {path}.", code="FileNotFound", status=404) from None
