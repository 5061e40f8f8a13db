"""What a resource provider is made of: kinds of resources, and functions that are no resource. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from azbatch_emulator.arm.ids import ResourceId
from azbatch_emulator.arm.records import Answer, Principal, Request, Resource, Style

Body = Mapping[str, Any]


class Resources(Protocol):
    """All resources as they are now, for reading."""

    def get(self, text: str) -> Resource | None:
        """By id, in any case."""
        ...

    def of_type(self, kind: str, below: str = "") -> Iterator[Resource]:
        """Those of a type (any case), in order of creation; `below` limits them to an id's inside."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change about to be made, or an action about to be done.

    `before` is what is stored, None for a create. `body` is the request's (for PATCH already merged into the stored one
    unless the kind has a `patch` of its own).
    """

    id: ResourceId
    before: Resource | None
    body: Body
    caller: Principal
    now: datetime
    resources: Resources
    new_id: Callable[[], str]  # a GUID, by the emulator's own chance


@dataclass(frozen=True, slots=True)
class Put:
    """Another resource to be stored along with the change (a private endpoint's network interface, say)."""

    id: ResourceId
    body: Body


@dataclass(frozen=True, slots=True)
class Delete:
    """Another resource to be removed along with the change."""

    id: ResourceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A change as it will be stored: the whole body, and what changes with it once it is done."""

    body: Body
    also: tuple[Put | Delete, ...] = ()


def as_given(edit: Edit) -> Draft:
    """Store what was sent."""
    return Draft(body=edit.body)


def nothing_else(_edit: Edit) -> tuple[Put | Delete, ...]:
    return ()


def no_links(_edit: Edit) -> tuple[tuple[str, str], ...]:
    return ()


def as_stored(resource: Resource, _resources: Resources) -> Body:
    return resource.body


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One resource type: delays and style as data, its rules as functions, which raise ArmRefused.

    `children` maps the name of an embedded array in `properties` to the type of the child resources it holds, such as
    `{"subnets": "Microsoft.Network/virtualNetworks/subnets"}`; the core splits and joins them.
    `actions` are POSTs below the resource's id, by lower-case name ("get name" for a GET that is no list).
    `changes` are POSTs too, long-running, that give the resource another body (start, deallocate).
    `links` names other resources a body refers to, with the action RBAC asks for on each: `subnets/join/action`.
    `body_optional` kinds may be PUT without a body.
    `plain` resources have neither provisioningState nor eTag (role assignments, locks).
    """

    type: str
    put: Callable[[Edit], Draft] = as_given
    delete: Callable[[Edit], tuple[Put | Delete, ...]] = nothing_else
    show: Callable[[Resource, Resources], Body] = as_stored
    style: Style = Style.SYNC
    delete_style: Style = Style.SYNC
    create_delay: timedelta = timedelta(0)
    update_delay: timedelta = timedelta(0)
    delete_delay: timedelta = timedelta(0)
    children: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, Callable[[Edit], Answer]] = field(default_factory=dict)
    changes: Mapping[str, Callable[[Edit], Body]] = field(default_factory=dict)
    links: Callable[[Edit], tuple[tuple[str, str], ...]] = no_links
    plain: bool = False
    body_optional: bool = False
    created: int = 201  # the status of a create


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """An address that is no resource, and the action that RBAC asks for.

    `pattern` is a path with `{names}`:
    `/subscriptions/{subscription}/providers/Microsoft.Batch/locations/{location}/usages`.
    """

    method: str
    pattern: str
    permission: str
    answer: Callable[[Request, Mapping[str, str], Resources, datetime], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A resource provider: its namespace, kinds and functions."""

    namespace: str
    kinds: tuple[Kind, ...]
    functions: tuple[Function, ...] = ()
