"""A world for tests: time moved by hand, commands answered by hand."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from azbatch_emulator import events
from azbatch_emulator.commands import Command, Kill, Run
from azbatch_emulator.journal import Journal
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import Fault, Node, NodeState, Task
from azbatch_emulator.world import Applied, World

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
FAILED = Fault(code="FailureExitCode", message="failed")


class Play:
    """Applies events, keeps what the world asked for, and ends runs on demand."""

    def __init__(self, seed: int = 1, profile: Profile | None = None) -> None:
        self.world = World(profile or Profile(), random.Random(seed), START)
        self.now = START
        self.asked: list[Command] = []
        self.running: dict[str, Run] = {}
        self.lingering: dict[str, Run] = {}  # coordination commands that have ended well
        self.ended: set[str] = set()
        self.journal: Journal | None = None

    def do(self, event: events.Event) -> Applied:
        applied = self.world.apply(event, self.now)
        if self.journal is not None:
            self.journal.append(event, self.now)
        for command in applied.commands:
            self.asked.append(command)
            if isinstance(command, Run):
                assert command.run not in self.running
                self.running[command.run] = command
            if isinstance(command, Kill):
                there = self.running if command.run in self.running else self.lingering
                assert command.run in there, "a run is killed once, and only while something of it runs"
                del there[command.run]
        return applied

    def after(self, **delay: float) -> None:
        """Let time pass, doing what is due on the way at its own time."""
        end = self.now + timedelta(**delay)
        while (due := self.world.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.do(events.TimePassed())
        self.now = end

    def end(self, run: str, code: int = 0) -> None:
        ended = self.running.pop(run)
        if ended.kind == "coordination" and code == 0:
            self.lingering[run] = ended
        self.do(events.RunEnded(run=run, exit_code=code, failure=FAILED if code else None))

    def end_task(self, task: str, code: int = 0) -> None:
        self.end(self.run_of(task), code)

    def run_of(self, task: str) -> str:
        return next(name for name, run in self.running.items() if run.task_id == task)

    def pool(self, nodes: int = 1, *, pool_id: str = "p", slots: int = 2, spot: int = 0, **spec: Any) -> None:
        """A pool whose nodes are idle."""
        body = {
            "id": pool_id,
            "vmSize": "Standard_D2s_v5",
            "taskSlotsPerNode": slots,
            "targetDedicatedNodes": nodes,
            "targetLowPriorityNodes": spot,
            **spec,
        }
        self.do(events.AddPool(spec=body))
        self.after(seconds=60)

    def job(self, job_id: str = "j", pool_id: str = "p", **spec: Any) -> None:
        self.do(events.AddJob(spec={"id": job_id, "poolInfo": {"poolId": pool_id}, **spec}))

    def tasks(self, *ids: str, job_id: str = "j", **spec: Any) -> Applied:
        return self.do(
            events.AddTasks(job_id=job_id, specs=[{"id": name, "commandLine": "true", **spec} for name in ids])
        )

    def task(self, name: str, job_id: str = "j") -> Task:
        return self.world.task(job_id, name)

    def nodes(self, pool_id: str = "p") -> list[Node]:
        return list(self.world.nodes.get(pool_id, {}).values())

    def states(self, pool_id: str = "p") -> list[NodeState]:
        return [node.state for node in self.nodes(pool_id)]
