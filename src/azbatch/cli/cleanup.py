"""`azbatch cleanup`: what dead runs left."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from azbatch.cli.options import account_options, json_option, print_json, print_table
from azbatch.errors import AzbatchError, ConfigurationError

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount
    from azbatch.jobs.leftovers import Leftover

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.command("cleanup")
@click.option("--older-than", "age", help="Also those of unknown runs that are older, such as 12h or 3d.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="List only.")
@account_options
@json_option
def command(account: BatchAccount, age: str | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove jobs and pools that dead runs of azbatch left; nothing else is ever touched.

    A run is dead when its process is gone, when it has not renewed its pool's lease, or when its job has ended.
    """
    from azbatch.jobs import leftovers
    from azbatch.pools.own import alive

    oldest = _age(age)
    found = leftovers.find(account.list_jobs(), account.list_pools(), now=datetime.now(UTC), alive=alive)
    chosen = [one for one in found if one.dead or (oldest is not None and one.age > oldest)]
    if not as_json:
        _show(found, chosen)
    if chosen and not dry_run:
        if not yes:
            click.confirm(f"Remove {len(chosen)} of them?", abort=True, err=True)
        _remove(account, chosen)
    if as_json:
        removed = [] if dry_run else [one.id for one in chosen]
        print_json({"found": [{"kind": o.kind, "id": o.id, "dead": o.dead} for o in found], "removed": removed})
    elif chosen and not dry_run:
        click.echo(f"Removal of {len(chosen)} has begun.")


def _show(found: list[Leftover], chosen: list[Leftover]) -> None:
    if not found:
        click.echo("There is nothing of azbatch on this account.")
        return
    rows = [
        (one.kind, one.id, str(one.age).split(".")[0], one.state, "remove" if one in chosen else "keep", one.why)
        for one in found
    ]
    print_table(("KIND", "ID", "AGE", "STATE", "", "WHY"), rows)


def _remove(account: BatchAccount, chosen: list[Leftover]) -> None:
    faults = []
    # Jobs first: a pool that goes takes its nodes from tasks that still run.
    for one in sorted(chosen, key=lambda one: one.kind):
        try:
            (account.delete_job if one.kind == "job" else account.delete_pool)(one.id)
        except AzbatchError as error:
            faults.append(str(error))
    if faults:
        raise AzbatchError("\n".join(faults))


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)([mhd])", text)
    if found is None:
        raise ConfigurationError([f"'{text}' is no age: write minutes, hours or days, such as 30m, 12h or 3d."])
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
