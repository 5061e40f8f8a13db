"""Named shapes of nodes: what most jobs ask for, in a word. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from azbatch.pools import vm_sizes


class Shape(StrEnum):
    """`SMALL`, `MEDIUM`, `LARGE`: 2, 8, 32 cores. `MEMORY`: 8 cores and 60 GB. `DISK`: 8 cores and 1 TB of fast local
    disk. `GPU`: one GPU."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    MEMORY = "memory"
    DISK = "disk"
    GPU = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one job asks of a node; `memory_mb` and `disk_mb` in MiB."""

    cores: int = 1
    memory_mb: int = 0
    disk_mb: int = 0
    gpus: int = 0


SHAPES = {
    Shape.SMALL: Needs(cores=2),
    Shape.MEDIUM: Needs(cores=8),
    Shape.LARGE: Needs(cores=32),
    Shape.MEMORY: Needs(cores=8, memory_mb=60_000),
    Shape.DISK: Needs(cores=8, disk_mb=1_000_000),
    Shape.GPU: Needs(gpus=1),
}


def fitting(shape: Shape | None, needs: Needs) -> vm_sizes.VmSize:
    """The smallest size that has what the shape has, and what is needed besides. Raises ConfigurationError."""
    base = SHAPES[shape] if shape is not None else Needs()
    return vm_sizes.smallest_fitting(
        cores=max(base.cores, needs.cores),
        memory_mb=max(base.memory_mb, needs.memory_mb),
        disk_mb=max(base.disk_mb, needs.disk_mb),
        gpus=max(base.gpus, needs.gpus),
    ).size
