"""Virtual time: a clock that jumps to what is due next, as soon as nothing but time is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

PACE = 4 * 3600.0  # at most so many virtual seconds a second, so that clients can follow
STEPS = 200  # of an advance, before requests are served in between


class Driven(Protocol):
    """What has things to do at certain times: an engine."""

    def next_due(self) -> datetime | None: ...

    def busy(self) -> bool:
        """Whether something runs outside that takes real time."""
        ...

    def pass_time(self) -> None:
        """Do what is due now."""
        ...


class VirtualClock:
    """All methods belong to one event loop's thread.

    While commands run, or nothing is due, time goes on as everywhere. Otherwise it jumps, one due thing after the
    other, at most `pace` seconds a second. Paused, it stands still. `wall` is the time outside.
    """

    def __init__(
        self,
        start: datetime,
        *,
        pace: float = PACE,
        monotonic: Callable[[], float] = time.monotonic,
        paused: bool = False,
    ) -> None:
        self._base, self._mark, self._pace, self._monotonic = start, monotonic(), pace, monotonic
        self._flowing = False
        self._paused = paused
        self._advancing = False
        self._driven: list[Driven] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def now(self) -> datetime:
        if not self._flowing:
            return self._base
        return self._base + timedelta(seconds=self._monotonic() - self._mark)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, due: datetime) -> None:
        """Return once time has come there, by itself or by `advance`."""
        while self.now() < due:
            await asyncio.sleep(0.01)

    @property
    def paused(self) -> bool:
        return self._paused

    def drive(self, driven: Driven) -> None:
        """From now on let time pass for an engine."""
        self._driven.append(driven)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self.nudge()

    async def release(self, driven: Driven) -> None:
        self._driven.remove(driven)
        if not self._driven and self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def nudge(self) -> None:
        """Something may have become due, or begun to run."""
        self._changed.set()

    def pause(self, paused: bool = True) -> None:
        """Let time stand still, or go on."""
        self._flow(False)
        self._paused = paused
        self.nudge()

    async def advance(self, by: timedelta) -> None:
        """Let that much time pass at once, doing all that becomes due on the way at its own time."""
        if by < timedelta(0):
            raise ValueError("time does not go backwards")
        self._flow(False)
        self._advancing = True
        try:
            end, steps = self._base + by, 0
            while (due := self._next_due()) is not None and due <= end:
                self._jump(due)
                steps += 1
                if steps % STEPS == 0:
                    await asyncio.sleep(0)
            self._base = max(self._base, end)
        finally:
            self._advancing = False
            self.nudge()

    def _next_due(self) -> datetime | None:
        return min((due for one in self._driven if (due := one.next_due()) is not None), default=None)

    def _flow(self, flowing: bool) -> None:
        self._base, self._mark, self._flowing = self.now(), self._monotonic(), flowing

    def _jump(self, due: datetime) -> None:
        self._base = max(self._base, due)
        for one in self._driven:
            theirs = one.next_due()
            if theirs is not None and theirs <= self._base:
                one.pass_time()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            due = self._next_due()
            if self._paused or self._advancing:
                await self._changed.wait()
            elif due is not None and due <= self.now():
                self._flow(False)
                self._jump(due)
                await asyncio.sleep(0)
            elif due is None or any(one.busy() for one in self._driven):
                self._flow(True)
                wait = None if due is None else (due - self.now()).total_seconds()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
            else:
                self._flow(False)
                ahead = (due - self._base).total_seconds()
                self._jump(due)
                await asyncio.sleep(ahead / self._pace)
