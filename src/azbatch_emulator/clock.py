"""Clocks: the real one, and one that tests move by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time (UTC), and waits for one."""

    def now(self) -> datetime: ...

    def wall(self) -> datetime:
        """What the clients' clocks show: signatures and tokens are judged by it."""
        ...

    async def sleep_until(self, due: datetime) -> None: ...


class RealClock:
    """The machine's clock; it never goes backwards, so that due times are met in order."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        self._last = max(self._last, datetime.now(UTC))
        return self._last

    def wall(self) -> datetime:
        return self.now()

    async def sleep_until(self, due: datetime) -> None:
        await asyncio.sleep(max(0.0, (due - self.now()).total_seconds()))


class ManualClock:
    """Stands still until `advance` moves it; sleepers whose time has come then wake."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        return self._now

    def wall(self) -> datetime:
        return self._now

    async def advance(self, by: timedelta) -> None:
        async with self._moved:
            self._now += by
            self._moved.notify_all()

    async def sleep_until(self, due: datetime) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._now >= due)
