"""A disk of their own for Docker's images and containers on nodes. Pure.

On its image's disk of 30 GB a node is full after a few images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from azbatch.pools.node_disk import FORMAT, NodeDisk

FOLDER = "/mnt/azbatch-docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerDisk(NodeDisk):
    """Docker is moved onto it, with what was pulled ahead."""

    lun: ClassVar[int] = 0
    purpose: ClassVar[str] = "Docker"

    def _use(self) -> str:
        return _USE


_ROOT = """held=$(docker info --format '{{.DockerRootDir}}')"""
_CONFIGURE = (
    "python3 -c 'import json, os, sys; path, root = sys.argv[1:]; "
    "held = json.load(open(path)) if os.path.exists(path) else {}; "
    """held["data-root"] = root; json.dump(held, open(path, "w"))' """
    f"/etc/docker/daemon.json {FOLDER}/docker"
)
# What was pulled ahead is moved along. After a reboot Docker has begun before the mount, and is begun anew.
_USE = (
    f"mkdir -p {FOLDER} /etc/docker && "
    f"{FORMAT} && "
    f'if ! mountpoint -q {FOLDER}; then {_ROOT} && mount -o noatime "$disk" {FOLDER} && systemctl stop docker && '
    f'if [ ! -d {FOLDER}/docker ]; then mkdir {FOLDER}/docker && cp -a "$held/." {FOLDER}/docker/; fi && '
    f"{_CONFIGURE} && systemctl start docker; fi;"
)
