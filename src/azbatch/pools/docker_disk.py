"""A disk of their own for Docker's images and containers on nodes, prepared in the start task. Pure.

On its image's disk of 30 GB a node is full after a few images. Source: "Azure Batch: data disks" (attached without a
file system) and "Temporary NVMe disks" (raw at every boot).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from azbatch.errors import ConfigurationError

Json = dict[str, Any]
LUN = 0
FOLDER = "/mnt/azbatch-docker"


class DiskKind(StrEnum):
    """`DATA`: a managed disk of a given size. `NVME`: the VM size's own fast disks, where it has any."""

    DATA = "data"
    NVME = "nvme"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerDisk:
    """`size_gb` is of the data disk, and None for NVMe."""

    kind: DiskKind
    size_gb: int | None = None

    @classmethod
    def parse(cls, text: str) -> DockerDisk:
        """`nvme`, or the size of a data disk in GB. Raises ConfigurationError."""
        if text.lower() == "nvme":
            return cls(kind=DiskKind.NVME)
        if not text.isdecimal():
            raise ConfigurationError([f"'{text}' is no disk for Docker: give its size in GB, or nvme."])
        return cls(kind=DiskKind.DATA, size_gb=int(text))

    def faults(self) -> list[str]:
        """All that is wrong, a sentence each."""
        if self.kind is DiskKind.NVME:
            return [] if self.size_gb is None else ["The size of an NVMe disk is the VM size's own."]
        if self.size_gb is None or not 4 <= self.size_gb <= 32767:
            return [f"A data disk has 4 to 32767 GB, not {self.size_gb}."]
        return []

    def data_disk(self) -> Json | None:
        """The entry of `dataDisks`; None for NVMe, which comes with the VM size."""
        if self.kind is DiskKind.NVME:
            return None
        return {"lun": LUN, "diskSizeGB": self.size_gb, "caching": "readonly", "storageAccountType": "premium_lrs"}

    def command(self) -> str:
        """Shell text for a start task: find the disk, format it once, mount it, and move Docker onto it.

        Safe to run again after a reboot or reimage. A node whose disk cannot be found or used ends its start task with
        a sentence, and never runs a task.
        """
        return f"{{ {_FIND[self.kind]} {_USE} }}"


# The device that the lun's link leads to (of two generations of images); the first local NVMe disk.
_FIND = {
    DiskKind.DATA: f"disk=$(readlink -f /dev/disk/azure/scsi1/lun{LUN} /dev/disk/azure/data/by-lun/{LUN} 2>/dev/null "
    '| while read -r d; do if [ -b "$d" ]; then echo "$d"; break; fi; done);',
    DiskKind.NVME: "disk=$(lsblk -dnpo NAME,MODEL | awk '/NVMe Direct Disk/ {print $1}' | head -n 1);",
}
_ROOT = """held=$(docker info --format '{{.DockerRootDir}}')"""
_CONFIGURE = (
    "python3 -c 'import json, os, sys; path, root = sys.argv[1:]; "
    "held = json.load(open(path)) if os.path.exists(path) else {}; "
    """held["data-root"] = root; json.dump(held, open(path, "w"))' """
    f"/etc/docker/daemon.json {FOLDER}/docker"
)
# What was pulled ahead is moved along. After a reboot Docker has begun before the mount, and is begun anew.
_USE = (
    '[ -n "$disk" ] || { echo "There is no disk for Docker: choose a VM size that has one." >&2; exit 1; }; '
    f"mkdir -p {FOLDER} /etc/docker && "
    '{ blkid "$disk" >/dev/null || mkfs.ext4 -q -m 0 "$disk"; } && '
    f'if ! mountpoint -q {FOLDER}; then {_ROOT} && mount -o noatime "$disk" {FOLDER} && systemctl stop docker && '
    f'if [ ! -d {FOLDER}/docker ]; then mkdir {FOLDER}/docker && cp -a "$held/." {FOLDER}/docker/; fi && '
    f"{_CONFIGURE} && systemctl start docker; fi;"
)
