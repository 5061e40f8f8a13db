"""`azbatch job`: list, show, attach, logs, delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from azbatch.cli.options import account_options, json_option, print_json, print_table
from azbatch.errors import AzbatchError

if TYPE_CHECKING:
    from azbatch.azure.batch import BatchAccount

Json = dict[str, Any]


@click.group("job")
def command() -> None:
    """List, show, follow, read and delete jobs."""


@command.command("list")
@account_options
@json_option
def list_(account: BatchAccount, as_json: bool) -> None:
    """The jobs of the account."""
    jobs = account.list_jobs()
    if as_json:
        print_json(jobs)
        return
    rows = [
        (job["id"], job["state"], (job.get("executionInfo") or {}).get("poolId", ""), job["creationTime"][:19])
        for job in jobs
    ]
    print_table(("JOB", "STATE", "POOL", "CREATED"), rows)


@command.command("show")
@click.argument("job_id")
@click.option("--failed", is_flag=True, help="Only tasks that failed.")
@account_options
@json_option
def show(account: BatchAccount, job_id: str, failed: bool, as_json: bool) -> None:
    """One job with its tasks."""
    job = account.get_job(job_id)
    wanted = "state eq 'completed' and executionInfo/result eq 'failure'" if failed else None
    tasks = account.list_tasks(job_id, filter=wanted)
    if as_json:
        print_json({"job": job, "counts": account.task_counts(job_id), "tasks": tasks})
        return
    counts = account.task_counts(job_id)
    click.echo(f"Job '{job_id}' is {job['state']}: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + ".")
    print_table(("TASK", "STATE", "EXIT", "NODE", "NAME"), [_row(task) for task in tasks])


def _row(task: Json) -> tuple[object, ...]:
    info = task.get("executionInfo") or {}
    node = (task.get("nodeInfo") or {}).get("nodeId", "")
    return task["id"], task["state"], info.get("exitCode", ""), str(node)[:14], task.get("displayName", "")


@command.command("attach")
@click.argument("job_id")
@account_options
def attach(account: BatchAccount, job_id: str) -> None:
    """Follow a job until its tasks have ended; exit code 1 where one failed. It changes nothing.

    To go on with a workflow whose Snakemake has died, run the same snakemake command in the same folder.
    """
    from azbatch.jobs.follow import ended

    failed = 0
    for one in ended(account, job_id):
        failed += not one.succeeded
        click.echo(one.sentence)
    counts = account.task_counts(job_id)
    click.echo(f"Job '{job_id}': " + ", ".join(f"{number} {name}" for name, number in counts.items()) + ".")
    if failed or counts.get("failed"):
        sys.exit(1)


@command.command("logs")
@click.argument("job_id")
@click.argument("task_id")
@click.option("--file", "name", default="stderr.txt", show_default=True, help="Which of the task's files.")
@click.option("--bytes", "last", type=click.IntRange(1), default=1_000_000, help="At most the last so many bytes.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the task writes, until it ends.")
@account_options
@json_option
def logs(account: BatchAccount, job_id: str, task_id: str, name: str, last: int, follow: bool, as_json: bool) -> None:
    """What a task wrote (the end of it, where it is long)."""
    if follow:
        from azbatch.jobs.follow import written

        for piece in written(account, job_id, task_id, name):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    text = account.read_task_file(job_id, task_id, name, last).decode(errors="replace")
    if as_json:
        print_json({"job": job_id, "task": task_id, "file": name, "text": text})
    else:
        click.echo(text, nl=not text.endswith("\n"))


@command.command("delete")
@click.argument("job_ids", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@account_options
@json_option
def delete(account: BatchAccount, job_ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete jobs with their tasks and the tasks' files on nodes; what runs is ended."""
    if not yes:
        click.confirm(f"Delete {', '.join(job_ids)} with all tasks?", abort=True)
    faults = []
    for job_id in job_ids:
        try:
            account.get_job(job_id)
            account.delete_job(job_id)
        except AzbatchError as error:
            faults.append(str(error))
    if faults:
        raise AzbatchError("\n".join(faults))
    if as_json:
        print_json({"deleted": list(job_ids)})
    else:
        click.echo(f"Deletion of {', '.join(job_ids)} has begun.")
