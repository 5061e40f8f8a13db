"""Snakemake on Azure Batch: jobs become Batch tasks, added in bulk and followed with one list a pass.

Nothing of azure.* is imported here: Snakemake imports every plugin at every call.
"""

from __future__ import annotations

import atexit
import json
import os
import shlex
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings
from snakemake_interface_executor_plugins.utils import format_cli_arg, join_cli_args

from azbatch.errors import AzbatchError, ConfigurationError
from snakemake_executor_plugin_azbatch.following import QUICK, Following
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

if TYPE_CHECKING:
    from snakemake_executor_plugin_azbatch.lane import Choice, Lane
    from snakemake_executor_plugin_azbatch.run import Run
    from snakemake_executor_plugin_azbatch.work import Member

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    # Snakemake packs, uploads and later removes the source archive; nodes unpack it once, in the preparation task.
    job_deploy_sources=True,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    # Values would stand in the command line, which all readers of the account see.
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    pass_group_args=True,
    init_seconds_before_status_checks=0,
)


class Executor(Following):
    """One workflow run. Snakemake calls it from its scheduler, from the wait thread and at the end."""

    def __post_init__(self) -> None:
        # A workflow that is up to date, or runs on this machine only, needs nothing of Batch.
        if any(not job.is_local for job in self.workflow.dag.needrun_jobs()):
            self._begin_or_clean_up()

    def _begin_or_clean_up(self) -> None:
        from snakemake_executor_plugin_azbatch.driver import DriverPresent

        try:
            self._begin()
        except BaseException as error:
            # Snakemake does not clean up after a constructor that failed.
            self._close()
            # Another driver, living or dead, may need the archive of the same name.
            if not isinstance(error, DriverPresent) and (self._made is None or not self._made.goes_on):
                self.workflow.cleanup_source_archive()
            self.wait = False
            if isinstance(error, ConfigurationError):
                raise WorkflowError("azbatch cannot start:\n" + "\n".join(error.faults)) from None
            if isinstance(error, AzbatchError):
                raise WorkflowError(f"azbatch cannot start: {error}") from None
            raise
        atexit.register(self._close)

    def _begin(self) -> None:
        from azbatch.azure.batch import BatchAccount
        from snakemake_executor_plugin_azbatch import lane, plan
        from snakemake_executor_plugin_azbatch.demands import Demands
        from snakemake_executor_plugin_azbatch.driver import FILE, DriverLock
        from snakemake_executor_plugin_azbatch.identity import digest
        from snakemake_executor_plugin_azbatch.run import Run
        from snakemake_executor_plugin_azbatch.submitter import Submitter

        settings: ExecutorSettings = self.settings
        found = plan.faults(settings)
        storage = self._storage_url(found)
        try:
            account = BatchAccount(settings.account_url, account_id=settings.account_id or "")
        except ConfigurationError as error:
            found += error.faults
        if found:
            raise ConfigurationError(found)
        self._lock = DriverLock(Path.cwd() / FILE)
        self._lock.take()
        prefix = str(self.workflow.storage_settings.default_storage_prefix or "")
        key = plan.workflow_key(socket.gethostname(), os.getcwd(), prefix)  # noqa: PTH109 - a plain string is wanted
        archive = self.workflow.source_archive
        environment = {"AZBATCH_STORAGE_URL": storage, **self._declared_variables()}
        self._demands = Demands(self.workflow, settings, self.logger)
        fingerprint = digest(
            self._demands.sources(), storage, settings.python, str(settings.container_image), *sorted(environment)
        )
        shared = lane.Shared(
            account=account,
            settings=settings,
            key=key,
            say=self.logger.info,
            preparation=plan.preparation_command(settings.python, archive.query, archive.checksum),
            environment=environment,
            tags={lane.WORKFLOW: key, lane.FINGERPRINT: fingerprint, lane.ARCHIVE: str(archive.query)},
        )
        run = self._made = Run(shared)
        run.begin()
        self._make_first_lanes(run)
        self._submitter = Submitter(lambda lane, tasks: lane.add(tasks), self._added)
        self._run = run

    def _make_first_lanes(self, run: Run) -> None:
        """Nodes are on their way while Snakemake goes on; only if there are none at all is it the run's fault."""
        first = self._demands.first()
        for choice in first:
            try:
                self._lane(run, choice)
            except AzbatchError:
                if len(first) == 1:
                    raise

    def _lane(self, run: Run, choice: Choice, job: JobExecutorInterface | None = None) -> Lane:
        """The choice's lane; one that only came up with `job`, out of a checkpoint, is sized for that."""
        asked = self._demands
        return run.lane(
            choice,
            lambda: asked.needs(choice) or ([asked.need(job)] if job is not None else []),
            lambda: asked.images(choice) or ([image] if job is not None and (image := asked.image(job)) else []),
        )

    def _storage_url(self, faults: list[str]) -> str:
        """Where tasks find their blobs: the setting, else the storage plugin's endpoint, else the environment."""
        if self.workflow.storage_settings.default_storage_provider != "azblob":
            faults.append("Jobs on Azure Batch exchange files by blob: use --default-storage-provider azblob.")
        tagged = self.workflow.storage_provider_settings.get("azblob")
        plugin = tagged.get_settings(None) if tagged is not None else None
        if plugin is not None and (plugin.sas_token or plugin.connection_string):
            self.logger.warning("Nodes sign in to storage with their identity; the SAS or key stays on this machine.")
        url = (
            self.settings.storage_url
            or (plugin.endpoint_url if plugin is not None else None)
            or (f"https://{plugin.account}.blob.core.windows.net" if plugin is not None and plugin.account else None)
            or os.environ.get("AZBATCH_STORAGE_URL")
        )
        if not url:
            faults.append("The Blob endpoint is unknown: set --azbatch-storage-url or AZBATCH_STORAGE_URL.")
        return str(url or "")

    def _declared_variables(self) -> dict[str, str]:
        """Variables the workflow declares (envvars:) or --envvars names. Batch shows them to the account's readers."""
        names = {*self.workflow.remote_execution_settings.envvars, *self.workflow.envvars}
        return {name: os.environ[name] for name in sorted(names) if name in os.environ}

    # Submission

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        ready: dict[tuple[Any, ...], tuple[Lane, list[Member]]] = {}
        for job in jobs:
            self.run_job_pre(job)
            found = self._accepted(job)
            if found is not None:
                lane, member = found
                ready.setdefault((id(lane), member.kind if member.packable else object()), (lane, []))[1].append(member)
        for lane, members in ready.values():
            self._submit(lane, members)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Queue one job."""
        found = self._accepted(job)
        if found is not None:
            self._submit(found[0], [found[1]])

    def _accepted(self, job: JobExecutorInterface) -> tuple[Lane, Member] | None:
        """The job and its lane; None where it is reported already: it can never run, or runs since an earlier run."""
        if self._run is None:
            # The first remote job came out of a checkpoint.
            self._begin_or_clean_up()
        info = SubmittedJobInfo(job)
        try:
            choice = self._demands.choice(job)
            lane = self._lane(self.run, choice, job)
            member = self._member(info, lane)
            lane.check(member.image)
        except AzbatchError as error:
            rule = getattr(getattr(job, "rule", None), "name", None) or "group"
            reasons = error.faults if isinstance(error, ConfigurationError) else [str(error)]
            self._fail(info, f"Job of rule '{rule}' can never run: {'; '.join(reasons)}. ")
            return None
        claimed = lane.claim(member.base)
        if claimed is None:
            return lane, member
        self._register(lane, claimed[0], {claimed[1]: member})
        self.report_job_submission(info, register_job=False)
        return None

    def _member(self, info: SubmittedJobInfo, lane: Lane) -> Member:
        from snakemake_executor_plugin_azbatch import identity
        from snakemake_executor_plugin_azbatch.work import Member

        job = info.job
        name = str(job.name if job.is_group() else job.rule.name)
        wildcards = {} if job.is_group() else job.wildcards_dict or {}
        common, own = identity.split(shlex.split(self.format_job_exec(job)))
        return Member(
            info=info,
            rule=name,
            label=f"{name} {' '.join(f'{k}={v}' for k, v in wildcards.items())}".strip(),
            interpreter=(self.get_python_executable(),),
            common=tuple(common),
            own=tuple(own),
            slots=self._demands.need(job).slots(lane.size, lane.slots),
            image=self._demands.image(job),
            minutes=self._demands.minutes(job),
            packable=not job.is_group(),
        )

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Snakemake's options for a job, without its deployment step: the node has done that once."""
        return str(
            join_cli_args(
                [
                    format_cli_arg("--snakefile", self.get_snakefile()),
                    self.get_job_args(job),
                    self.workflow.spawned_job_args_factory.general_args(executor_common_settings=self.common_settings),
                    # One job needs no solver, and the greedy scheduler spares importing one.
                    "--scheduler greedy",
                    # The scheduler's timer outlives the work by the timespan, a second by default.
                    "--max-jobs-per-timespan 100/0s",
                    format_cli_arg("--mode", self.get_exec_mode().item_to_choice()),
                ]
            )
        )

    def get_python_executable(self) -> str:
        return self.settings.python

    def _submit(self, lane: Lane, members: Sequence[Member]) -> None:
        """Jobs of one kind as tasks, packed where that pays, to the submitter."""
        from snakemake_executor_plugin_azbatch import work

        first = members[0]
        remaining = max(self._demands.remaining[first.rule], len(members))
        at_once = lane.nodes * lane.slots // first.slots
        size = work.pack_size(first.minutes, remaining, at_once, self.settings.pack) if first.packable else 1
        tasks = []
        for group in work.packs(members, size):
            pack = len(group) > 1
            base = work.pack_base(group) if pack else group[0].base
            with self._registry:
                name = self.run.numbers.following(base)
            task = work.task(
                group,
                f"{base}-{name}",
                pack=pack,
                precommand=self.workflow.remote_execution_settings.precommand or "",
                retries=self.settings.task_retries,
                retention=self.settings.task_retention,
                scratch=lane.scratch,
            )
            self._register(lane, task.id, dict(enumerate(group)), pack=pack)
            tasks.append(task)
        self._demands.remaining[first.rule] -= len(members)
        self._submitter.put(lane, tasks)

    def _register(self, lane: Lane, task_id: str, members: dict[int, Member], *, pack: bool | None = None) -> None:
        from snakemake_executor_plugin_azbatch.work import Work

        with self._registry:
            one = self._works.setdefault(task_id, Work(task_id, lane))
            one.members |= members
            # A task of an earlier driver is a pack if its id is not that of the only job in it.
            one.pack = any(not task_id.startswith(f"{m.base}-") for m in members.values()) if pack is None else pack
            for member in members.values():
                member.info.external_jobid = task_id

    def _added(self, task_id: str, refusal: str | None) -> None:
        with self._registry:
            one = self._works.get(task_id) if refusal is None else self._works.pop(task_id, None)
        if one is None:
            # Told already: given up, or ended before its submission was reported.
            return
        for member in one.members.values():
            if refusal is not None:
                self._fail(member.info, f"Batch refused the task '{task_id}': {refusal}. ")
            elif not member.lost:
                # Not registered as incomplete: blobs appear whole, and only after the rule succeeded.
                self.report_job_submission(member.info, register_job=False)
        if refusal is None:
            self._pause = QUICK
            self._last_news = time.monotonic()
            self._stirred.set()

    # The end

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """All jobs of the run at once; with --azbatch-keep-running none."""
        if self._run is None:
            return
        self._submitter.stop()
        if self.settings.keep_running and self._works:
            self._left = True
            return
        try:
            self.run.cancel()
        except AzbatchError as error:
            self.logger.warning(str(error))

    def shutdown(self) -> None:
        if self._run is not None:
            self._submitter.stop()
        with self.lock:
            self.wait = False
        self._stirred.set()
        super().shutdown()
        self._close()

    def _close(self) -> None:
        """Take away what the run made; called once however the run ends."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._close)
        if self._made is None:
            return
        if self._left:
            self.logger.info(f"Left on Batch: {len(self._works)} tasks. The same command goes on with them.")
            # Their nodes may yet have to fetch it.
            self.workflow._source_archive = None
        else:
            for fault in self._made.close(adopted=self._run is not None):
                self.logger.error(fault)
            if self._run is not None:
                self._remove_archives(self._made)
        if self.settings.report and self._run is not None:
            self._write_report(Path(self.settings.report))
        self._lock.release()

    def _remove_archives(self, run: Run) -> None:
        """Source archives of drivers that died; Snakemake itself removes that of this run."""
        for query in set(run.archives) - {run.shared.tags["azbatch-archive"]}:
            try:
                item = self.workflow.storage_registry.default_storage_provider.object(query)
                self.workflow.async_run(item.managed_remove())
            except Exception as error:  # noqa: BLE001 - a file of some kilobytes must not fail the run
                self.logger.warning(f"The source archive {query} of an earlier run could not be removed: {error}")

    def _write_report(self, path: Path) -> None:
        try:
            path.write_text(json.dumps(self.run.report(), indent=2))
        except OSError as error:
            self.logger.error(f"The report cannot be written to {path}: {error.strerror}.")
