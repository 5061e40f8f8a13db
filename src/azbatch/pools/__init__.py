"""Pools: what to ask for (pure), and asking for it, watching it come, giving it back."""

from azbatch.pools.docker_disk import DiskKind, DockerDisk
from azbatch.pools.manage import create, wait_until_ready
from azbatch.pools.ports import PoolPort
from azbatch.pools.spec import PoolSpec, Registry
from azbatch.pools.watch import Assessment, Verdict, assess

__all__ = [
    "Assessment",
    "DiskKind",
    "DockerDisk",
    "PoolPort",
    "PoolSpec",
    "Registry",
    "Verdict",
    "assess",
    "create",
    "wait_until_ready",
]
