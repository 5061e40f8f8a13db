"""The nouns of network openings. Pure data.

Source: network security groups, "Security rules" (names at most 80 characters, descriptions at most 140, priorities 100
to 4096 and unique in a direction).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class Transport(StrEnum):
    """The protocol of a rule, spelled as the service spells it."""

    TCP = "Tcp"
    UDP = "Udp"
    ICMP = "Icmp"
    ANY = "*"


class TargetKind(StrEnum):
    ADDRESS = "address"  # an address or CIDR
    TAG = "service tag"
    HOST = "host name"
    PRESET = "preset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is opened, as the user names it. `hosts` are to be resolved; `tag` is a service tag; else `prefix`."""

    kind: TargetKind
    name: str
    prefix: str | None = None
    tag: str | None = None
    hosts: tuple[str, ...] = ()
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One opening: `destinations` are CIDRs or addresses, or exactly one service tag; `ports` is `443`, `80-90` or `*`.

    `expires` None is until someone closes it.
    """

    target: str
    destinations: tuple[str, ...]
    ports: str
    transport: Transport
    owner: str
    reason: str
    made: datetime
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write this rule (its name and the `properties` of the service's SecurityRule)."""

    name: str
    properties: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Remove the rule of this name."""

    name: str


Step = Put | Delete
