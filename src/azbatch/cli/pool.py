"""`azbatch pool`: list, create, show, resize, delete."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from azbatch.cli.options import account_options, json_option, note, print_json, print_table
from azbatch.errors import AzbatchError, ConfigurationError

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount
    from azbatch.pools.watch import Assessment


@click.group("pool")
def command() -> None:
    """List, create, show, resize and delete pools."""


@command.command("list")
@account_options
@json_option
def list_(account: BatchAccount, as_json: bool) -> None:
    """The pools of the account."""
    pools = account.list_pools()
    if as_json:
        print_json(pools)
        return
    rows = [
        (
            pool["id"],
            pool["state"],
            pool["allocationState"],
            pool["vmSize"],
            f"{pool['currentDedicatedNodes']}/{pool['targetDedicatedNodes']}",
            f"{pool['currentLowPriorityNodes']}/{pool['targetLowPriorityNodes']}",
            "on" if pool.get("enableAutoScale") else "off",
        )
        for pool in pools
    ]
    print_table(("POOL", "STATE", "ALLOCATION", "SIZE", "DEDICATED", "SPOT", "AUTOSCALE"), rows)


@command.command("show")
@click.argument("pool_id")
@account_options
@json_option
def show(account: BatchAccount, pool_id: str, as_json: bool) -> None:
    """One pool with its nodes and what is wrong with them."""
    from azbatch.pools.watch import assess

    pool, nodes = account.get_pool(pool_id), account.list_nodes(pool_id)
    judged = assess(pool, nodes)
    if as_json:
        print_json({"pool": pool, "nodes": nodes, "verdict": judged.verdict, "notes": judged.lines})
        return
    for line in judged.lines:
        click.echo(line)
    rows = [
        (n["id"], n["state"], "dedicated" if n["isDedicated"] else "spot", n.get("runningTasksCount", 0)) for n in nodes
    ]
    print_table(("NODE", "STATE", "KIND", "RUNNING"), rows)


@command.command("create")
@click.argument("pool_id")
@click.option("--vm-size", help="Such as Standard_D4ds_v5; default: the smallest with --cores and --memory-mb.")
@click.option("--cores", type=click.IntRange(1), default=2, show_default=True, help="Cores that one job needs.")
@click.option("--memory-mb", type=click.IntRange(0), default=0, help="Memory that one job needs, MiB.")
@click.option("--gpus", type=click.IntRange(0), default=0, help="GPUs that one job needs.")
@click.option(
    "--nodes",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Dedicated nodes (most of them with --autoscale).",
)
@click.option("--spot", type=click.IntRange(0), default=0, help="Spot nodes.")
@click.option("--autoscale", is_flag=True, help="Scale with the waiting tasks, from 0 to --nodes.")
@click.option("--slots", type=click.IntRange(1, 256), help="Task slots a node; default: its cores.")
@click.option("--image", help="publisher:offer:sku of a supported image; default: the newest verified Ubuntu.")
@click.option("--container-image", multiple=True, help="A container image to pull ahead; may be given again.")
@click.option("--subnet-id", help="Resource id of the nodes' subnet; such nodes get no public IP.")
@click.option("--wait/--no-wait", default=True, help="Wait until a node is usable.")
@account_options
@json_option
def create(account: BatchAccount, pool_id: str, wait: bool, as_json: bool, **options: Any) -> None:
    """Make a pool, and watch it until a node is usable; one that fails is deleted again."""
    from azbatch.pools import manage

    spec = _spec(account, pool_id, options)
    manage.create(account, spec)
    note(f"Pool '{pool_id}' of {spec.vm_size} with {spec.slots} slots a node is being made.")
    if wait and (spec.dedicated or spec.spot):
        try:
            manage.wait_until_ready(account, pool_id, progress=_Said())
        except (AzbatchError, KeyboardInterrupt):
            account.delete_pool(pool_id)
            note(f"Pool '{pool_id}' is being deleted again.")
            raise
    if as_json:
        print_json(account.get_pool(pool_id))


def _spec(account: BatchAccount, pool_id: str, options: dict[str, Any]) -> Any:
    from azbatch.pools import formula, images, vm_sizes
    from azbatch.pools.spec import PoolSpec

    if options["vm_size"]:
        size = vm_sizes.find(options["vm_size"])
    else:
        size = vm_sizes.smallest_fitting(
            cores=options["cores"], memory_mb=options["memory_mb"], gpus=options["gpus"]
        ).size
    wanted = options["container_image"]
    image = images.choose(account.supported_images(), options["image"], containers=bool(wanted), now=datetime.now(UTC))
    scaled = options["autoscale"]
    return PoolSpec(
        id=pool_id,
        vm_size=size.name,
        image=image,
        slots=options["slots"] or size.cores,
        dedicated=0 if scaled else options["nodes"],
        spot=0 if scaled else options["spot"],
        formula=formula.pending_tasks(most=max(1, options["nodes"])) if scaled else None,
        container_images=tuple(wanted),
        subnet_id=options["subnet_id"],
        metadata={"azbatch": "pool"},
    )


class _Said:
    """Says each new state of a pool once."""

    def __init__(self) -> None:
        self._last: tuple[str, ...] = ()

    def __call__(self, now: Assessment) -> None:
        if now.lines != self._last:
            self._last = now.lines
            for line in now.lines:
                note(line)


@command.command("resize")
@click.argument("pool_id")
@click.option("--nodes", type=click.IntRange(0), help="Dedicated nodes.")
@click.option("--spot", type=click.IntRange(0), help="Spot nodes.")
@click.option("--wait/--no-wait", default=True, help="Wait until the pool is steady.")
@account_options
@json_option
def resize(account: BatchAccount, pool_id: str, nodes: int | None, spot: int | None, wait: bool, as_json: bool) -> None:
    """Change how many nodes a pool of fixed size has."""
    if nodes is None and spot is None:
        raise ConfigurationError(["Nothing to resize: give --nodes, --spot or both."])
    account.resize_pool(pool_id, nodes, spot)
    said = _Said()
    while wait:
        from azbatch.pools.watch import assess

        pool = account.get_pool(pool_id)
        said(assess(pool, account.list_nodes(pool_id)))
        if pool["allocationState"] == "steady":
            break
        time.sleep(0.5)
    if as_json:
        print_json(account.get_pool(pool_id))


@command.command("delete")
@click.argument("pool_ids", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@account_options
@json_option
def delete(account: BatchAccount, pool_ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete pools and their nodes; running tasks go back to their jobs' queues."""
    if not yes:
        click.confirm(f"Delete {', '.join(pool_ids)} with all nodes?", abort=True)
    for pool_id in pool_ids:
        account.get_pool(pool_id)
        account.delete_pool(pool_id)
    if as_json:
        print_json({"deleted": list(pool_ids)})
    else:
        click.echo(f"Deletion of {', '.join(pool_ids)} has begun.")
