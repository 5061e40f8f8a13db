"""Submission in bulk, monitoring, and explaining failures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch.errors import ServiceError
from azbatch.jobs import Monitor, TaskSpec, explain, submit
from azbatch.jobs.submit import MOST_BYTES, MOST_TASKS, chunks
from azbatch.testing import MemoryBatch


@given(st.lists(st.integers(1, 400_000), max_size=250))
def test_chunks_law(sizes: list[int]) -> None:
    """Every body is in exactly one chunk, in order; none has over 100, none but a single body is too large."""
    bodies = [{"id": str(number), "commandLine": "x" * size} for number, size in enumerate(sizes)]
    groups = list(chunks(bodies))
    assert [body for group in groups for body in group] == bodies
    for group in groups:
        assert 1 <= len(group) <= MOST_TASKS
        assert len(group) == 1 or sum(len(body["commandLine"]) for body in group) <= MOST_BYTES


def _tasks(number: int) -> list[TaskSpec]:
    return [TaskSpec(id=f"t{n}", command="true") for n in range(number)]


def test_submission_is_bulk_and_may_be_repeated() -> None:
    """250 tasks take 3 calls; the same again changes nothing and is no error."""
    batch = MemoryBatch()
    batch.create_job({"id": "j"})
    assert set(submit(batch, "j", _tasks(250)).values()) == {None}
    assert batch.calls["add_tasks"] == 3
    assert set(submit(batch, "j", _tasks(250)).values()) == {None}
    assert len(batch.list_tasks("j")) == 250


def test_each_task_is_refused_by_itself() -> None:
    """A refused task brings its reason; a server's fault is tried again; the others are added."""
    batch = MemoryBatch()
    batch.create_job({"id": "j"})
    batch.refuse["t1"] = ("clienterror", "InvalidPropertyValue")
    batch.refuse_once["t2"] = ("servererror", "ServerBusy")
    outcome = submit(batch, "j", _tasks(4))
    assert outcome["t1"] is not None
    assert "InvalidPropertyValue" in outcome["t1"]
    assert {outcome[name] for name in ("t0", "t2", "t3")} == {None}


def test_a_body_that_is_too_large_is_split() -> None:
    """RequestBodyTooLarge halves the group until it passes."""
    batch = MemoryBatch(most_tasks=10)
    batch.create_job({"id": "j"})
    assert set(submit(batch, "j", _tasks(35)).values()) == {None}
    assert len(batch.list_tasks("j")) == 35


def _ended(name: str, second: int, code: int = 0) -> dict[str, Any]:
    info: dict[str, Any] = {"exitCode": code}
    if code:
        info["failureInfo"] = {"code": "FailureExitCode"}
    return {
        "id": name,
        "state": "completed",
        "stateTransitionTime": f"2026-11-26T10:00:{second:02d}.1234567Z",
        "executionInfo": info,
    }


@given(st.permutations(range(12)), st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(0, 11))
def test_monitor_law(order: list[int], cuts: list[int], failing: int) -> None:
    """However the answers are cut, repeated and ordered, each task is told once and with the right verdict."""
    monitor = Monitor("j")
    monitor.expect(f"t{n}" for n in range(12))
    told: dict[str, bool] = {}
    for cut in [*sorted(cuts), 12]:
        for finished in monitor.fold([_ended(f"t{n}", n, int(n == failing)) for n in order[:cut]]):
            assert finished.id not in told
            told[finished.id] = finished.succeeded
    assert told == {f"t{n}": n != failing for n in range(12)}
    assert not monitor.awaited


def test_a_missing_task_is_never_a_success() -> None:
    """A task the service knows no more is told as gone, not as done; one added during the question is not gone."""
    monitor = Monitor("j")
    monitor.expect(["a", "b"])
    asked_for = frozenset(monitor.awaited)
    monitor.expect(["added meanwhile"])
    news = monitor.take_census([{"id": "a", "state": "running"}], asked_for)
    assert [(n.id, n.succeeded, n.task) for n in news] == [("b", False, None)]
    assert monitor.awaited == {"a", "added meanwhile"}


@pytest.mark.fault("clocks of driver and service differ", "passes follow the service's own times, with an overlap")
def test_passes_overlap() -> None:
    """The next pass asks a little further back than the newest end seen: late answers are not lost."""
    monitor = Monitor("j")
    monitor.expect(["a", "b"])
    assert monitor.filter() == "state eq 'completed'"
    monitor.fold([_ended("a", 40)])
    assert "stateTransitionTime ge DateTime'2026-11-26T10:00:20" in monitor.filter()


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (
            {"exitCode": 3, "failureInfo": {"code": "FailureExitCode"}, "retryCount": 1},
            "exit code 3 on node n after 2 attempts",
        ),
        ({"failureInfo": {"code": "CommandProgramNotFound", "message": "m"}}, "the program does not exist on the node"),
        ({"failureInfo": {"code": "BlobAccessDenied", "details": [{"value": "az://x"}]}}, "expired SAS (az://x)"),
        ({"failureInfo": {"code": "TaskEnded"}, "requeueCount": 2}, "requeued 2 times"),
    ],
)
def test_why_a_task_failed(info: dict[str, Any], said: str) -> None:
    """The sentence names exit code or reason, node, attempts, and what to do."""
    batch = MemoryBatch()
    batch.files["j", "t", "stderr.txt"] = b"the end"
    outcome = explain(batch, "j", "t", {"executionInfo": info, "nodeInfo": {"nodeId": "n"}})
    assert said in outcome.reason
    assert outcome.output == "the end"


def test_output_that_cannot_be_read_is_said() -> None:
    """A node that is gone takes its files with it: a sentence stands in their place."""
    outcome = explain(MemoryBatch(), "j", "t", {"executionInfo": {"exitCode": 1}, "nodeInfo": {"nodeId": "n"}})
    assert "cannot be read any more" in outcome.output


def test_a_deleted_task_is_explained() -> None:
    """A task deleted by someone is told as such."""
    assert "deleted by someone" in explain(MemoryBatch(), "j", "t", None).reason


def test_a_refused_job_refuses_all() -> None:
    """Where the job itself does not take tasks, the error reaches the caller."""
    with pytest.raises(ServiceError):
        submit(MemoryBatch(), "nowhere", _tasks(1))
