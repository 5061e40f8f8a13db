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

from azbatch.errors import ConfigurationError, ServiceError
from azbatch.jobs import TaskSpec
from azbatch.pools.vm_sizes import find
from snakemake_executor_plugin_azbatch import plan
from snakemake_executor_plugin_azbatch.run import Submitter
from snakemake_executor_plugin_azbatch.settings import ExecutorSettings


@given(st.text(max_size=200), st.integers(1, 9), st.one_of(st.integers(), st.uuids()))
def test_task_ids_are_batchs(rule: str, attempt: int, jobid: object) -> None:
    """Any rule name and job id give an id Batch takes, the same each time."""
    name = plan.task_id(jobid, attempt, rule)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert name == plan.task_id(jobid, attempt, rule)


def test_long_rule_names_stay_apart() -> None:
    """Two long names with a common beginning give two ids."""
    assert plan.task_id(1, 1, "r" * 100 + "a") != plan.task_id(1, 1, "r" * 100 + "b")


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
    words = shlex.split(plan.task_command("""python -m snakemake --config 'a=b c' "$HOME" """))
    assert words[:2] == ["/bin/bash", "-c"]
    assert words[2].endswith("""; python -m snakemake --config 'a=b c' "$HOME" """)


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

    def add(self, tasks: Any) -> dict[str, str | None]:
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
    submitter.put([TaskSpec(id=f"t{n}", command="true") for n in range(number)])
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
