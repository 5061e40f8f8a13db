"""`python -m azbatch_emulator serve`: the emulator in the foreground; `azbatch emulator start` runs it detached."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from azbatch_emulator.state import default_directory

PORT = click.IntRange(0, 65535)


@click.group()
def main() -> None:
    """Azure Batch on loopback."""


@main.command()
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="State folder.")
@click.option("--runner", type=click.Choice(["process", "container", "instant"]), default="process", show_default=True)
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True)
@click.option("--no-storage", is_flag=True, help="Without Blob storage (and so without Node.js).")
@click.option("--ephemeral", is_flag=True, help="Begin empty, and keep nothing.")
@click.option("--http-port", type=PORT, default=0, help="0: a free one.")
@click.option("--https-port", type=PORT, default=0, help="0: a free one.")
@click.option("--blob-port", type=PORT, default=0, help="0: a free one.")
@click.option("--account", default="emulator", show_default=True)
@click.option("--storage-account", default="emulatorstorage", show_default=True)
@click.option("--node-path", type=click.Path(dir_okay=False), help="The Node.js to run Azurite with.")
@click.option("--news-fd", type=int, hidden=True)
def serve(
    state: Path | None,
    runner: str,
    speed: float,
    no_storage: bool,
    ephemeral: bool,
    http_port: int,
    https_port: int,
    blob_port: int,
    account: str,
    storage_account: str,
    node_path: str | None,
    news_fd: int | None,
) -> None:
    """Serve until stopped. Tells its addresses in STATE/emulator.json."""
    from azbatch_emulator.daemon import serve as run

    news = os.fdopen(news_fd, "w") if news_fd is not None else open(os.devnull, "w")  # noqa: SIM115, PTH123
    code = run(
        news,
        state=state or default_directory(),
        runner=runner,
        speed=speed,
        storage=not no_storage,
        ephemeral=ephemeral,
        http_port=http_port,
        https_port=https_port,
        blob_port=blob_port,
        account=account,
        storage_account=storage_account,
        node_path=node_path,
    )
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python -m azbatch_emulator")
