"""Following the tasks of a run, and telling Snakemake how its jobs ended."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from azbatch.errors import AzbatchError
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings

if TYPE_CHECKING:
    from azbatch.jobs import Finished
    from snakemake_executor_plugin_azbatch.lane import Choice, Lane
    from snakemake_executor_plugin_azbatch.run import Run
    from snakemake_executor_plugin_azbatch.work import Member, Work

QUICK, SLOW = 0.2, 5.0  # seconds between passes: after news, and after long silence
SHARE = 0.1  # a pass comes after this part of the time since the last news: jobs wait that much longer at most
PATIENCE = 120.0  # seconds that the service may be out of reach before jobs are given up


class Following(RemoteExecutor):
    """What the wait thread does; submission and the run's beginning and end are the executor's."""

    def __init__(self, workflow: Any, logger: Any) -> None:
        # The base class starts the wait thread before __post_init__: what that thread reads must be there by then.
        self._works: dict[str, Work] = {}
        self._registry = threading.Lock()
        self._stirred = threading.Event()
        self._pause = QUICK
        self._last_news = time.monotonic()
        self._silent_since: float | None = None
        self._closed = False
        self._left = False
        self._made: Run | None = None  # whatever begin() made so far, to be taken away
        self._run: Run | None = None  # once all of it is there
        super().__init__(workflow, logger)

    @property
    def settings(self) -> ExecutorSettings:
        return self.workflow.executor_settings or ExecutorSettings()

    @property
    def run(self) -> Run:
        """The run; it is there once the constructor has returned."""
        assert self._run is not None
        return self._run

    @abstractmethod
    def _submit(self, lane: Lane, members: Sequence[Member]) -> None: ...

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """One pass; whatever goes wrong in it is told as failed jobs, since an exception would end the wait thread."""
        try:
            news, broken = await asyncio.to_thread(self._run.look, time.monotonic()) if self._run else ([], {})
            self._silent_since = None
            await asyncio.to_thread(self._learn_outputs, news)
            for finished in news:
                with self._registry:
                    one = self._works.pop(finished.id, None)
                if one is not None:
                    await asyncio.to_thread(self._tell_whatever_happens, one, finished)
            for choice, reason in broken.items():
                self._give_up(reason, choice)
            self._pause = self._next_pause(bool(news), time.monotonic())
        except AzbatchError as error:
            self._trouble(error)
        except Exception as error:  # noqa: BLE001 - what escapes here ends the wait thread, and the run with it
            self._trouble(AzbatchError(f"A status pass failed: {type(error).__name__}: {error}."))
        for info in active_jobs:
            with self._registry:
                waiting = info.external_jobid in self._works
            if waiting:
                yield info

    def _next_pause(self, news: bool, now: float) -> float:
        if news:
            self._last_news = now
        return min(max(QUICK, SHARE * (now - self._last_news)), SLOW)

    def _learn_outputs(self, news: Sequence[Finished]) -> None:
        """Snakemake looks at the outputs of each job that ended, one after the other: one listing answers for many.

        What it knew of them is from before.
        """
        from snakemake_storage_plugin_azblob import StorageObject
        from snakemake_storage_plugin_azblob.bulk import learn

        with self._registry:
            works = [self._works[finished.id] for finished in news if finished.succeeded and finished.id in self._works]
        jobs = [member.info.job for one in works for member in one.members.values()]
        files = [file for job in jobs for file in job.output if getattr(file, "is_storage", False)]
        items = [file.storage_object for file in files if isinstance(file.storage_object, StorageObject)]
        for item in items:
            item.forget()
        learn(items)

    def _tell_whatever_happens(self, one: Work, finished: Finished) -> None:
        """A job that is not reported would be waited for, for ever."""
        try:
            self._tell(one, finished)
        except Exception as error:  # noqa: BLE001 - see above
            for member in one.take().values():
                self._fail(member.info, f"The end of task '{one.id}' was not understood: {error!r}. ")

    def _tell(self, one: Work, finished: Finished) -> None:
        """Report each job of a task that ended, or run it again where that was nobody's fault."""
        if one.pack:
            self._tell_pack(one, finished)
        elif finished.succeeded:
            for member in one.take().values():
                self.report_job_success(member.info)
        else:
            self._tell_failure(one, finished)

    def _tell_pack(self, one: Work, finished: Finished) -> None:
        from azbatch.jobs import ended_in_pack

        results = ended_in_pack(self.run.shared.account, one.lane.job_id, finished.id, finished.task)
        for place, member in one.take(results).items():
            if results[place].code == 0:
                self.report_job_success(member.info)
            else:
                where = f"Job {place + 1} of Batch task '{finished.id}'"
                output = results[place].output
                self._fail(member.info, f"{where} failed with exit code {results[place].code}.{_tail(output)}")
        if one.members:
            self._tell_failure(one, finished)

    def _tell_failure(self, one: Work, finished: Finished) -> None:
        from azbatch.jobs import Blame, blame, explain

        verdict = blame(finished.task) if finished.task is not None else Blame.LASTING
        outcome = explain(self.run.shared.account, one.lane.job_id, finished.id, finished.task)
        most = self.settings.infrastructure_retries
        again = []
        for member in one.take().values():
            if verdict is Blame.PASSING and member.lost < most and not self._closed:
                again.append(replace(member, lost=member.lost + 1))
            else:
                times = f" It was tried {member.lost + 1} times." if member.lost else ""
                self._fail(member.info, f"{outcome.reason}{times}{_tail(outcome.output)}")
        if again:
            lost = max(member.lost for member in again)
            self.logger.warning(f"{outcome.reason} That was not the job's doing: running it again ({lost} of {most}).")
            self._submit(one.lane, again)

    def _fail(self, info: SubmittedJobInfo, reason: str) -> None:
        """Report a job as failed, with the reason in Snakemake's own error."""
        if info.job.is_group():
            # Snakemake's error of a group job shows no message.
            self.logger.error(reason)
        self.report_job_error(info, msg=reason)

    def _give_up(self, reason: str, choice: Choice | None = None) -> None:
        """Fail all jobs that wait, or those of one lane."""
        with self._registry:
            lost = [w for w in self._works.values() if choice is None or w.lane.choice == choice]
            for one in lost:
                del self._works[one.id]
        for one in lost:
            for member in one.members.values():
                self._fail(member.info, f"{reason} ")

    def _trouble(self, error: AzbatchError) -> None:
        """A pass failed: wait out a service that is out of reach, then give the jobs up."""
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            self.logger.warning(f"{error} Trying again.")
        if now - self._silent_since < PATIENCE:
            self._pause = min(self._pause * 2, SLOW)
        else:
            self._give_up(str(error))

    async def sleep(self) -> None:
        """Pause between passes; news of submissions and the end of the run cut it short."""
        await asyncio.to_thread(self._stirred.wait, self._pause)
        self._stirred.clear()


def _tail(output: str) -> str:
    return f"\nIts output ended with:\n{output}\n" if output else " "
