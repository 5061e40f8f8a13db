"""Job schedules of the emulated world: when jobs are made, and how schedules end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator import events
from azbatch_emulator.records import DeallocationOption, JobSchedule, JobScheduleState, JobState, Refused
from azbatch_emulator.world.schedules import following
from tests.unit.worlds import START, Play


def _schedule(play: Play, schedule: dict[str, Any], **specification: Any) -> None:
    job = {"poolInfo": {"poolId": "p"}, **specification}
    play.do(events.AddJobSchedule(spec={"id": "s", "schedule": schedule, "jobSpecification": job}))


def _at(**delay: float) -> str:
    return (START + timedelta(**delay)).isoformat()


def _jobs(play: Play) -> list[str]:
    return list(play.world.jobs)


def _record(play: Play) -> JobSchedule:
    return play.world.schedule("s")


def test_without_recurrence_one_job_is_made_at_once_and_its_end_is_the_schedules() -> None:
    play = Play()
    _schedule(play, {})
    assert (_jobs(play), _record(play).state, _record(play).next_run) == (["s:job-1"], "active", None)
    play.do(events.TerminateJob(job_id="s:job-1"))
    assert (_record(play).state, _record(play).end_time) == (JobScheduleState.COMPLETED, play.now)
    with pytest.raises(Refused, match="JobScheduleCompleted"):
        play.do(events.EnableJobSchedule(schedule_id="s"))


def test_a_recurring_schedule_makes_one_job_for_each_interval_from_its_first_time_to_its_last() -> None:
    play = Play()
    calendar = {"recurrenceInterval": "PT10M", "doNotRunUntil": _at(minutes=5), "doNotRunAfter": _at(minutes=30)}
    _schedule(play, calendar, onAllTasksComplete="terminatejob")
    assert (_jobs(play), _record(play).next_run) == ([], START + timedelta(minutes=5))
    made = []
    for _ in range(40):
        play.after(minutes=1)
        made.append(len(_jobs(play)))
    assert [made[minute - 1] for minute in (4, 5, 14, 15, 24, 25, 40)] == [0, 1, 1, 2, 2, 3, 3]
    assert _record(play).state is JobScheduleState.COMPLETED


def test_a_job_that_runs_on_keeps_the_next_one_waiting_for_its_end() -> None:
    play = Play()
    _schedule(play, {"recurrenceInterval": "PT10M"})
    play.after(minutes=35)
    assert (_jobs(play), _record(play).waiting) == (["s:job-1"], True)
    play.do(events.TerminateJob(job_id="s:job-1"))
    assert _jobs(play) == ["s:job-1", "s:job-2"]
    assert _record(play).next_run == START + timedelta(minutes=40)


def test_what_missed_its_start_window_is_not_made_up_for() -> None:
    play = Play()
    _schedule(play, {"recurrenceInterval": "PT10M", "startWindow": "PT2M"})
    play.after(minutes=13)
    play.do(events.TerminateJob(job_id="s:job-1"))
    assert _jobs(play) == ["s:job-1"]
    play.after(minutes=7)
    assert _jobs(play) == ["s:job-1", "s:job-2"]


def test_a_disabled_schedule_makes_no_job_and_catches_up_with_one() -> None:
    play = Play()
    _schedule(play, {"recurrenceInterval": "PT10M"}, onAllTasksComplete="terminatejob")
    play.do(events.DisableJobSchedule(schedule_id="s"))
    play.after(minutes=35)
    assert _jobs(play) == ["s:job-1"]
    play.do(events.EnableJobSchedule(schedule_id="s"))
    assert (_jobs(play), _record(play).next_run) == (["s:job-1", "s:job-2"], START + timedelta(minutes=40))
    assert (_record(play).previous_state, _record(play).state) == ("disabled", "active")


def test_terminating_ends_the_active_job_first() -> None:
    play = Play()
    play.pool(1)
    _schedule(play, {"recurrenceInterval": "PT10M"})
    play.tasks("a", job_id="s:job-1")
    play.do(events.TerminateJobSchedule(schedule_id="s"))
    assert (play.world.job("s:job-1").state, _record(play).state) == (JobState.COMPLETED, JobScheduleState.COMPLETED)
    assert not play.running
    play.after(minutes=20)
    assert _jobs(play) == ["s:job-1"]


def test_deleting_takes_all_its_jobs_along_and_waits_for_their_release_tasks() -> None:
    play = Play()
    play.pool(1)
    prepared = {"jobPreparationTask": {"commandLine": "x"}, "jobReleaseTask": {"commandLine": "y"}}
    _schedule(play, {"recurrenceInterval": "PT10M"}, **prepared)
    play.tasks("a", job_id="s:job-1")
    play.end(next(name for name, run in play.running.items() if run.kind == "preparation"))
    play.do(events.DeleteJobSchedule(schedule_id="s"))
    assert _record(play).state is JobScheduleState.DELETING
    with pytest.raises(Refused, match="JobScheduleBeingDeleted"):
        _schedule(play, {})
    play.end(next(iter(play.running)))
    assert (_jobs(play), list(play.world.schedules)) == ([], [])


def test_directories_lie_below_the_schedules_name() -> None:
    play = Play()
    play.pool(1)
    _schedule(play, {})
    play.tasks("a", job_id="s:job-1")
    assert play.running[play.run_of("a")].directory == "workitems/s/job-1/a"


def test_changes_take_effect_with_the_next_job() -> None:
    play = Play()
    _schedule(play, {"recurrenceInterval": "PT10M"}, priority=1, onAllTasksComplete="terminatejob")
    changes = {
        "schedule": {"recurrenceInterval": "PT30M"},
        "jobSpecification": {"poolInfo": {"poolId": "p"}, "priority": 2},
    }
    play.do(events.PatchJobSchedule(schedule_id="s", changes=changes))
    assert _record(play).next_run == START + timedelta(minutes=30)
    play.after(minutes=30)
    assert [play.world.job(job).spec["priority"] for job in _jobs(play)] == [1, 2]


@given(st.integers(1, 10_000), st.integers(0, 100_000))
def test_the_following_run_is_after_the_last_and_at_most_one_interval_away(interval: int, passed: int) -> None:
    recurrence, now = timedelta(seconds=interval), START + timedelta(seconds=passed)
    found = following(START, recurrence, now)
    assert found is not None
    assert found > START
    assert (found - START) % recurrence == timedelta(0)
    assert found - recurrence <= now
    assert following(START, None, now) is None


def test_the_end_of_the_calendar_is_the_end_of_a_schedule() -> None:
    """A run in the last year there is has no following one."""
    last = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
    assert following(last, timedelta(days=7), last) is None


def test_a_schedule_disabled_twice_is_disabled() -> None:
    play = Play()
    _schedule(play, {"recurrenceInterval": "PT10M"})
    for _ in range(2):
        play.do(events.DisableJobSchedule(schedule_id="s"))
    assert _record(play).state is JobScheduleState.DISABLED
    play.do(events.DisableJob(job_id="s:job-1", tasks=DeallocationOption.REQUEUE))
    play.do(events.TerminateJobSchedule(schedule_id="s"))
    assert _record(play).state is JobScheduleState.COMPLETED
