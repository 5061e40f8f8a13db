"""Runs that go on: after their driver died, on broken nodes, on several pools, and with many jobs in a task."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from azbatch.azure.batch import BatchAccount
from tests.acceptance.conftest import Workflow, until

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("nothing_left"), pytest.mark.xdist_group("scale")]

WAITING = """
rule all:
    input: "two"
rule first:
    output: "one"
    shell: "date +%s%N > {{output}}"
rule second:
    input: "one"
    output: "two"
    params: go="{folder}/go", ran="{folder}/ran"
    shell: "echo x >> {{params.ran}}; while [ ! -e {{params.go}} ]; do sleep 0.1; done; cp {{input}} {{output}}"
"""


def _runs(account: BatchAccount) -> list[str]:
    return [str(job["id"]) for job in account.list_jobs() if str(job["id"]).startswith("snakemake-")]


def _unlock(workflow: Workflow) -> None:
    done = subprocess.run(
        workflow.command("--unlock"), cwd=workflow.folder, env=workflow.environment, capture_output=True, check=False
    )
    assert done.returncode == 0


def _waits(workflow: Workflow) -> Path:
    """A workflow whose second job waits for the file that is returned, and notes each time it begins."""
    workflow.write(WAITING.format(folder=workflow.folder))
    return workflow.folder / "go"


def _times_run(workflow: Workflow) -> int:
    ran = workflow.folder / "ran"
    return len(ran.read_text().split()) if ran.exists() else 0


def _run_on(workflow: Workflow, go: Path, *arguments: str) -> str:
    """Run the workflow again; its second job may end once the driver has told what it found. What it said."""
    process = workflow.start(*arguments)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "an earlier run" in line:
            break
    go.touch()
    said += process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    return said


@pytest.mark.fault("two drivers in one folder and prefix", "the second is refused and told who is there")
@pytest.mark.fault("driver killed (SIGKILL) while a task runs", "the same command adopts the task; nothing runs twice")
@pytest.mark.parametrize("arguments", [(), ("--azbatch-pack", "4")], ids=["one by one", "packed"])
def test_a_killed_drivers_tasks_are_adopted(
    workflow: Workflow, account: BatchAccount, arguments: tuple[str, ...]
) -> None:
    """kill -9; the same command finds the job and its running task, awaits that, and runs nothing twice.

    While the first driver lives, a second is told who is there, and touches nothing.
    """
    go = _waits(workflow)
    process = workflow.start(*arguments)
    until(lambda: _times_run(workflow) == 1, 60)
    code, said = workflow.run("--nolock", *arguments)
    assert code == 1
    assert f"Process {process.pid} runs this workflow already" in said
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [job] = _runs(account)
    _unlock(workflow)
    said = _run_on(workflow, go, *arguments)
    assert f"Going on with job '{job}' of an earlier run: 1 of its jobs" in said
    assert _times_run(workflow) == 1


@pytest.mark.fault("driver killed, and the workflow edited", "the old job is removed, the new one runs")
def test_changed_sources_are_not_mixed_with_old_tasks(workflow: Workflow, account: BatchAccount) -> None:
    """A workflow that was edited meanwhile does not take results of its former self: the old job is removed."""
    go = _waits(workflow)
    process = workflow.start()
    until(lambda: _times_run(workflow) == 1, 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    [job] = _runs(account)
    _unlock(workflow)
    snakefile = workflow.folder / "Snakefile"
    snakefile.write_text(snakefile.read_text().replace("cp {input}", "cat {input} >"))
    said = _run_on(workflow, go)
    assert f"Removing job '{job}' that an earlier run of this workflow left" in said
    assert _times_run(workflow) == 2


@pytest.mark.fault("driver interrupted with `--azbatch-keep-running`", "tasks go on, and are adopted")
def test_what_is_left_on_purpose_is_taken_up_again(workflow: Workflow, account: BatchAccount) -> None:
    """Ctrl-C with --azbatch-keep-running: the task goes on without a driver, and the next run only collects it."""
    go = _waits(workflow)
    process = workflow.start("--azbatch-keep-running")
    until(lambda: _times_run(workflow) == 1, 60)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert "Left on Batch: 1 tasks. The same command goes on with them." in said
    [job] = _runs(account)
    said = _run_on(workflow, go, "--azbatch-keep-running")
    assert f"Going on with job '{job}'" in said
    assert _times_run(workflow) == 1


@pytest.mark.fault("one job of a pack fails", "only that one is retried")
def test_short_jobs_share_a_task(workflow: Workflow) -> None:
    """Nine jobs in packs of three: three tasks; the one that fails says why, is retried alone, and harms no other."""
    workflow.write(
        'rule all:\n    input: expand("out/{i}", i=range(9))\n'
        'rule short:\n    output: "out/{i}"\n    resources: runtime=1\n'
        f'    params: seen="{workflow.folder}/seen"\n'
        '    shell: "if [ {wildcards.i} = 4 ] && [ ! -e {params.seen} ]; then touch {params.seen}; '
        'echo the-reason >&2; exit 3; fi; echo {wildcards.i} > {output}"\n'
    )
    code, said = workflow.run(
        "--azbatch-pack", "3", "--azbatch-max-nodes", "1", "--retries", "1", "--azbatch-report", "report.json"
    )
    assert code == 0, said
    assert "the-reason" in said
    assert "failed with exit code 1" in said
    tasks = json.loads((workflow.folder / "report.json").read_text())["tasks"]
    assert len(tasks) == 4
    assert said.count("Finished jobid") == 10


@pytest.mark.fault("a rule's pool is not there", "its jobs fail, the others run")
def test_rules_choose_their_nodes(workflow: Workflow) -> None:
    """A VM size by a rule's resource, spot nodes by --preemptible-rules: a pool for each, all gone at the end.

    A rule that names a pool that is not there fails with that; the others run.
    """
    workflow.write(
        'rule all:\n    input: "a", "b", "c", "d"\n'
        'rule plain:\n    output: "a"\n    shell: "touch {output}"\n'
        'rule large:\n    output: "b"\n    resources: azbatch_vm_size="Standard_D8ds_v5"\n    shell: "touch {output}"\n'
        'rule cheap:\n    output: "c"\n    shell: "touch {output}"\n'
        'rule bad:\n    output: "d"\n    resources: azbatch_pool="nowhere"\n    shell: "touch {output}"\n'
    )
    code, said = workflow.run("--keep-going", "--preemptible-rules", "cheap", "--azbatch-report", "report.json")
    assert code == 1
    assert "Job of rule 'bad' can never run" in said
    assert "PoolNotFound" in said
    assert "Traceback" not in said
    assert sorted(workflow.download(workflow.prefix.removeprefix("az://acceptance/"))) == ["a", "b", "c"]
    report = json.loads((workflow.folder / "report.json").read_text())
    sizes = [lane["vm_size"] for lane in report["lanes"]]
    assert sizes.count("Standard_D8ds_v5") == 1
    assert len(sizes) == 3
    assert "spot Standard_F2s_v2 nodes" in said
    assert "dedicated Standard_D8ds_v5 nodes" in said


@pytest.mark.fault("a node becomes unusable under a job", "replaced; the job runs elsewhere")
def test_a_broken_node_is_replaced(workflow: Workflow, account: BatchAccount) -> None:
    """A node that becomes unusable under a job is removed, said so, and the job runs on another."""
    go = _waits(workflow)
    process = workflow.start("--azbatch-max-nodes", "1")
    until(lambda: _times_run(workflow) == 1, 60)
    [job] = _runs(account)
    [node] = account.list_nodes(job)
    workflow.emulator.control("break", pool_id=job, node_id=node["id"])
    go.touch()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    assert f"Node {node['id']} is unusable" in said
    assert "Replacing 1 of the nodes" in said
    assert _times_run(workflow) == 2


def test_every_feature_gives_what_a_local_run_gives(workflow: Workflow, tmp_path: Path) -> None:
    """Checkpoint, group, directory, temp, retries, benchmark, log, scatter, module, odd names: the same files."""
    features = Path(__file__).with_name("features")
    local = tmp_path / "local"
    for folder in (local, workflow.folder):
        shutil.copytree(features, folder, dirs_exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nocolor"]
    here = subprocess.run(command, cwd=local, env=workflow.environment, capture_output=True, text=True, check=False)
    assert here.returncode == 0, here.stderr
    code, said = workflow.run()
    assert code == 0, said
    top = workflow.prefix.removeprefix("az://acceptance/")
    found = workflow.download(top)
    expected = {
        path.relative_to(local).as_posix(): path.read_bytes()
        for path in local.rglob("*")
        if path.is_file() and ".snakemake" not in path.relative_to(local).parts and path.suffix != ".smk"
    }
    del expected["Snakefile"]
    assert found.keys() == expected.keys()
    measured = "benchmarks/slow.tsv"
    assert found.pop(measured).splitlines()[0] == expected.pop(measured).splitlines()[0]
    assert found == expected


@pytest.mark.fault(
    "429 and 503 storms; connections reset before and after commit; slow answers; collections that fail in part",
    "each job runs once, the result is right",
)
def test_a_bad_wire(workflow: Workflow) -> None:
    """Refusals, resets before and after, late answers, partly failed collections: each job ran once, all is right."""
    workflow.write(
        'rule all:\n    input: expand("out/{i}", i=range(10))\n'
        f'rule one:\n    output: "out/{{i}}"\n    params: ran="{workflow.folder}/ran"\n'
        '    shell: "echo {wildcards.i} >> {params.ran}; echo {wildcards.i} > {output}"\n'
    )
    everywhere = {"times": None}
    workflow.emulator.control(
        "faults",
        seed=5,
        rules=[
            {**everywhere, "kind": "partial", "operation": "CreateTaskCollection", "probability": 0.5, "share": 0.2},
            {**everywhere, "kind": "status", "status": 503, "retry_after": 0.1, "probability": 0.1},
            {**everywhere, "kind": "status", "status": 429, "retry_after": 0.1, "probability": 0.1},
            {**everywhere, "kind": "reset-before", "probability": 0.1},
            {**everywhere, "kind": "reset-after", "probability": 0.1},
            {**everywhere, "kind": "slow", "seconds": 0.5, "probability": 0.1},
        ],
    )
    try:
        code, said = workflow.run()
        struck = workflow.emulator.control("struck")
    finally:
        workflow.emulator.control("faults", rules=[])
    assert code == 0, said
    assert sum(struck.values()) > 5
    assert sorted((workflow.folder / "ran").read_text().split()) == [str(n) for n in range(10)]


@pytest.mark.fault("a task killed by the wall clock", "its jobs fail with that reason")
def test_batch_itself_ends_a_run_that_goes_on_too_long(workflow: Workflow) -> None:
    """The job's wall clock ends its tasks, driver or not; the driver says so, and the run ends."""
    workflow.write('rule all:\n    output: "x"\n    shell: "sleep 984"\n')
    code, said = workflow.run("--azbatch-max-wall-clock", "PT8S")
    assert code == 1
    assert "it was ended by request or by its time limit" in said
    assert "Traceback" not in said


@pytest.mark.fault("a blob deleted under the run", "the job that needs it says which; the others run")
def test_an_input_that_vanishes_fails_its_job_only(workflow: Workflow) -> None:
    """A blob that somebody deletes under the run: the job that needs it says which; the others run."""
    workflow.write(
        'rule all:\n    input: "needs", "other"\n'
        f'rule first:\n    output: "one"\n    shell: "echo 1 > {{output}}"\n'
        'rule waits:\n    input: "one"\n    output: "two"\n'
        f'    params: go="{workflow.folder}/go", ran="{workflow.folder}/ran"\n'
        '    shell: "echo x > {params.ran}; while [ ! -e {params.go} ]; do sleep 0.1; done; cp {input} {output}"\n'
        'rule needs:\n    input: "one", "two"\n    output: "needs"\n    shell: "cat {input} > {output}"\n'
        'rule other:\n    input: "two"\n    output: "other"\n    shell: "cat {input} > {output}"\n'
    )
    process = workflow.start("--keep-going")
    until(lambda: _times_run(workflow) == 1, 60)
    workflow.delete("one")
    (workflow.folder / "go").touch()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "one" in said.split("Error in rule needs")[1]
    assert "other" in workflow.download(workflow.prefix.removeprefix("az://acceptance/"))


@pytest.mark.fault("driver gets SIGTERM", "what runs is awaited, nothing new begins, nothing is left")
def test_sigterm_ends_a_run_after_what_runs(workflow: Workflow) -> None:
    """Snakemake takes it as: nothing new, and wait for what runs. Its job and pool go with it."""
    go = _waits(workflow)
    process = workflow.start()
    until(lambda: _times_run(workflow) == 1, 60)
    process.send_signal(signal.SIGTERM)
    go.touch()
    said = process.communicate(timeout=60)[0]
    assert "Will exit after finishing currently running jobs" in said
    assert "Traceback" not in said
    assert _times_run(workflow) == 1
