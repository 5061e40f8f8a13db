"""Pools: what to ask for (pure), and asking for it, watching it come, giving it back."""

from azbatch.pools.docker_disk import DockerDisk
from azbatch.pools.manage import create, wait_until_ready
from azbatch.pools.node_disk import DiskKind
from azbatch.pools.ports import PoolPort
from azbatch.pools.scratch_disk import ScratchDisk
from azbatch.pools.spec import PoolSpec, Registry
from azbatch.pools.watch import Assessment, Verdict, assess

__all__ = [
    "Assessment",
    "DiskKind",
    "DockerDisk",
    "PoolPort",
    "PoolSpec",
    "Registry",
    "ScratchDisk",
    "Verdict",
    "assess",
    "create",
    "wait_until_ready",
]
