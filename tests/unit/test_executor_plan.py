"""What the executor asks of Batch, and what its import costs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch.errors import AzbatchError, ConfigurationError, ServiceError
from azbatch.jobs import TaskSpec
from azbatch.pools.vm_sizes import find
from snakemake_executor_plugin_azbatch import identity, plan, work
from snakemake_executor_plugin_azbatch.lane import Choice, Lane
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings
from snakemake_executor_plugin_azbatch.submitter import Submitter


@given(st.text(max_size=200), st.lists(st.text(max_size=20), max_size=8), st.integers(1, 10**9))
def test_task_ids_are_batchs(rule: str, tokens: list[str], number: int) -> None:
    """Any rule name and command give an id Batch takes, the same each time, that tells both parts again."""
    base = identity.base(rule, tokens)
    name = identity.task_id(base, number)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert name == identity.task_id(identity.base(rule, tokens), number)
    assert identity.parse(name) == (base, number)


def test_a_tasks_id_tells_what_it_does() -> None:
    """Attempt, order of options and temporary files do not matter; the target and the configuration do."""
    usual = ["--target-jobs", "r:i=1", "--config", "a=1", "--attempt", "1", "--rerun-triggers", "mtime", "code"]
    again = ["--rerun-triggers", "code", "mtime", "--config", "a=1", "--attempt", "2", "--target-jobs", "r:i=1"]
    assert identity.base("r", usual) == identity.base("r", [*again, "--unneeded-temp-files", "x"])
    for other in ("r:i=2", "a=2"):
        changed = [other if token in {"r:i=1", "a=1"} and token[0] == other[0] else token for token in usual]
        assert identity.base("r", usual) != identity.base("r", changed)


def test_long_rule_names_stay_apart() -> None:
    """Two long names with a common beginning give two ids."""
    one, other = (identity.base("r" * 100 + x, ["--target-jobs", f"{'r' * 100}{x}:"]) for x in "ab")
    assert one != other


def _member(number: int, **changes: Any) -> work.Member:
    fields: dict[str, Any] = {
        "info": None,
        "rule": "r",
        "label": f"r i={number}",
        "interpreter": ("python",),
        "common": ("--snakefile", "Snake file", "--config", "a='b c'"),
        "own": ("--target-jobs", f"r:i={number}"),
        "slots": 1,
    }
    return work.Member(**{**fields, **changes})


@given(st.integers(1, 250), st.integers(1, 100), st.integers(0, 3000))
def test_packs_hold_every_job_once(number: int, size: int, letters: int) -> None:
    """However jobs are packed: each once, in order, no pack above its size, no command too long, all of it readable."""
    members = [_member(n, own=("--target-jobs", f"r:i={n}{'y' * letters}")) for n in range(number)]
    groups = work.packs(members, size)
    assert [member for group in groups for member in group] == members
    for group in groups:
        assert len(group) <= size
        assert len(work.encode(group)) < 131_072
        rule, common, jobs = work.decode(work.encode(group))
        assert (rule, tuple(common)) == ("r", members[0].common)
        assert [tuple(own) for own in jobs] == [member.own for member in group]


@pytest.mark.parametrize(
    ("minutes", "remaining", "slots", "most", "size"),
    [
        (0, 1000, 4, 0, 1),  # nothing declared: not packed unasked
        (1, 1000, 4, 1, 1),  # switched off
        (1, 1000, 4, 0, 30),  # as many as half an hour allows
        (1, 16, 4, 0, 2),  # all slots stay busy, twice over
        (60, 1000, 4, 0, 1),  # long jobs
        (0, 1000, 4, 50, 50),  # asked for
        (0, 10_000, 4, 100, 100),
        (1, 1, 4, 0, 1),
    ],
)
def test_how_many_jobs_share_a_task(minutes: float, remaining: int, slots: int, most: int, size: int) -> None:
    """Packs are for short jobs, and never leave slots idle."""
    assert work.pack_size(minutes, remaining, slots, most) == size


def test_a_pack_is_known_again() -> None:
    """A later driver reads from a task's id and command which jobs are in it."""
    members = [_member(n) for n in range(3)]
    settings: dict[str, Any] = {"precommand": "", "retries": 0, "retention": "P1D", "scratch": False}
    pack = work.task(members, "r-0123456789ab-1", pack=True, **settings)
    assert work.bases_in(pack.id, pack.command) == [member.base for member in members]
    single = work.task(members[:1], f"{members[0].base}-2", pack=False, **settings)
    assert work.bases_in(single.id, single.command) == [members[0].base]
    assert work.bases_in("somebody-elses", "true") == []


def test_numbers_are_never_given_twice() -> None:
    """Also where an earlier driver gave some."""
    numbers = identity.Numbers()
    numbers.saw("a", 3)
    assert [numbers.following("a"), numbers.following("b"), numbers.following("a")] == [4, 1, 5]


def test_all_faults_of_settings_come_at_once() -> None:
    """A user mends the command line in one go."""
    settings = ExecutorSettings(
        pool_id="p", vm_size="Nonsense", max_nodes=0, spot_share=2, task_slots=999, task_retention="a day", registry="r"
    )
    assert len(plan.faults(settings)) == 7
    assert plan.faults(ExecutorSettings()) == []


@pytest.mark.parametrize(
    ("resources", "need"),
    [
        ({}, plan.Needs(2, 0, 0)),
        ({"mem_mb": 500, "disk_mb": 7}, plan.Needs(2, 500, 7)),
        ({"mem_mb": "<TBD>", "disk_mb": True}, plan.Needs(2, 0, 0)),
    ],
)
def test_what_a_job_needs(resources: dict[str, object], need: plan.Needs) -> None:
    """Resources that are no numbers yet count as nothing declared."""
    assert plan.Needs.of(2, resources) == need


def test_a_job_that_fits_no_node_is_refused() -> None:
    """Such a job would wait for ever."""
    with pytest.raises(ConfigurationError, match="8 cores are asked for, a node has 4"):
        plan.Needs(8).slots(find("Standard_D4ds_v5"), 4)


@pytest.mark.parametrize(("share", "counts"), [(0, (5, 0)), (1, (0, 5)), (0.4, (3, 2))])
def test_spot_share(share: float, counts: tuple[int, int]) -> None:
    """Dedicated and spot nodes together are the nodes asked for."""
    assert plan.node_counts(ExecutorSettings(max_nodes=5, spot_share=share)) == counts


def test_the_task_command_survives_the_splitting() -> None:
    """Batch splits the command line; bash gets the script whole, quotes in Snakemake's arguments included."""
    task = work.task(
        [_member(1)], "r-1", pack=False, precommand="export X=1", retries=0, retention="P1D", scratch=False
    )
    words = shlex.split(task.command)
    assert words[:2] == ["/bin/bash", "-c"]
    end = words[2].split("; ")[-1]
    assert end.startswith("export X=1 && python -m snakemake_executor_plugin_azbatch.job --snakefile 'Snake file'")
    assert shlex.split(end)[-3:] == ["a='b c'", "--target-jobs", "r:i=1"]


def test_the_same_workflow_is_known_again() -> None:
    """Leftovers are found by host, folder and prefix, and by nothing else."""
    assert plan.workflow_key("h", "/d", "az://x") == plan.workflow_key("h", "/d", "az://x")
    assert plan.workflow_key("h", "/d", "az://x") != plan.workflow_key("h", "/d", "az://y")


class _Sink:
    """What a submitter's callbacks saw."""

    def __init__(self, fail: bool = False) -> None:
        self.groups: list[int] = []
        self.done: dict[str, str | None] = {}
        self.fail = fail

    def add(self, _lane: Any, tasks: Any) -> dict[str, str | None]:
        self.groups.append(len(tasks))
        if self.fail:
            raise ServiceError("the job is gone", code="JobNotFound")
        return {task.id: None for task in tasks}

    def note(self, task: str, refusal: str | None) -> None:
        assert task not in self.done
        self.done[task] = refusal


def _submitted(sink: _Sink, number: int) -> None:
    import threading

    finished = threading.Event()

    def note(task: str, refusal: str | None) -> None:
        sink.note(task, refusal)
        if len(sink.done) == number:
            finished.set()

    submitter = Submitter(sink.add, note)
    submitter.put("lane", [TaskSpec(id=f"t{n}", command="true") for n in range(number)])
    assert finished.wait(10)
    submitter.stop()


def test_jobs_are_added_by_the_hundred() -> None:
    """250 ready jobs take at most 5 calls, and each is reported once."""
    sink = _Sink()
    _submitted(sink, 250)
    assert sum(sink.groups) == 250
    assert len(sink.groups) <= 5
    assert set(sink.done.values()) == {None}


def test_a_refused_call_fails_each_of_its_jobs() -> None:
    """No job is left unreported when the service refuses the whole call."""
    sink = _Sink(fail=True)
    _submitted(sink, 3)
    assert sink.done == dict.fromkeys(("t0", "t1", "t2"), "the job is gone")


HEAVY = ("azure.core", "azure.batch", "azure.storage", "rich", "starlette")


@pytest.mark.parametrize(
    "module", ["snakemake_executor_plugin_azbatch", "snakemake_storage_plugin_azblob", "azbatch.cli"]
)
def test_nothing_heavy_is_imported(module: str) -> None:
    """Snakemake imports every plugin at every call: who does not use Azure does not pay for its SDKs."""
    script = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("containers", "image", "said"),
    [(True, "i", None), (False, None, None), (True, None, "in containers only"), (False, "i", "runs no containers")],
)
def test_a_job_that_its_pool_would_refuse_is_not_submitted(
    containers: bool, image: str | None, said: str | None
) -> None:
    """The service runs no task without a container on a pool with them, nor the other way round: said beforehand."""
    shared: Any = None
    lane = Lane(shared=shared, choice=Choice(), pool_id="p", containers=containers)
    if said is None:
        lane.check(image)
        return
    with pytest.raises(AzbatchError, match=said):
        lane.check(image)
