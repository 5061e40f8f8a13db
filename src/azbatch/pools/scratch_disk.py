"""A large or fast disk for what jobs write on the way: their TMPDIR, also in containers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from azbatch.pools.node_disk import FORMAT, NodeDisk

SCRATCH = "/mnt/azbatch-scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchDisk(NodeDisk):
    """Mounted where every user may write, as in /tmp."""

    lun: ClassVar[int] = 1
    purpose: ClassVar[str] = "temporary files"

    def _use(self) -> str:
        return (
            f"mkdir -p {SCRATCH} && {FORMAT} && "
            f'{{ mountpoint -q {SCRATCH} || mount -o noatime "$disk" {SCRATCH}; }} && chmod 1777 {SCRATCH};'
        )
