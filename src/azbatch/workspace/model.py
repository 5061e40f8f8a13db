"""The nouns of a workspace: what was found, what is wanted, what would change. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Body = Mapping[str, Any]


class Ownership(StrEnum):
    """Whose a resource is."""

    OWNED = "owned"  # made by us, deleted by us
    SHARED = "shared"  # a definition other workspaces use too: ours is only a scope in it
    PART = "part"  # somebody else's resource, of which we own a part


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the owner asked for; None is "choose for me, or as an earlier enable left it" (`choices.chosen`)."""

    subscription: str
    workspace: str
    head_node: str | None = None
    address_space: str | None = None
    image_registry: str | None = None  # name or id of an Azure container registry; "none": none any more
    central_dns: bool | None = None  # private DNS is managed elsewhere: no zone, the records are printed
    way_out: str | None = None  # "nat-gateway" or "none"
    storage_private_endpoint: bool | None = None  # nodes reach the storage by a private endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A virtual machine of the workspace. `principal_id` is its system-assigned identity, None where that is off."""

    id: str
    name: str
    operating_system: str  # "Linux" or "Windows"
    principal_id: str | None
    identity_type: str = "None"
    subnet_id: str | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet with the addresses already taken in it (network interfaces and private endpoints)."""

    id: str
    name: str
    prefix: str
    taken: int
    body: Body = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    id: str
    name: str
    location: str
    prefixes: tuple[str, ...]
    subnets: tuple[Subnet, ...]
    peer_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What the caller may do, as ARM's permissions say, by scope: actions and what is excepted from them."""

    scope: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a design depends on, read once. Bodies are as ARM returned them.

    `found` maps the lower-case id of every resource that we could own, or own a part of, to its body, None where there
    is none; of the Batch network also each subnet.
    """

    options: Options
    tenant: str
    caller: str  # object id
    location: str
    group: Body
    storage_accounts: tuple[Body, ...]
    networks: tuple[Network, ...]
    machines: tuple[Machine, ...]
    locks: tuple[Body, ...] = ()
    rights: tuple[Rights, ...] = ()
    providers: Mapping[str, str] = field(default_factory=dict)  # namespace -> registrationState
    quotas: Mapping[str, int | None] = field(default_factory=dict)  # batchAccounts, cores per family, ...
    policies: tuple[Body, ...] = ()  # assignments in force, their definitions expanded under "definition"
    registry: Body | None = None  # the one asked for
    pulls_from: tuple[Body, ...] = ()  # those whose images earlier enables let the nodes pull; the last one is chosen
    head_principal: str | None = None  # whom an earlier enable made the head node
    faults: tuple[str, ...] = ()  # of what was asked for, found while reading
    account_name_available: bool = True
    ledger: tuple[str, ...] = ()  # codes of what an earlier enable made, or was about to
    shared_users: Mapping[str, int] = field(default_factory=dict)  # definition id -> assignments outside this workspace
    zone_of_network: Mapping[str, str] = field(
        default_factory=dict
    )  # network id -> a zone linked to it that is not ours
    unreadable: tuple[str, ...] = ()  # ids that the caller may not read: whether they are there is not known
    interfaces: tuple[Body, ...] = ()  # network interfaces: of machines, and of private endpoints
    found: Mapping[str, Body | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One resource as it should be.

    `code` is its short name in the ledger. `body` has only what we ask for; a found body matches if it contains it. A
    value may be a `reference` to what another resource will have. For PART only what `body` names is ours. `sentence`
    says to an owner what it is for.
    """

    code: str
    id: str
    api_version: str
    body: Body
    depends_on: tuple[str, ...] = ()
    ownership: Ownership = Ownership.OWNED
    sentence: str = ""


def reference(id: str, path: str) -> dict[str, str]:
    """A value in a wanted body that only the resource `id` knows, such as its `properties.principalId`."""
    return {"$reference": id, "$path": path}


class Verb(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A member that is not as wanted: `path` such as `properties.publicNetworkAccess`."""

    path: str
    found: Any
    wanted: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of a plan. `foreign` names what others added to the resource and we leave alone."""

    verb: Verb
    wanted: Wanted
    differences: tuple[Difference, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in an order that works; each waits for those of its `depends_on` that are in the plan too."""

    changes: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        return all(change.verb is Verb.KEEP for change in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a doctor or preflight found: what, about what, and the remedy. `fatal` stops an enable."""

    code: str
    subject: str
    sentence: str
    remedy: str
    fatal: bool = True
