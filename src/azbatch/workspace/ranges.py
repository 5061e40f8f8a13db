"""Address ranges: one for the Batch network that overlaps nothing, and addresses left in a subnet. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Network

from azbatch.errors import ConfigurationError

RESERVED = 5  # Azure's own addresses in every subnet
PREFIX = 22  # 507 nodes in half of it, endpoints in the other
SMALLEST = 26
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
_POOL = IPv4Network("10.0.0.0/8")


def parse(text: str) -> IPv4Network:
    """An address space as given. Raises ConfigurationError: no CIDR, host bits, too small, not private."""
    try:
        network = IPv4Network(text)
    except ValueError as error:
        if ":" in text:
            raise ConfigurationError(
                [f"The address space {text} is IPv6, which Batch nodes do not use: write it like 10.42.0.0/22."]
            ) from None
        raise ConfigurationError([f"'{text}' is no address space: {error}; write it like 10.42.0.0/22."]) from None
    if network.prefixlen > SMALLEST:
        raise ConfigurationError([f"The address space {text} is too small: at least a /{SMALLEST} is needed."])
    if not any(network.subnet_of(IPv4Network(one)) for one in PRIVATE):
        raise ConfigurationError([f"The address space {text} is not private: choose one in {', '.join(PRIVATE)}."])
    return network


def overlapping(network: IPv4Network, others: Iterable[str]) -> str | None:
    """The first of `others` that overlaps."""
    return next((text for text in others if network.overlaps(IPv4Network(text, strict=False))), None)


def choose(key: str, others: Iterable[str]) -> IPv4Network:
    """A /22 of 10.0.0.0/8 that overlaps none of `others`: the same for the same key and surroundings.

    Raises ConfigurationError where there is none left.
    """
    taken = [IPv4Network(text, strict=False) for text in others]
    count = 2 ** (PREFIX - _POOL.prefixlen)
    start = int.from_bytes(hashlib.sha256(key.lower().encode()).digest()[:4]) % count
    base, size = int(_POOL.network_address), 2 ** (32 - PREFIX)
    for step in range(count):
        candidate = IPv4Network((base + ((start + step) % count) * size, PREFIX))
        if not any(candidate.overlaps(one) for one in taken):
            return candidate
    raise ConfigurationError(["No address range is left in 10.0.0.0/8: give one with --address-space."])


def parts(space: IPv4Network) -> tuple[IPv4Network, IPv4Network]:
    """(nodes, endpoints): the lower half for nodes, a /28 at the start of the upper half for private endpoints."""
    nodes, upper = space.subnets(prefixlen_diff=1)
    return nodes, next(iter(upper.subnets(new_prefix=max(28, upper.prefixlen))))


def free(prefix: str, taken: int) -> int:
    """How many addresses a subnet has left."""
    return max(0, IPv4Network(prefix).num_addresses - RESERVED - taken)
