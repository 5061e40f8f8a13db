"""Openings made, closed and kept fresh through a port. Time, names and who is asking are arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from azbatch.errors import AzbatchError, ConfigurationError, ServiceError
from azbatch.network import change, evaluate
from azbatch.network import log as journal
from azbatch.network.change import Resolve, addresses_of
from azbatch.network.model import Json, Opening, Put, Step, Target
from azbatch.network.ports import SecurityGroupPort
from azbatch.network.targets import parse_ports, parse_targets, parse_transport

ATTEMPTS = 5  # another user may take the same priority at the same moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An `allow` as a user types it; `lasting` None is until someone closes it."""

    target: str
    port: str = "443"
    protocol: str = "tcp"
    reason: str = ""
    lasting: timedelta | None = None


def allow(port: SecurityGroupPort, asked: Asked, *, who: str, now: datetime, resolve: Resolve) -> list[Opening]:
    """Open all that is asked or nothing. Raises ConfigurationError with all faults, AzbatchError, ServiceError."""
    openings = planned(asked, region=port.region, who=who, now=now, resolve=resolve)
    before = {str(rule["name"]) for rule in port.rules()}
    done: list[str] = []
    try:
        for opening in openings:
            done += _apply(port, functools.partial(_allow, opening))
    except AzbatchError:
        for name in done:
            if name not in before:
                port.delete_rule(name)
        raise
    what = ", ".join(f"{o.target} {o.transport.lower()}/{o.ports}" for o in openings)
    until = f" until {openings[0].expires:%Y-%m-%dT%H:%MZ}" if openings[0].expires else ""
    record(port, journal.Entry(when=now, who=who, action="allow", what=what + until, why=asked.reason))
    return openings


def _allow(opening: Opening, rules: Sequence[Json]) -> list[Step]:
    return change.allow(rules, opening)


def planned(asked: Asked, *, region: str, who: str, now: datetime, resolve: Resolve) -> list[Opening]:
    """The openings that `asked` means, host names resolved. Raises ConfigurationError with all faults."""
    faults: list[str] = []
    targets: Sequence[Target] = ()
    ports, transport = "*", parse_transport("any")
    try:
        targets = parse_targets(asked.target, region)
    except ConfigurationError as error:
        faults += error.faults
    try:
        transport = parse_transport(asked.protocol)
        # Only a rule for all ports matches a protocol that has none.
        ports = "*" if asked.protocol.lower() == "icmp" else parse_ports(asked.port)
    except ConfigurationError as error:
        faults += error.faults
    if not asked.reason.strip():
        faults.append("An opening needs a reason: give --reason.")
    if asked.lasting is not None and asked.lasting < timedelta(minutes=1):
        faults.append("An opening lasts at least a minute: give --for 1h, for example.")
    expires = now + asked.lasting if asked.lasting else None
    found = []
    for target in targets:
        destinations: tuple[str, ...] = (target.prefix or target.tag or "",)
        if target.hosts:
            addresses = {host: tuple(resolve(host)) for host in target.hosts}
            faults += [
                f"{host} does not resolve: check its spelling, or open its address."
                for host, known in addresses.items()
                if not known
            ]
            destinations = addresses_of(addresses.values())
        found.append(
            Opening(
                target=target.name,
                destinations=destinations,
                ports=ports,
                transport=transport,
                owner=who,
                reason=asked.reason,
                made=now,
                expires=expires,
            )
        )
    if faults:
        raise ConfigurationError(faults)
    return found


def deny(port: SecurityGroupPort, what: str, *, who: str, now: datetime, reason: str = "") -> list[str]:
    """Close openings by target or rule name: the rules removed. Raises AzbatchError, ServiceError."""
    names = _apply(port, lambda rules: change.deny(rules, what))
    record(port, journal.Entry(when=now, who=who, action="deny", what=what, why=reason))
    return names


def refresh(port: SecurityGroupPort, *, who: str, now: datetime, resolve: Resolve) -> tuple[list[Step], list[str]]:
    """Bring addresses up to date, remove what expired: steps done, and complaints."""
    steps, complaints = change.refresh(port.rules(), resolve, now)
    for step in steps:
        _do(port, step)
    if steps:
        what = ", ".join(f"{'renewed' if isinstance(step, Put) else 'expired'} {step.name}" for step in steps)
        record(port, journal.Entry(when=now, who=who, action="refresh", what=what))
    return steps, complaints


def record(port: SecurityGroupPort, entry: journal.Entry) -> None:
    """Write one entry of the log."""
    tag = journal.added(port.tags(), entry)
    if tag:
        port.merge_tags(tag)


def compiled(port: SecurityGroupPort) -> list[evaluate.Compiled]:
    """The group's outbound rules as they apply to the nodes."""
    return evaluate.compiled(port.rules(), evaluate.default_tags(port.networks), port.nodes)


def _apply(port: SecurityGroupPort, plan: Callable[[Sequence[Json]], list[Step]]) -> list[str]:
    """Plan on the present rules and do it; again where someone else was faster."""
    for attempt in range(ATTEMPTS):
        steps = plan(port.rules())
        try:
            for step in steps:
                _do(port, step)
        except ServiceError as error:
            if error.code != "SecurityRuleConflict" or attempt == ATTEMPTS - 1:
                raise
            continue
        return [step.name for step in steps]
    raise AssertionError("unreachable")


def _do(port: SecurityGroupPort, step: Step) -> None:
    if isinstance(step, Put):
        port.put_rule(step.name, step.properties)
    else:
        port.delete_rule(step.name)
