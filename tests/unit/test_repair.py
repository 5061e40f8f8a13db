"""What is done about pools that are not well, tasks that failed, and what dead runs left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch.jobs import blame, leftovers, packed
from azbatch.jobs.judge import Blame
from azbatch.pools import repair

STEADY = {"id": "p", "state": "active", "allocationState": "steady"}
NO_CAPACITY = {"code": "AllocationFailed", "message": "none"}
NO_QUOTA = {"code": "AccountCoreQuotaReached", "message": "none"}
NEW = repair.Repairs()


def _node(state: str, name: str = "n") -> dict[str, Any]:
    return {"id": name, "state": state}


@pytest.mark.parametrize(
    ("pool", "nodes", "done", "expected"),
    [
        (STEADY, [_node("idle")], NEW, None),
        (STEADY, [_node("unusable"), _node("running", "m")], NEW, repair.Remove),
        (STEADY, [_node("starttaskfailed")], NEW, repair.Remove),
        ({**STEADY, "allocationState": "resizing"}, [_node("unusable")], NEW, None),
        (STEADY, [_node("unusable")], repair.Repairs(removals=3), repair.GiveUp),
        (STEADY, [_node("unusable"), _node("idle", "m")], repair.Repairs(removals=3), None),
        ({**STEADY, "resizeErrors": [NO_CAPACITY]}, [], NEW, repair.Wait),
        ({**STEADY, "resizeErrors": [NO_CAPACITY]}, [_node("idle")], NEW, None),
        ({**STEADY, "resizeErrors": [NO_CAPACITY]}, [], repair.Repairs(since=0.0), repair.GiveUp),
        ({**STEADY, "resizeErrors": [NO_QUOTA]}, [], NEW, repair.GiveUp),
    ],
)
@pytest.mark.fault(
    "start task failing, resize error then recovery, no capacity",
    "broken nodes replaced; passing errors waited out; lasting ones given up",
)
def test_what_is_done_about_a_pool(
    pool: dict[str, Any], nodes: list[dict[str, Any]], done: repair.Repairs, expected: type | None
) -> None:
    """Broken nodes are replaced a few times, passing resize errors waited out, lasting ones given up at once."""
    action, _ = repair.decide(pool, nodes, done, 4000.0)
    assert (None if action is None else type(action)) is expected


def test_a_foreign_pool_is_not_repaired() -> None:
    """Nodes of a pool that someone else made are not removed; it is given up when none of them works."""
    action, _ = repair.decide(STEADY, [_node("unusable")], NEW, 0.0, repair.NONE)
    assert isinstance(action, repair.GiveUp)


@given(st.lists(st.lists(st.sampled_from(["idle", "running", "unusable", "starttaskfailed"]), max_size=4), max_size=20))
def test_repairs_come_to_an_end(looks: list[list[str]]) -> None:
    """However nodes break, they are removed three times at most, and only broken ones are."""
    done = NEW
    removals = 0
    for now, states in enumerate(looks):
        nodes = [_node(state, f"n{n}") for n, state in enumerate(states)]
        action, done = repair.decide(STEADY, nodes, done, float(now))
        if isinstance(action, repair.Remove):
            removals += 1
            broken = {node["id"] for node in nodes if node["state"] in repair.BROKEN}
            assert set(action.nodes) <= broken
    assert removals <= 3


def test_a_passing_error_is_told_once() -> None:
    """The same sentence is not repeated at each look; a new one is."""
    pool = {**STEADY, "resizeErrors": [NO_CAPACITY]}
    first, done = repair.decide(pool, [], NEW, 0.0)
    second, done = repair.decide(pool, [], done, 10.0)
    assert isinstance(first, repair.Wait)
    assert second is None
    _, done = repair.decide(STEADY, [_node("idle")], done, 20.0)
    assert done.since is None


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"exitCode": 3, "failureInfo": {"category": "usererror", "code": "FailureExitCode"}}, Blame.USER),
        ({"failureInfo": {"category": "servererror", "code": "BlobDownloadTimedOut"}}, Blame.PASSING),
        ({"failureInfo": {"category": "ServerError", "code": "DiskFull"}}, Blame.PASSING),
        ({"failureInfo": {"category": "usererror", "code": "BlobAccessDenied"}}, Blame.LASTING),
        ({"failureInfo": {"category": "usererror", "code": "TaskEnded"}}, Blame.USER),
        ({}, Blame.PASSING),
    ],
)
@pytest.mark.fault(
    "disk full, image or access refused, lost node", "the service's faults are retried apart; lasting ones fail at once"
)
def test_whose_fault_a_failure_is(info: dict[str, Any], expected: Blame) -> None:
    """The service's category decides, but for what fails in the same way each time."""
    assert blame({"id": "t", "executionInfo": info}) is expected


def test_a_packs_results_are_read_as_far_as_they_go() -> None:
    """A line that was cut off by the end of the node tells nothing."""
    text = '{"job": 0, "code": 0}\n{"job": 2, "code": 1, "output": "why"}\n{"job": 3, "co'
    assert packed.read(text) == {0: packed.InPack(0), 2: packed.InPack(1, "why")}


NOW = datetime(2026, 1, 2, tzinfo=UTC)
OURS = [{"name": "azbatch-workflow", "value": "k"}]


def _thing(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "state": "active", "creationTime": "2026-01-01T00:00:00.1Z", **fields}


def _lease(moment: str) -> dict[str, Any]:
    return {"metadata": OURS, "autoScaleFormula": f'x = time() < time("{moment}Z") ? 1 : 0;'}


def test_what_dead_runs_left_is_told_from_what_lives() -> None:
    """By lease, by process, by the end of the job; what is not ours is not even listed."""
    pools = [
        _thing("foreign"),
        _thing("expired", **_lease("2026-01-01T23:59:59")),
        _thing("renewed", **_lease("2026-01-02T00:00:01")),
        _thing("kept", metadata=[*OURS, {"name": "azbatch-kept", "value": "all"}]),
        _thing("gone", metadata=[{"name": "azbatch-owner", "value": "dead"}]),
        _thing("lives", metadata=[{"name": "azbatch-owner", "value": "alive"}]),
        _thing("elsewhere", metadata=[{"name": "azbatch-owner", "value": "?"}]),
    ]
    jobs = [
        _thing("foreign-job", poolInfo={"poolId": "expired"}),
        _thing("job-expired", metadata=OURS, poolInfo={"poolId": "expired"}),
        _thing("job-renewed", metadata=OURS, poolInfo={"poolId": "renewed"}),
        _thing("job-ended", metadata=OURS, poolInfo={"poolId": "renewed"}, state="completed"),
        _thing("job-without", metadata=OURS, poolInfo={"poolId": "never"}),
    ]
    alive = {"dead": False, "alive": True, "?": None}
    found = leftovers.find(jobs, pools, now=NOW, alive=lambda owner: alive[owner])
    assert {one.id for one in found if one.dead} == {"expired", "gone", "job-expired", "job-ended", "job-without"}
    assert {one.id for one in found if not one.dead} == {"renewed", "kept", "lives", "elsewhere", "job-renewed"}
    assert all(one.age == timedelta(days=1) - timedelta(0) for one in found)
