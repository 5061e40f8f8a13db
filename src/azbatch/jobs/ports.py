"""What jobs need of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Json = dict[str, Any]


class JobPort(Protocol):
    """The job and task operations of a Batch account; bodies are the service's JSON. All raise ServiceError."""

    def create_job(self, body: Json) -> None: ...

    def get_job(self, job_id: str) -> Json: ...

    def list_jobs(self) -> list[Json]: ...

    def terminate_job(self, job_id: str, reason: str) -> None: ...

    def delete_job(self, job_id: str) -> None: ...

    def add_tasks(self, job_id: str, bodies: Sequence[Json]) -> list[Json]: ...

    def list_tasks(self, job_id: str, *, filter: str | None = None, select: str | None = None) -> list[Json]: ...

    def read_task_file(self, job_id: str, task_id: str, path: str, last: int) -> bytes: ...
