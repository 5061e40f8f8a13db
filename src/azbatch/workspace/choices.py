"""What an owner chose, now or at an earlier enable: nobody has to say it again at each command. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from azbatch.workspace.model import Body, Facts, Machine
from azbatch.workspace.names import Names

NAT_GATEWAY, NONE = "nat-gateway", "none"
WAYS_OUT = (NAT_GATEWAY, NONE)
IDENTITY = "hi"  # in the ledger with the machine's name: whose identity was switched on


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The options with nothing left open."""

    nat_gateway: bool
    storage_endpoint: bool
    central_dns: bool
    registry: Body | None


def chosen(facts: Facts, names: Names) -> Chosen:
    """What was asked for; what was not is as the ledger, or what stands there under our names, tells."""
    asked, ledger = facts.options, facts.ledger
    # Without a zone of ours, though the rest was made: DNS is managed elsewhere.
    elsewhere = "pe" in ledger and "zo" not in ledger and facts.found.get(names.zone.lower()) is None
    subnet = (facts.found.get(names.nodes_subnet.lower()) or {}).get("properties") or {}
    ours = str((subnet.get("natGateway") or {}).get("id", "")).lower() == names.nat_gateway.lower()
    endpoint = facts.found.get(names.storage_endpoint.lower()) is not None
    return Chosen(
        nat_gateway=ours or "ng" in ledger if asked.way_out is None else asked.way_out == NAT_GATEWAY,
        storage_endpoint=endpoint or "ps" in ledger
        if asked.storage_private_endpoint is None
        else asked.storage_private_endpoint,
        central_dns=elsewhere if asked.central_dns is None else asked.central_dns,
        registry=facts.registry if asked.image_registry is not None else next(reversed(facts.pulls_from), None),
    )


def identity_code(machine: Machine) -> str:
    """The ledger's code for "the identity of this machine was switched on by us"."""
    return f"{IDENTITY}={machine.name}"


def switched_on(facts: Facts) -> Iterator[Machine]:
    """Machines whose identity an earlier enable switched on."""
    for one in facts.machines:
        if identity_code(one) in facts.ledger:
            yield one
