"""`azbatch network`: what nodes may reach: list, allow, deny, check, reach, refresh, log."""

from __future__ import annotations

import functools
import getpass
import ipaddress
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from azbatch.cli.options import json_option, note, print_json, print_table
from azbatch.errors import ConfigurationError

if TYPE_CHECKING:
    from azbatch.azure.network import SecurityGroup

F = TypeVar("F", bound=Callable[..., Any])
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(m|h|d)$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.group("network")
def command() -> None:
    """See and change what nodes may reach. Everything is closed until it is allowed."""


def _group_option(*, person: bool) -> Callable[[F], F]:
    """Passes `group`, and for a person (who signs in by device code) also `who`."""

    def decorate(function: F) -> F:
        @click.option(
            "--security-group",
            "group_id",
            envvar="AZBATCH_SECURITY_GROUP_ID",
            help="Resource id of the Batch network's security group; default: the workspace's.",
        )
        @functools.wraps(function)
        def wrapped(*args: Any, group_id: str | None, **kwargs: Any) -> Any:
            from azbatch.azure import clients
            from azbatch.azure.network import SecurityGroup

            credential: Any = clients.person(note) if person else clients.machine()
            group = SecurityGroup(clients.resource_manager(credential), group_id or _workspace_group())
            if person:
                kwargs["who"] = lambda: str(credential.user or getpass.getuser())
            return function(*args, group=group, **kwargs)

        return wrapped  # type: ignore[return-value]

    return decorate


def _workspace_group() -> str:
    from azbatch.headnode.discover import locate

    try:
        return locate(("security_group_id",)).security_group_id
    except ConfigurationError as error:
        raise ConfigurationError([f"{fault} Or give --security-group." for fault in error.faults]) from None


def lasting(text: str | None) -> timedelta | None:
    """`90m`, `8h`, `7d`. Raises ConfigurationError."""
    if text is None:
        return None
    found = _DURATION.match(text)
    if found is None:
        raise ConfigurationError([f"'{text}' is no time such as 90m, 8h or 7d."])
    return timedelta(**{_UNITS[found[2]]: float(found[1])})


@command.command("list")
@_group_option(person=False)
@json_option
def list_(group: SecurityGroup, as_json: bool) -> None:
    """The openings there are, who made them, why and until when."""
    from azbatch.network import rules

    found = rules.openings(group.rules())
    if as_json:
        print_json([{"name": name, **_fields(opening)} for name, opening in found.items()])
        return
    rows = [
        (
            o.target,
            f"{o.transport.lower()}/{o.ports}",
            ", ".join(o.destinations[:3]),
            o.owner,
            _until(o.expires),
            o.reason,
        )
        for o in found.values()
    ]
    print_table(("OPEN", "PROTOCOL", "ADDRESSES", "BY", "UNTIL", "WHY"), rows)


def _fields(opening: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(opening)


def _until(expires: datetime | None) -> str:
    return f"{expires:%Y-%m-%d %H:%M}Z" if expires else "closed by hand"


@command.command("allow")
@click.argument("target")
@click.option("--port", default="443", show_default=True, help="A port, a range such as 8000-8100, or *.")
@click.option("--protocol", default="tcp", show_default=True, help="tcp, udp, icmp or any.")
@click.option("--reason", required=True, help="Why; it is kept with the opening.")
@click.option("--for", "for_", metavar="TIME", help="How long, such as 8h or 7d; default: until it is denied.")
@_group_option(person=True)
@json_option
def allow(
    group: SecurityGroup,
    who: Callable[[], str],
    target: str,
    port: str,
    protocol: str,
    reason: str,
    for_: str | None,
    as_json: bool,
) -> None:
    """Open TARGET: an address, CIDR, host name, service tag, or a preset: docker-hub, quay, ghcr, mcr, acr:NAME,
    biocontainers, conda, github, internet. You sign in on first need."""
    from azbatch.azure.network import resolve
    from azbatch.network import check, manage, way_out
    from azbatch.network.targets import parse_targets

    asked = manage.Asked(target=target, port=port, protocol=protocol, reason=reason, lasting=lasting(for_))
    # What is wrong with the request is told before anyone has to sign in.
    manage.planned(asked, region="REGION", who="", now=datetime.now(UTC), resolve=resolve)
    region = group.region
    openings = manage.allow(group, asked, who=who(), now=datetime.now(UTC), resolve=resolve)
    if group.closed_subnets:
        note(f"Note: {way_out.sentence(group.closed_subnets, group.workspace)}")
    elif group.public_addresses:
        note(f"Note: {way_out.leaves_by(group.public_addresses)}")
    for warning in dict.fromkeys(t.warning for t in parse_targets(target, region) if t.warning):
        note(f"Note: {warning}")
    for opening in openings:
        if not opening.destinations[0][0].isdigit():
            continue
        for warning in check.shared(opening.target, [d for d in opening.destinations if "/" not in d]):
            note(f"Note: {warning}")
    if as_json:
        print_json([_fields(opening) for opening in openings])
        return
    for opening in openings:
        click.echo(
            f"Open: {opening.target} {opening.transport.lower()}/{opening.ports} "
            f"({', '.join(opening.destinations)}), until {_until(opening.expires)}."
        )


@command.command("deny")
@click.argument("target")
@click.option("--reason", default="", help="Why; it is kept in the log.")
@_group_option(person=True)
@json_option
def deny(group: SecurityGroup, who: Callable[[], str], target: str, reason: str, as_json: bool) -> None:
    """Close the openings of TARGET, or the one of that rule name."""
    from azbatch.network import manage

    group.rules()  # signs in, so that the log knows who it was
    names = manage.deny(group, target, who=who(), now=datetime.now(UTC), reason=reason)
    if as_json:
        print_json({"closed": names})
    else:
        click.echo(f"Closed: {', '.join(names)}.")


@command.command("check")
@click.argument("host")
@click.option("--protocol", default="tcp", show_default=True, help="tcp, udp or icmp.")
@_group_option(person=False)
@json_option
def check(group: SecurityGroup, host: str, protocol: str, as_json: bool) -> None:
    """Whether nodes reach HOST[:PORT] (443), by which rule, and what would open it. Exit code 1 where they do not."""
    from azbatch.azure.network import resolve
    from azbatch.network import manage
    from azbatch.network.check import check as judge
    from azbatch.network.model import Transport
    from azbatch.network.targets import parse_ports, parse_transport
    from azbatch.network.way_out import confined

    name, _, port = host.partition(":")
    transport = parse_transport(protocol)
    if transport is Transport.ANY:
        raise ConfigurationError(["A check is of one protocol: tcp, udp or icmp."])
    number = 0 if transport is Transport.ICMP else int(parse_ports(port or "443").split("-")[0].replace("*", "443"))
    addresses = _addresses(name, resolve)
    judged = judge(manage.compiled(group), name, addresses, number, transport)
    judged = confined(judged, addresses, group.networks, group.closed_subnets, group.workspace)
    if as_json:
        print_json(
            {"reachable": judged.reachable, "lines": judged.lines, "warnings": judged.warnings, "remedy": judged.remedy}
        )
    else:
        for line in (*judged.lines, *judged.warnings):
            click.echo(line)
        if judged.remedy:
            click.echo(f"This would open it: {judged.remedy}")
    if not judged.reachable:
        sys.exit(1)


def _addresses(name: str, resolve: Callable[[str], list[str]]) -> list[str]:
    try:
        return [str(ipaddress.IPv4Address(name))]
    except ValueError:
        return resolve(name)


@command.command("reach")
@_group_option(person=False)
@json_option
def reach(group: SecurityGroup, as_json: bool) -> None:
    """Exactly what nodes can reach, per protocol, and by which rule."""
    from azbatch.network import manage, way_out
    from azbatch.network import reach as plane

    found = plane.reach(manage.compiled(group))
    if group.closed_subnets:
        note(f"Note: the list is what the rules allow. {way_out.sentence(group.closed_subnets, group.workspace)}")
    elif group.public_addresses:
        note(f"Note: {way_out.leaves_by(group.public_addresses)}")
    if as_json:
        print_json([_fields(entry) for entry in found])
        return
    rows = [
        (
            entry.transport.lower(),
            entry.where(),
            "-" if entry.transport == "Icmp" else f"{entry.low}-{entry.high}" if entry.low != entry.high else entry.low,
            entry.rule,
        )
        for entry in found
    ]
    print_table(("PROTOCOL", "ADDRESSES", "PORTS", "RULE"), rows)


@command.command("refresh")
@_group_option(person=True)
@json_option
def refresh(group: SecurityGroup, who: Callable[[], str], as_json: bool) -> None:
    """Bring host names' addresses up to date, and remove openings whose time is over."""
    from azbatch.azure.network import resolve
    from azbatch.network import manage
    from azbatch.network.model import Put

    group.rules()
    steps, complaints = manage.refresh(group, who=who(), now=datetime.now(UTC), resolve=resolve)
    for complaint in complaints:
        note(complaint)
    done = [{"rule": step.name, "what": "renewed" if isinstance(step, Put) else "removed"} for step in steps]
    if as_json:
        print_json(done)
        return
    for entry in done:
        click.echo(f"{entry['what'].capitalize()}: {entry['rule']}.")
    if not done:
        click.echo("Everything is up to date.")


@command.command("sign-out")
def sign_out() -> None:
    """Forget who signed in on this machine as you; the next change asks again."""
    from azbatch.azure.device_code import cache_path

    path = cache_path()
    there = path.exists()
    path.unlink(missing_ok=True)
    click.echo("Signed out." if there else "Nobody was signed in.")


@command.command("log")
@_group_option(person=False)
@json_option
def log(group: SecurityGroup, as_json: bool) -> None:
    """Who opened and closed what, when and why: the last 20 entries."""
    from azbatch.network import log as journal

    found = journal.entries(group.tags())
    if as_json:
        print_json([_fields(entry) for entry in found])
        return
    print_table(
        ("WHEN", "WHO", "DID", "WHAT", "WHY"),
        [(f"{entry.when:%Y-%m-%d %H:%M}Z", entry.who, entry.action, entry.what, entry.why) for entry in found],
    )
