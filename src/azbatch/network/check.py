"""Whether nodes reach a host, by which rule, and what would open it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from azbatch.network.evaluate import Compiled, Packet, decide
from azbatch.network.model import Transport
from azbatch.network.targets import PRESET_HOSTS

# Networks in front of many sites: an address opens all of them. A snapshot (November 2026) of the published lists.
SHARED_NETWORKS: dict[str, tuple[str, ...]] = {
    "Cloudflare": (
        "104.16.0.0/13",
        "104.24.0.0/14",
        "172.64.0.0/13",
        "162.158.0.0/15",
        "141.101.64.0/18",
        "108.162.192.0/18",
        "188.114.96.0/20",
        "198.41.128.0/17",
        "173.245.48.0/20",
        "190.93.240.0/20",
    ),
    "Fastly": ("151.101.0.0/16", "199.232.0.0/16", "146.75.0.0/17"),
    "GitHub Pages": ("185.199.108.0/22",),
    "Amazon CloudFront": (
        "13.32.0.0/15",
        "13.224.0.0/14",
        "18.64.0.0/14",
        "52.84.0.0/15",
        "54.192.0.0/16",
        "99.84.0.0/16",
        "108.156.0.0/14",
        "143.204.0.0/16",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """`reachable` only if every address is; `lines` say why, `warnings` what an opening would open besides."""

    reachable: bool
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    remedy: str | None = None


def check(
    rules: Sequence[Compiled], host: str, addresses: Sequence[str], port: int, transport: Transport = Transport.TCP
) -> Checked:
    """Judge `host` with the addresses it resolved to (or its own, where it is an address)."""
    what = f"{host}:{port}/{transport.lower()}" if transport is not Transport.ICMP else f"{host}/icmp"
    if not addresses:
        return Checked(
            reachable=False,
            lines=(f"{what}: the name does not resolve here: check its spelling, or give its address.",),
        )
    lines, good, unsure = [], 0, False
    for address in addresses:
        found = decide(rules, Packet(transport=transport, address=address, port=port))
        good += found.allowed
        verb = "allowed" if found.allowed else "denied"
        by = f"rule '{found.rule}'" if found.rule else "default (no rule matches)"
        line = f"{address}: {verb} by {by}"
        if found.unknown:
            unsure = True
            line += f"; but {', '.join(found.unknown)} comes first, with a service tag whose addresses only Azure knows"
        lines.append(f"{line}.")
    reachable = good == len(addresses)
    summary = "reachable" if reachable else f"reachable at {good} of {len(addresses)} addresses" if good else "closed"
    if unsure:
        summary += " as far as can be known here"
    remedy = None if reachable else _remedy(host, port, transport)
    return Checked(
        reachable=reachable,
        lines=(f"{what} is {summary}.", *lines),
        warnings=tuple(shared(host, addresses)),
        remedy=remedy,
    )


def _remedy(host: str, port: int, transport: Transport) -> str:
    preset = next((name for name, hosts in PRESET_HOSTS.items() if host in hosts), None)
    command = f"azbatch network allow {preset or host}"
    if port != 443 and transport is not Transport.ICMP:
        command += f" --port {port}"
    if transport is not Transport.TCP:
        command += f" --protocol {transport.lower()}"
    return f'{command} --reason "why" --for 8h'


def shared(host: str, addresses: Sequence[str]) -> list[str]:
    """A warning for each network in front of many sites that the host is behind."""
    found = []
    for operator, prefixes in SHARED_NETWORKS.items():
        networks = [ipaddress.IPv4Network(prefix) for prefix in prefixes]
        if any(ipaddress.IPv4Address(address) in network for address in addresses for network in networks):
            found.append(f"{host} is behind {operator}: its addresses serve other sites too, and change often.")
    return found
