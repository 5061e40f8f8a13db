"""Jobs and tasks to be added, as frozen records with their request bodies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
UNLIMITED = "P10675199DT2H48M5.4775807S"


def environment(settings: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in settings.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """The image a task runs in; nodes pull it with the pool's registries."""

    image: str
    options: str = ""

    def body(self) -> Json:
        return {"imageName": self.image, **({"containerRunOptions": self.options} if self.options else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task. `slots` of a node, `retries` on a non-zero exit, `limit` and `retention` as ISO 8601 durations."""

    id: str
    command: str
    slots: int = 1
    retries: int = 0
    limit: str | None = None
    retention: str = "P1D"
    display_name: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    container: Container | None = None

    def body(self) -> Json:
        """The request body of Tasks - Create."""
        constraints: Json = {"maxTaskRetryCount": self.retries, "retentionTime": self.retention}
        if self.limit is not None:
            constraints["maxWallClockTime"] = self.limit
        body: Json = {
            "id": self.id,
            "commandLine": self.command,
            "requiredSlots": self.slots,
            "constraints": constraints,
        }
        if self.display_name:
            body["displayName"] = self.display_name[:1024]
        if self.environment:
            body["environmentSettings"] = environment(self.environment)
        if self.container is not None:
            body["containerSettings"] = self.container.body()
        return body


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job on a pool. `preparation` runs once on each node before its first task of the job."""

    id: str
    pool_id: str
    preparation: str | None = None
    preparation_files: tuple[Json, ...] = ()
    container: Container | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    limit: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> Json:
        """The request body of Jobs - Create."""
        body: Json = {
            "id": self.id,
            "poolInfo": {"poolId": self.pool_id},
            "metadata": environment(self.metadata),
            "onAllTasksComplete": "noaction",
        }
        if self.limit is not None:
            body["constraints"] = {"maxWallClockTime": self.limit}
        if self.environment:
            body["commonEnvironmentSettings"] = environment(self.environment)
        if self.preparation is not None:
            body["jobPreparationTask"] = {
                "id": "preparation",
                "commandLine": self.preparation,
                "resourceFiles": list(self.preparation_files),
                "waitForSuccess": True,
                "constraints": {"maxTaskRetryCount": 2},
                **({"containerSettings": self.container.body()} if self.container else {}),
            }
        return body
