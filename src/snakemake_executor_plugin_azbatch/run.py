"""One workflow run on Batch: its pool and job made, its tasks added in bulk, and all of it taken away again."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azbatch.errors import AzbatchError
from azbatch.jobs import Finished, JobSpec, Monitor, TaskSpec, submit
from azbatch.jobs.spec import Container
from azbatch.pools import PoolSpec, Registry, Verdict, assess, formula
from azbatch.pools import images as pool_images
from azbatch.pools.vm_sizes import VmSize, find
from snakemake_executor_plugin_azbatch import plan
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount

TAG = "azbatch-workflow"
MADE_POOL = "azbatch-pool"
KEPT = "azbatch-kept"
FLUSH_SECONDS = 0.3
FLUSH_TASKS = 100
STOP_SECONDS = 3.0
POOL_LOOK_SECONDS = 5.0


@dataclass
class Run:
    """`account` is connected; `key` names the workflow (plan.workflow_key)."""

    account: BatchAccount
    settings: ExecutorSettings
    key: str
    say: Callable[[str], None]
    job_id: str = ""
    pool_id: str = ""
    made_pool: bool = False
    made_job: bool = False
    size: VmSize = field(default_factory=lambda: find("Standard_D2ds_v5"))
    slots: int = 1
    monitor: Monitor = field(default_factory=lambda: Monitor(""))
    ended: list[dict[str, Any]] = field(default_factory=list)  # tasks as the service listed them
    _looked: float = 0.0
    _ended: bool = False

    def begin(self, need: plan.Needs, preparation: str, environment: Mapping[str, str], name: str = "") -> None:
        """Remove what a dead run of this workflow left, then make pool and job. Raises AzbatchError."""
        self.remove_leftovers()
        self.job_id = name or f"snakemake-{self.key}-{secrets.token_hex(4)}"
        self.monitor = Monitor(self.job_id)
        self._choose_pool(need)
        container = Container(image=self.settings.container_image) if self.settings.container_image else None
        self.account.create_job(
            JobSpec(
                id=self.job_id,
                pool_id=self.pool_id,
                preparation=preparation,
                container=container,
                environment=environment,
                metadata={TAG: self.key, **({MADE_POOL: self.pool_id} if self.made_pool else {})},
            ).body()
        )
        self.made_job = True

    def remove_leftovers(self) -> None:
        """Jobs and pools of earlier runs of this very workflow, whose driver was killed: one list of each."""
        for job in self.account.list_jobs():
            if _tag(job, TAG) == self.key and job.get("state") != "deleting":
                self.say(f"Removing job '{job['id']}' that an earlier run of this workflow left.")
                self.account.delete_job(str(job["id"]))
        for pool in self.account.list_pools():
            if _tag(pool, TAG) == self.key and pool.get("state") != "deleting" and not _tag(pool, KEPT):
                self.say(f"Removing pool '{pool['id']}' that an earlier run of this workflow left.")
                self.account.delete_pool(str(pool["id"]))

    def _choose_pool(self, need: plan.Needs) -> None:
        chosen = self.settings.pool_id or (self._kept_pool() if self.settings.keep_pool else None)
        if chosen:
            pool = self.account.get_pool(chosen)
            if pool.get("state") != "active":
                raise AzbatchError(f"Pool '{pool['id']}' is {pool.get('state')}: choose another pool.")
            self.pool_id, self.slots = str(pool["id"]), int(pool.get("taskSlotsPerNode", 1))
            self.size = find(str(pool["vmSize"]))
            return
        self.size = plan.choose_size(self.settings, need)
        self.slots = self.settings.task_slots or self.size.cores
        self.pool_id = self.job_id
        self.account.create_pool(self._pool_spec().body())
        self.made_pool = True
        how = "autoscaled up to" if self.settings.autoscale else "of"
        what = f"{how} {self.settings.max_nodes} {self.size.name} nodes with {self.slots} slots each"
        self.say(f"Pool '{self.pool_id}' {what} is being made.")

    def _kept_pool(self) -> str | None:
        """The pool that an earlier run of this workflow was told to keep."""
        for pool in self.account.list_pools():
            if _tag(pool, TAG) == self.key and _tag(pool, KEPT) and pool.get("state") == "active":
                self.say(f"Using pool '{pool['id']}' that an earlier run of this workflow kept.")
                return str(pool["id"])
        return None

    def _pool_spec(self) -> PoolSpec:
        settings = self.settings
        image = pool_images.choose(
            self.account.supported_images(),
            settings.image,
            containers=bool(settings.container_image),
            now=datetime.now(UTC),
        )
        dedicated, spot = plan.node_counts(settings)
        text = None
        if settings.autoscale:
            text = formula.pending_tasks(
                most=settings.max_nodes,
                least=settings.min_nodes,
                first=max(1, settings.min_nodes),
                spot_share=settings.spot_share,
            )
        registry = Registry(server=settings.registry, identity=settings.node_identity) if settings.registry else None
        return PoolSpec(
            id=self.pool_id,
            vm_size=self.size.name,
            image=image,
            slots=self.slots,
            dedicated=dedicated,
            spot=spot,
            formula=text,
            container_images=(settings.container_image,) if settings.container_image else (),
            registries=(registry,) if registry else (),
            subnet_id=settings.subnet_id,
            metadata={TAG: self.key, **({KEPT: "true"} if settings.keep_pool else {})},
        )

    # Tasks

    def add(self, tasks: Sequence[TaskSpec]) -> Mapping[str, str | None]:
        """Add tasks; what was taken is awaited from now on. Raises ServiceError."""
        outcome = submit(self.account, self.job_id, tasks)
        self.monitor.expect(task for task, refusal in outcome.items() if refusal is None)
        return outcome

    def look(self, now: float) -> list[Finished]:
        """What ended since the last look. Raises AzbatchError where the pool can run nothing any more."""
        news = self.monitor.look(self.account)
        self.ended += [finished.task for finished in news if finished.task is not None]
        if not news and self.monitor.awaited and now - self._looked > POOL_LOOK_SECONDS:
            self._looked = now
            judged = assess(self.account.get_pool(self.pool_id), self.account.list_nodes(self.pool_id))
            if judged.verdict is Verdict.FAILED:
                raise PoolFailed(" ".join(judged.lines))
        return news

    def report(self) -> dict[str, Any]:
        """What ran where: the run's tasks with node and times, and the requests made to Batch by kind."""
        return {
            "job": self.job_id,
            "pool": self.pool_id,
            "vm_size": self.size.name,
            "slots_per_node": self.slots,
            "tasks": [_brief(task) for task in self.ended],
            "batch_requests": dict(self.account.requests),
        }

    # The end

    def cancel(self) -> None:
        """End all tasks with one call."""
        if self.made_job and not self._ended:
            self._ended = True
            self.account.terminate_job(self.job_id, "CancelledByUser")

    def close(self) -> list[str]:
        """Take away the job, and the pool if the run made it: sentences on what could not be taken away."""
        faults: list[str] = []
        if self.made_job:
            faults += self._try(lambda: self.account.delete_job(self.job_id), f"job '{self.job_id}'")
            self.made_job = False
        if self.made_pool and not self.settings.keep_pool:
            faults += self._try(lambda: self.account.delete_pool(self.pool_id), f"pool '{self.pool_id}'")
            self.made_pool = False
        return faults

    @staticmethod
    def _try(action: Callable[[], None], what: str) -> list[str]:
        try:
            action()
        except AzbatchError as error:
            return [f"The {what} could not be deleted and may cost money: {error} Delete it with azbatch."]
        return []


class PoolFailed(AzbatchError):
    """No node of the pool will run anything: the jobs that wait for it fail with this reason."""


def _brief(task: Mapping[str, Any]) -> dict[str, Any]:
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


def _tag(thing: Mapping[str, Any], name: str) -> str | None:
    return next((str(item.get("value")) for item in thing.get("metadata") or () if item.get("name") == name), None)


@dataclass
class Submitter:
    """Adds queued tasks from a thread of its own: at once after a pause, else every 0.3 s or 100 tasks."""

    add: Callable[[Sequence[TaskSpec]], Mapping[str, str | None]]
    done: Callable[[str, str | None], None]  # (task id, why refused) for each, exactly once

    def __post_init__(self) -> None:
        self._queue: queue.Queue[TaskSpec | None] = queue.Queue()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="azbatch-submit", daemon=True)
        self._thread.start()

    def put(self, tasks: Sequence[TaskSpec]) -> None:
        for task in tasks:
            self._queue.put(task)

    def stop(self) -> None:
        """Add nothing more; what is still queued is dropped."""
        self._stopped.set()
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            # A call that the service does not answer must not hold up a Ctrl-C.
            self._thread.join(timeout=STOP_SECONDS)

    def _work(self) -> None:
        last = 0.0
        while (first := self._queue.get()) is not None and not self._stopped.is_set():
            group = self._gather(first, deadline=max(last + FLUSH_SECONDS, time.monotonic() + 0.02))
            if self._stopped.is_set():
                return
            last = time.monotonic()
            self._flush(group)

    def _gather(self, first: TaskSpec, deadline: float) -> list[TaskSpec]:
        group = [first]
        while len(group) < FLUSH_TASKS:
            try:
                following = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if following is None:
                break
            group.append(following)
        return group

    def _flush(self, group: Sequence[TaskSpec]) -> None:
        try:
            outcome = self.add(group)
        except AzbatchError as error:
            outcome = {task.id: str(error) for task in group}
        for task in group:
            self.done(task.id, outcome.get(task.id, "the service gave no answer for the task"))
