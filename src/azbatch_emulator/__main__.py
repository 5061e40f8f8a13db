"""`python -m azbatch_emulator serve`: the emulator in the foreground; `azbatch emulator start` runs it detached."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from azbatch_emulator.state import cache_directory, default_directory

PORT = click.IntRange(0, 65535)
FILE = click.Path(path_type=Path, dir_okay=False)
LEVELS = ("debug", "info", "warning", "error")


@click.group()
def main() -> None:
    """Azure Batch on loopback."""


@main.command()
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="State folder.")
@click.option("--runner", type=click.Choice(["process", "container", "instant"]), default="process", show_default=True)
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="By default the profile's.")
@click.option("--profile", default="fast", show_default=True, help="fast, realistic, chaos, or a YAML file.")
@click.option("--no-storage", is_flag=True, help="Without Blob storage (and so without Node.js).")
@click.option("--ephemeral", is_flag=True, help="Begin empty, and keep nothing.")
@click.option("--http-port", type=PORT, default=0, help="0: a free one.")
@click.option("--https-port", type=PORT, default=0, help="0: a free one.")
@click.option("--blob-port", type=PORT, default=0, help="0: a free one.")
@click.option("--account", default="emulator", show_default=True)
@click.option("--storage-account", default="emulatorstorage", show_default=True)
@click.option("--node-path", type=click.Path(dir_okay=False), help="The Node.js to run Azurite with.")
@click.option("--for-nextflow", is_flag=True, help="The storage also by its name on Azure, by a proxy.")
@click.option("--virtual-time", is_flag=True, help="Jump to what is due next; implies --ephemeral.")
@click.option("--strict", is_flag=True, help="Refuse unknown properties, parameters and api-versions, as Azure does.")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="Write all requests to this file.")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="IPv4; https and blobs.")
@click.option("--allow-remote", is_flag=True, help="Let --listen be beyond loopback; needs --key-file.")
@click.option("--host-name", multiple=True, help="A name that others reach it by, for the certificate; repeatable.")
@click.option("--key-file", type=FILE, help="File with a key (base64) of your own for both accounts.")
@click.option("--token-file", type=FILE, help="File with a token of your own for control calls.")
@click.option("--ready-file", type=FILE, help="Write its addresses there (JSON) once it answers.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--news-fd", type=int, hidden=True)
def serve(
    state: Path | None,
    runner: str,
    speed: float | None,
    profile: str,
    no_storage: bool,
    ephemeral: bool,
    http_port: int,
    https_port: int,
    blob_port: int,
    account: str,
    storage_account: str,
    node_path: str | None,
    for_nextflow: bool,
    virtual_time: bool,
    strict: bool,
    record: Path | None,
    listen: str,
    allow_remote: bool,
    host_name: tuple[str, ...],
    key_file: Path | None,
    token_file: Path | None,
    ready_file: Path | None,
    log_level: str,
    news_fd: int | None,
) -> None:
    """Serve until stopped. Prints its addresses, and tells them in STATE/emulator.json."""
    from azbatch_emulator.daemon import serve as run

    news = os.fdopen(news_fd, "w") if news_fd is not None else open(os.devnull, "w")  # noqa: SIM115, PTH123
    code = run(
        news,
        state=state or default_directory(),
        runner=runner,
        speed=speed,
        profile=profile,
        storage=not no_storage,
        ephemeral=ephemeral,
        http_port=http_port,
        https_port=https_port,
        blob_port=blob_port,
        account=account,
        storage_account=storage_account,
        node_path=node_path,
        for_nextflow=for_nextflow,
        virtual_time=virtual_time,
        strict=strict,
        record=record,
        listen=listen,
        allow_remote=allow_remote,
        host_names=host_name,
        key_file=key_file,
        token_file=token_file,
        ready_file=ready_file,
        log_level=log_level,
        announce=_announce if news_fd is None else _nobody,
    )
    sys.exit(code)


def _announce(record: Mapping[str, Any]) -> None:
    for label, key in (("Batch", "https_url"), ("Blob storage", "blob_url"), ("Identity", "http_url")):
        click.echo(f"{label:<13}{record[key] or 'none'}")


def _nobody(_record: Mapping[str, Any]) -> None:
    """Whoever started the daemon reads the record."""


@main.command()
@click.option("--node-path", type=click.Path(dir_okay=False), help="The Node.js to run Azurite with.")
def prepare(node_path: str | None) -> None:
    """Install Azurite now, into $AZBATCH_EMULATOR_CACHE, so that no start needs the network; prints where."""
    from azbatch_emulator.azurite.install import ensure_installed
    from azbatch_emulator.azurite.node import find_node
    from azbatch_emulator.errors import EmulatorError

    try:
        node = find_node(node_path)
        home = ensure_installed(cache_directory(), node, lambda text: click.echo(f"{text} ...", err=True))
    except EmulatorError as error:
        raise click.ClickException(str(error)) from None
    click.echo(home)


@main.command()
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="State folder of the emulator.")
@click.option("--wait", type=click.FloatRange(min=0), default=0.0, help="Seconds to wait until it does.")
def health(state: Path | None, wait: float) -> None:
    """Exit with 0 if the emulator and its storage answer, else with 1 and the reason."""
    from azbatch_emulator.daemon import healthy
    from azbatch_emulator.errors import EmulatorError

    try:
        healthy(state, wait=wait)
    except EmulatorError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("recording", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="State folder of a running emulator.")
@click.option("--pace", type=click.FloatRange(min=0, min_open=True), help="Keep the recorded pauses, divided by this.")
def replay(recording: Path, state: Path | None, pace: float | None) -> None:
    """Send a recording to the running emulator; prints what it answers otherwise, and exits with 1 if anything."""
    from azbatch_emulator.errors import EmulatorError
    from azbatch_emulator.recording.replay import replay as run
    from azbatch_emulator.state import StateFolder

    try:
        record = StateFolder((state or default_directory()).expanduser()).read_record()
        done = run(recording, record["http_url"], pace=pace)
    except EmulatorError as error:
        raise click.ClickException(str(error)) from None
    for one in done.differences:
        click.echo(f"line {one.line}: {one.request}: {one.where}: recorded {one.recorded!r}, now {one.now!r}")
    click.echo(f"{done.sent} requests sent, {done.skipped} skipped, {len(done.differences)} differences.", err=True)
    sys.exit(1 if done.differences else 0)


if __name__ == "__main__":
    main(prog_name="python -m azbatch_emulator")
