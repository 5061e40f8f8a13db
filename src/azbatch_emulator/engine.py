"""The engine: owns a world, its clock and its runner, and makes events of requests, reports and passing time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from datetime import datetime

from azbatch_emulator.clock import Clock
from azbatch_emulator.commands import Command, DropDirectory, Kill, MakeNode, RemoveNode, Run
from azbatch_emulator.events import BreakNode, Event, Restart, RunStarted, TimePassed
from azbatch_emulator.journal import Journal
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import Fault, Pool
from azbatch_emulator.runners import Runner
from azbatch_emulator.virtual import VirtualClock
from azbatch_emulator.world import Applied, World

log = logging.getLogger(__name__)


class Engine:
    """All methods belong to one event loop's thread; `submit` never awaits, so each request is atomic."""

    def __init__(
        self,
        *,
        clock: Clock,
        runner: Runner,
        profile: Profile,
        rng: random.Random,
        journal: Journal | None = None,
        node_fault: Callable[[Pool], Fault | None] = lambda _pool: None,
    ) -> None:
        """`node_fault` tells why a pool's nodes, in the network as it is, would never come up."""
        self.clock = clock
        self._node_fault = node_fault
        self.runner = runner
        self._profile = profile
        self._rng = rng
        self._journal = journal
        self.world = journal.restore(profile, rng, clock.now()) if journal else World(profile, rng, clock.now())
        self._reports: deque[Event] = deque()
        self._draining = False
        self._timer: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin to let time pass, after a restart with nodes that reboot. Needs a running event loop."""
        if self.world.pools:
            self.submit(Restart())
        if isinstance(self.clock, VirtualClock):
            self.clock.drive(self)
            return
        self._timer = asyncio.get_running_loop().create_task(self._let_time_pass())

    async def close(self) -> None:
        """Stop time and end every run."""
        if isinstance(self.clock, VirtualClock):
            await self.clock.release(self)
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        await self.runner.close()
        if self._journal is not None:
            self._journal.close()

    async def reset(self) -> None:
        """Forget everything: an empty account, no run left."""
        await self.runner.close()
        self._reports.clear()
        self.world = World(self._profile, self._rng, self.clock.now())
        if self._journal is not None:
            self._journal.snapshot(self.world)
        self._wake.set()

    def submit(self, event: Event) -> Applied:
        """Apply an event now and hand its commands to the runner. Raises Refused."""
        applied = self._apply(event)
        self._carry_out(applied.commands)
        self._drain()
        self._note()
        return applied

    def report(self, event: Event) -> None:
        """Take a runner's report; those made while another is handled wait their turn."""
        self._reports.append(event)
        if not self._draining:
            self._drain()
            self._note()

    async def wait_for(self, condition: Callable[[World], bool], timeout: float = 60.0) -> None:
        """Return once the world meets a condition. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition(self.world):
                self._changed.clear()
                await self._changed.wait()

    def _note(self) -> None:
        self._wake.set()
        self._changed.set()
        if isinstance(self.clock, VirtualClock):
            self.clock.nudge()

    # What a virtual clock asks

    def next_due(self) -> datetime | None:
        return self.world.next_due()

    def busy(self) -> bool:
        return bool(self.world.runs)

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            while self._reports:
                self._carry_out(self._apply(self._reports.popleft()).commands)
        finally:
            self._draining = False

    def _apply(self, event: Event) -> Applied:
        """Change the world, and write down what did before anybody hears of it."""
        now = self.clock.now()
        applied = self.world.apply(event, now)
        if self._journal is not None and not isinstance(event, RunStarted):  # which tells the world nothing
            self._journal.append(event, now)
        return applied

    def _carry_out(self, commands: tuple[Command, ...]) -> None:
        # While commands are carried out, an instant runner's reports queue up instead of nesting.
        outer, self._draining = self._draining, True
        try:
            for command in commands:
                self._do(command)
        finally:
            self._draining = outer

    def _do(self, command: Command) -> None:
        match command:
            case Run():
                self.runner.start(command, self.report)
            case Kill():
                self.runner.kill(command)
            case MakeNode():
                self.runner.make_node(command)
                self._judge(command)
            case RemoveNode():
                self.runner.remove_node(command)
            case DropDirectory():
                self.runner.drop_directory(command)
            case _:
                raise TypeError(f"no runner method for {command!r}")

    def _judge(self, command: MakeNode) -> None:
        pool = self.world.pools.get(command.pool_id.lower())
        fault = self._node_fault(pool) if pool else None
        if fault is not None:
            self._reports.append(BreakNode(pool_id=command.pool_id, node_id=command.node_id, fault=fault))

    async def _let_time_pass(self) -> None:
        while True:
            self._wake.clear()
            due = self.world.next_due()
            if due is None:
                await self._wake.wait()
            elif due <= self.clock.now():
                self.pass_time()
                await asyncio.sleep(0)
            else:
                await self._sleep_or_wake(due)

    def pass_time(self) -> None:
        """Do what is due now."""
        try:
            self.submit(TimePassed())
        except Exception:
            # Time must go on for all that is not concerned.
            log.exception("what was due could not be done")

    async def _sleep_or_wake(self, due: object) -> None:
        loop = asyncio.get_running_loop()
        waiters = [
            loop.create_task(self.clock.sleep_until(due)),  # type: ignore[arg-type]
            loop.create_task(self._wake.wait()),
        ]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)
