"""Snakemake on Azure Batch: jobs become Batch tasks, added in bulk and followed with one list a pass.

Nothing of azure.* is imported here: Snakemake imports every plugin at every call.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import socket
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings
from snakemake_interface_executor_plugins.utils import format_cli_arg, join_cli_args

from azbatch.errors import AzbatchError, ConfigurationError
from snakemake_executor_plugin_azbatch import plan
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

if TYPE_CHECKING:
    from azbatch.jobs import Finished, TaskSpec
    from snakemake_executor_plugin_azbatch.run import Run

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

QUICK, SLOW = 0.2, 5.0  # seconds between passes: after news, and after long silence
TOGETHER = 100  # jobs handed to the submitter at a time: as many as one call takes
SHARE = 0.1  # a pass comes after this part of the time since the last news: jobs wait that much longer at most
PATIENCE = 120.0  # seconds that the service may be out of reach before jobs are given up


class Executor(RemoteExecutor):
    """One workflow run. Snakemake calls it from its scheduler, from the wait thread and at the end."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # The base class starts the wait thread before __post_init__: what that thread reads must be there by then.
        self._jobs: dict[str, SubmittedJobInfo] = {}
        self._registry = threading.Lock()
        self._stirred = threading.Event()
        self._pause = QUICK
        self._last_news = time.monotonic()
        self._silent_since: float | None = None
        self._closed = False
        self._made: Run | None = None  # whatever begin() made so far, to be taken away
        self._run: Run | None = None  # once all of it is there
        super().__init__(workflow, logger)

    def __post_init__(self) -> None:
        # A workflow that is up to date, or runs on this machine only, needs nothing of Batch.
        if any(not job.is_local for job in self.workflow.dag.needrun_jobs()):
            self._begin_or_clean_up()

    def _begin_or_clean_up(self) -> None:
        try:
            self._begin()
        except BaseException as error:
            # Snakemake does not clean up after a constructor that failed.
            self._close()
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
        from snakemake_executor_plugin_azbatch.run import Run, Submitter

        settings: ExecutorSettings = self.settings
        found = plan.faults(settings)
        storage = self._storage_url(found)
        try:
            account = BatchAccount(settings.account_url)
        except ConfigurationError as error:
            found += error.faults
        if found:
            raise ConfigurationError(found)
        prefix = str(self.workflow.storage_settings.default_storage_prefix or "")
        key = plan.workflow_key(socket.gethostname(), os.getcwd(), prefix)  # noqa: PTH109 - a plain string is wanted
        run = self._made = Run(account, settings, key, self.logger.info)
        archive = self.workflow.source_archive
        run.begin(
            plan.largest(self._needs_of_rules()),
            plan.preparation_command(settings.python, archive.query, archive.checksum),
            {"AZBATCH_STORAGE_URL": storage, **self._declared_variables()},
        )
        self._submitter = Submitter(run.add, self._added)
        self._run = run

    @property
    def settings(self) -> ExecutorSettings:
        return self.workflow.executor_settings or ExecutorSettings()

    @property
    def run(self) -> Run:
        """The run; it is there once the constructor has returned."""
        assert self._run is not None
        return self._run

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

    def _needs_of_rules(self) -> list[plan.Needs]:
        """The most that a job (or group) of each kind asks for, of those that run remotely, retries included."""
        seen: dict[str, plan.Needs] = {}
        for job in self.workflow.dag.needrun_jobs():
            if not job.is_local:
                group = self.workflow.dag.get_job_group(job)
                kind = job.rule.name if group is None else f"group {group.jobid}"
                need = self._needs_with_retries(job if group is None else group)
                seen[kind] = plan.largest([seen[kind], need]) if kind in seen else need
        return list(seen.values())

    def _needs_with_retries(self, job: JobExecutorInterface) -> plan.Needs:
        """Resources may grow with the attempt: the last one must fit too."""
        first = self._needs(job)
        if not job.restart_times or job.restart_times < 0:
            return first
        attempt = job.attempt
        job.attempt = attempt + job.restart_times
        last = self._needs(job)
        job.attempt = attempt
        return plan.largest([first, last])

    @staticmethod
    def _needs(job: JobExecutorInterface) -> plan.Needs:
        return plan.Needs.of(job.threads, job.resources)

    # Submission

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        ready: list[TaskSpec] = []
        for job in jobs:
            self.run_job_pre(job)
            task = self._accepted(job)
            if task is not None:
                ready.append(task)
            if len(ready) == TOGETHER:
                self._submitter.put(ready)
                ready = []
        if ready:
            self._submitter.put(ready)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Queue one job."""
        task = self._accepted(job)
        if task is not None:
            self._submitter.put([task])

    def _accepted(self, job: JobExecutorInterface) -> TaskSpec | None:
        """The job's task, registered: the submitter reports it. None, and reported, where it can never run."""
        if self._run is None:
            # The first remote job came out of a checkpoint.
            self._begin_or_clean_up()
        info = SubmittedJobInfo(job)
        try:
            task = self._task(job)
        except ConfigurationError as error:
            rule = getattr(getattr(job, "rule", None), "name", None) or "group"
            self._fail(info, f"Job of rule '{rule}' can never run: {'; '.join(error.faults)}. ")
            return None
        info.external_jobid = task.id
        with self._registry:
            self._jobs[task.id] = info
        return task

    def _task(self, job: JobExecutorInterface) -> TaskSpec:
        from azbatch.jobs import TaskSpec
        from azbatch.jobs.spec import Container

        name = job.name if job.is_group() else job.rule.name
        image = self.settings.container_image
        return TaskSpec(
            id=plan.task_id(job.jobid, job.attempt, name),
            command=plan.task_command(self.format_job_exec(job)),
            slots=self._needs(job).slots(self.run.size, self.run.slots),
            retries=self.settings.task_retries,
            retention=self.settings.task_retention,
            display_name=f"{name} {' '.join(f'{k}={v}' for k, v in (job.wildcards_dict or {}).items())}".strip()
            if not job.is_group()
            else name,
            container=Container(image=image) if image else None,
        )

    def format_job_exec(self, job: JobExecutorInterface) -> str:
        """Snakemake's command for a job, without its deployment step: the node has done that once."""
        precommand = self.workflow.remote_execution_settings.precommand
        return str(
            join_cli_args(
                [
                    f"{precommand} &&" if precommand else "",
                    self.get_python_executable(),
                    "-m snakemake_executor_plugin_azbatch.job",
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

    def _added(self, task_id: str, refusal: str | None) -> None:
        with self._registry:
            info = self._jobs.get(task_id) if refusal is None else self._jobs.pop(task_id, None)
        if info is None:
            # Told already: given up, or ended before its submission was reported.
            return
        if refusal is None:
            # Not registered as incomplete: blobs appear whole, and only after the rule succeeded.
            self.report_job_submission(info, register_job=False)
            self._pause = QUICK
            self._last_news = time.monotonic()
            self._stirred.set()
        else:
            self._fail(info, f"Batch refused the task '{task_id}': {refusal}. ")

    # Following

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """One pass; whatever goes wrong in it is told as failed jobs, since an exception would end the wait thread."""
        try:
            news = await asyncio.to_thread(self._run.look, time.monotonic()) if self._run else []
            self._silent_since = None
            await self._tell(news)
            self._pause = self._next_pause(bool(news), time.monotonic())
        except AzbatchError as error:
            self._trouble(error)
        except Exception as error:  # noqa: BLE001 - what escapes here ends the wait thread, and the run with it
            self._trouble(AzbatchError(f"A status pass failed: {type(error).__name__}: {error}."))
        for info in active_jobs:
            with self._registry:
                waiting = info.external_jobid in self._jobs
            if waiting:
                yield info

    def _next_pause(self, news: bool, now: float) -> float:
        if news:
            self._last_news = now
        return min(max(QUICK, SHARE * (now - self._last_news)), SLOW)

    async def _tell(self, news: Sequence[Finished]) -> None:
        from azbatch.jobs import explain

        for finished in news:
            with self._registry:
                info = self._jobs.pop(finished.id, None)
            if info is None:
                continue
            if finished.succeeded:
                self.report_job_success(info)
                continue
            outcome = await asyncio.to_thread(explain, self.run.account, self.run.job_id, finished.id, finished.task)
            tail = f"\nIts output ended with:\n{outcome.output}\n" if outcome.output else " "
            self._fail(info, f"{outcome.reason}{tail}")

    def _fail(self, info: SubmittedJobInfo, reason: str) -> None:
        """Report a job as failed, with the reason in Snakemake's own error."""
        if info.job.is_group():
            # Snakemake's error of a group job shows no message.
            self.logger.error(reason)
        self.report_job_error(info, msg=reason)

    def _trouble(self, error: AzbatchError) -> None:
        """A pass failed: wait out a service that is out of reach, give the jobs up on anything else."""
        from snakemake_executor_plugin_azbatch.run import PoolFailed

        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            if not isinstance(error, PoolFailed):
                self.logger.warning(f"{error} Trying again.")
        if not isinstance(error, PoolFailed) and now - self._silent_since < PATIENCE:
            self._pause = min(self._pause * 2, SLOW)
            return
        with self._registry:
            lost, self._jobs = list(self._jobs.values()), {}
        for info in lost:
            self._fail(info, f"{error} ")

    async def sleep(self) -> None:
        """Pause between passes; news of submissions and the end of the run cut it short."""
        await asyncio.to_thread(self._stirred.wait, self._pause)
        self._stirred.clear()

    # The end

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """All jobs of the run at once."""
        if self._run is None:
            return
        self._submitter.stop()
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
        if self._made is not None:
            for fault in self._made.close():
                self.logger.error(fault)
            if self.settings.report and self._run is not None:
                self._write_report(Path(self.settings.report))

    def _write_report(self, path: Path) -> None:
        try:
            path.write_text(json.dumps(self.run.report(), indent=2))
        except OSError as error:
            self.logger.error(f"The report cannot be written to {path}: {error.strerror}.")
