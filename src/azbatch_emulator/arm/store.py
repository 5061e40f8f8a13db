"""All resources of the tenant, by id and by type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from azbatch_emulator.arm.ids import ResourceId, parse
from azbatch_emulator.arm.records import Resource


class External(Protocol):
    """Resources of one type that are kept elsewhere (Batch pools: in the data plane's world)."""

    def get(self, id: ResourceId) -> Resource | None: ...

    def all(self) -> Iterable[Resource]: ...

    def put(self, id: ResourceId, body: Mapping[str, Any]) -> Resource:
        """Raises ArmRefused."""
        ...

    def delete(self, id: ResourceId) -> None:
        """Raises ArmRefused."""
        ...


class Store:
    """A dictionary of resources that answers as `kinds.Resources`; insertion order is creation order."""

    def __init__(self) -> None:
        self.external: dict[str, External] = {}
        self._all: dict[str, Resource] = {}
        self._by_type: dict[str, dict[str, Resource]] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._all.values()))

    def get(self, text: str) -> Resource | None:
        """By id, in any case."""
        key = text.rstrip("/").lower()
        found = self._all.get(key)
        if found is None and self.external and "/" in key:
            for kind, source in self.external.items():
                if f"/{kind.rsplit('/', 1)[1]}/" in key:
                    id = parse(key)
                    return source.get(id) if id.type.lower() == kind else None
        return found

    def of_type(self, kind: str, below: str = "") -> Iterator[Resource]:
        """Those of a type, in any case; `below` limits them to what lies in an id."""
        source = self.external.get(kind.lower())
        for resource in source.all() if source else list(self._by_type.get(kind.lower(), {}).values()):
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


class Changed:
    """Resources as they will be once one of them is stored: what its children are checked against."""

    def __init__(self, store: Store, one: Resource) -> None:
        self._store, self._one = store, one

    def get(self, text: str) -> Resource | None:
        """By id, in any case."""
        return self._one if text.rstrip("/").lower() == self._one.id.key else self._store.get(text)

    def of_type(self, kind: str, below: str = "") -> Iterator[Resource]:
        """Those of a type as they are stored."""
        return self._store.of_type(kind, below)


def _plain(body: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(body, default=str, sort_keys=True))
