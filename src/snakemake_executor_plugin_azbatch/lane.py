"""A lane: a pool, and the Batch job of this run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azbatch import pools
from azbatch.errors import AzbatchError, ServiceError
from azbatch.jobs import Finished, JobSpec, Monitor, TaskSpec, submit
from azbatch.pools import PoolSpec, Registry, formula, images, repair
from azbatch.pools.scratch_disk import SCRATCH, ScratchDisk
from azbatch.pools.vm_sizes import VmSize, find
from snakemake_executor_plugin_azbatch import plan
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount

Json = Mapping[str, Any]
LEASE = timedelta(hours=2)  # that idle nodes outlive a driver that died
WATCH_QUIET, WATCH_BUSY = 5.0, 30.0  # seconds between looks at the pool, without and with news of tasks
WORKFLOW, MADE_POOL, KEPT = "azbatch-workflow", "azbatch-pool", "azbatch-kept"
HAS_SCRATCH = "azbatch-scratch"
FINGERPRINT, LANE, ARCHIVE = "azbatch-fingerprint", "azbatch-lane", "azbatch-archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a job wants to run on: an existing pool, or one of a size and kind of nodes made for the run.

    `spot` None leaves the kind of nodes to the settings.
    """

    pool_id: str | None = None
    vm_size: str | None = None
    spot: bool | None = None

    @property
    def name(self) -> str:
        kind = {None: "", True: "spot", False: "dedicated"}[self.spot]
        return "-".join(part for part in (self.pool_id, self.vm_size, kind) if part) or "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all lanes of a run have in common. `tags` stand in the metadata of jobs, `key` in that of pools."""

    account: BatchAccount
    settings: ExecutorSettings
    key: str
    say: Callable[[str], None]
    preparation: str
    environment: Mapping[str, str]
    tags: Mapping[str, str]


class LaneFailed(AzbatchError):
    """Nothing will run on this lane any more: its jobs fail with this reason, those of other lanes go on."""


@dataclass
class Lane:
    """Not there until `make` or `adopt`."""

    shared: Shared
    choice: Choice
    job_id: str = ""
    pool_id: str = ""
    ours: bool = False  # the pool was made by a run of this workflow
    kept: bool = False
    made_job: bool = False
    adopted: bool = False
    size: VmSize = field(default_factory=lambda: find("Standard_D2ds_v5"))
    slots: int = 1
    nodes: int = 1
    scratch: bool = False  # whether its nodes have a disk for temporary files
    containers: bool = False  # whether its nodes run containers; then the service runs no task without one
    monitor: Monitor = field(default_factory=lambda: Monitor(""))
    unclaimed: dict[str, tuple[str, int]] = field(default_factory=dict)  # base -> (task, place) of an earlier driver
    _repairs: repair.Repairs = field(default_factory=repair.Repairs)
    _watched: float = 0.0
    _renewed: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    _refill: bool = False
    _ended: bool = False

    @property
    def account(self) -> BatchAccount:
        return self.shared.account

    @property
    def settings(self) -> ExecutorSettings:
        return self.shared.settings

    # Coming and going

    def make(self, name: str, need: plan.Needs, container_images: Sequence[str], kept: Json | None) -> None:
        """The pool, or `kept`, one of an earlier run, or the one that was chosen; and the job. Raises AzbatchError."""
        self.job_id = name
        self.monitor = Monitor(name)
        chosen = self.choice.pool_id or (str(kept["id"]) if kept else None)
        if chosen:
            self._use(self.account.get_pool(chosen), container_images)
            if kept:
                self.ours = self.kept = True
                self.shared.say(f"Using pool '{chosen}' that an earlier run of this workflow kept.")
        else:
            self._make_pool(need, container_images)
        self.account.create_job(
            JobSpec(
                id=name,
                pool_id=self.pool_id,
                preparation=self.shared.preparation,
                container=plan.container(self.settings.container_image, scratch=self.scratch),
                environment={**self.shared.environment, **({"TMPDIR": SCRATCH} if self.scratch else {})},
                limit=self.settings.max_wall_clock,
                metadata={
                    **self.shared.tags,
                    LANE: self.choice.name,
                    **({MADE_POOL: self.pool_id} if self.ours and not self.kept else {}),
                },
            ).body()
        )
        self.made_job = True

    def adopt(self, job: Json, pool: Json, claims: Mapping[str, tuple[str, int]]) -> None:
        """Go on with the job of a driver that died; `claims` are its unfinished tasks by what they do."""
        self.job_id = str(job["id"])
        self.monitor = Monitor(self.job_id)
        self.made_job = self.adopted = True
        self._use(pool, ())
        self.kept = bool(tag(pool, KEPT))
        self.ours = self.kept or tag(job, MADE_POOL) == self.pool_id
        self.unclaimed = dict(claims)

    def check(self, image: str | None) -> None:
        """Raises AzbatchError for a job whose task the service would refuse to run on these nodes."""
        if self.containers and not image:
            raise AzbatchError(
                f"Pool '{self.pool_id}' runs tasks in containers only, and the job names no image: set "
                "azbatch_container_image, or azbatch_pool for another pool"
            )
        if image and not self.containers:
            raise AzbatchError(f"Pool '{self.pool_id}' runs no containers, and the job wants {image}")

    def _use(self, pool: Json, container_images: Sequence[str]) -> None:
        name = str(pool["id"])
        if pool.get("state") != "active":
            raise AzbatchError(f"Pool '{name}' is {pool.get('state')}: choose another pool.")
        machine = pool.get("virtualMachineConfiguration") or {}
        if container_images and not machine.get("containerConfiguration"):
            raise AzbatchError(
                f"Pool '{name}' cannot run the container image {container_images[0]}: make it with containers, or "
                "leave the image out."
            )
        self.pool_id, self.containers = name, "containerConfiguration" in machine
        self.scratch = bool(tag(pool, HAS_SCRATCH))
        self.slots = int(pool.get("taskSlotsPerNode", 1))
        self.size = find(str(pool["vmSize"]))
        targets = (pool.get("targetDedicatedNodes") or 0) + (pool.get("targetLowPriorityNodes") or 0)
        self.nodes = max(targets, 1)

    def _make_pool(self, need: plan.Needs, container_images: Sequence[str]) -> None:
        settings = self.settings
        self.size = find(self.choice.vm_size) if self.choice.vm_size else plan.choose_size(settings, need)
        self.slots = settings.task_slots or self.size.cores
        self.nodes = settings.max_nodes
        self.pool_id, self.containers = self.job_id, bool(container_images)
        image = images.choose(
            self.account.supported_images(),
            settings.image,
            containers=bool(container_images),
            now=datetime.now(UTC),
        )
        self._renewed = datetime.now(UTC)
        registry = Registry(server=settings.registry, identity=settings.node_identity) if settings.registry else None
        scratch = ScratchDisk.parse(settings.scratch_disk) if settings.scratch_disk else None
        self.scratch = scratch is not None
        spec = PoolSpec(
            id=self.pool_id,
            vm_size=self.size.name,
            image=image,
            slots=self.slots,
            formula=self.formula(self._renewed + LEASE),
            interval=formula.INTERVAL,
            container_images=tuple(container_images),
            registries=(registry,) if registry else (),
            identity=settings.node_identity,
            subnet_id=settings.subnet_id,
            scratch_disk=scratch,
            metadata={
                WORKFLOW: self.shared.key,
                **({KEPT: self.choice.name} if settings.keep_pool else {}),
                **({HAS_SCRATCH: "yes"} if scratch else {}),
            },
        )
        pools.create(self.account, spec)
        self.ours = True
        how = "autoscaled up to" if settings.autoscale else "of"
        kind = {None: "", True: " spot", False: " dedicated"}[self.choice.spot]
        what = f"{how} {settings.max_nodes}{kind} {self.size.name} nodes with {self.slots} slots each"
        self.shared.say(f"Pool '{self.pool_id}' {what} is being made.")

    def formula(self, until: datetime) -> str:
        """The pool's formula: by the waiting tasks, or all nodes; no idle node after the moment `until`."""
        settings = self.settings
        share = settings.spot_share if self.choice.spot is None else float(self.choice.spot)
        if not settings.autoscale:
            return formula.fixed(nodes=settings.max_nodes, spot_share=share, until=until)
        first = max(1, settings.min_nodes)
        return formula.pending_tasks(
            most=settings.max_nodes, least=settings.min_nodes, first=first, spot_share=share, until=until
        )

    # Tasks

    def add(self, tasks: Sequence[TaskSpec]) -> Mapping[str, str | None]:
        """Add tasks; what was taken is awaited from now on. Raises ServiceError."""
        outcome = submit(self.account, self.job_id, tasks)
        self.monitor.expect(task for task, refusal in outcome.items() if refusal is None)
        return outcome

    def claim(self, base: str) -> tuple[str, int] | None:
        """An earlier driver's unfinished task for this job, from now on awaited; None where there is none."""
        found = self.unclaimed.pop(base, None)
        if found is not None:
            self.monitor.expect([found[0]])
        return found

    def look(self, now: float) -> list[Finished]:
        """What ended since the last look. Raises LaneFailed where the pool can run nothing any more, ServiceError.

        News is told once: nothing that is asked for after it may lose it.
        """
        news = self.monitor.look(self.account)
        if self.monitor.awaited and now - self._watched > (WATCH_BUSY if news else WATCH_QUIET):
            self._watched = now
            try:
                self._watch(now)
            except LaneFailed:
                if not news:
                    raise
                self._watched = 0.0
            except ServiceError:
                # The pool is looked at again later; a service that is out of reach shows in the list, too.
                return news
        return news

    def _watch(self, now: float) -> None:
        """Mend the pool where it is ours, and keep its lease."""
        pool, nodes = self.account.get_pool(self.pool_id), self.account.list_nodes(self.pool_id)
        limits = repair.DEFAULT if self.ours else repair.NONE
        action, self._repairs = repair.decide(pool, nodes, self._repairs, now, limits)
        match action:
            case repair.GiveUp(why):
                raise LaneFailed(why)
            case repair.Wait(why):
                self.shared.say(f"{why} The pool asks again by itself.")
            case repair.Remove(names, why):
                self.shared.say(f"{why} Replacing {len(names)} of the nodes of pool '{self.pool_id}'.")
                # The service removes chosen nodes only from a pool that does not scale by itself.
                if pool.get("enableAutoScale"):
                    self.account.disable_autoscale(self.pool_id)
                self.account.remove_nodes(self.pool_id, names)
                self._refill = True
            case None:
                if self.ours:
                    self._renew(steady=pool.get("allocationState") == "steady")

    def _renew(self, *, steady: bool) -> None:
        moment = datetime.now(UTC)
        due = moment - self._renewed > LEASE / 4
        if not (due or (self._refill and steady)):
            return
        try:
            self.account.enable_autoscale(self.pool_id, self.formula(moment + LEASE), formula.INTERVAL)
        except ServiceError:
            # It may be asked twice a minute only, and not while nodes come or go: the next look tries again.
            return
        self._renewed, self._refill = moment, False

    # The end

    def cancel(self) -> None:
        """End all tasks with one call."""
        if self.made_job and not self._ended:
            self._ended = True
            self.account.terminate_job(self.job_id, "CancelledByUser")

    def close(self) -> list[str]:
        """Take away the job, and the pool if a run made it for itself: sentences on what could not be taken away."""
        faults: list[str] = []
        if self.made_job:
            faults += _try(lambda: self.account.delete_job(self.job_id), f"job '{self.job_id}'")
            self.made_job = False
        if self.ours and not self.kept and not self.settings.keep_pool:
            faults += _try(lambda: self.account.delete_pool(self.pool_id), f"pool '{self.pool_id}'")
            self.ours = False
        return faults


def _try(action: Callable[[], None], what: str) -> list[str]:
    try:
        action()
    except AzbatchError as error:
        return [f"The {what} could not be deleted and may cost money: {error} Delete it with `azbatch cleanup`."]
    return []


def tag(thing: Json, name: str) -> str | None:
    """A value of a job's or pool's metadata."""
    return next((str(item.get("value")) for item in thing.get("metadata") or () if item.get("name") == name), None)


def pool_images(default: str | None, named: Iterable[str | None]) -> list[str]:
    """The images that a lane's pool pulls ahead, each once."""
    return list(dict.fromkeys(image for image in (default, *named) if image))
