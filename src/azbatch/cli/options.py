"""Options and output that commands share."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def account_options(function: F) -> F:
    """`--account-url`: which Batch account, by default the workspace's; passes `account`, connected on first use."""

    @click.option(
        "--account-url", envvar="AZBATCH_ACCOUNT_URL", help="The Batch account, https://NAME.REGION.batch.azure.com."
    )
    @functools.wraps(function)
    def wrapped(*args: Any, account_url: str | None, **kwargs: Any) -> Any:
        from azbatch.azure.batch import BatchAccount

        return function(*args, account=BatchAccount(account_url or _of_the_workspace()), **kwargs)

    return wrapped  # type: ignore[return-value]


def _of_the_workspace() -> str | None:
    """The URL of the workspace's account; None on a machine that is no head node, whose user is told what to set."""
    from azbatch.azure import metadata
    from azbatch.headnode.discover import locate

    return locate(("account_url",)).account_url if metadata.compute() else None


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headings; plain tab-separated lines where the output is no terminal."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            click.echo("\t".join(str(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)


def note(text: str) -> None:
    """Progress for people, on standard error so that output can be piped."""
    click.echo(text, err=True)
