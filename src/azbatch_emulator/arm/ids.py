"""Resource ids: any ARM address as a value.

Source: "Resource naming and ids" (`/subscriptions/{s}/resourceGroups/{g}/providers/{namespace}/{type}/{name}/...`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from azbatch_emulator.arm.records import ArmRefused

GROUP_TYPE = "Microsoft.Resources/resourceGroups"
SUBSCRIPTION_TYPE = "Microsoft.Resources/subscriptions"


@dataclass(frozen=True)
class ResourceId:
    """An id split into its parts; two ids are the same if their `key` is.

    `scope` is what the resource lies in: a resource group, a subscription, "" for the tenant or, for an extension
    resource (role assignment, lock, policy assignment), the resource it extends. `names` has one more part than one for
    each level of nesting: `("vnet1", "default")` for a subnet.
    """

    scope: str
    namespace: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @cached_property
    def text(self) -> str:
        if self.type == SUBSCRIPTION_TYPE:
            return f"/subscriptions/{self.name}"
        if self.type == GROUP_TYPE:
            return f"{self.scope}/resourceGroups/{self.name}"
        pairs = "/".join(f"{kind}/{name}" for kind, name in zip(self.types, self.names, strict=True))
        return f"{self.scope}/providers/{self.namespace}/{pairs}"

    @cached_property
    def key(self) -> str:
        """The text in lower case, by which ids are compared and stored."""
        return self.text.lower()

    @property
    def type(self) -> str:
        """Such as `Microsoft.Network/virtualNetworks/subnets`."""
        return "/".join((self.namespace, *self.types))

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def parent(self) -> ResourceId | None:
        """The resource a child is nested in; None at the top."""
        if len(self.names) == 1:
            return None
        return ResourceId(self.scope, self.namespace, self.types[:-1], self.names[:-1])

    @property
    def subscription(self) -> str | None:
        parts = self.text.split("/")
        return parts[2] if len(parts) > 2 and parts[1].lower() == "subscriptions" else None

    @property
    def resource_group(self) -> str | None:
        parts = self.text.split("/")
        return parts[4] if len(parts) > 4 and parts[3].lower() == "resourcegroups" else None

    def child(self, kind: str, name: str) -> ResourceId:
        return ResourceId(self.scope, self.namespace, (*self.types, kind), (*self.names, name))

    def extension(self, namespace: str, kind: str, name: str) -> ResourceId:
        """A resource that extends this one, such as a role assignment."""
        return ResourceId(self.text, namespace, (kind,), (name,))

    def lies_in(self, scope: str) -> bool:
        """Whether `scope` (an id's text, "" or "/" for the tenant) is this id or contains it."""
        inner, outer = self.key, scope.lower().rstrip("/")
        return inner == outer or inner.startswith(f"{outer}/")


def parse(text: str) -> ResourceId:
    """The id a text names. Raises ArmRefused(400, InvalidResourceId...) where it is none."""
    parts = text.strip("/").split("/")
    lower = [part.lower() for part in parts]
    if "" in parts:
        raise _invalid(text)
    if "providers" in lower:
        at = len(lower) - 1 - lower[::-1].index("providers")
        rest = parts[at + 1 :]
        if len(rest) < 3 or len(rest) % 2 == 0:
            raise _invalid(text)
        scope = "/" + "/".join(parts[:at]) if at else ""
        return ResourceId(scope, rest[0], tuple(rest[1::2]), tuple(rest[2::2]))
    if len(parts) == 2 and lower[0] == "subscriptions":
        return ResourceId("", "Microsoft.Resources", ("subscriptions",), (parts[1],))
    if len(parts) == 4 and lower[0] == "subscriptions" and lower[2] == "resourcegroups":
        return ResourceId(f"/subscriptions/{parts[1]}", "Microsoft.Resources", ("resourceGroups",), (parts[3],))
    raise _invalid(text)


def _invalid(text: str) -> ArmRefused:
    return ArmRefused(400, "InvalidResourceId", f"The resource id '{text[:200]}' is malformed.")
