"""A listing in place of a question for each blob."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from snakemake_storage_plugin_azblob.bulk import SOON, WORTHWHILE, Crowd, learn
from snakemake_storage_plugin_azblob.client import Properties


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Item:
    """A storage object, as far as this is concerned."""

    location: Any
    provider: Any = None
    known: Properties | None = None

    def learned(self, found: Properties, until: float) -> None:
        assert until > 0
        self.known = found


def _item(name: str, provider: Any = None) -> Item:
    return Item(SimpleNamespace(container="c", name=name), provider)


class Store:
    """Blobs; listings are counted."""

    def __init__(self, *names: str) -> None:
        self.blobs = {name: Properties(1.0, len(name)) for name in names}
        self.listings: list[str] = []

    def listing(self, container: str, prefix: str, pages: int) -> dict[str, Properties] | None:
        assert (container, pages > 0) == ("c", True)
        self.listings.append(prefix)
        return {name: found for name, found in self.blobs.items() if name.startswith(prefix)}


def test_many_questions_become_one_listing() -> None:
    """The first few are asked one by one; then a listing answers for two seconds, and for what is there only."""
    clock, store = Clock(), Store(*(f"out/{n}" for n in range(100)))
    crowd = Crowd(clock)
    items = [_item(f"out/{n}") for n in range(101)]
    for item in items:
        crowd.join(item)
    answers = [crowd.answer("c", item.location.name, store.listing) for item in items]
    assert answers[: WORTHWHILE - 1] == [None] * (WORTHWHILE - 1)
    assert answers[WORTHWHILE - 1 : 100] == [store.blobs[f"out/{n}"] for n in range(WORTHWHILE - 1, 100)]
    assert answers[100] is None
    assert store.listings == ["out/"]
    clock.now += SOON + 0.1
    assert crowd.answer("c", "out/1", store.listing) is None, "what is old is not told"


def test_few_questions_are_asked_as_they_are() -> None:
    """A folder of which few blobs are of interest, or slowly, is never listed: it may hold millions."""
    clock, store = Clock(), Store("out/1")
    few, slow = Crowd(clock), Crowd(clock)
    few.join(item := _item("out/1"))
    assert {few.answer("c", item.location.name, store.listing) for _ in range(50)} == {None}
    items = [_item(f"out/{n}") for n in range(50)]
    for one in items:
        slow.join(one)
        clock.now += SOON
        assert slow.answer("c", one.location.name, store.listing) is None
    assert store.listings == []


def test_outputs_of_a_folder_are_learned_with_one_listing() -> None:
    """Those that are there are known; those that are not, and folders with few, are left to be asked for."""
    store = Store(*(f"out/{n}" for n in range(100, 150)), "few/1")
    provider = SimpleNamespace(blobs=store)
    items = [_item(f"out/{n}", provider) for n in range(100, 151)] + [_item("few/1", provider)]
    assert learn(items) == 50
    assert [item.known is not None for item in items] == [True] * 50 + [False, False]
    assert store.listings == ["out/1"]
