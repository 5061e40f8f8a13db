"""`azbatch headnode`: the script that prepares one, its pins, and a check of what it reaches."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import click

from azbatch.cli.options import json_option, note, print_json
from azbatch.errors import AzbatchError, ConfigurationError


@click.group("headnode")
def command() -> None:
    """Prepare and check a head node."""


@command.command("script")
@click.option("--pins", type=click.Path(path_type=Path), help="Versions and SHA-256; default: what azbatch comes with.")
@click.option("--wheel", type=click.Path(path_type=Path), help="azbatch's own wheel, carried inside the script.")
def script(pins: Path | None, wheel: Path | None) -> None:
    """Print prepare.sh: azbatch headnode script --wheel FILE > prepare.sh"""
    from azbatch.headnode import pins as pinned
    from azbatch.headnode import script as text

    content = None
    if wheel is not None:
        try:
            content = wheel.read_bytes()
        except OSError as error:
            raise ConfigurationError([f"{wheel} cannot be read: {error.strerror}."]) from None
    click.echo(
        text.render(
            pinned.load(pins),
            version=version("azbatch"),
            lock=text.requirements(),
            wheel_name=wheel.name if wheel else "",
            wheel=content,
        ),
        nl=False,
    )


@command.command("pins")
@click.option("--pins", type=click.Path(path_type=Path), help="Pins to begin with; default: what azbatch comes with.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write them; default: standard output.")
@click.option("--mirror", help="Take every file from MIRROR/HOST/PATH.")
def pins(pins: Path | None, output: Path | None, mirror: str | None) -> None:
    """Download every file once: take the SHA-256 that is missing, and check those that are there.

    Compare what is new with what the vendors publish before you trust it.
    """
    from azbatch.headnode import download
    from azbatch.headnode import pins as pinned

    before = pinned.load(pins)
    after = pinned.fill(before, lambda url: download.blocks(download.mirrored(url, mirror)))
    for name, pin in after.items():
        state = "is as pinned" if before[name].sha256 else "is new: compare it with the vendor's"
        note(f"{name} {pin.version}: {pin.sha256} {state}.")
    if output is None:
        click.echo(pinned.text(after), nl=False)
        return
    try:
        output.write_text(pinned.text(after), encoding="utf-8")
    except OSError as error:
        raise AzbatchError(f"{output} cannot be written: {error.strerror}.") from None


@command.command("check")
@json_option
def check(as_json: bool) -> None:
    """Look at identity, names, Batch, storage, clock, disk and programs: each line is ok or says what to do."""
    from azbatch.headnode.check import look

    found = look()
    if as_json:
        print_json([{"what": item.what, "ok": item.ok, "found": item.found, "remedy": item.remedy} for item in found])
    else:
        for item in found:
            line = f"{'ok  ' if item.ok else 'FAIL'}  {item.what}: {item.found}"
            click.echo(line if item.ok or not item.remedy else f"{line} {item.remedy}")
    if not all(item.ok for item in found):
        sys.exit(1)
