"""Snakemake on the emulator: what runs, what fails and how it is said, and that nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from azbatch.azure.batch import BatchAccount
from tests.acceptance.conftest import Workflow, until

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("nothing_left"), pytest.mark.xdist_group("executor")]

CHAIN = """
rule all:
    input: "sum.txt"
rule one:
    output: "out/{i}.txt"
    threads: 1
    shell: "echo {wildcards.i} > {output}"
rule sum:
    input: expand("out/{i}.txt", i=range(3))
    output: "sum.txt"
    shell: "cat {input} > {output}"
"""


def _blobs(workflow: Workflow) -> list[str]:
    from azure.storage.blob import BlobServiceClient

    emulator = workflow.emulator
    service = BlobServiceClient(
        emulator.blob_url,
        credential={"account_name": emulator.storage_account, "account_key": emulator.storage_key},
        connection_verify=str(emulator.ca_bundle),
    )
    with service:
        container = service.get_container_client("acceptance")
        if not container.exists():
            return []
        top = workflow.prefix.removeprefix("az://acceptance/")
        return [blob.name.removeprefix(f"{top}/") for blob in container.list_blobs(top)]


def test_a_workflow_runs_and_a_second_run_has_nothing_to_do(workflow: Workflow) -> None:
    """Jobs run as tasks, results lie in blob storage, sources are gone; run again, nothing is repeated."""
    workflow.write(CHAIN)
    code, said = workflow.run("--azbatch-report", "report.json")
    assert code == 0, said
    assert sorted(_blobs(workflow)) == ["out/0.txt", "out/1.txt", "out/2.txt", "sum.txt"]
    assert (workflow.folder / "report.json").exists()
    code, said = workflow.run()
    assert code == 0, said
    assert "Nothing to be done" in said


def test_a_failed_job_says_why(workflow: Workflow) -> None:
    """The end of the job's output, its exit code, node and task stand in Snakemake's own error; its log is in blob."""
    command = "echo whole story > {log}; echo the-reason-is-here >&2; exit 7"
    workflow.write(f'rule all:\n    output: "x"\n    log: "logs/x.log"\n    shell: "{command}"\n')
    code, said = workflow.run()
    assert code == 1
    assert "the-reason-is-here" in said
    assert "failed with exit code 1 on node tvmps_" in said
    assert "Traceback" not in said
    assert _blobs(workflow) == ["logs/x.log"]


def test_a_job_that_fits_no_node_fails_at_once(workflow: Workflow) -> None:
    """A rule that asks for more than a node of the pool has fails at once, and the others run."""
    workflow.write(
        'rule all:\n    input: "big", "small"\n'
        'rule big:\n    output: "big"\n    resources: mem_mb=900000\n    shell: "touch {output}"\n'
        'rule small:\n    output: "small"\n    shell: "touch {output}"\n'
    )
    code, said = workflow.run("--keep-going", "--azbatch-vm-size", "Standard_D2ds_v5")
    assert code == 1
    assert "can never run" in said
    assert "900000 MB memory are asked for" in said
    assert _blobs(workflow) == ["small"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--azbatch-pool-id", "nowhere"), "PoolNotFound"),
        (("--azbatch-image", "canonical:ubuntu:1404"), "is no supported image"),
        (("--azbatch-vm-size", "Standard_Nonsense"), "is no VM size"),
        (("--azbatch-spot-share", "2", "--azbatch-max-nodes", "0"), "--azbatch-spot-share is between 0 and 1"),
        (("--azbatch-account-url", "https://127.0.0.1:9"), "cannot be reached"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(workflow: Workflow, arguments: tuple[str, ...], reason: str) -> None:
    """Unknown pool, image, size or account, bad numbers: one sentence, exit code 1, no traceback, nothing left."""
    workflow.write(CHAIN)
    code, said = workflow.run(*arguments)
    assert code == 1
    assert reason in said
    assert "Traceback" not in said
    assert _blobs(workflow) == []


def test_a_missing_storage_prefix_is_told(workflow: Workflow) -> None:
    """Without a default storage prefix Snakemake says what is missing, and nothing is made."""
    workflow.write(CHAIN)
    code, said = workflow.run(prefix=False)
    assert code == 1
    assert "prefix" in said
    assert "it must start with az://" in said
    assert "Traceback" not in said


@pytest.mark.fault("core quota 0", "the jobs fail at once, with the remedy")
def test_quota_ends_the_run_with_the_remedy(workflow: Workflow) -> None:
    """A pool that gets no node because of the core quota fails the jobs with what to do about it."""
    workflow.write(CHAIN)
    workflow.emulator.control("quota", dedicated_cores=0)
    try:
        code, said = workflow.run()
    finally:
        workflow.emulator.control("quota")
    assert code == 1
    assert "AccountCoreQuotaReached" in said
    assert "ask Azure for more" in said


def test_retries_that_ask_for_more_fit_the_pool(workflow: Workflow) -> None:
    """Memory that grows with the attempt is planned for: the second attempt runs on the pool made for the run."""
    workflow.write(
        'rule all:\n    output: "x"\n    resources: mem_mb=lambda wildcards, attempt: 6000 * attempt\n'
        '    shell: "if [ {resources.mem_mb} -lt 9000 ]; then exit 1; fi; touch {output}"\n'
    )
    code, said = workflow.run("--retries", "1", "--precommand", "export MARK=1")
    assert code == 0, said
    assert _blobs(workflow) == ["x"]


def test_a_kept_pool_is_used_again(workflow: Workflow, account: BatchAccount) -> None:
    """--azbatch-keep-pool leaves one pool, however often the workflow runs."""
    workflow.write(CHAIN)
    code, said = workflow.run("--azbatch-keep-pool", "out/0.txt")
    assert code == 0, said
    code, said = workflow.run("--azbatch-keep-pool", "out/1.txt")
    assert code == 0, said
    assert "that an earlier run of this workflow kept" in said
    kept = [pool for pool in account.list_pools() if str(pool["id"]) in said]
    assert len(kept) == 1
    account.delete_pool(str(kept[0]["id"]))


def test_an_autoscaled_spot_pool_runs_a_workflow(workflow: Workflow) -> None:
    """From no node, the formula brings spot nodes for the waiting tasks, and the workflow ends as on a fixed pool."""
    workflow.write(CHAIN)
    code, said = workflow.run("--azbatch-autoscale", "--azbatch-spot-share", "1")
    assert code == 0, said
    assert "autoscaled up to 2" in said
    assert "sum.txt" in _blobs(workflow)


@pytest.mark.fault("driver gets SIGINT with 200 jobs running", "out in under 5 s, nothing left")
def test_ctrl_c_ends_everything_quickly(workflow: Workflow, account: BatchAccount) -> None:
    """With 200 sleeping jobs, Ctrl-C: out in under 5 s, no task process left, pool, job and sources gone."""
    workflow.write(
        'rule all:\n    input: expand("out/{i}", i=range(200))\n'
        'rule nap:\n    output: "out/{i}"\n    shell: "sleep 987; touch {output}"\n'
    )
    process = workflow.start("--max-jobs-per-timespan", "1000/1s")
    try:
        job = until(lambda: next(iter(_runs(account)), None), 60)
        until(lambda: account.task_counts(job)["active"] + account.task_counts(job)["running"] == 200, 60)
        until(lambda: _sleepers(), 60)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        took = time.monotonic() - began
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert took < 5
    until(lambda: not _sleepers(), 15)
    assert _blobs(workflow) == []


def _runs(account: BatchAccount) -> list[str]:
    """The jobs that runs of Snakemake made."""
    return [str(job["id"]) for job in account.list_jobs() if str(job["id"]).startswith("snakemake-")]


def _sleepers() -> list[str]:
    found = subprocess.run(["pgrep", "-f", "sleep 987"], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_submission_costs_a_request_for_100_jobs(workflow: Workflow) -> None:
    """200 ready jobs are added in at most 4 calls; a pass over them is one list."""
    workflow.write(
        'rule all:\n    input: expand("out/{i}", i=range(200))\n'
        'rule nap:\n    output: "out/{i}"\n    shell: "sleep 985"\n'
    )
    before = workflow.emulator.control("requests")
    process = workflow.start("--max-jobs-per-timespan", "1000/1s")
    try:

        def added() -> bool:
            with_tasks = workflow.emulator.control("status")
            return any(
                job.get("tasks", {}).get("active", 0) + job.get("tasks", {}).get("running", 0) == 200
                for job in _jobs(with_tasks)
            )

        until(added, 60)
        after = workflow.emulator.control("requests")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    calls = _count(after, "CreateTaskCollection") - _count(before, "CreateTaskCollection")
    assert calls <= 4


def _count(answer: dict[str, object], operation: str) -> int:
    counts = answer.get("operations", answer)
    assert isinstance(counts, dict)
    return int(counts.get(operation, 0))


def _jobs(status: dict[str, object]) -> list[dict[str, dict[str, int]]]:
    jobs = status.get("jobs", [])
    assert isinstance(jobs, list)
    return jobs
