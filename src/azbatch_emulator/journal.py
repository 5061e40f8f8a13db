"""What survives kill -9: the events of a world, written down before they are acknowledged, over a snapshot of it.

The world is a function of its events, so that replaying them gives the same world, names included. SQLite's
write-ahead log loses no committed row when the process dies. The file is pickled data in the state folder, which
only its owner can write.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType

from azbatch_emulator import commands, events, profile, records
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.profile import Profile
from azbatch_emulator.world import World, state

FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), shape TEXT NOT NULL, world BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY, entry BLOB NOT NULL);
"""


class Journal:
    """One file. All methods belong to one thread.

    `restore` once, then `append` for each event that changed the world. Raises EmulatorError where the file cannot be
    used, or was written by an emulator whose records have another shape.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.touch(mode=0o600)  # SQLite's other files take after it
            self._base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._base.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
        except (OSError, sqlite3.Error) as error:
            raise EmulatorError(
                f"The state in {path} cannot be used ({error}); forget it with: azbatch emulator reset"
            ) from None

    def restore(self, profile: Profile, rng: random.Random, now: datetime) -> World:
        """The world as it was last acknowledged, or a new one; from now on with `profile`."""
        found = self._base.execute("SELECT shape, world FROM snapshot").fetchone()
        if found is None:
            world = World(profile, rng, now)
        else:
            self._check(found[0])
            world = pickle.loads(found[1])  # noqa: S301 - our own file, writable by its owner only
            for event, at in self.entries():
                world.apply(event, at)
            world.resume(profile, now)
        self.snapshot(world)
        return world

    def _check(self, shape: str) -> None:
        if shape != fingerprint():
            raise EmulatorError(
                f"The state in {self.path} was written by another version of the emulator; "
                "forget it with: azbatch emulator reset, or start with --ephemeral"
            )

    def entries(self) -> Iterator[tuple[events.Event, datetime]]:
        """The events since the snapshot, with the time at which each was applied."""
        for (entry,) in self._base.execute("SELECT entry FROM event ORDER BY number"):
            yield pickle.loads(entry)  # noqa: S301 - as above

    def append(self, event: events.Event, now: datetime) -> None:
        """Write one event down; returns once it will survive the process."""
        self._base.execute("INSERT INTO event (entry) VALUES (?)", (pickle.dumps((event, now), protocol=5),))

    def snapshot(self, world: World) -> None:
        """Begin again from the world as it is: the events before are not needed any more."""
        whole = pickle.dumps(world, protocol=5)
        self._base.execute("BEGIN IMMEDIATE")
        self._base.execute("DELETE FROM event")
        self._base.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)", (fingerprint(), whole))
        self._base.execute("COMMIT")

    def close(self) -> None:
        self._base.close()


def fingerprint() -> str:
    """Differs where the shape of anything that is written down differs."""
    shapes = [f"format {FORMAT}"]
    modules: tuple[ModuleType, ...] = (records, events, commands, profile, state)
    for module in modules:
        for name, found in sorted(vars(module).items()):
            if isinstance(found, type) and is_dataclass(found):
                shapes.append(f"{name}: {', '.join(f'{field.name} {field.type}' for field in fields(found))}")
    return hashlib.sha256("\n".join(shapes).encode()).hexdigest()
