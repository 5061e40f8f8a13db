"""The `azbatch` command: groups are imported only when used, so that `--help` stays fast."""

from __future__ import annotations

import importlib
import sys

import click

GROUPS = {
    "cleanup": ("azbatch.cli.cleanup", "Remove jobs and pools that dead runs left."),
    "demo": ("azbatch.cli.demo", "Run the demonstration: a variant-calling workflow on the emulator."),
    "emulator": ("azbatch.cli.emulator", "Run Azure Batch and Blob storage on this machine."),
    "headnode": ("azbatch.cli.headnode", "Prepare and check a head node."),
    "job": ("azbatch.cli.job", "List, show, follow, read and delete jobs."),
    "network": ("azbatch.cli.network", "See and change what nodes may reach."),
    "nextflow": ("azbatch.cli.nextflow", "Write and check what Nextflow needs."),
    "pool": ("azbatch.cli.pool", "List, create, show, resize and delete pools."),
    "snakemake": ("azbatch.cli.snakemake", "Write a profile for Snakemake."),
    "workspace": ("azbatch.cli.workspace", "Turn Batch on in a workspace, privately; check it; take it away."),
}


class LazyGroup(click.Group):
    """Each module of GROUPS offers its click command as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in GROUPS:
            return None
        command = importlib.import_module(GROUPS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, GROUPS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="azbatch")
def cli() -> None:
    """Scientific workflows on Azure Batch, and an emulator of it on your own machine."""


def main() -> None:
    """Entry point: a user's mistake ends in one sentence and exit code 1, never in a traceback."""
    import atexit
    import signal

    from azbatch.errors import AzbatchError

    try:
        cli()
    except AzbatchError as error:
        click.echo(f"azbatch: {error}", err=True)
        sys.exit(1)
    finally:
        # Registered last, so it runs first: a Ctrl-C after the end would print a traceback out of some finalizer.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
