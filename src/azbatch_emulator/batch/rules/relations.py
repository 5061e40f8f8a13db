"""How the properties of one object go together, as data: each function makes a relation of a shape. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azbatch_emulator.batch.rules.kinds import Context, Relation
from azbatch_emulator.batch.rules.refusals import invalid, missing


def exactly_one(*names: str) -> Relation:
    """One of the properties, and no other of them."""

    def check(body: Mapping[str, Any], prefix: str, context: Context) -> None:
        given = [name for name in names if name in body]
        if not given:
            raise missing(f"{prefix}{names[0]}")
        if len(given) > 1:
            raise invalid(f"{prefix}{given[1]}", None, f"Exactly one of {', '.join(names)} may be specified")

    return check


def at_most_one(*names: str) -> Relation:
    """None of the properties, or one."""

    def check(body: Mapping[str, Any], prefix: str, context: Context) -> None:
        given = [name for name in names if name in body]
        if len(given) > 1:
            raise invalid(f"{prefix}{given[1]}", None, f"Only one of {', '.join(names)} may be specified")

    return check


def at_least_one(*names: str) -> Relation:
    """One of the properties, or more."""

    def check(body: Mapping[str, Any], prefix: str, context: Context) -> None:
        if not any(name in body for name in names):
            raise missing(f"{prefix}{names[0]}")

    return check


def together(*names: str) -> Relation:
    """All of the properties, or none."""

    def check(body: Mapping[str, Any], prefix: str, context: Context) -> None:
        given = [name for name in names if name in body]
        if given and len(given) < len(names):
            raise missing(f"{prefix}{next(name for name in names if name not in body)}")

    return check


def needs(name: str, other: str) -> Relation:
    """Whoever specifies `name` must specify `other`."""

    def check(body: Mapping[str, Any], prefix: str, context: Context) -> None:
        if name in body and other not in body:
            raise missing(f"{prefix}{other}")

    return check


def not_above(low: str, high: str) -> Relation:
    """`low` is not above `high`, where both are there."""

    def check(body: Mapping[str, Any], prefix: str, context: Context) -> None:
        if low in body and high in body and body[low] > body[high]:
            raise invalid(f"{prefix}{low}", body[low], f"{low} may not be above {high}")

    return check


def command_or_container(body: Mapping[str, Any], prefix: str, _context: Context) -> None:
    """The empty command line is that of the container's image: without a container there is none."""
    if not body["commandLine"].strip() and "containerSettings" not in body:
        raise invalid(f"{prefix}commandLine", body["commandLine"], "The command line is empty")
