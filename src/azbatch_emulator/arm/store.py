"""All resources of the tenant, by id and by type."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from azbatch_emulator.arm.records import Resource


class Store:
    """A dictionary of resources that answers as `kinds.Resources`; insertion order is creation order."""

    def __init__(self) -> None:
        self._all: dict[str, Resource] = {}
        self._by_type: dict[str, dict[str, Resource]] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._all.values()))

    def get(self, text: str) -> Resource | None:
        """By id, in any case."""
        return self._all.get(text.rstrip("/").lower())

    def of_type(self, kind: str, below: str = "") -> Iterator[Resource]:
        """Those of a type, in any case; `below` limits them to what lies in an id."""
        for resource in list(self._by_type.get(kind.lower(), {}).values()):
            if resource.id.lies_in(below):
                yield resource

    def inside(self, text: str) -> list[Resource]:
        """All that lies in a scope, itself excepted: children, extensions, a group's resources."""
        prefix = f"{text.rstrip('/').lower()}/"
        return [resource for key, resource in self._all.items() if key.startswith(prefix)]

    def put(self, resource: Resource) -> None:
        self._all[resource.id.key] = resource
        self._by_type.setdefault(resource.id.type.lower(), {})[resource.id.key] = resource

    def drop(self, key: str) -> None:
        gone = self._all.pop(key.lower(), None)
        if gone is not None:
            del self._by_type[gone.id.type.lower()][key.lower()]

    def clear(self) -> None:
        self._all.clear()
        self._by_type.clear()

    def dump(self) -> dict[str, Any]:
        """Everything, in an order of its own and without eTags and times: two dumps are equal if nothing differs."""
        return {
            key: {"id": found.id.text, "state": found.state.value, "body": _plain(found.body)}
            for key, found in sorted(self._all.items())
        }


def _plain(body: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(body, default=str, sort_keys=True))
