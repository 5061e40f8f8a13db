"""Jobs and tasks of the emulated world."""

from __future__ import annotations

from typing import Any

import pytest

from azbatch_emulator import events
from azbatch_emulator.commands import DropDirectory
from azbatch_emulator.records import DeallocationOption, JobState, Refused, TaskState
from tests.unit.worlds import Play


@pytest.fixture
def play() -> Play:
    """One node with two slots, and one job."""
    made = Play()
    made.pool(1)
    made.job(usesTaskDependencies=True)
    return made


def _job(play: Play, job_id: str = "j") -> tuple[JobState, str | None]:
    job = play.world.job(job_id)
    return job.state, job.terminate_reason


def test_slots_limit_what_runs(play: Play) -> None:
    """Two slots run two tasks, or one that needs both; the next starts when slots are free."""
    play.tasks("a", "b", "c")
    assert [play.task(name).state for name in "abc"] == [TaskState.RUNNING, TaskState.RUNNING, TaskState.ACTIVE]
    play.end_task("a")
    assert play.task("c").state is TaskState.RUNNING
    play.tasks("wide", requiredSlots=2)
    play.end_task("b")
    assert play.task("wide").state is TaskState.ACTIVE
    play.end_task("c")
    assert play.task("wide").state is TaskState.RUNNING


def test_a_failure_is_retried_and_then_told(play: Play) -> None:
    """Non-zero exits are retried up to the count; the last is the result."""
    play.tasks("a", constraints={"maxTaskRetryCount": 1})
    play.end_task("a", 3)
    assert play.task("a").execution.retry_count == 1
    play.end_task("a", 4)
    done = play.task("a")
    assert (done.state, done.execution.exit_code, done.execution.result) == (TaskState.COMPLETED, 4, "failure")
    assert done.previous_state is TaskState.RUNNING


def test_a_late_report_of_an_earlier_start_is_ignored(play: Play) -> None:
    """A runner that reports a run the world has ended changes nothing."""
    play.tasks("a")
    run = play.run_of("a")
    play.do(events.TerminateTask(job_id="j", task_id="a"))
    before = play.task("a")
    play.do(events.RunEnded(run=run, exit_code=0))
    assert play.task("a") is before


def test_dependencies(play: Play) -> None:
    """A task waits for others, by id and by range; a failure blocks unless its exit conditions satisfy."""
    play.tasks("1", "2")
    play.tasks("after", dependsOn={"taskIdRanges": [{"start": 1, "end": 2}]})
    play.end_task("1")
    assert play.task("after").state is TaskState.ACTIVE
    play.end_task("2")
    assert play.task("after").state is TaskState.RUNNING
    play.tasks("bad")
    play.tasks("fine", exitConditions={"exitCodes": [{"code": 5, "exitOptions": {"dependencyAction": "satisfy"}}]})
    play.end_task("after")
    play.tasks("never", dependsOn={"taskIds": ["bad"]})
    play.tasks("still", dependsOn={"taskIds": ["fine"]})
    play.end_task("bad", 5)
    play.end_task("fine", 5)
    assert (play.task("never").state, play.task("still").state) == (TaskState.ACTIVE, TaskState.RUNNING)


def test_each_task_is_added_or_refused_by_itself(play: Play) -> None:
    """A second task of an id is refused, whatever the case of its letters; the others are added."""
    results = play.tasks("a", "A", "b").results
    assert [getattr(result, "code", None) for result in results] == [None, "TaskExists", None]


def test_terminate_and_reactivate(play: Play) -> None:
    """A task ended before it ran has no start; a failed one can be activated again, a good one cannot."""
    play.tasks("a", "b", "c")
    play.do(events.TerminateTask(job_id="j", task_id="c"))
    waiting = play.task("c").execution
    assert (waiting.start_time, waiting.exit_code) == (None, None)
    assert waiting.failure is not None
    assert waiting.failure.code == "TaskEnded"
    play.end_task("a")
    with pytest.raises(Refused, match="TaskSucceeded"):
        play.do(events.ReactivateTask(job_id="j", task_id="a"))
    with pytest.raises(Refused, match="TaskNotCompleted"):
        play.do(events.ReactivateTask(job_id="j", task_id="b"))
    play.do(events.ReactivateTask(job_id="j", task_id="c"))
    assert play.task("c").state is TaskState.RUNNING


def test_a_deleted_task_leaves_nothing(play: Play) -> None:
    """Its run is killed, its directory dropped, its counts gone."""
    play.tasks("a")
    play.do(events.DeleteTask(job_id="j", task_id="a"))
    assert not play.running
    assert any(isinstance(command, DropDirectory) for command in play.asked)
    assert play.world.task_counts("j")[0].completed == 0


@pytest.mark.parametrize(
    ("option", "task", "job"),
    [
        (DeallocationOption.REQUEUE, TaskState.ACTIVE, JobState.DISABLED),
        (DeallocationOption.TERMINATE, TaskState.COMPLETED, JobState.DISABLED),
        (DeallocationOption.TASK_COMPLETION, TaskState.RUNNING, JobState.DISABLING),
    ],
)
def test_disabling_by_each_option(play: Play, option: DeallocationOption, task: TaskState, job: JobState) -> None:
    """Running tasks are requeued, terminated or waited for; enabled again, the job goes on."""
    play.tasks("a")
    play.do(events.DisableJob(job_id="j", tasks=option))
    assert (play.task("a").state, _job(play)[0]) == (task, job)
    if job is JobState.DISABLING:
        play.end_task("a")
        assert _job(play)[0] is JobState.DISABLED
    play.tasks("b")
    assert play.task("b").state is TaskState.ACTIVE
    play.do(events.EnableJob(job_id="j"))
    assert play.task("b").state is TaskState.RUNNING


def test_all_tasks_complete_ends_the_job(play: Play) -> None:
    """Set while tasks run it waits for them; set on a job without tasks it ends it at once."""
    play.tasks("a")
    play.do(events.PatchJob(job_id="j", changes={"onAllTasksComplete": "terminatejob"}))
    assert _job(play)[0] is JobState.ACTIVE
    play.end_task("a")
    assert _job(play) == (JobState.COMPLETED, "AllTasksComplete")
    play.job("empty")
    play.do(events.PatchJob(job_id="empty", changes={"onAllTasksComplete": "terminatejob"}))
    assert _job(play, "empty") == (JobState.COMPLETED, "AllTasksComplete")


@pytest.mark.parametrize(("action", "state"), [("terminate", JobState.COMPLETED), ("disable", JobState.DISABLED)])
def test_a_failure_acts_on_the_job(play: Play, action: str, state: JobState) -> None:
    """onTaskFailure with exit conditions terminates or disables the job."""
    play.job("f", onTaskFailure="performexitoptionsjobaction")
    play.tasks("a", job_id="f", exitConditions={"default": {"jobAction": action}})
    play.end_task("a", 1)
    assert _job(play, "f")[0] is state


def test_terminating_a_job_ends_all_with_it(play: Play) -> None:
    """Running and waiting tasks end; the job is completed with the reason given."""
    play.tasks("a", "b", "c")
    play.do(events.TerminateJob(job_id="j", reason="enough"))
    assert _job(play) == (JobState.COMPLETED, "enough")
    assert not play.running
    counts, _ = play.world.task_counts("j")
    assert (counts.completed, counts.failed) == (3, 3)
    with pytest.raises(Refused, match="JobCompleted"):
        play.tasks("d")


def test_the_time_limit_of_a_job(play: Play) -> None:
    """maxWallClockTime ends the job with its reason."""
    play.job("short", constraints={"maxWallClockTime": "PT1H"})
    play.tasks("a", job_id="short")
    play.after(minutes=59)
    assert _job(play, "short")[0] is JobState.ACTIVE
    play.after(minutes=2)
    assert _job(play, "short") == (JobState.COMPLETED, "MaxWallClockTimeExpiry")


def test_preparation_comes_once_a_node_and_release_at_the_end(play: Play) -> None:
    """Tasks wait, preparing, for the node's preparation task; the job completes after the release task."""
    play.job("prep", jobPreparationTask={"commandLine": "p"}, jobReleaseTask={"commandLine": "r"})
    play.tasks("a", "b", job_id="prep")
    assert [play.task(name, "prep").state for name in "ab"] == [TaskState.PREPARING] * 2
    assert [run.kind for run in play.running.values()] == ["preparation"]
    play.end(next(iter(play.running)))
    assert [play.task(name, "prep").state for name in "ab"] == [TaskState.RUNNING] * 2
    play.end_task("a")
    play.end_task("b")
    play.tasks("c", job_id="prep")
    assert play.task("c", "prep").state is TaskState.RUNNING
    play.do(events.TerminateJob(job_id="prep"))
    assert _job(play, "prep")[0] is JobState.TERMINATING
    assert [run.kind for run in play.running.values()] == ["release"]
    play.end(next(iter(play.running)))
    assert _job(play, "prep")[0] is JobState.COMPLETED


def test_a_node_whose_preparation_failed_runs_none_of_the_job(play: Play) -> None:
    """Its tasks go back and wait for another node."""
    play.job("prep", jobPreparationTask={"commandLine": "p"})
    play.tasks("a", job_id="prep")
    play.end(next(iter(play.running)), 1)
    assert play.task("a", "prep").state is TaskState.ACTIVE
    play.do(events.ResizePool(pool_id="p", dedicated=2, spot=0))
    play.after(seconds=60)
    play.end(next(iter(play.running)))
    assert play.task("a", "prep").state is TaskState.RUNNING


def test_priority_then_age(play: Play) -> None:
    """Slots go to the job of higher priority first, then to the older one."""
    play.tasks("a", "b")
    play.job("low", priority=-5)
    play.job("high", priority=5)
    play.tasks("l", job_id="low")
    play.tasks("h", job_id="high")
    play.end_task("a")
    assert play.task("h", "high").state is TaskState.RUNNING
    assert play.task("l", "low").state is TaskState.ACTIVE


def test_an_auto_pool_lives_with_its_job() -> None:
    """The pool is made for the job, named after the prefix, and goes with it."""
    play = Play()
    pool = {"vmSize": "Standard_D2s_v5", "targetDedicatedNodes": 1, "taskSlotsPerNode": 1}
    info: dict[str, Any] = {"autoPoolSpecification": {"autoPoolIdPrefix": "mine", "pool": pool}}
    play.do(events.AddJob(spec={"id": "j", "poolInfo": info}))
    (made,) = play.world.pools
    assert made.startswith("mine_")
    play.do(events.TerminateJob(job_id="j"))
    play.after(minutes=1)
    assert not play.world.pools


def test_the_job_manager_ends_its_job(play: Play) -> None:
    """When the job manager task completes, so does the job."""
    play.job("m", jobManagerTask={"id": "boss", "commandLine": "x"})
    play.end_task("boss")
    assert _job(play, "m") == (JobState.COMPLETED, "JMComplete")


def test_a_deleted_job_is_gone_with_its_directories(play: Play) -> None:
    """Runs are killed, directories dropped, the id free again."""
    play.tasks("a")
    play.do(events.DeleteJob(job_id="j"))
    assert "j" not in play.world.jobs
    assert not play.running
    play.job()
    assert _job(play)[0] is JobState.ACTIVE


def test_previous_state_skips_what_passes_by(play: Play) -> None:
    """A job that was disabled was active before, not disabling [recorded]."""
    play.do(events.DisableJob(job_id="j", tasks=DeallocationOption.REQUEUE))
    assert play.world.job("j").previous_state is JobState.ACTIVE


def test_tasks_are_found_by_number_also_after_many_deletions(play: Play) -> None:
    """What is listed after a number is what was added after it and is still there, in that order."""
    ids = [f"t{n}" for n in range(1500)]
    for start in range(0, 1500, 100):
        play.tasks(*ids[start : start + 100])
    for task in ids[10:1490]:
        play.do(events.DeleteTask(job_id="j", task_id=task))
    left = [*ids[:10], *ids[1490:]]
    assert [task.id for task in play.world.tasks_after("j", -1)] == left
    for place in (0, 9, 15):
        after = play.world.task("j", left[place]).number
        assert [task.id for task in play.world.tasks_after("j", after)] == left[place + 1 :]
    play.tasks("t5000")
    assert [task.id for task in play.world.tasks_after("j", -1)][-1] == "t5000"
