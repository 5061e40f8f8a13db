"""Disks that nodes have besides that of their image, prepared in the start task. Pure.

Source: "Azure Batch: data disks" (attached without a file system) and "Temporary NVMe disks" (raw at every boot).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from azbatch.errors import ConfigurationError

Json = dict[str, Any]


class DiskKind(StrEnum):
    """`DATA`: a managed disk of a given size. `NVME`: the VM size's own fast disks, where it has any."""

    DATA = "data"
    NVME = "nvme"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDisk(ABC):
    """`size_gb` is of the data disk, and None for NVMe. Subclasses say what it is for, and what is done with it."""

    kind: DiskKind
    size_gb: int | None = None
    lun: ClassVar[int]
    purpose: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`nvme`, or the size of a data disk in GB. Raises ConfigurationError."""
        if text.lower() == "nvme":
            return cls(kind=DiskKind.NVME)
        if not text.isdecimal():
            raise ConfigurationError([f"'{text}' is no disk for {cls.purpose}: give its size in GB, or nvme."])
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
        return {"lun": self.lun, "diskSizeGB": self.size_gb, "caching": "readonly", "storageAccountType": "premium_lrs"}

    def command(self) -> str:
        """Shell text for a start task: find the disk, format it once, mount it, use it.

        Safe to run again after a reboot or reimage. A node whose disk cannot be found or used ends its start task with
        a sentence, and never runs a task.
        """
        missing = f"There is no disk for {self.purpose}: choose a VM size that has one."
        return f'{{ {self._find()} [ -n "$disk" ] || {{ echo "{missing}" >&2; exit 1; }}; {self._use()} }}'

    def _find(self) -> str:
        """The device that the lun's link leads to (of two generations of images), or the first local NVMe disk."""
        if self.kind is DiskKind.NVME:
            return "disk=$(lsblk -dnpo NAME,MODEL | awk '/NVMe Direct Disk/ {print $1}' | head -n 1);"
        links = f"/dev/disk/azure/scsi1/lun{self.lun} /dev/disk/azure/data/by-lun/{self.lun}"
        return (
            f"disk=$(readlink -f {links} 2>/dev/null "
            '| while read -r d; do if [ -b "$d" ]; then echo "$d"; break; fi; done);'
        )

    @abstractmethod
    def _use(self) -> str:
        """Shell text that makes use of `$disk`."""


FORMAT = '{ blkid "$disk" >/dev/null || mkfs.ext4 -q -m 0 "$disk"; }'
