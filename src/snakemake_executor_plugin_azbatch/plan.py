"""What to ask of Batch for a workflow: pure functions of settings and jobs."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from azbatch.errors import ConfigurationError
from azbatch.jobs.spec import Container
from azbatch.pools.scratch_disk import SCRATCH, ScratchDisk
from azbatch.pools.vm_sizes import VmSize, find, slots_for, smallest_fitting
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

SOURCES = "sources"  # directory below the preparation task's working directory
_DURATION = re.compile(r"^P(?!$)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?$")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job declares: threads, memory and disk in MB (0 where it says nothing)."""

    threads: int = 1
    memory_mb: int = 0
    disk_mb: int = 0

    @classmethod
    def of(cls, threads: object, resources: Mapping[str, object]) -> Needs:
        """From a job's threads and resources; what is not a number yet counts as nothing declared."""

        def number(value: object) -> int:
            return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0

        return cls(max(1, number(threads)), number(resources.get("mem_mb")), number(resources.get("disk_mb")))

    def slots(self, size: VmSize, slots_per_node: int) -> int:
        """Task slots on a node. Raises ConfigurationError where no node is large enough."""
        return slots_for(
            threads=self.threads,
            memory_mb=self.memory_mb,
            disk_mb=self.disk_mb,
            size=size,
            slots_per_node=slots_per_node,
        )


def largest(needs: Iterable[Needs]) -> Needs:
    """The most of each that any job needs."""
    found = list(needs)
    return Needs(
        max((need.threads for need in found), default=1),
        max((need.memory_mb for need in found), default=0),
        max((need.disk_mb for need in found), default=0),
    )


def faults(settings: ExecutorSettings) -> list[str]:
    """All that is wrong with the settings by themselves, a sentence each."""
    found: list[str] = []
    if settings.pool_id and settings.vm_size:
        found.append("--azbatch-vm-size is for a pool made for the run: leave it out with --azbatch-pool-id.")
    if settings.scratch_disk:
        if settings.pool_id:
            found.append("--azbatch-scratch-disk is for a pool made for the run: leave it out with --azbatch-pool-id.")
        try:
            found += ScratchDisk.parse(settings.scratch_disk).faults()
        except ConfigurationError as error:
            found += error.faults
    if settings.max_nodes < 1:
        found.append(f"--azbatch-max-nodes is at least 1, not {settings.max_nodes}.")
    if not 0 <= settings.min_nodes <= max(settings.max_nodes, 0):
        found.append(f"--azbatch-min-nodes is between 0 and the most nodes, not {settings.min_nodes}.")
    if not 0 <= settings.spot_share <= 1:
        found.append(f"--azbatch-spot-share is between 0 and 1, not {settings.spot_share}.")
    if settings.task_slots is not None and not 1 <= settings.task_slots <= 256:
        found.append(f"--azbatch-task-slots is between 1 and 256, not {settings.task_slots}.")
    if not _DURATION.match(settings.task_retention):
        found.append(f"--azbatch-task-retention is an ISO 8601 duration such as P1D, not '{settings.task_retention}'.")
    if not _DURATION.match(settings.max_wall_clock):
        found.append(f"--azbatch-max-wall-clock is an ISO 8601 duration such as P7D, not '{settings.max_wall_clock}'.")
    if settings.infrastructure_retries < 0:
        found.append(f"--azbatch-infrastructure-retries is at least 0, not {settings.infrastructure_retries}.")
    if not 0 <= settings.pack <= 100:
        found.append(f"--azbatch-pack is between 0 (by itself) and 100, not {settings.pack}.")
    if settings.task_retries < 0:
        found.append(f"--azbatch-task-retries is at least 0, not {settings.task_retries}.")
    if settings.registry and not settings.container_image:
        found.append("--azbatch-registry needs --azbatch-container-image.")
    if settings.vm_size:
        try:
            find(settings.vm_size)
        except ConfigurationError as error:
            found += error.faults
    return found


def choose_size(settings: ExecutorSettings, need: Needs) -> VmSize:
    """The size named, or the smallest that fits. Raises ConfigurationError."""
    if settings.vm_size:
        return find(settings.vm_size)
    return smallest_fitting(cores=need.threads, memory_mb=need.memory_mb, disk_mb=need.disk_mb).size


def node_counts(settings: ExecutorSettings) -> tuple[int, int]:
    """(dedicated, spot) nodes of a pool of fixed size."""
    spot = round(settings.max_nodes * settings.spot_share)
    return settings.max_nodes - spot, spot


def workflow_key(host: str, directory: str, prefix: str) -> str:
    """Names the workflow in this folder with this storage: the same in each run, so that leftovers are known again."""
    return hashlib.sha256("\0".join((host, directory, prefix)).encode()).hexdigest()[:12]


def preparation_command(python: str, query: str, checksum: str) -> str:
    """What each node runs once: fetch the source archive, check it, unpack it."""
    return shlex.join([python, "-m", "snakemake_executor_plugin_azbatch.unpack", query, checksum, SOURCES])


def container(image: str | None, *, scratch: bool = False) -> Container | None:
    """Of an image; what is outside the node's own directories must be given to it by name."""
    options = f"--volume {SCRATCH}:{SCRATCH}" if scratch else ""
    return Container(image=image, options=options) if image else None
