"""Following many tasks with one filtered list a pass. The fold is pure; `look` does the asking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from azbatch.jobs.ports import JobPort

Json = dict[str, Any]
SELECT = "id,state,stateTransitionTime,executionInfo,nodeInfo"
# Passes overlap: a task may become visible a little after its transition time.
OVERLAP = timedelta(seconds=20)
CENSUS_EVERY = 30  # passes without news until everything is listed, to find tasks that vanished


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that ended, or is gone: `task` is its JSON, None where the service knows it no more."""

    id: str
    succeeded: bool
    task: Json | None


@dataclass(slots=True)
class Monitor:
    """The tasks of one job that are awaited. A missing id is never a success."""

    job_id: str
    awaited: set[str] = field(default_factory=set)
    since: datetime | None = None
    quiet: int = 0

    def expect(self, ids: Iterable[str]) -> None:
        self.awaited.update(ids)

    def filter(self) -> str:
        """The $filter of the next pass: completed tasks, as far back as may be news."""
        if self.since is None:
            return "state eq 'completed'"
        moment = (self.since - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return f"state eq 'completed' and stateTransitionTime ge DateTime'{moment}'"

    def fold(self, tasks: Sequence[Json]) -> list[Finished]:
        """Take a list's answer: the awaited tasks among them that have completed, each told once."""
        news: list[Finished] = []
        for task in tasks:
            name = str(task.get("id"))
            if task.get("state") != "completed":
                continue
            moment = _time(task.get("stateTransitionTime"))
            if moment is not None and (self.since is None or moment > self.since):
                self.since = moment
            if name in self.awaited:
                self.awaited.discard(name)
                news.append(Finished(name, _succeeded(task), task))
        self.quiet = 0 if news else self.quiet + 1
        return news

    def take_census(self, tasks: Sequence[Json], asked_for: Set[str]) -> list[Finished]:
        """Take a list of all tasks of the job: completed ones, and those that the service knows no more.

        `asked_for` are the tasks awaited before the list was asked for: one added meanwhile may be missing in it.
        """
        known = {str(task.get("id")) for task in tasks}
        news = self.fold(tasks)
        gone = sorted((self.awaited & asked_for) - known)
        self.awaited.difference_update(gone)
        return news + [Finished(name, False, None) for name in gone]

    def look(self, port: JobPort) -> list[Finished]:
        """One pass: one list call (a page per 1,000 finished tasks), now and then one more over all tasks."""
        if not self.awaited:
            return []
        news = self.fold(port.list_tasks(self.job_id, filter=self.filter(), select=SELECT))
        if self.awaited and self.quiet and self.quiet % CENSUS_EVERY == 0:
            asked_for = frozenset(self.awaited)
            news += self.take_census(port.list_tasks(self.job_id, select=SELECT), asked_for)
        return news


def _succeeded(task: Json) -> bool:
    info = task.get("executionInfo") or {}
    return info.get("exitCode") == 0 and not info.get("failureInfo")


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction or '0')[:6].ljust(6, '0')}+00:00")
