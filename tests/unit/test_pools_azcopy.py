"""azcopy on nodes and disks of nodes."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from azbatch.errors import ConfigurationError, ServiceError
from azbatch.pools import PoolSpec, manage
from azbatch.pools.azcopy import Azcopy
from tests.unit.test_pools import IMAGE

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
PROGRAM = b"#!/bin/sh\necho azcopy\n"


def _azcopy(**changes: str) -> Azcopy:
    digest = hashlib.sha256(PROGRAM).hexdigest()
    return Azcopy(**{"url": "https://a.blob.example/tools/azcopy", "sha256": digest, "identity": IDENTITY, **changes})


def _start_task(azcopy: Azcopy, **changes: Any) -> dict[str, Any]:
    spec = PoolSpec(id="p", vm_size="Standard_D2ds_v5", image=IMAGE, slots=2, azcopy=azcopy, **changes)
    task = spec.body()["startTask"]
    assert isinstance(task, dict)
    return task


def test_no_expiring_link_in_a_start_task() -> None:
    """The original put a link of 31 days there; ours names the blob and the identity, and no signature passes."""
    (file,) = _start_task(_azcopy())["resourceFiles"]
    assert file["identityReference"] == {"resourceId": IDENTITY}
    assert "?" not in file["httpUrl"]
    with pytest.raises(ConfigurationError) as raised:
        _start_task(_azcopy(url="https://a.blob.example/tools/azcopy?sig=x", sha256="12"))
    assert len(raised.value.faults) == 2


@pytest.mark.parametrize(("content", "code"), [(PROGRAM, 0), (b"something else", 1)])
def test_the_command_installs_only_what_was_pinned(tmp_path: Path, content: bytes, code: int) -> None:
    """Run for real: the right program lands in the shared folder and the user's own task runs; another stops it."""
    (tmp_path / "azcopy").write_bytes(content)
    command = _start_task(_azcopy(), start_task="touch ran")["commandLine"]
    done = subprocess.run(
        shlex.split(command),
        cwd=tmp_path,
        env={"AZ_BATCH_NODE_SHARED_DIR": str(tmp_path / "shared"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode != 0) == (code != 0)
    assert (tmp_path / "shared/bin/azcopy").exists() == (tmp_path / "ran").exists() == (code == 0)


def test_the_disk_for_images() -> None:
    """The disk that Docker's images fill can be made larger."""
    spec = PoolSpec(id="p", vm_size="Standard_D2ds_v5", image=IMAGE, slots=2, os_disk_gb=200)
    assert spec.body()["virtualMachineConfiguration"]["osDisk"] == {"diskSizeGB": 200}
    with pytest.raises(ConfigurationError, match="30 to 4095 GB"):
        PoolSpec(id="p", vm_size="Standard_D2ds_v5", image=IMAGE, slots=2, os_disk_gb=1).body()


def test_what_the_start_task_said_is_told() -> None:
    """A node's failed start task is told by its own words; where its files cannot be read, the rest is told."""

    class Port:
        files: dict[str, bytes]

        def list_nodes(self, pool_id: str) -> list[Any]:
            return [{"id": "good", "state": "idle"}, {"id": "bad", "state": "starttaskfailed"}]

        def read_node_file(self, pool_id: str, node_id: str, path: str, last: int) -> bytes:
            if path not in self.files:
                raise ServiceError("no", code="FileNotFound", status=404)
            return self.files[path]

    port: Any = Port()
    port.files = {"startup/stdout.txt": b"azcopy: FAILED\n"}
    assert manage.start_task_output(port, "p") == ["Its stdout.txt ends:\nazcopy: FAILED"]
    port.files = {}
    assert manage.start_task_output(port, "p") == []
