"""`azbatch emulator`: Azure Batch and Blob storage on this machine."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from azbatch.errors import AzbatchError

F = TypeVar("F", bound=Callable[..., Any])
PORT = click.IntRange(0, 65535)


def _quote_fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "sh": lambda env: "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items()),
    "fish": lambda env: "\n".join(f"set -gx {name} {_quote_fish(value)};" for name, value in env.items()),
    "dotenv": lambda env: "\n".join(f"{name}={value}" for name, value in env.items()),
    "json": lambda env: json.dumps(env, indent=2),
}


def _state_option(function: F) -> F:
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="AZBATCH_EMULATOR_STATE",
        help="State folder (default: azbatch/emulator in your state directory).",
    )(function)


def _json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """The emulator's errors are the user's to read, as they are."""
    from azbatch_emulator.launcher import EmulatorError

    try:
        yield
    except EmulatorError as error:
        raise AzbatchError(str(error)) from None


@click.group(name="emulator", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Run Azure Batch and Blob storage on this machine."""


@command.command()
@_state_option
@click.option(
    "--runner",
    type=click.Choice(["process", "container", "instant"]),
    default="process",
    show_default=True,
    help="Run tasks as real processes, in containers (podman or docker), or end each at once (for load).",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    envvar="AZBATCH_EMULATOR_SPEED",
    help="How much faster than Azure allocation, boot and autoscale go (60, or the profile's); tasks take the time "
    "they take.",
)
@click.option("--profile", help="Delays and failures: fast (the default), realistic, chaos, or a YAML file of yours.")
@click.option("--no-storage", is_flag=True, help="Without Blob storage (and so without Node.js).")
@click.option("--ephemeral", is_flag=True, help="Begin empty, and keep nothing of pools and jobs.")
@click.option("--http-port", type=PORT, default=0, help="0, the default: a free one.")
@click.option("--https-port", type=PORT, default=0, help="0, the default: a free one.")
@click.option("--blob-port", type=PORT, default=0, help="0, the default: a free one.")
@click.option("--listen", metavar="ADDRESS", help="IPv4 address; beyond loopback only with the next two.")
@click.option("--allow-remote", is_flag=True, help="Let other machines in, by https and your key.")
@click.option("--key-file", type=click.Path(dir_okay=False), help="File with a key (base64) of your own.")
@click.option("--token-file", type=click.Path(dir_okay=False), help="File with a token of your own for control calls.")
@click.option("--host-name", multiple=True, help="A name that others reach it by, for the certificate; repeatable.")
@click.option("--ready-file", type=click.Path(dir_okay=False), help="Write its addresses there (JSON) once it answers.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="info, the default: a line a request."
)
@click.option("--node-path", type=click.Path(dir_okay=False), help="The Node.js to run Azurite with.")
@click.option(
    "--for-nextflow",
    is_flag=True,
    help="Let Nextflow's Java use it: the storage also by its name on Azure, by a proxy, with a trust store.",
)
@click.option("--record", type=click.Path(dir_okay=False), help="Write all requests to this file, without secrets.")
@click.option("--strict", is_flag=True, help="Refuse unknown properties, parameters and api-versions, as Azure does.")
@click.option(
    "--virtual-time", is_flag=True, help="The clock jumps to what is due next while no task runs; keeps nothing."
)
@_json_option
def start(state: Path | None, as_json: bool, **options: Any) -> None:
    """Start the emulator; it runs on until `azbatch emulator stop`."""
    from azbatch_emulator import launcher

    given = {name.replace("_", "-"): value for name, value in options.items() if value not in (None, False, ())}
    with _told_plainly():
        record = launcher.start(state, options=given, progress=lambda text: click.echo(f"{text} ...", err=True))
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(f"The emulator is running (process {record['pid']}, state folder {record['state']}).")
    for label, key in (("Batch", "https_url"), ("Blob storage", "blob_url"), ("Identity", "http_url")):
        if record[key]:
            click.echo(f"  {label:<13}{record[key]}")
    java = record["environment"].get("NXF_OPTS")
    if java:
        click.echo("Nextflow's Java finds and trusts it by these options, which are also in `azbatch emulator env`:")
        click.echo(f"  NXF_OPTS     {java}")
        click.echo(f"  {record['blob_host']} leads to the storage above, for tasks on nodes too.")
    if record["tasks_run_as"]:
        click.echo(f"Tasks run as {record['tasks_run_as']}{_whose(record)}.")
    if record["remote"]:
        click.echo(f"Other machines reach it at {record['listen']}, with your key; give them {record['ca']}.")
    click.echo('Let this shell use it with: eval "$(azbatch emulator env)"')


def _whose(record: Mapping[str, Any]) -> str:
    if record["tasks_run_as"] == "root":
        return ", since the emulator does"
    return ", and cannot become root" if record["runner"] == "process" else ""


@command.command()
@_state_option
@_json_option
def stop(state: Path | None, as_json: bool) -> None:
    """Stop the emulator, its tasks and its storage. All is there again at the next start, nodes rebooted."""
    from azbatch_emulator import launcher

    with _told_plainly():
        stopped = launcher.stop(state)
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    else:
        click.echo("The emulator has stopped." if stopped else "The emulator was not running.")


@command.command()
@_state_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C or the emulator's end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds between, with --watch.",
)
@_json_option
def status(state: Path | None, watch: bool, interval: float, as_json: bool) -> None:
    """Show pools with a cell for each node, and the tasks of each job. Exit code 1 where it does not run."""
    from azbatch_emulator import launcher

    def look() -> dict[str, Any]:
        with _told_plainly():
            return launcher.status(state)

    found = look()
    if watch and found["running"]:
        found = _watch(look, found, interval, as_json)
    elif as_json:
        click.echo(json.dumps(found, indent=2))
    elif found["running"]:
        _show(found)
    if not found["running"]:
        if not as_json:
            click.echo(f"The emulator is not running (state folder {found['state']}).")
        raise SystemExit(1)


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console

    from azbatch.cli.emulator_status import view

    console = Console(highlight=False)
    console.print(view(found, console.width))


def _watch(look: Callable[[], dict[str, Any]], found: dict[str, Any], interval: float, as_json: bool) -> dict[str, Any]:
    """In place in a terminal; elsewhere one after the other, as JSON one a line. What was seen last."""
    from rich.console import Console
    from rich.live import Live

    from azbatch.cli.emulator_status import view

    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False, screen=True) if console.is_terminal and not as_json else None
    with contextlib.suppress(KeyboardInterrupt), live or contextlib.nullcontext():
        while found["running"]:
            if live is not None:
                live.update(view(found, console.width), refresh=True)
            elif as_json:
                click.echo(json.dumps(found))
            else:
                console.print(view(found, console.width), "")
            time.sleep(interval)
            found = look()
    return found


@command.command()
@_state_option
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="sh", show_default=True)
@click.option("--as", "who", metavar="NAME", help="Act as this person or machine of a workspace; default: the owner.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def env(state: Path | None, form: str, who: str | None, as_json: bool) -> None:
    """Print variables that let this shell's tools use the emulator: eval "$(azbatch emulator env)"."""
    from azbatch_emulator import launcher

    with _told_plainly():
        variables = launcher.env(state, who)
    click.echo(FORMATS["json" if as_json else form](variables))


@command.command("sign-in")
@click.argument("code")
@click.option("--as", "who", metavar="NAME", default="owner", show_default=True, help="The person who enters it.")
@click.option("--refuse", is_flag=True, help="Refuse it.")
@_state_option
def sign_in(code: str, who: str, refuse: bool, state: Path | None) -> None:
    """Enter a device code, as a person would on the sign-in page that a program names."""
    from azbatch_emulator import launcher

    with _told_plainly():
        launcher.sign_in(code, None if refuse else who, state)
    click.echo(f"The code {code} was refused." if refuse else f"{who} is signed in.")


@command.command()
@_state_option
@click.option("-n", "--lines", type=click.IntRange(min=1), default=100, show_default=True)
@_json_option
def logs(state: Path | None, lines: int, as_json: bool) -> None:
    """Print the end of the emulator's log."""
    from azbatch_emulator import launcher

    with _told_plainly():
        text = launcher.logs(state, lines)
    click.echo(json.dumps(text.splitlines(), indent=2) if as_json else text)


@command.command()
@_state_option
@_json_option
def reset(state: Path | None, as_json: bool) -> None:
    """Forget all pools, jobs, files and blobs."""
    from azbatch_emulator import launcher

    with _told_plainly():
        running = launcher.reset(state)
    if as_json:
        click.echo(json.dumps({"reset": True, "running": running}))
    else:
        click.echo("The emulator is empty.")


@command.group()
def workspace() -> None:
    """Workspaces to try `azbatch workspace` on."""


@workspace.command()
@click.argument("name")
@click.option("--subscription", help="The subscription's id; default: the emulator's own.")
@click.option("--location", default="westeurope", show_default=True)
@_state_option
@_json_option
def create(name: str, subscription: str | None, location: str, state: Path | None, as_json: bool) -> None:
    """Make a workspace: a resource group with storage, a network, two Linux machines and a researcher."""
    from azbatch_emulator import launcher

    with _told_plainly():
        made = launcher.create_workspace(name, state, subscription=subscription, location=location)
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(f"Made the workspace {name} in subscription {made['subscription']} ({made['location']}):")
    click.echo(f"  storage account {made['storage_account']}, machines {', '.join(made['machines'])}")
    click.echo(
        f"  people: {', '.join(made['people'])}; act as one of them, or a machine: azbatch emulator env --as NAME"
    )
    click.echo(
        f"Turn Batch on: azbatch workspace enable --subscription-id {made['subscription']} --workspace {name} "
        f"--head-node {made['machines'][0]}"
    )
