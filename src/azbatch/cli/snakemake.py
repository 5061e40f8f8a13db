"""`azbatch snakemake`: a profile, so that `snakemake --profile azbatch` is enough."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click

from azbatch.cli.options import json_option, print_json
from azbatch.errors import ConfigurationError

FILE = "config.v8+.yaml"
_PREFIX = re.compile(r"^az://[a-z0-9](-?[a-z0-9]){2,62}(/[^/]+)+/?$")


@click.group("snakemake")
def command() -> None:
    """Write what Snakemake needs for Azure Batch."""


@command.command("profile")
@click.option("--prefix", required=True, help="Where the run's files lie: az://CONTAINER/RUN.")
@click.option("--name", default="azbatch", show_default=True, help="The profile's name, or a path to its folder.")
@click.option("--jobs", type=click.IntRange(1), default=500, show_default=True, help="Most jobs on Batch at a time.")
@click.option("--max-nodes", type=click.IntRange(1), default=10, show_default=True, help="Most nodes of a pool.")
@click.option("--pool-id", help="An existing pool; by default one is made for each run.")
@click.option("--subnet-id", help="Resource id of the nodes' subnet.")
@click.option("--container-image", help="The image in which jobs run.")
@click.option("--force", is_flag=True, help="Replace a profile that is there.")
@json_option
def profile(
    prefix: str,
    name: str,
    jobs: int,
    max_nodes: int,
    pool_id: str | None,
    subnet_id: str | None,
    container_image: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a profile for Snakemake; then `snakemake --profile azbatch` runs any workflow on Batch.

    On the head node of a workspace the profile names its accounts, the nodes' subnet and their identity.
    """
    if not _PREFIX.match(prefix):
        raise ConfigurationError([f"'{prefix}' is no place for a run: write az://CONTAINER/RUN."])
    path = _folder(name) / FILE
    if path.exists() and not force:
        raise ConfigurationError([f"{path} is there already and was kept: use --force to replace it."])
    values: dict[str, object] = {
        "executor": "azbatch",
        "jobs": jobs,
        "default-storage-provider": "azblob",
        "default-storage-prefix": prefix,
        "retries": 1,
        **({"azbatch-pool-id": pool_id} if pool_id else {"azbatch-max-nodes": max_nodes, "azbatch-autoscale": True}),
        **_workspace(made=not pool_id),
        **({"azbatch-subnet-id": subnet_id} if subnet_id else {}),
        **({"azbatch-container-image": container_image} if container_image else {}),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON strings, numbers and booleans are YAML too.
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
    except OSError as error:
        raise ConfigurationError([f"The profile cannot be written to {path}: {error.strerror}."]) from None
    if as_json:
        print_json({"profile": str(path), "settings": values})
    else:
        click.echo(f"Wrote {path}. Run a workflow with: snakemake --profile {name}")


def _workspace(*, made: bool) -> dict[str, object]:
    """What the workspace of this head node tells; nothing elsewhere.

    `made` is whether runs make their own pools.
    """
    from azbatch.azure import metadata
    from azbatch.headnode.discover import locate

    if not metadata.compute():
        return {}
    place = locate()
    known = {
        "azbatch-account-url": place.account_url,
        "storage-azblob-endpoint-url": place.storage_url,
        "azbatch-account-id": place.account_id if made else "",
        "azbatch-subnet-id": place.subnet_id if made else "",
        "azbatch-node-identity": place.node_identity_id if made else "",
    }
    return {name: value for name, value in known.items() if value}


def _folder(name: str) -> Path:
    """Where Snakemake looks for a profile of that name; a name with a slash is the folder itself."""
    if "/" in name:
        return Path(name)
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "snakemake" / name
