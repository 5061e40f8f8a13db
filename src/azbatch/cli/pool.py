"""`azbatch pool`: list, create, show, resize, delete."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azbatch.cli.options import account_options, json_option, note, print_json, print_table
from azbatch.errors import AzbatchError, ConfigurationError

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount
    from azbatch.headnode.discover import Workspace
    from azbatch.pools.azcopy import Azcopy
    from azbatch.pools.scenarios import Scaling
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
@click.option("--vm-size", help="Such as Standard_D4ds_v5; default: the smallest with what is needed.")
@click.option(
    "--shape",
    type=click.Choice(["small", "medium", "large", "memory", "disk", "gpu"]),
    help="2, 8, 32 cores; 8 cores with 60 GB memory; 8 with 1 TB local disk; one GPU. More may be asked for besides.",
)
@click.option("--cores", type=click.IntRange(1), help="Cores that one job needs; default: 2, or the shape's.")
@click.option("--memory-mb", type=click.IntRange(0), default=0, help="Memory that one job needs, MiB.")
@click.option("--disk-mb", type=click.IntRange(0), default=0, help="Local disk that one job needs, MiB.")
@click.option("--gpus", type=click.IntRange(0), default=0, help="GPUs that one job needs.")
@click.option(
    "--nodes",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Dedicated nodes (most of them with --autoscale).",
)
@click.option("--spot", type=click.IntRange(0), default=0, help="Spot nodes.")
@click.option("--autoscale", is_flag=True, help="The same as --scenario pending-tasks.")
@click.option(
    "--scenario",
    type=click.Choice(["pending-tasks", "workday", "fixed"]),
    help="Scale from 0 to --nodes: with the waiting tasks; so too but keep --daytime nodes in --hours; all or none.",
)
@click.option("--formula", type=click.File(), help="Scale by the autoscale formula in this file.")
@click.option("--daytime", type=click.IntRange(0), default=1, show_default=True, help="Nodes kept in working hours.")
@click.option("--hours", default="8-18", show_default=True, help="Working hours, Monday to Friday.")
@click.option("--utc-offset", type=float, default=0.0, show_default=True, help="Hours that your clock is ahead of UTC.")
@click.option("--spot-share", type=click.FloatRange(0, 1), default=0.0, help="Share of spot nodes, with a scenario.")
@click.option("--slots", type=click.IntRange(1, 256), help="Task slots a node; default: its cores.")
@click.option("--image", help="publisher:offer:sku of a supported image; default: the newest verified Ubuntu.")
@click.option("--container-image", multiple=True, help="A container image to pull ahead; may be given again.")
@click.option("--registry", multiple=True, help="SERVER[=IDENTITY_ID]: a registry, read by the nodes' identity.")
@click.option("--os-disk-gb", type=int, help="Size of the disk where Docker keeps its images.")
@click.option("--start-task", help="A command line that every node runs first, as administrator.")
@click.option("--identity", help="Resource id of the nodes' identity; default: the workspace's.")
@click.option(
    "--docker-disk",
    metavar="GB|nvme",
    help="Docker's images on a data disk of that size, or on the VM size's own NVMe disk.",
)
@click.option(
    "--azcopy",
    metavar="FILE|auto",
    help="Put this azcopy (auto: the one on PATH) on every node, by way of the workspace's storage.",
)
@click.option("--azcopy-blob", nargs=2, metavar="URL SHA256", help="Put azcopy on every node, from this blob.")
@click.option("--subnet-id", help="Resource id of the nodes' subnet, without public IP; default: the workspace's.")
@click.option("--wait/--no-wait", default=True, help="Wait until a node is usable.")
@click.option("--keep-failed", is_flag=True, help="Leave a pool that gets no usable node, to look at it; it costs.")
@account_options
@json_option
def create(account: BatchAccount, pool_id: str, wait: bool, keep_failed: bool, as_json: bool, **options: Any) -> None:
    """Make a pool, and watch it until a node is usable; one that fails is deleted again."""
    from azbatch.pools import manage
    from azbatch.signals import Interrupts

    spec = _spec(account, pool_id, options)

    def judge() -> None:
        if spec.formula is None:
            return
        if not options["formula"]:
            note(f"It scales: {_scaling(options).words()}")
            return
        run = account.evaluate_autoscale(pool_id, spec.formula)
        if run.get("error"):
            raise AzbatchError(_fault(run))

    with Interrupts(note) as interrupts:
        manage.make(
            account,
            spec,
            interrupts=interrupts,
            said=note,
            judge=judge,
            progress=_Said(),
            wait=wait,
            keep_failed=keep_failed,
        )
    if as_json:
        print_json(account.get_pool(pool_id))


def _spec(account: BatchAccount, pool_id: str, options: dict[str, Any]) -> Any:
    from azbatch.pools import images, shapes, vm_sizes
    from azbatch.pools.docker_disk import DockerDisk
    from azbatch.pools.spec import PoolSpec, registries

    place = _place(account)
    identity = options["identity"] or place.node_identity_id or None
    if options["vm_size"] and options["shape"]:
        raise ConfigurationError(["Give --vm-size or --shape, not both."])
    if options["vm_size"]:
        size = vm_sizes.find(options["vm_size"])
    else:
        shape = shapes.Shape(options["shape"]) if options["shape"] else None
        asked = {name: options[name] for name in ("memory_mb", "disk_mb", "gpus")}
        size = shapes.fitting(shape, shapes.Needs(cores=options["cores"] or (1 if shape else 2), **asked))
    wanted = options["container_image"]
    image = images.choose(account.supported_images(), options["image"], containers=bool(wanted), now=datetime.now(UTC))
    if options["formula"] and (options["scenario"] or options["autoscale"]):
        raise ConfigurationError(["Give --formula or --scenario, not both."])
    named = bool(options["scenario"] or options["autoscale"])
    formula = options["formula"].read() if options["formula"] else _scaling(options).formula() if named else None
    scaled = formula is not None
    disk = DockerDisk.parse(options["docker_disk"]) if options["docker_disk"] else None
    return PoolSpec(
        id=pool_id,
        vm_size=size.name,
        image=image,
        slots=options["slots"] or size.cores,
        dedicated=0 if scaled else options["nodes"],
        spot=0 if scaled else options["spot"],
        formula=formula,
        containers=disk is not None,
        container_images=tuple(wanted),
        registries=registries(options["registry"], wanted, identity),
        identity=identity,
        subnet_id=options["subnet_id"] or place.subnet_id or None,
        start_task=options["start_task"],
        os_disk_gb=options["os_disk_gb"],
        docker_disk=disk,
        azcopy=_azcopy(options, place, identity),
        metadata={"azbatch": "pool"},
    )


def _place(account: BatchAccount) -> Workspace:
    """The workspace that the account belongs to; empty where it belongs to none. Tells the account its resource id."""
    from azbatch.headnode.discover import locate

    place = locate(("account_url",), AZBATCH_ACCOUNT_URL=account.url)
    account.account_id = account.account_id or place.account_id
    return place


def _azcopy(options: dict[str, Any], place: Workspace, identity: str | None) -> Azcopy | None:
    from azbatch.azure.blob import BlobAccount
    from azbatch.headnode import node_azcopy
    from azbatch.pools.azcopy import Azcopy

    if not (options["azcopy"] or options["azcopy_blob"]):
        return None
    if identity is None:
        raise ConfigurationError(["Nodes fetch azcopy by their identity: name it with --identity RESOURCE_ID."])
    if options["azcopy_blob"]:
        url, sha256 = options["azcopy_blob"]
        return Azcopy(url=url, sha256=sha256.lower(), identity=identity)
    program = None if options["azcopy"] == "auto" else Path(options["azcopy"])
    return node_azcopy.publish(BlobAccount(place.storage_url), program, identity)


def _scaling(options: dict[str, Any]) -> Scaling:
    import re

    from azbatch.pools.scenarios import Scaling, Scenario

    hours = re.fullmatch(r"(\d{1,2})-(\d{1,2})", options["hours"])
    if hours is None:
        raise ConfigurationError([f"'{options['hours']}' are no working hours such as 8-18."])
    return Scaling(
        scenario=Scenario(options["scenario"] or "pending-tasks"),
        most=options["nodes"],
        daytime=options["daytime"],
        begin=int(hours[1]),
        end=int(hours[2]),
        utc_offset=options["utc_offset"],
        spot_share=options["spot_share"],
    )


@command.command("sizes")
@click.option("--cores", type=click.IntRange(1), default=1, show_default=True, help="Cores that one job needs.")
@click.option("--memory-mb", type=click.IntRange(0), default=0, help="Memory that one job needs, MiB.")
@click.option("--disk-mb", type=click.IntRange(0), default=0, help="Local disk that one job needs, MiB.")
@click.option("--gpus", type=click.IntRange(0), default=0, help="GPUs that one job needs.")
@json_option
def sizes(cores: int, memory_mb: int, disk_mb: int, gpus: int, as_json: bool) -> None:
    """The VM size that would be chosen, and why each other was not."""
    from azbatch.pools import vm_sizes

    choice = vm_sizes.smallest_fitting(cores=cores, memory_mb=memory_mb, disk_mb=disk_mb, gpus=gpus)
    reasons = {
        size.name: choice.excluded.get(size.name, "fits, but is larger than needed")
        for size in vm_sizes.VM_SIZES
        if size.name != choice.size.name
    }
    if as_json:
        print_json({"chosen": choice.size.name, "others": reasons})
        return
    click.echo(f"{choice.size.name}: {choice.size.cores} cores, {choice.size.memory_mb} MB, {choice.size.gpus} GPUs.")
    print_table(("OTHER", "WHY NOT"), list(reasons.items()))


@command.command("images")
@account_options
@json_option
def list_images(account: BatchAccount, as_json: bool) -> None:
    """The images that the service supports for nodes."""
    from azbatch.pools.images import name_of

    images = account.supported_images()
    if as_json:
        print_json(images)
        return
    rows = [
        (
            name_of(image),
            image["verificationType"],
            "yes" if "DockerCompatible" in image.get("capabilities", ()) else "no",
            str(image.get("batchSupportEndOfLife") or "")[:10],
        )
        for image in images
    ]
    print_table(("IMAGE", "VERIFIED", "CONTAINERS", "SUPPORT ENDS"), rows)


@command.command("watch")
@click.argument("pool_id")
@click.option("--timeout", type=click.FloatRange(0), default=1800.0, show_default=True, help="Seconds.")
@account_options
def watch(account: BatchAccount, pool_id: str, timeout: float) -> None:
    """Say what happens to a pool until a node is usable; exit code 1, with the reason, where none will be."""
    from azbatch.pools import manage

    manage.wait_until_ready(account, pool_id, timeout=timeout, progress=_Said())


@command.command("evaluate")
@click.argument("pool_id")
@click.option("--formula", "file", type=click.File(), help="A file with a formula to try; default: the pool's own.")
@account_options
@json_option
def evaluate(account: BatchAccount, pool_id: str, file: Any, as_json: bool) -> None:
    """What the pool's autoscale formula, or another, would ask for now; nothing changes."""
    text = file.read() if file else account.get_pool(pool_id).get("autoScaleFormula")
    if not text:
        raise ConfigurationError([f"Pool '{pool_id}' does not scale: give --formula FILE to try one."])
    run = account.evaluate_autoscale(pool_id, text)
    if as_json:
        print_json(run)
        return
    if run.get("error"):
        raise AzbatchError(_fault(run))
    for part in str(run.get("results", "")).split(";"):
        click.echo(part)


def _fault(run: dict[str, Any]) -> str:
    """Why an evaluation failed."""
    details = "; ".join(str(item.get("value")) for item in run["error"].get("values") or ())
    return f"The formula fails: {details or run['error'].get('message')}"


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
