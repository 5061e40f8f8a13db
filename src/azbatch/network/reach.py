"""All that nodes can reach, per protocol, and by which rule. Pure.

Each rule claims the part of the (address, port) plane that no earlier rule decided; the allow rules' claims are the
reach.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from azbatch.network.evaluate import LAST_ADDRESS, LAST_PORT, Compiled, Interval
from azbatch.network.model import Transport

TRANSPORTS = (Transport.TCP, Transport.UDP, Transport.ICMP)
Area = tuple[Interval, Interval]  # addresses, ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Addresses `first` to `last` at ports `low` to `high`, allowed by `rule`.

    With `tag` the addresses are those of a service tag, known to Azure and not here: `first` and `last` are "".
    """

    transport: Transport
    rule: str
    low: int
    high: int
    first: str = ""
    last: str = ""
    tag: str | None = None

    def covers(self, address: str, port: int) -> bool:
        """Whether it holds this address and port; never for a tag."""
        if self.tag is not None:
            return False
        inside = ipaddress.IPv4Address(self.first) <= ipaddress.IPv4Address(address) <= ipaddress.IPv4Address(self.last)
        return inside and self.low <= port <= self.high

    def where(self) -> str:
        """The destination in words: CIDRs where the range is made of few of them."""
        if self.tag is not None:
            return self.tag
        first, last = ipaddress.IPv4Address(self.first), ipaddress.IPv4Address(self.last)
        nets = list(ipaddress.summarize_address_range(first, last))
        return ", ".join(str(net) for net in nets) if len(nets) <= 3 else f"{first} - {last}"


def reach(rules: Sequence[Compiled]) -> list[Reach]:
    """The reach of nodes under these rules (in the order in which they decide)."""
    return [found for transport in TRANSPORTS for found in _of(rules, transport)]


def _of(rules: Sequence[Compiled], transport: Transport) -> Iterable[Reach]:
    ports = (0, 0) if transport is Transport.ICMP else (0, LAST_PORT)
    undecided: list[Area] = [((0, LAST_ADDRESS), ports)]
    for rule in rules:
        if not rule.covers(transport):
            continue
        if rule.allow and undecided:
            for tag in rule.unknown:
                for low, high in rule.ports:
                    if low <= ports[1]:
                        yield Reach(transport=transport, rule=rule.name, low=low, high=min(high, ports[1]), tag=tag)
        for area in ((addresses, span) for addresses in rule.addresses for span in rule.ports):
            rest: list[Area] = []
            for open_ in undecided:
                both = _overlap(open_, area)
                if both is None:
                    rest.append(open_)
                    continue
                if rule.allow:
                    yield _entry(transport, rule.name, both)
                rest += _remainder(open_, both)
            undecided = rest


def _overlap(one: Area, other: Area) -> Area | None:
    addresses = max(one[0][0], other[0][0]), min(one[0][1], other[0][1])
    ports = max(one[1][0], other[1][0]), min(one[1][1], other[1][1])
    return (addresses, ports) if addresses[0] <= addresses[1] and ports[0] <= ports[1] else None


def _remainder(whole: Area, hole: Area) -> Iterable[Area]:
    """`whole` without `hole`, which lies inside it, as at most four areas."""
    (first, last), (low, high) = whole
    (a, b), (c, d) = hole
    if first < a:
        yield (first, a - 1), (low, high)
    if b < last:
        yield (b + 1, last), (low, high)
    if low < c:
        yield (a, b), (low, c - 1)
    if d < high:
        yield (a, b), (d + 1, high)


def _entry(transport: Transport, rule: str, area: Area) -> Reach:
    (first, last), (low, high) = area
    return Reach(
        transport=transport,
        rule=rule,
        low=low,
        high=high,
        first=str(ipaddress.IPv4Address(first)),
        last=str(ipaddress.IPv4Address(last)),
    )
