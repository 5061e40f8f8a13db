"""What a researcher wishes of a pool, and the pool that it means in a workspace. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azbatch.errors import ConfigurationError

if TYPE_CHECKING:
    from azbatch.headnode.discover import Workspace
    from azbatch.pools.azcopy import Azcopy
    from azbatch.pools.spec import PoolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """As `NextflowHelper.create_batch_pool` takes it. With a `scenario` the pool scales from 0 to `nodes`."""

    pool_id: str
    vm_size: str | None = None
    shape: str | None = None
    cores: int = 1
    memory_mb: int = 0
    gpus: int = 0
    nodes: int = 1
    spot: bool = False
    scenario: str | None = None
    images: tuple[str, ...] = ()
    image: str | None = None
    docker_disk: str | None = None


def spec_of(
    wish: Wish, place: Workspace, offered: Sequence[dict[str, Any]], *, azcopy: Azcopy | None, now: datetime
) -> PoolSpec:
    """The pool: in the workspace's subnet, with its node identity; `offered` are the service's images for nodes.

    Raises ConfigurationError with all names that there are not.
    """
    from azbatch.pools import images, shapes, vm_sizes
    from azbatch.pools.docker_disk import DockerDisk
    from azbatch.pools.scenarios import Scaling, Scenario
    from azbatch.pools.spec import PoolSpec, registries

    faults = [
        f"'{name}' is no {what}: choose {', '.join(known)}."
        for name, what, known in ((wish.scenario, "scenario", Scenario), (wish.shape, "shape", shapes.Shape))
        if name is not None and name not in set(known)
    ]
    if faults:
        raise ConfigurationError(faults)
    needs = shapes.Needs(cores=wish.cores, memory_mb=wish.memory_mb, gpus=wish.gpus)
    shape = shapes.Shape(wish.shape) if wish.shape is not None else None
    size = vm_sizes.find(wish.vm_size) if wish.vm_size else shapes.fitting(shape, needs)
    scaling = None
    if wish.scenario is not None:
        scaling = Scaling(scenario=Scenario(wish.scenario), most=wish.nodes, spot_share=float(wish.spot))
    identity = place.node_identity_id or None
    return PoolSpec(
        id=wish.pool_id,
        vm_size=size.name,
        image=images.choose(offered, wish.image, containers=True, now=now),
        slots=size.cores,
        dedicated=0 if scaling or wish.spot else wish.nodes,
        spot=wish.nodes if wish.spot and not scaling else 0,
        formula=scaling.formula() if scaling else None,
        containers=True,
        container_images=wish.images,
        registries=registries((), wish.images, identity),
        identity=identity,
        subnet_id=place.subnet_id or None,
        azcopy=azcopy,
        docker_disk=DockerDisk.parse(wish.docker_disk) if wish.docker_disk else None,
        metadata={"azbatch": "pool"},
    )
