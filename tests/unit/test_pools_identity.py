"""Pools with an identity, in Resource Manager's words; and the disk that Docker gets on nodes."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from azbatch.errors import ConfigurationError
from azbatch.pools import PoolSpec, Registry, manage
from azbatch.pools.docker_disk import FOLDER, DockerDisk
from azbatch.pools.node_disk import DiskKind, NodeDisk
from azbatch.pools.scratch_disk import SCRATCH, ScratchDisk
from azbatch.pools.spec import registries
from azbatch_emulator.pool_bodies import to_data_plane
from tests.unit.test_pools import IMAGE
from tests.unit.test_pools_azcopy import IDENTITY, _azcopy

SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/default"


def _spec(**changes: Any) -> PoolSpec:
    return PoolSpec(**{"id": "p", "vm_size": "Standard_D2ds_v5", "image": IMAGE, "slots": 2, **changes})


def _full() -> PoolSpec:
    return _spec(
        identity=IDENTITY,
        dedicated=1,
        spot=2,
        container_images=("r.azurecr.io/x:1",),
        registries=(
            Registry(server="r.azurecr.io", identity=IDENTITY.upper().replace("SUBSCRIPTIONS", "subscriptions")),
        ),
        subnet_id=SUBNET,
        start_task="true",
        docker_disk=DockerDisk(kind=DiskKind.DATA, size_gb=100),
        metadata={"a": "b"},
    )


class Port:
    """Notes how a pool is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def create_pool(self, body: Any) -> None:
        self.asked.append(("data plane", body))

    def create_pool_resource(self, pool_id: str, resource: Any) -> None:
        self.asked.append(("resource manager", resource))


def test_only_resource_manager_gives_an_identity() -> None:
    """A pool that names any identity goes there with all of them; another goes to the data plane."""
    port: Any = Port()
    manage.create(port, _spec())
    manage.create(port, _spec(azcopy=_azcopy()))
    manage.create(port, _spec(registries=(Registry(server="r.azurecr.io", identity=IDENTITY),)))
    assert [way for way, _ in port.asked] == ["data plane", "resource manager", "resource manager"]
    for _, resource in port.asked[1:]:
        assert resource["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}
    assert "identity" not in port.asked[0][1]


def test_one_identity_in_two_spellings_is_one() -> None:
    """Resource ids do not tell capitals apart, and a pool with the same identity twice is refused."""
    assert _full().identities() == (IDENTITY,)


def test_the_resource_in_its_own_words() -> None:
    """Names, nesting and capitals as the management API has them; nothing of the data plane's is left."""
    properties = _full().resource()["properties"]
    machine = properties["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert "nodeAgentSKUId" not in machine
    assert machine["nodeAgentSkuId"] == IMAGE["nodeAgentSKUId"]
    assert machine["containerConfiguration"]["type"] == "DockerCompatible"
    assert machine["dataDisks"] == [
        {"lun": 0, "diskSizeGB": 100, "caching": "ReadOnly", "storageAccountType": "Premium_LRS"}
    ]
    assert properties["scaleSettings"] == {"fixedScale": {"targetDedicatedNodes": 1, "targetLowPriorityNodes": 2}}
    assert properties["taskSchedulingPolicy"] == {"nodeFillType": "Pack"}
    assert properties["networkConfiguration"]["publicIPAddressConfiguration"] == {"provision": "NoPublicIPAddresses"}
    assert properties["startTask"]["userIdentity"]["autoUser"] == {"scope": "Pool", "elevationLevel": "Admin"}
    scaled = _spec(formula="$TargetDedicatedNodes = 0;", identity=IDENTITY).resource()["properties"]
    scale = {"autoScale": {"formula": "$TargetDedicatedNodes = 0;", "evaluationInterval": "PT5M"}}
    assert scaled["scaleSettings"] == scale


@pytest.mark.parametrize("spec", [_full(), _spec(formula="$TargetDedicatedNodes = 0;", identity=IDENTITY)])
def test_both_ways_ask_for_the_same_pool(spec: PoolSpec) -> None:
    """What the emulated Resource Manager hands to the data plane is what the data plane would have been asked for."""

    def plain(value: Any) -> Any:
        return json.loads(json.dumps(value).lower())

    came = plain(to_data_plane(spec.id, spec.resource()))
    asked = plain(spec.body())
    assert {name: came[name] for name in asked} == asked


def test_an_azure_registry_is_read_by_the_nodes_identity() -> None:
    """Named or only found in an image's name; other registries stay anonymous; one named with an identity keeps it."""
    found = registries(
        ("docker.io", "a.azurecr.io=/other"), ("a.azurecr.io/x:1", "b.azurecr.io/y", "quay.io/z"), IDENTITY
    )
    assert [(one.server, one.identity) for one in found] == [
        ("docker.io", None),
        ("a.azurecr.io", "/other"),
        ("b.azurecr.io", IDENTITY),
    ]
    assert registries((), ("b.azurecr.io/y",), None) == ()


@pytest.mark.parametrize(
    ("disk", "says"),
    [("3", "4 to 32767 GB, not 3"), ("big", "give its size in GB, or nvme"), ("40000", "4 to 32767 GB")],
)
def test_a_disk_that_there_is_not(disk: str, says: str) -> None:
    """One sentence, before anything is asked for."""
    with pytest.raises(ConfigurationError, match=says):
        _spec(containers=True, docker_disk=DockerDisk.parse(disk)).body()


def test_a_disk_for_docker_needs_docker() -> None:
    """A pool without containers has no Docker to move."""
    with pytest.raises(ConfigurationError, match="needs a pool that runs containers"):
        _spec(docker_disk=DockerDisk.parse("nvme")).body()
    assert (
        "dataDisks"
        not in _spec(containers=True, docker_disk=DockerDisk.parse("NVMe")).body()["virtualMachineConfiguration"]
    )


STUBS = {
    "readlink": 'echo "$DISK"',
    "lsblk": 'printf "%s Virtual Disk\\n%s Microsoft NVMe Direct Disk v2\\n" /dev/sda "$DISK"',
    "blkid": '[ -e "$BOX/formatted" ]',
    "mkfs.ext4": 'touch "$BOX/formatted"',
    "mountpoint": '[ -e "$BOX/mounted" ]',
    "mount": 'touch "$BOX/mounted"',
    "docker": 'echo "$BOX/var/docker"',
    "systemctl": "true",
}


class Node:
    """The start task's shell text on a node whose disk tools are stand-ins that note their calls."""

    def __init__(self, box: Path, disk: str) -> None:
        self.box, self.disk = box, disk
        (box / "bin").mkdir()
        (box / "var/docker").mkdir(parents=True)
        (box / "var/docker/pulled").write_text("image")
        for name, does in STUBS.items():
            program = box / "bin" / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >> "$BOX/calls"\n{does}\n')
            program.chmod(0o755)

    def run(self, kind: DiskKind, purpose: type[NodeDisk] = DockerDisk) -> subprocess.CompletedProcess[str]:
        disk = purpose(kind=kind, size_gb=100 if kind is DiskKind.DATA else None)
        given = {"docker_disk": disk} if purpose is DockerDisk else {"scratch_disk": disk}
        command = _spec(containers=True, start_task=f"touch {self.box}/ran", **given).body()["startTask"]
        text = command["commandLine"].replace("/etc/docker", f"{self.box}/etc")
        for folder in (FOLDER, SCRATCH):
            text = text.replace(folder, f"{self.box}/mnt")
        environment = {
            "PATH": f"{self.box}/bin:{Path(sys.executable).parent}:/usr/bin:/bin",
            "BOX": str(self.box),
            "DISK": self.disk,
        }
        return subprocess.run(
            shlex.split(text), env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def calls(self) -> list[str]:
        found = (self.box / "calls").read_text().splitlines()
        (self.box / "calls").unlink()
        return [call for call in found if call.split()[0] not in {"readlink", "lsblk", "blkid", "mountpoint", "docker"}]


BLOCK = next(
    (str(path) for path in (*Path("/dev").glob("loop*"), *Path("/dev").glob("[sv]d?")) if path.is_block_device()), ""
)


@pytest.mark.parametrize("kind", list(DiskKind))
def test_docker_moves_once_and_again_after_a_reboot(kind: DiskKind, tmp_path: Path) -> None:
    """Formatted once; what was pulled ahead comes along; Docker's other settings stay; a second run changes nothing; a
    reboot mounts it and begins Docker anew."""
    if kind is DiskKind.DATA and not BLOCK:
        pytest.skip("this machine has no block device whose name could be read")
    node = Node(tmp_path, BLOCK or "/dev/nvme0n1")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/daemon.json").write_text('{"log-driver": "local"}')
    first = node.run(kind)
    assert first.returncode == 0, first.stderr
    assert node.calls() == [
        f"mkfs.ext4 -q -m 0 {node.disk}",
        f"mount -o noatime {node.disk} {tmp_path}/mnt",
        "systemctl stop docker",
        "systemctl start docker",
    ]
    held = {"log-driver": "local", "data-root": f"{tmp_path}/mnt/docker"}
    assert json.loads((tmp_path / "etc/daemon.json").read_text()) == held
    assert (tmp_path / "mnt/docker/pulled").read_text() == "image"
    assert (tmp_path / "ran").exists()
    assert node.run(kind).returncode == 0
    assert node.calls() == []
    (tmp_path / "mounted").unlink()
    assert node.run(kind).returncode == 0
    assert [call.split()[0] for call in node.calls()] == ["mount", "systemctl", "systemctl"]


@pytest.mark.parametrize("kind", list(DiskKind))
def test_a_node_without_the_disk_says_so_and_runs_nothing(kind: DiskKind, tmp_path: Path) -> None:
    """The start task fails with a sentence, and the user's own never runs."""
    node = Node(tmp_path, "")
    (tmp_path / "bin/lsblk").write_text("#!/bin/sh\necho /dev/sda Virtual Disk\n")
    done = node.run(kind)
    assert done.returncode != 0
    assert "There is no disk for Docker" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", list(DiskKind))
def test_a_scratch_disk_is_formatted_once_and_everybody_may_write(kind: DiskKind, tmp_path: Path) -> None:
    """As with /tmp; a second run changes nothing, a reboot mounts it again."""
    if kind is DiskKind.DATA and not BLOCK:
        pytest.skip("this machine has no block device whose name could be read")
    node = Node(tmp_path, BLOCK or "/dev/nvme0n1")
    first = node.run(kind, ScratchDisk)
    assert first.returncode == 0, first.stderr
    assert node.calls() == [f"mkfs.ext4 -q -m 0 {node.disk}", f"mount -o noatime {node.disk} {tmp_path}/mnt"]
    assert stat.S_IMODE((tmp_path / "mnt").stat().st_mode) == 0o1777
    assert (tmp_path / "ran").exists()
    assert node.run(kind, ScratchDisk).returncode == 0
    assert node.calls() == []
    (tmp_path / "mounted").unlink()
    assert node.run(kind, ScratchDisk).returncode == 0
    assert [call.split()[0] for call in node.calls()] == ["mount"]


def test_both_disks_have_places_of_their_own() -> None:
    """A data disk each; the NVMe disk can only be had by one of them."""
    both = _spec(containers=True, docker_disk=DockerDisk.parse("100"), scratch_disk=ScratchDisk.parse("500")).body()
    disks = both["virtualMachineConfiguration"]["dataDisks"]
    assert [(disk["lun"], disk["diskSizeGB"]) for disk in disks] == [(0, 100), (1, 500)]
    with pytest.raises(ConfigurationError, match="cannot both have the NVMe disk"):
        _spec(containers=True, docker_disk=DockerDisk.parse("nvme"), scratch_disk=ScratchDisk.parse("nvme")).body()
