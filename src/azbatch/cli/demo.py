"""`azbatch demo`: the demonstration, on an emulator of its own unless the environment names an account."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from azbatch.cli.options import json_option, note, print_json
from azbatch.errors import AzbatchError


@click.command("demo")
@click.option("--reads", nargs=2, type=click.Path(path_type=Path), help="Your own paired reads, FASTQ: R1 R2.")
@click.option("--reference", type=click.Path(path_type=Path), help="Your own reference, FASTA.")
@click.option("--samples", default=3, show_default=True, help="Samples to make, without --reads.")
@click.option("--seed", default=20261126, show_default=True, help="Seed of the made data.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("azbatch-demo"),
    show_default=True,
    help="Where results go.",
)
@click.option("--jobs", default=100, show_default=True, help="Most jobs at a time.")
@click.option("--nodes", default=2, show_default=True, type=click.IntRange(1), help="Nodes of the pool.")
@json_option
def command(
    reads: tuple[Path, Path] | None,
    reference: Path | None,
    samples: int,
    seed: int,
    output: Path,
    jobs: int,
    nodes: int,
    as_json: bool,
) -> None:
    """Call variants with Snakemake on Azure Batch, and compare them with those planted.

    Without --reads the data are made from a seed, so that the answer can be checked: recall and precision below 0.95
    end with exit code 1.
    """
    from azbatch.demo.run import Plan, run

    plan = Plan(
        output=output.absolute(), reads=reads, reference=reference, samples=samples, seed=seed, jobs=jobs, nodes=nodes
    )
    plan.check()
    with _account() as requests:
        outcome = run(plan, note, requests)
    if as_json:
        print_json(
            {
                "ok": outcome.ok,
                "summary": outcome.summary,
                "nodes": {node: {"tasks": n, "seconds": s} for node, (n, s) in outcome.where.nodes.items()},
                "tasks": outcome.where.tasks,
                "seconds": outcome.where.seconds,
                "requests": dict(outcome.where.requests),
                "picture": str(outcome.picture),
                "page": str(outcome.page),
            }
        )
    else:
        click.echo(outcome.text)
    if not outcome.ok:
        click.echo("azbatch: recall or precision is below 0.95: the workflow did not find what was planted.", err=True)
        sys.exit(1)


@contextmanager
def _account() -> Iterator[Callable[[], Mapping[str, int]]]:
    """The account of the environment, or an emulator while the demonstration runs: gives how requests are counted."""
    if os.environ.get("AZBATCH_ACCOUNT_URL"):
        yield dict
        return
    from azbatch_emulator.launcher import Emulator, EmulatorError

    note("Starting the emulator of Azure Batch, and Azurite for blobs …")
    try:
        with Emulator() as emulator, _environment(emulator.environment()):
            yield lambda: _counted(emulator.control("requests"))
    except EmulatorError as error:
        raise AzbatchError(str(error)) from None


def _counted(answer: Mapping[str, Any]) -> Mapping[str, int]:
    counts = answer.get("operations", answer)
    return {str(name): int(number) for name, number in counts.items() if isinstance(number, int)}


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
