"""What a world asks of the outside: the engine carries these out through a runner, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

Kind = Literal["pull", "start", "preparation", "coordination", "task", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of all commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeNode(Command):
    pool_id: str
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNode(Command):
    """End whatever runs there, at once, and drop the node's directory."""

    pool_id: str
    node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Command):
    """Run a command line on a node; answer with RunStarted, then RunEnded, both carrying `run`.

    `spec` is the wire body of the start, preparation, release or ordinary task (commandLine,
    resourceFiles, outputFiles, environmentSettings, userIdentity, containerSettings).
    A "pull" is no task: it has the node's container images ready, as `spec`, the pool's containerConfiguration, says.
    `directory` is the task directory relative to the node's root, `workitems/<job>/job-1/<task>` or
    `startup`. A "coordination" puts its resource files into `shared_directory`, and what it leaves running lives
    until it is killed by name. Without `fresh` the directory is kept as it is.
    `environment` holds Batch's own AZ_BATCH_* values that are not paths; the runner adds the paths.
    """

    run: str  # unique name of this start
    kind: Kind
    pool_id: str
    node_id: str
    job_id: str | None
    task_id: str | None
    spec: Mapping[str, Any]
    directory: str
    preparation_directory: str | None
    environment: Mapping[str, str]
    max_wall_clock: timedelta | None
    pool: Mapping[str, Any] = field(default_factory=dict)  # the pool's wire body: packages, mounts
    shared_directory: str | None = None  # of a multi-instance task, relative to the node's root
    fresh: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PutFile(Command):
    """Write a blob in a container that a URL (maybe with a SAS) or an identity's resource id opens."""

    container_url: str = field(repr=False)
    identity: str
    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Command):
    """End a run, all its processes; no RunEnded is expected any more (a late one is ignored)."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropDirectory(Command):
    """Delete a task's directory: its task or job was deleted, or its retention time ended."""

    pool_id: str
    node_id: str
    directory: str
