"""Multi-instance tasks: one task on several nodes at once. Source: "Use multi-instance tasks to run MPI applications".

Each instance fetches the common files and runs the coordination command; once all have, the primary's command runs. The
coordination runs stay registered until the task ends, so that the loss of any of its nodes is the task's loss.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from azbatch_emulator.commands import Kill
from azbatch_emulator.lifecycle.task import TaskHappening
from azbatch_emulator.records import Execution, Fault, Job, Node, Pool, RecentTask, Subtask, Task, TaskState
from azbatch_emulator.world import jobs, nodes, tasks
from azbatch_emulator.world.state import State

PORT = 6000  # of AZ_BATCH_MASTER_NODE [documented]


def possible(pool: Pool) -> bool:
    """On any other pool such a task stays active for ever [documented]."""
    return bool(pool.spec.get("enableInterNodeCommunication")) and pool.slots_per_node == 1


def is_on(task: Task, node: Node) -> bool:
    """Whether any instance of the task is bound to the node."""
    return task.node_id == node.id or any(subtask.node_id == node.id for subtask in task.subtasks)


def members(state: State, task: Task) -> list[Node]:
    """The nodes of all instances, the primary's first."""
    pool = state.nodes[str(task.pool_id).lower()]
    return [pool[str(node_id).lower()] for node_id in (task.node_id, *(one.node_id for one in task.subtasks))]


def assign(state: State, chosen: list[Node], job: Job, task: Task, now: datetime) -> None:
    """Bind the task to its nodes; what is not prepared for the job is prepared first."""
    held = [nodes.loaded(state, node, task.required_slots, 1, now) for node in chosen]
    subtasks = tuple(
        Subtask(id=number, pool_id=node.pool_id, node_id=node.id, state_since=now)
        for number, node in enumerate(held[1:], 1)
    )
    bound = replace(task, pool_id=held[0].pool_id, node_id=held[0].id, subtasks=subtasks)
    waiting = tasks.move(bound, TaskHappening.PREPARE, now)
    assert waiting is not None
    state.put_task(waiting)
    for node in held:
        if jobs.preparedness(job, node) is jobs.Preparedness.NONE:
            jobs.prepare(state, node, job, now)
    start_if_prepared(state, job, waiting, now)


def start_if_prepared(state: State, job: Job, task: Task, now: datetime) -> None:
    """Let each instance coordinate, once all its nodes are prepared."""
    held = members(state, task)
    if any(jobs.preparedness(job, node) is not jobs.Preparedness.READY for node in held):
        return
    began = tuple(
        replace(
            one,
            state=TaskState.RUNNING,
            state_since=now,
            previous_state=one.state,
            previous_state_since=one.state_since,
            execution=Execution(start_time=now, root_directory=f"{job.directory}/{task.id}/{one.id}"),
        )
        for one in task.subtasks
    )
    task = tasks.started(state, job, replace(task, subtasks=began), now)
    book, key = state.tasks[job.id.lower()], task.id.lower()
    book.coordinating[key], book.coordinated[key] = {}, set()
    settings = task.spec["multiInstanceSettings"]
    spec: dict[str, Any] = {
        **{name: value for name, value in task.spec.items() if name not in {"resourceFiles", "outputFiles"}},
        "commandLine": settings["coordinationCommandLine"],
        "resourceFiles": settings.get("commonResourceFiles") or (),
    }
    for number, node in enumerate(held):
        run = tasks.run_of(state, node, job, task, "coordination", spec, number)
        directory = run.directory if number == 0 else f"{run.directory}/{number}"
        book.coordinating[key][number] = run.run
        state.ask(
            replace(
                run,
                directory=directory,
                shared_directory=run.directory,
                environment={**run.environment, **_variables(held, number)},
            )
        )


def _variables(held: list[Node], number: int) -> dict[str, str]:
    """Source: "Azure Batch runtime environment variables", those of multi-instance tasks."""
    addresses = [node.ip for node in held]
    return {
        "AZ_BATCH_NODE_LIST": ";".join(addresses),
        "AZ_BATCH_HOST_LIST": ",".join(addresses),
        "AZ_BATCH_MASTER_NODE": f"{addresses[0]}:{PORT}",
        "AZ_BATCH_IS_CURRENT_NODE_MASTER": "true" if number == 0 else "false",
        "CCP_NODES": " ".join([str(len(held)), *(f"{address} 1" for address in addresses)]),
    }


def coordinated(state: State, name: str, exit_code: int | None, failure: Fault | None, now: datetime) -> None:
    """One coordination command ended: the last good one starts the primary, a bad one ends the task's attempt."""
    run = state.runs[name]
    book, job = state.tasks[run.job or ""], state.jobs[run.job or ""]
    task = book.all[run.task or ""]
    if exit_code != 0 or failure is not None:
        book.coordinating[task.id.lower()].pop(run.instance)
        tasks.ended(state, name, exit_code, failure, now)
        return
    book.coordinated[task.id.lower()].add(run.instance)
    if len(book.coordinated[task.id.lower()]) < task.instances:
        return
    held = members(state, task)
    primary = tasks.run_of(state, held[0], job, task, "task", task.spec)
    book.run[task.id.lower()] = primary.run
    state.ask(
        replace(
            primary,
            fresh=False,
            shared_directory=primary.directory,
            environment={**primary.environment, **_variables(held, 0)},
        )
    )


def release(state: State, job: Job, task: Task, now: datetime) -> tuple[Subtask, ...]:
    """End what the instances have running, give back the subtasks' slots; the subtasks as they ended."""
    book, key = state.tasks[job.id.lower()], task.id.lower()
    well = book.coordinated.pop(key, set())
    for name in book.coordinating.pop(key, {}).values():
        state.kill(name)
        state.end_run(name)
    if task.instances and (primary := book.run.pop(key, None)) is not None:
        state.out.append(Kill(run=primary))
        state.end_run(primary)
    return tuple(_completed(state, task, one, one.id in well, now) for one in task.subtasks)


def _completed(state: State, task: Task, subtask: Subtask, well: bool, now: datetime) -> Subtask:
    if subtask.state is TaskState.COMPLETED:
        return subtask
    execution = replace(
        subtask.execution,
        end_time=now,
        exit_code=0 if well else None,
        result="success" if well else "failure",
    )
    done = replace(
        subtask,
        state=TaskState.COMPLETED,
        state_since=now,
        previous_state=subtask.state,
        previous_state_since=subtask.state_since,
        execution=execution,
    )
    node = state.nodes.get(subtask.pool_id.lower(), {}).get(subtask.node_id.lower())
    if node is not None:
        entry = RecentTask(
            job_id=task.job_id, task_id=task.id, subtask_id=subtask.id, state=done.state, execution=execution
        )
        recent = (entry, *node.recent[: tasks.RECENT - 1])
        nodes.loaded(state, node, -task.required_slots, -1, now, recent=recent)
    return done
