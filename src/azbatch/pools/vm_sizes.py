"""VM sizes as data, the smallest that fits, and the task slots a job needs. Pure.

A snapshot (November 2026) of the common families with the figures of Azure's size pages; other sizes
may be named in full as long as their vCPUs can be read from the name.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from azbatch.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSize:
    """`memory_mb` and `disk_mb` (local temporary disk) in MiB; `disk_mb` 0 where the size has none."""

    name: str
    cores: int
    memory_mb: int
    disk_mb: int
    gpus: int = 0


# (name with {n} for the cores, cores offered, GiB of memory a core, GiB of temporary disk a core)
_FAMILIES: Sequence[tuple[str, tuple[int, ...], float, float]] = (
    ("Standard_D{n}ds_v5", (2, 4, 8, 16, 32, 48, 64, 96), 4, 37.5),
    ("Standard_D{n}s_v5", (2, 4, 8, 16, 32, 48, 64, 96), 4, 0),
    ("Standard_D{n}ads_v5", (2, 4, 8, 16, 32, 48, 64, 96), 4, 37.5),
    ("Standard_E{n}ds_v5", (2, 4, 8, 16, 20, 32, 48, 64, 96), 8, 37.5),
    ("Standard_F{n}s_v2", (2, 4, 8, 16, 32, 48, 64, 72), 2, 8),
    ("Standard_L{n}s_v3", (8, 16, 32, 48, 64, 80), 8, 240),
)
# (name, cores, GiB of memory, GiB of temporary disk, GPUs)
_GPU: Sequence[tuple[str, int, float, float, int]] = (
    ("Standard_NC4as_T4_v3", 4, 28, 176, 1),
    ("Standard_NC8as_T4_v3", 8, 56, 352, 1),
    ("Standard_NC16as_T4_v3", 16, 110, 352, 1),
    ("Standard_NC64as_T4_v3", 64, 440, 2816, 4),
    ("Standard_NC24ads_A100_v4", 24, 220, 64, 1),
    ("Standard_NC48ads_A100_v4", 48, 440, 128, 2),
    ("Standard_NC96ads_A100_v4", 96, 880, 256, 4),
)
_NAME = re.compile(r"^(?:standard|basic)_[a-z]+(\d+)", re.IGNORECASE)
# What the operating system and Batch's agent keep for themselves.
SYSTEM_MEMORY_MB = 1024


def _all() -> Iterator[VmSize]:
    for template, cores, memory, disk in _FAMILIES:
        for n in cores:
            yield VmSize(
                name=template.format(n=n), cores=n, memory_mb=int(n * memory * 1024), disk_mb=int(n * disk * 1024)
            )
    for name, n, memory, disk, gpus in _GPU:
        yield VmSize(name=name, cores=n, memory_mb=int(memory * 1024), disk_mb=int(disk * 1024), gpus=gpus)


VM_SIZES: tuple[VmSize, ...] = tuple(_all())
_BY_NAME = {size.name.lower(): size for size in VM_SIZES}


def find(name: str) -> VmSize:
    """A size by its name; one we do not list is taken on trust with the cores its name tells and no known memory.

    Raises ConfigurationError, with near names, for what is no size.
    """
    known = _BY_NAME.get(name.lower())
    if known is not None:
        return known
    found = _NAME.match(name)
    if found is None or int(found.group(1)) == 0:
        near = difflib.get_close_matches(name.lower(), _BY_NAME, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(_BY_NAME[other].name for other in near)}?" if near else "."
        raise ConfigurationError([f"'{name}' is no VM size (such as Standard_D4ds_v5){hint}"])
    return VmSize(name=name, cores=int(found.group(1)), memory_mb=0, disk_mb=0)


@dataclass(frozen=True, slots=True)
class Choice:
    """The size chosen, and why each other family member was not (name -> reason)."""

    size: VmSize
    excluded: dict[str, str]


def smallest_fitting(*, cores: int = 1, memory_mb: int = 0, disk_mb: int = 0, gpus: int = 0) -> Choice:
    """The size with the fewest cores, then the least memory, that gives a job what it asks for.

    Raises ConfigurationError naming what excluded the largest sizes.
    """
    excluded: dict[str, str] = {}
    fitting: list[VmSize] = []
    for size in VM_SIZES:
        reason = _lacks(size, cores, memory_mb, disk_mb, gpus)
        if reason is None:
            fitting.append(size)
        else:
            excluded[size.name] = reason
    if not fitting:
        biggest = sorted(VM_SIZES, key=lambda size: (-size.gpus if gpus else 0, -size.cores, -size.memory_mb))[:3]
        reasons = "; ".join(f"{size.name}: {excluded[size.name]}" for size in biggest)
        asked = f"{cores} cores, {memory_mb} MB memory, {disk_mb} MB disk" + (f", {gpus} GPUs" if gpus else "")
        raise ConfigurationError([f"No VM size gives one job {asked} ({reasons}); ask for less."])
    best = min(fitting, key=lambda size: (size.gpus, size.cores, size.memory_mb, size.disk_mb == 0))
    return Choice(best, excluded)


def _lacks(size: VmSize, cores: int, memory_mb: int, disk_mb: int, gpus: int) -> str | None:
    if size.cores < cores:
        return f"{size.cores} cores, {cores} needed"
    if memory_mb and size.memory_mb - SYSTEM_MEMORY_MB < memory_mb:
        return f"{size.memory_mb - SYSTEM_MEMORY_MB} MB memory for tasks, {memory_mb} needed"
    if disk_mb and size.disk_mb < disk_mb:
        return f"{size.disk_mb} MB disk, {disk_mb} needed"
    if size.gpus < gpus:
        return f"{size.gpus} GPUs, {gpus} needed"
    return None


def slots_for(*, threads: int, memory_mb: int, disk_mb: int, size: VmSize, slots_per_node: int) -> int:
    """Task slots of a node that a job takes: by the largest of its shares of cores, memory and disk.

    Raises ConfigurationError where no node of the pool is large enough: such a job would wait for ever.
    """
    faults: list[str] = []
    shares: list[float] = []
    for need, has, unit in (
        (threads, size.cores, "cores"),
        (memory_mb, max(0, size.memory_mb - SYSTEM_MEMORY_MB), "MB memory"),
        (disk_mb, size.disk_mb, "MB disk"),
    ):
        if need <= 0 or has <= 0:
            continue
        if need > has:
            faults.append(f"{need} {unit} are asked for, a node has {has}")
        shares.append(need / has)
    if faults:
        raise ConfigurationError([f"no node of {size.name} fits it: {'; '.join(faults)}"])
    return max(1, *(math.ceil(share * slots_per_node - 1e-9) for share in shares)) if shares else 1
