"""What to ask for: a pool as a frozen record, its faults all at once, and its request body. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azbatch.errors import ConfigurationError
from azbatch.pools.azcopy import Azcopy
from azbatch.pools.docker_disk import DockerDisk
from azbatch.pools.node_disk import DiskKind
from azbatch.pools.resource import to_resource
from azbatch.pools.scratch_disk import ScratchDisk

Json = dict[str, Any]
_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_SUBNET = re.compile(
    r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+/subnets/[^/]+$",
    re.I,
)
_IDENTITY = re.compile(
    r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+$",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A container registry; nodes sign in with their identity where one is named, else anonymously."""

    server: str
    identity: str | None = None


def registries(named: Sequence[str], images: Sequence[str], identity: str | None) -> tuple[Registry, ...]:
    """Those named as `SERVER` or `SERVER=IDENTITY_ID`, and the Azure registries that images come from.

    An Azure registry that is named without an identity, or not at all, is read by the nodes' own (`identity`).
    """
    given = {server: id for server, _, id in (text.partition("=") for text in named)}
    for image in images:
        host = image.split("/")[0]
        if host.endswith(".azurecr.io") and identity is not None:
            given.setdefault(host, "")
    return tuple(
        Registry(server=server, identity=id or (identity if server.endswith(".azurecr.io") else None))
        for server, id in given.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A pool to be made. `image` is an entry of the service's supported images; node counts are targets.

    With a `formula` the pool scales by it (every `interval`, ISO 8601, at least PT5M) and the counts are not sent.
    `identity` and `subnet_id` are ARM resource ids; a pool with an identity can only be made by Azure Resource Manager
    (`resource`), another also by the data plane (`body`). `slots` are task slots a node. `os_disk_gb` is the size of
    the operating system's disk, where Docker keeps its images unless `docker_disk` says otherwise. `scratch_disk` is
    for jobs' temporary files. `azcopy` is put on every node, and disks are prepared, before `start_task`, a command
    line, runs.
    """

    id: str
    vm_size: str
    image: Json
    slots: int
    dedicated: int = 0
    spot: int = 0
    formula: str | None = None
    interval: str = "PT5M"
    pack: bool = True
    containers: bool = False
    container_images: tuple[str, ...] = ()
    registries: tuple[Registry, ...] = ()
    identity: str | None = None
    subnet_id: str | None = None
    public_ip: bool = False
    start_task: str | None = None
    azcopy: Azcopy | None = None
    os_disk_gb: int | None = None
    docker_disk: DockerDisk | None = None
    scratch_disk: ScratchDisk | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """All that is wrong with the spec, a sentence each."""
        found: list[str] = []
        if not _ID.match(self.id):
            found.append(f"'{self.id}' is no pool id: it has 1 to 64 letters, digits, hyphens and underscores.")
        if not 1 <= self.slots <= 256:
            found.append(f"A node has between 1 and 256 task slots, not {self.slots}.")
        if self.dedicated < 0 or self.spot < 0:
            found.append(f"A pool cannot have {min(self.dedicated, self.spot)} nodes.")
        if self.subnet_id is not None and not _SUBNET.match(self.subnet_id):
            found.append(f"'{self.subnet_id}' is no resource id of a subnet.")
        if self.os_disk_gb is not None and not 30 <= self.os_disk_gb <= 4095:
            found.append(f"An operating system disk has 30 to 4095 GB, not {self.os_disk_gb}.")
        if self.docker_disk is not None:
            found += self.docker_disk.faults()
            if not (self.containers or self.container_images):
                found.append("A disk for Docker needs a pool that runs containers.")
        if self.scratch_disk is not None:
            found += self.scratch_disk.faults()
        if all(disk is not None and disk.kind is DiskKind.NVME for disk in (self.docker_disk, self.scratch_disk)):
            found.append("Docker and temporary files cannot both have the NVMe disk: give one of them a size.")
        if self.azcopy is not None:
            found += self.azcopy.faults()
        found += [
            f"'{identity}' is no resource id of a user-assigned identity."
            for identity in self.identities()
            if not _IDENTITY.match(identity)
        ]
        return found

    def identities(self) -> tuple[str, ...]:
        """The user-assigned identities that nodes need: their own, azcopy's and the registries', each once."""
        named = (
            self.identity,
            self.azcopy.identity if self.azcopy else None,
            *(registry.identity for registry in self.registries),
        )
        once = {identity.lower(): identity for identity in reversed(named) if identity is not None}
        return tuple(reversed(once.values()))

    def resource(self) -> Json:
        """The resource of Azure Resource Manager, with the nodes' identities. Raises ConfigurationError."""
        resource = to_resource(self.body())
        if self.identities():
            users: Json = {identity: {} for identity in self.identities()}
            resource["identity"] = {"type": "UserAssigned", "userAssignedIdentities": users}
        return resource

    def body(self) -> Json:
        """The request body of Pools - Create. Raises ConfigurationError with all faults."""
        faults = self.faults()
        if faults:
            raise ConfigurationError(faults)
        body: Json = {
            "id": self.id,
            "vmSize": self.vm_size,
            "taskSlotsPerNode": self.slots,
            "taskSchedulingPolicy": {"nodeFillType": "pack" if self.pack else "spread"},
            "virtualMachineConfiguration": self._machine(),
            "metadata": [{"name": name, "value": value} for name, value in self.metadata.items()],
            **self._scale(),
        }
        network = self._network()
        if network:
            body["networkConfiguration"] = network
        command = self._start_command()
        if command is not None:
            body["startTask"] = {
                "commandLine": command,
                **({"resourceFiles": [self.azcopy.resource_file()]} if self.azcopy else {}),
                "waitForSuccess": True,
                "maxTaskRetryCount": 1,
                "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
            }
        return body

    def _start_command(self) -> str | None:
        steps = [
            *(disk.command() for disk in (self.docker_disk, self.scratch_disk) if disk),
            *([self.azcopy.command()] if self.azcopy else []),
        ]
        if not steps:
            return self.start_task
        if self.start_task:
            steps.append(self.start_task)
        return f"/bin/bash -c {shlex.quote(' && '.join(steps))}"

    def _scale(self) -> Json:
        if self.formula is None:
            return {"targetDedicatedNodes": self.dedicated, "targetLowPriorityNodes": self.spot}
        return {
            "enableAutoScale": True,
            "autoScaleFormula": self.formula,
            "autoScaleEvaluationInterval": self.interval,
        }

    def _machine(self) -> Json:
        machine: Json = {
            "imageReference": self.image["imageReference"],
            "nodeAgentSKUId": self.image["nodeAgentSKUId"],
        }
        if self.os_disk_gb is not None:
            machine["osDisk"] = {"diskSizeGB": self.os_disk_gb}
        disks = [disk.data_disk() for disk in (self.docker_disk, self.scratch_disk) if disk]
        if any(disks):
            machine["dataDisks"] = [disk for disk in disks if disk]
        if self.containers or self.container_images:
            registries = [
                {
                    "registryServer": registry.server,
                    **({"identityReference": {"resourceId": registry.identity}} if registry.identity else {}),
                }
                for registry in self.registries
            ]
            machine["containerConfiguration"] = {
                "type": "dockerCompatible",
                **({"containerImageNames": list(self.container_images)} if self.container_images else {}),
                **({"containerRegistries": registries} if registries else {}),
            }
        return machine

    def _network(self) -> Json:
        if self.subnet_id is None:
            return {}
        address = {} if self.public_ip else {"publicIPAddressConfiguration": {"provision": "noPublicIPAddresses"}}
        return {"subnetId": self.subnet_id, **address}
