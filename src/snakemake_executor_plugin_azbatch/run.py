"""One workflow run on Batch: its lanes made or adopted, followed, and all of them taken away again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azbatch.errors import AzbatchError, ServiceError
from azbatch.jobs import Finished
from snakemake_executor_plugin_azbatch import identity, plan, work
from snakemake_executor_plugin_azbatch.lane import (
    ARCHIVE,
    FINGERPRINT,
    KEPT,
    LANE,
    WORKFLOW,
    Choice,
    Lane,
    LaneFailed,
    Shared,
    tag,
)

Json = Mapping[str, Any]
UNFINISHED = frozenset({"active", "preparing", "running"})


@dataclass
class Run:
    """`shared.account` is connected; `shared.key` names the workflow (plan.workflow_key)."""

    shared: Shared
    lanes: dict[Choice, Lane] = field(default_factory=dict)
    failed: dict[Choice, str] = field(default_factory=dict)
    numbers: identity.Numbers = field(default_factory=identity.Numbers)
    ended: list[dict[str, Any]] = field(default_factory=list)  # tasks as the service listed them
    archives: list[str] = field(default_factory=list)  # source archives of runs that are gone
    _waiting: dict[str, Lane] = field(default_factory=dict)  # adopted, by the name of their choice
    _kept: dict[str, Json] = field(default_factory=dict)

    # The beginning

    def begin(self) -> None:
        """Adopt what a dead run of this workflow left, where it is of the same sources; remove the rest."""
        account, key = self.shared.account, self.shared.key
        pools = {str(pool["id"]): pool for pool in account.list_pools() if pool.get("state") == "active"}
        fingerprint = self.shared.tags[FINGERPRINT]
        for job in account.list_jobs():
            if tag(job, WORKFLOW) != key or job.get("state") == "deleting":
                continue
            pool = pools.get(str((job.get("poolInfo") or {}).get("poolId")))
            if job.get("state") == "active" and tag(job, FINGERPRINT) == fingerprint and pool is not None:
                self._adopt(job, pool)
            else:
                self._remove_job(job)
        adopted = {lane.pool_id for lane in self._waiting.values()}
        for name, pool in pools.items():
            if tag(pool, WORKFLOW) != key:
                continue
            if kept := tag(pool, KEPT):
                self._kept[kept] = pool
            elif name not in adopted:
                self.shared.say(f"Removing pool '{name}' that an earlier run of this workflow left.")
                account.delete_pool(name)

    def _adopt(self, job: Json, pool: Json) -> None:
        name = str(tag(job, LANE))
        if name in self._waiting:
            self._remove_job(job)
            return
        claims: dict[str, tuple[str, int]] = {}
        tasks = self.shared.account.list_tasks(str(job["id"]), select="id,state,commandLine")
        for task in tasks:
            known = identity.parse(str(task["id"]))
            if known is None:
                continue
            self.numbers.saw(*known)
            if task.get("state") in UNFINISHED:
                places = enumerate(work.bases_in(str(task["id"]), str(task.get("commandLine", ""))))
                claims |= {base: (str(task["id"]), place) for place, base in places}
        lane = Lane(self.shared, Choice())
        lane.adopt(job, pool, claims)
        self._waiting[name] = lane
        if archive := tag(job, ARCHIVE):
            self.archives.append(archive)
        self.shared.say(
            f"Going on with job '{lane.job_id}' of an earlier run: {len(claims)} of its jobs wait or run on Batch."
        )

    def _remove_job(self, job: Json) -> None:
        self.shared.say(f"Removing job '{job['id']}' that an earlier run of this workflow left.")
        self.shared.account.delete_job(str(job["id"]))
        if archive := tag(job, ARCHIVE):
            self.archives.append(archive)

    def lane(
        self, choice: Choice, needs: Callable[[], Iterable[plan.Needs]], images: Callable[[], Sequence[str]]
    ) -> Lane:
        """The lane of a choice; made, with its pool, on first use. Raises AzbatchError, at each use the same.

        `needs` and `images` tell what its jobs ask for, where it has to be made.
        """
        if choice in self.failed:
            raise LaneFailed(self.failed[choice])
        if choice in self.lanes:
            return self.lanes[choice]
        lane = self._waiting.pop(choice.name, None)
        if lane is not None:
            lane.choice = choice
        else:
            lane = Lane(self.shared, choice)
            name = f"snakemake-{self.shared.key}-{secrets.token_hex(4)}"
            try:
                lane.make(name, plan.largest(needs()), images(), self._kept.get(choice.name))
            except AzbatchError as error:
                for fault in lane.close():
                    self.shared.say(fault)
                self.failed[choice] = str(error)
                raise
        self.lanes[choice] = lane
        return lane

    # Following

    def look(self, now: float) -> tuple[list[Finished], dict[Choice, str]]:
        """What ended since the last look, and lanes on which nothing runs any more, with the reason.

        One list for each lane that awaits something. Raises ServiceError where there is no other news.
        """
        news: list[Finished] = []
        broken: dict[Choice, str] = {}
        trouble: ServiceError | None = None
        for choice, lane in list(self.lanes.items()):
            try:
                news += lane.look(now)
            except LaneFailed as error:
                broken[choice] = str(error)
            except ServiceError as error:
                trouble = error
        if trouble is not None and not news and not broken:
            raise trouble
        self.failed |= broken
        self.ended += [finished.task for finished in news if finished.task is not None]
        return news, broken

    def report(self) -> dict[str, Any]:
        """What ran where: the run's tasks with node and times, and the requests made to Batch by kind."""
        first = next(iter(self.lanes.values()), None)
        return {
            "job": first.job_id if first else None,
            "pool": first.pool_id if first else None,
            "vm_size": first.size.name if first else None,
            "slots_per_node": first.slots if first else None,
            "lanes": [
                {"job": lane.job_id, "pool": lane.pool_id, "vm_size": lane.size.name, "slots_per_node": lane.slots}
                for lane in self.lanes.values()
            ],
            "tasks": [_brief(task) for task in self.ended],
            "batch_requests": dict(self.shared.account.requests),
        }

    # The end

    def cancel(self) -> None:
        """End all tasks, with one call for each lane. Raises AzbatchError."""
        for lane in self.lanes.values():
            lane.cancel()

    def close(self, *, adopted: bool = True) -> list[str]:
        """Take away all lanes, those never used too: sentences on what could not be taken away.

        Without `adopted` those of an earlier driver stay: a run that could not begin takes nobody's work away.
        """
        lanes = [lane for lane in (*self.lanes.values(), *self._waiting.values()) if adopted or not lane.adopted]
        return [fault for lane in lanes for fault in lane.close()]

    @property
    def goes_on(self) -> bool:
        """Whether there is something of an earlier driver."""
        return any(lane.adopted for lane in (*self.lanes.values(), *self._waiting.values()))


def _brief(task: Json) -> dict[str, Any]:
    info = task.get("executionInfo") or {}
    return {
        "id": task.get("id"),
        "node": (task.get("nodeInfo") or {}).get("nodeId"),
        "start": info.get("startTime"),
        "end": info.get("endTime"),
        "exit_code": info.get("exitCode"),
        "result": info.get("result"),
        "requeues": info.get("requeueCount", 0),
    }
