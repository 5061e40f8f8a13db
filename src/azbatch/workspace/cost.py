"""What the environment costs by standing there. Pure.

Prices are list prices in US dollars a month of 730 hours, West Europe, as of 2026-11: orders of magnitude for a
decision, not an offer. Source: Azure pricing pages for Private Link, DNS, NAT Gateway and IP addresses.
"""

from __future__ import annotations

from azbatch.workspace.model import Plan, Verb

PRICES = {
    "Microsoft.Network/privateEndpoints": ("private endpoint", 7.30),
    "Microsoft.Network/privateDnsZones": ("private DNS zone", 0.50),
    "Microsoft.Network/natGateways": ("NAT gateway", 32.85),
    "Microsoft.Network/publicIPAddresses": ("public address", 3.65),
}
PER_GIGABYTE = {"ng": ("through the NAT gateway", 0.045), "ps": ("through the storage's private endpoint", 0.01)}
AS_OF = "2026-11"


def per_month(plan: Plan) -> list[tuple[str, int, float]]:
    """(what, how many, dollars a month) of what the plan makes or keeps."""
    counted: dict[str, int] = {}
    for change in plan.changes:
        parts = change.wanted.id.split("/providers/")[-1].split("/")
        kind = "/".join((parts[0], *parts[1::2]))
        if kind in PRICES and change.verb is not Verb.REMOVE:
            counted[kind] = counted.get(kind, 0) + 1
    return [(PRICES[kind][0], number, number * PRICES[kind][1]) for kind, number in counted.items()]


def per_gigabyte(plan: Plan) -> list[tuple[str, float]]:
    """(which way, dollars per gigabyte) of what the plan makes or keeps."""
    codes = {change.wanted.code for change in plan.changes if change.verb is not Verb.REMOVE}
    return [told for code, told in PER_GIGABYTE.items() if code in codes]
