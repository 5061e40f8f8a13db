"""What the jobs of a workflow ask for: which pool, how much of a node, which image, and how many there are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from azbatch.errors import ConfigurationError
from snakemake_executor_plugin_azbatch import identity, plan
from snakemake_executor_plugin_azbatch.lane import Choice
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

# Resources by which a rule chooses: `resources: azbatch_vm_size="Standard_NC4as_T4_v3"`, or --set-resources.
POOL, VM_SIZE, IMAGE = "azbatch_pool", "azbatch_vm_size", "azbatch_container_image"
MOST_BYTES = 10_000_000  # of a source file; Snakemake leaves larger ones out of its archive


class Demands:
    """Reads Snakemake's workflow; `settings` are the run's, `logger` is Snakemake's."""

    def __init__(self, workflow: Any, settings: ExecutorSettings, logger: Any) -> None:
        self._workflow = workflow
        self._logger = logger
        self._settings = settings
        self.remaining: Counter[str] = Counter()
        for job in workflow.dag.needrun_jobs():
            if not job.is_local:
                self.remaining[job.rule.name] += 1

    def jobs(self) -> Iterator[tuple[str, Any]]:
        """(kind, job or its group) of all that have to run on Batch."""
        dag = self._workflow.dag
        for job in dag.needrun_jobs():
            if not job.is_local:
                group = dag.get_job_group(job)
                yield (job.rule.name, job) if group is None else (f"group {group.jobid}", group)

    def first(self) -> list[Choice]:
        """What the jobs want that wait for no other job; each once."""
        dag = self._workflow.dag
        needed = set(dag.needrun_jobs())
        found: dict[Choice, None] = {}
        for job in needed:
            if not job.is_local and not any(before in needed for before in dag.dependencies[job]):
                group = dag.get_job_group(job)
                found[self.choice(job if group is None else group)] = None
        return list(found) or list(dict.fromkeys(self.choice(job) for _, job in self.jobs()))[:1]

    def choice(self, job: Any) -> Choice:
        """The pool a job (or group) wants. Raises ConfigurationError where the jobs of a group disagree."""
        members = list(job.jobs) if job.is_group() else [job]
        found = {
            Choice(
                pool_id=self._named(one, POOL) or self._settings.pool_id,
                vm_size=self._named(one, VM_SIZE),
                spot=self._spot(one),
            )
            for one in members
        }
        if len(found) > 1:
            raise ConfigurationError([f"the jobs of group '{job.name}' want different pools"])
        return found.pop()

    def _spot(self, job: Any) -> bool | None:
        rules = self._workflow.remote_execution_settings.preemptible_rules
        named = rules is not None and (rules.all or bool(rules.rules))
        return bool(rules.is_preemptible(job.rule.name)) if named else None

    def image(self, job: Any) -> str | None:
        """The container image a job's task runs in; the first that a member of a group names."""
        members = list(job.jobs) if job.is_group() else [job]
        named = (self._named(one, IMAGE) for one in members)
        return next((image for image in named if image), self._settings.container_image)

    def images(self, choice: Choice) -> list[str]:
        """Those of all jobs that want this pool."""
        found = dict.fromkeys(self.image(job) for _, job in self.jobs() if self.choice(job) == choice)
        default = self._settings.container_image
        return list(dict.fromkeys(image for image in (default, *found) if image))

    @staticmethod
    def _named(job: Any, resource: str) -> str | None:
        value = job.resources.get(resource)
        return str(value) if value else None

    @staticmethod
    def need(job: Any) -> plan.Needs:
        return plan.Needs.of(job.threads, job.resources)

    def needs(self, choice: Choice) -> list[plan.Needs]:
        """The most that a job (or group) of each kind with this choice asks for, retries included."""
        seen: dict[str, plan.Needs] = {}
        for kind, job in self.jobs():
            if self.choice(job) == choice:
                need = self._with_retries(job)
                seen[kind] = plan.largest([seen[kind], need]) if kind in seen else need
        return list(seen.values())

    def _with_retries(self, job: Any) -> plan.Needs:
        """Resources may grow with the attempt: the last one must fit too."""
        first = self.need(job)
        if not job.restart_times or job.restart_times < 0:
            return first
        attempt = job.attempt
        job.attempt = attempt + job.restart_times
        last = self.need(job)
        job.attempt = attempt
        return plan.largest([first, last])

    @staticmethod
    def minutes(job: Any) -> float:
        """The declared `runtime`, 0 where there is none."""
        value = job.resources.get("runtime")
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0

    def sources(self) -> str:
        """A digest of the workflow's own files: names and contents, in no order."""
        told = []
        for name in sorted(map(str, self._files())):
            path = Path(name)
            if path.is_file() and path.stat().st_size <= MOST_BYTES:
                told.append(f"{name}={hashlib.sha256(path.read_bytes()).hexdigest()}")
        return identity.digest(*told)

    def _files(self) -> Iterable[Any]:
        """Asked for the second time: what Snakemake logs about it was said when it made its archive."""
        was, self._logger.disabled = self._logger.disabled, True
        try:
            return self._workflow.dag.get_sources()
        finally:
            self._logger.disabled = was
