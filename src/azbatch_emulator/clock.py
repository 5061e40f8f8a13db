"""Clocks: the real one, and one that tests move by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
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
