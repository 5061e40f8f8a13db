"""Answers for many blobs at once: a listing in place of a question for each."""

from __future__ import annotations

import os
import posixpath
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azbatch.errors import AzbatchError

if TYPE_CHECKING:
    from snakemake_storage_plugin_azblob.client import Properties

WORTHWHILE = 10  # blobs of one folder from which on a listing is asked for
FEWER = 5  # pages are listed for at most a fifth of the requests they replace
SOON = 2.0  # seconds within which so many questions come, and for which the listing answers
LONG = 60.0  # seconds for which outputs of a job that ended stay as they are
Listing = Callable[[str, str, int], "dict[str, Properties] | None"]


def learn(items: Iterable[Any]) -> int:
    """Let storage objects know what is there, where many of a folder are of interest: a listing for each folder.

    Nothing is said about blobs that the listing does not show: those are asked for. How many are known now.
    """
    folders: dict[tuple[int, str, str], list[Any]] = {}
    for item in items:
        container, name = item.location.container, item.location.name
        folders.setdefault((id(item.provider), container, posixpath.dirname(name)), []).append(item)
    known = 0
    for (_, container, _), group in folders.items():
        if len(group) < WORTHWHILE:
            continue
        names = [item.location.name for item in group]
        # Letters, not folders: a listing takes any beginning.
        prefix = os.path.commonprefix([min(names), max(names)])  # noqa: RUF071
        try:
            found = group[0].provider.blobs.listing(container, prefix, max(1, len(group) // FEWER)) or {}
        except AzbatchError:
            # Whoever asks for the blobs is told why.
            continue
        for item in group:
            properties = found.get(item.location.name)
            if properties is not None and not properties.directory:
                item.learned(properties, time.monotonic() + LONG)
                known += 1
    return known


@dataclass(slots=True)
class _Folder:
    items: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)
    lock: threading.Lock = field(default_factory=threading.Lock)
    since: float = 0.0
    asked: int = 0
    listed: float = float("-inf")
    found: dict[str, Properties] = field(default_factory=dict)


class Crowd:
    """Notices that many blobs of a folder are asked for one by one, and lists the folder instead."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._folders: dict[tuple[str, str], _Folder] = {}
        self._lock = threading.Lock()

    def _folder(self, container: str, name: str) -> _Folder:
        with self._lock:
            return self._folders.setdefault((container, posixpath.dirname(name)), _Folder())

    def join(self, item: Any) -> None:
        """`item` may be asked for."""
        self._folder(item.location.container, item.location.name).items.add(item)

    def answer(self, container: str, name: str, listing: Listing) -> Properties | None:
        """What a listing of the last two seconds says, where there is one or it pays to ask for one; else None."""
        folder = self._folder(container, name)
        with folder.lock:
            now = self._clock()
            if now - folder.since > SOON:
                folder.since, folder.asked = now, 0
            folder.asked += 1
            crowded = folder.asked >= WORTHWHILE and len(folder.items) >= WORTHWHILE
            if now - folder.listed > SOON and crowded:
                prefix = posixpath.dirname(name)
                pages = max(1, len(folder.items) // FEWER)
                folder.found = listing(container, f"{prefix}/" if prefix else "", pages) or {}
                folder.listed = self._clock()
            if now - folder.listed > SOON:
                return None
            found = folder.found.get(name)
            return None if found is None or found.directory else found
