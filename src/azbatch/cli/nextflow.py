"""`azbatch nextflow`: the files for Nextflow, checked, and run with a pool of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from azbatch.cli.options import json_option, print_json
from azbatch.errors import ConfigurationError


@click.group("nextflow")
def command() -> None:
    """Write and check what Nextflow needs for Azure Batch."""


@command.command("init")
@click.option("--pipeline", type=click.Path(path_type=Path), default=Path("nextflow.nf"), show_default=True)
@click.option("--config", type=click.Path(path_type=Path), default=Path("nextflow.config"), show_default=True)
@click.option("--launcher", type=click.Path(path_type=Path), default=Path("nextflow.py"), show_default=True)
@click.option("--pool", help="The pool's id; it is also the queue.")
@click.option("--vm-size", help="Such as Standard_D4ds_v5.")
@click.option("--container", help="The image of processes that name none.")
@click.option("--client-id", help='Client id of a user-assigned identity; "" takes AZURE_CLIENT_ID.')
@json_option
def init(pipeline: Path, config: Path, launcher: Path, as_json: bool, **options: Any) -> None:
    """Write nextflow.nf, nextflow.config and nextflow.py for this workspace; files that exist are kept."""
    from azbatch.headnode.discover import locate
    from azbatch.nextflow.settings import Settings
    from azbatch.nextflow.write import write

    place = locate()
    usual = f"https://{place.account_name}.{place.region}.batch.azure.com"
    settings = Settings(
        batch_account=place.account_name,
        region=place.region,
        storage_account=place.storage_name,
        endpoint=None if place.account_url == usual else place.account_url,
        **{name: value for name, value in options.items() if value is not None},
    )
    written = write(settings, pipeline=pipeline, config=config, launcher=launcher)
    if as_json:
        print_json({"made": [str(p) for p in written.made], "kept": [str(p) for p in written.kept]})
        return
    for line in written.sentences():
        click.echo(line)
    click.echo(f"Run it with: python {launcher}")


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check scripts and configurations for what Nextflow's strict syntax and nf-azure refuse. Exit code 1 on faults."""
    from azbatch.nextflow import strict

    faults: list[dict[str, Any]] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError([f"{path} is no UTF-8 text."]) from None
        judge = strict.check_script if path.suffix == ".nf" else strict.check_config
        faults += [{"file": str(path), "line": fault.line, "fault": fault.sentence} for fault in judge(text)]
    if as_json:
        print_json(faults)
    else:
        for fault in faults:
            click.echo(f"{fault['file']}:{fault['line']}: {fault['fault']}")
        if not faults:
            click.echo("No faults found.")
    if faults:
        sys.exit(1)
