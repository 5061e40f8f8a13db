"""`azbatch workspace`: the private Batch environment of one workspace."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from azbatch.cli.options import json_option, note, print_json
from azbatch.errors import AzbatchError, ConfigurationError

if TYPE_CHECKING:
    from azbatch.workspace.apply import Progress
    from azbatch.workspace.manage import Looked

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="workspace", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Turn Azure Batch on in a workspace, privately; check it; take it away again."""


def _workspace_options(function: F) -> F:
    """Which workspace, and how it is to be; what is left out is as an earlier enable was told."""

    @click.option("--subscription-id", required=True, envvar="AZBATCH_SUBSCRIPTION_ID", help="The subscription's id.")
    @click.option(
        "--workspace", required=True, envvar="AZBATCH_WORKSPACE", help="The workspace: a resource group's name."
    )
    @click.option("--head-node", help="The Linux machine that runs the engines; needed where there are several.")
    @click.option("--address-space", metavar="CIDR", help="Of the Batch network; by default one that overlaps nothing.")
    @click.option(
        "--image-registry", metavar="ACR", help="A container registry that the nodes may pull from; none: no more."
    )
    @click.option(
        "--central-dns/--no-central-dns",
        default=None,
        help="Private DNS is managed elsewhere: make no zone, tell the records.",
    )
    @click.option(
        "--way-out",
        type=click.Choice(["nat-gateway", "none"]),
        help="A way to the internet for what azbatch network opens: a NAT gateway with a public address.",
    )
    @click.option(
        "--storage-private-endpoint/--no-storage-private-endpoint",
        default=None,
        help="Nodes reach the storage by a private endpoint; the storage needs no rule for them, nor public access.",
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        subscription_id: str,
        workspace: str,
        head_node: str | None,
        address_space: str | None,
        image_registry: str | None,
        central_dns: bool | None,
        way_out: str | None,
        storage_private_endpoint: bool | None,
        **kwargs: Any,
    ) -> Any:
        from azbatch.workspace.model import Options

        options = Options(
            subscription=subscription_id,
            workspace=workspace,
            head_node=head_node,
            address_space=address_space,
            image_registry=image_registry,
            central_dns=central_dns,
            way_out=way_out,
            storage_private_endpoint=storage_private_endpoint,
        )
        return function(*args, options=options, **kwargs)

    return wrapped  # type: ignore[return-value]


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def _arm() -> Any:
    from azbatch.azure.arm import ArmClient

    return ArmClient()


@command.command(name="plan")
@_workspace_options
@click.option(
    "--arm-template", type=click.Path(path_type=Path, dir_okay=False), help="Also write it as an ARM template."
)
@json_option
def plan_(options: Any, arm_template: Path | None, as_json: bool) -> None:
    """Show what enable would do. Exit code 0: nothing to do; 2: changes; 1: something stands in the way."""
    from azbatch.workspace import manage, template, words

    looked = manage.look(_arm(), options)
    if arm_template is not None:
        text = json.dumps(template.template(looked.plan, looked.facts.location), indent=2) + "\n"
        try:
            arm_template.write_text(text)
        except OSError as error:
            raise AzbatchError(
                f"The template could not be written to {arm_template}: {error.strerror}; name another file with "
                f"--arm-template."
            ) from None
        note(f"Wrote {arm_template}.")
    if as_json:
        print_json(words.as_json(looked.plan, looked.findings))
    else:
        _show(looked)
    raise SystemExit(1 if looked.fatal else 0 if looked.plan.empty else 2)


def _show(looked: Looked, *, findings: bool = True) -> None:
    from azbatch.workspace import words

    click.echo(f"Workspace {looked.facts.options.workspace} ({looked.facts.location}): {words.summary(looked.plan)}.")
    parts = [
        ("", words.lines(looked.plan)),
        ("Who may do what:", words.rights(looked.plan)),
        ("What nodes reach:", words.reach(looked.plan)),
        ("What it costs by standing there:", words.costs(looked.plan)),
        ("In the way:", words.findings(looked.findings if findings else [])),
    ]
    for title, lines in parts:
        told = list(lines)
        if told:
            click.echo("\n".join([title, *told] if title else told))
    _show_records(looked)


def _show_records(looked: Looked) -> None:
    from azbatch.workspace import choices, design, records

    if choices.chosen(looked.facts, design.names_of(looked.facts)).central_dns:
        for record in records.dns_records(looked.facts):
            click.echo(f"Record to make: {record['name']}.{record['zone']} {record['type']} {record['address']}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Progress], None]]:
    """A line per change as it ends; on a terminal a bar below them."""
    import sys

    ended = 0

    def line(news: Progress) -> str | None:
        nonlocal ended
        if news.state == "begin":
            return None
        ended += 1
        mark = "done" if news.state == "done" else "FAILED"
        return f"[{ended}/{total}] {mark}: {news.change.wanted.sentence}"

    if not sys.stderr.isatty():

        def tell(news: Progress) -> None:
            if (text := line(news)) is not None:
                note(text)

        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("working", total=total)

        def show(news: Progress) -> None:
            if (text := line(news)) is not None:
                bars.console.print(text, highlight=False, markup=False)
                bars.update(bar, completed=ended)

        yield show


@contextmanager
def _told_how_to_go_on(sentence: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise AzbatchError(f"Interrupted: {sentence}") from None


GO_ON = "what was done stays; run the same command again to go on."


def _work(looked: Looked) -> int:
    from azbatch.workspace.model import Verb

    return sum(1 for change in looked.plan.changes if change.verb is not Verb.KEEP)


def _ask(yes: bool, question: str) -> None:
    if not yes and not click.confirm(question, err=True):
        raise AzbatchError("Nothing was changed.")


@command.command()
@_workspace_options
@click.option(
    "--wait-for-roles",
    type=click.FloatRange(0, 1800),
    default=300,
    show_default=True,
    envvar="AZBATCH_WAIT_FOR_ROLES",
    metavar="SECONDS",
    help="How long to wait for new roles to take effect, which Azure does not tell; 0: not at all.",
)
@yes_option
@json_option
def enable(options: Any, wait_for_roles: float, yes: bool, as_json: bool) -> None:
    """Turn Azure Batch on: show the plan, ask, apply it, verify. Run again, it mends what has drifted."""
    import time

    from azbatch.workspace import design, manage, words

    arm = _arm()
    looked = manage.look(arm, options)
    if not as_json:
        _show(looked, findings=not looked.fatal)  # those are told below
    if looked.fatal:
        raise ConfigurationError([f"{one.sentence} {one.remedy}" for one in looked.fatal])
    new_roles = manage.makes_roles(looked.plan)
    if looked.untidy:
        looked = manage.enable(arm, looked, lambda _news: None)  # writes down only that nothing is left of what went
    if not looked.plan.empty:
        _ask(yes, "Do this?")
        with _told_how_to_go_on(GO_ON), _progress(_work(looked)) as tell:
            looked = manage.enable(arm, looked, tell)
        if not as_json:
            _show_records(looked)
        if new_roles:
            with _told_how_to_go_on("all was made; the roles may take ten minutes to take effect."):
                manage.wait_for_roles(wait_for_roles, note, time.sleep)
    account = design.names_of(looked.facts).account_name
    endpoint = (
        (looked.facts.found.get(design.names_of(looked.facts).account.lower()) or {}).get("properties") or {}
    ).get("accountEndpoint")
    if as_json:
        print_json({**words.as_json(looked.plan), "account": account, "account_url": f"https://{endpoint}"})
        return
    click.echo(
        f"Azure Batch is on in {options.workspace}: account {account}, https://{endpoint} (from inside the workspace)."
    )
    if new_roles:
        click.echo(
            f"Waited {wait_for_roles:.0f} s for the new roles; now and then they take ten minutes: where "
            f"the head node is refused, wait and try again."
        )


@command.command()
@_workspace_options
@json_option
def status(options: Any, as_json: bool) -> None:
    """Tell drift and health. Exit code 0: as planned; 2: drift."""
    from azbatch.workspace import manage, words
    from azbatch.workspace.model import Verb

    looked = manage.look(_arm(), options)
    if as_json:
        print_json(words.as_json(looked.plan, looked.findings))
    elif looked.plan.empty:
        click.echo(f"The workspace {options.workspace} is as planned.")
        for text in words.lines(looked.plan):
            click.echo(text)
    elif any(change.verb is Verb.CREATE and change.wanted.code == "ac" for change in looked.plan.changes):
        click.echo(f"Azure Batch is not on in {options.workspace}: azbatch workspace enable turns it on.")
    else:
        click.echo(
            f"The workspace {options.workspace} has drifted ({words.summary(looked.plan)}); azbatch workspace "
            f"enable mends it:"
        )
        click.echo("\n".join(words.lines(looked.plan)))
    raise SystemExit(0 if looked.plan.empty else 2)


def _ends_of_support() -> dict[str, datetime | None]:
    """When each image's support ends, by the account in AZBATCH_ACCOUNT_URL; only the workspace's machines reach it."""
    import os

    from azbatch.azure.batch import BatchAccount

    if not os.environ.get("AZBATCH_ACCOUNT_URL"):
        note("Ends of support of images are not checked: set AZBATCH_ACCOUNT_URL, from inside the workspace.")
        return {}
    try:
        images = list(BatchAccount(None).supported_images())
    except AzbatchError as error:
        note(f"Ends of support of images are not checked: {error}")
        return {}
    ends: dict[str, datetime | None] = {}
    for one in images:
        reference, end = one.get("imageReference") or {}, one.get("batchSupportEndOfLife")
        key = f"{reference.get('offer')}:{reference.get('sku')}".lower()
        ends[key] = datetime.fromisoformat(str(end)) if end else None
    return ends


@command.command()
@_workspace_options
@json_option
def doctor(options: Any, as_json: bool) -> None:
    """Would a node come up, pull its image, reach the data? Exit code 0: yes; 2: no, with the reasons."""
    from azbatch.workspace import words
    from azbatch.workspace.examine import examine

    found = examine(_arm(), options, datetime.now(UTC), _ends_of_support())
    if as_json:
        print_json(
            [
                {
                    "code": one.code,
                    "subject": one.subject,
                    "sentence": one.sentence,
                    "remedy": one.remedy,
                    "fatal": one.fatal,
                }
                for one in found
            ]
        )
    elif not found:
        click.echo("Nothing stands in a node's way.")
    else:
        click.echo("\n".join(words.findings(found)))
    raise SystemExit(2 if any(one.fatal for one in found) else 0)


@command.command()
@_workspace_options
@click.option("--delete-pools", is_flag=True, help="Also while there are pools: delete them, and what runs on them.")
@yes_option
@json_option
def disable(options: Any, delete_pools: bool, yes: bool, as_json: bool) -> None:
    """Take away exactly what enable made, and prove it."""
    from azbatch.workspace import manage, words

    arm = _arm()
    looked = manage.look_for_removal(arm, options)
    if not as_json:
        click.echo(f"Workspace {options.workspace}: {words.summary(looked.plan)}.")
        for text in words.lines(looked.plan):
            click.echo(text)
    if looked.fatal:
        raise ConfigurationError([f"{one.sentence} {one.remedy}" for one in looked.fatal])
    if looked.plan.changes or looked.facts.ledger:
        manage.check_pools(arm, looked, drop_pools=delete_pools)
        _ask(yes, "Take this away?")
        with _told_how_to_go_on(GO_ON), _progress(_work(looked)) as tell:
            manage.disable(arm, looked, tell, drop_pools=delete_pools, say=note)
    if as_json:
        print_json(words.as_json(looked.plan))
    else:
        click.echo(f"Nothing of azbatch is left in {options.workspace}: it was looked through once more.")
