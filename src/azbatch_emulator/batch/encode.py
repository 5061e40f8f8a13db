"""Records as response bodies. Null values are never sent [recorded]. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from azbatch_emulator import durations
from azbatch_emulator.batch.times import etag, stamp
from azbatch_emulator.pool_bodies import shown
from azbatch_emulator.records import AutoScaleRun, Execution, Fault, Job, JobSchedule, Node, Pool, Subtask, Task
from azbatch_emulator.world import Counts

Json = dict[str, Any]


def _clean(fields: Mapping[str, Any]) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _time(when: datetime | None) -> str | None:
    return None if when is None else stamp(when)


def _changes(record: Pool | Job | JobSchedule | Task) -> Json:
    """When it was made and last changed."""
    return {
        "eTag": etag(record.last_modified),
        "lastModified": stamp(record.last_modified),
        "creationTime": stamp(record.created),
    }


def _states(record: Job | JobSchedule | Task | Subtask) -> Json:
    """Its present state and the one before."""
    return {
        "state": record.state.value,
        "stateTransitionTime": stamp(record.state_since),
        "previousState": record.previous_state.value if record.previous_state else None,
        "previousStateTransitionTime": _time(record.previous_state_since),
    }


def _details(fault: Fault) -> list[Json] | None:
    return [{"name": name, "value": value} for name, value in fault.details] or None


def error(fault: Fault) -> Json:
    """A resize error or node error."""
    return {"code": fault.code, "message": fault.message, "values": _details(fault) or []}


def failure(fault: Fault | None) -> Json | None:
    """failureInfo of a task."""
    if fault is None:
        return None
    return _clean(
        {"category": fault.category, "code": fault.code, "message": fault.message, "details": _details(fault)}
    )


def autoscale_run(run: AutoScaleRun) -> Json:
    """autoScaleRun of a pool; the place of a fault stands in the error's values."""
    fault = None if run.error is None else error(run.error)
    return _clean({"timestamp": stamp(run.timestamp), "results": run.results, "error": fault})


_POOL_STATE = frozenset(
    {"autoScaleFormula", "autoScaleEvaluationInterval", "targetDedicatedNodes", "targetLowPriorityNodes",
     "enableAutoScale", "resizeTimeout", "vmSize"}
)  # fmt: skip


def pool(record: Pool, nodes: Mapping[str, Node], url: str) -> Json:
    """Source: REST, Pools - Get Pool."""
    automatic = record.autoscale_formula is not None
    dedicated = sum(node.dedicated for node in nodes.values())
    return _clean(
        {
            **shown({name: value for name, value in record.spec.items() if name not in _POOL_STATE}),
            "id": record.id,
            "url": f"{url}/pools/{record.id}",
            **_changes(record),
            "state": record.state.value,
            "stateTransitionTime": stamp(record.state_since),
            "allocationState": record.allocation_state.value,
            "allocationStateTransitionTime": stamp(record.allocation_since),
            "vmSize": str(record.spec.get("vmSize", "")).lower(),
            "currentDedicatedNodes": dedicated,
            "currentLowPriorityNodes": len(nodes) - dedicated,
            "targetDedicatedNodes": record.target_dedicated,
            "targetLowPriorityNodes": record.target_spot,
            "enableAutoScale": automatic,
            "autoScaleFormula": record.autoscale_formula,
            "autoScaleEvaluationInterval": durations.text(record.autoscale_interval) if automatic else None,
            "autoScaleRun": None if record.autoscale_run is None else autoscale_run(record.autoscale_run),
            "resizeTimeout": durations.text(record.resize_timeout),
            "resizeErrors": [error(fault) for fault in record.resize_errors] or None,
        }
    )


def _container(run: Execution) -> Json | None:
    """containerInfo: known of what has ended; nothing of it is told while it runs."""
    return None if run.container is None else {"containerId": run.container, "state": "exited", "error": ""}


def execution(run: Execution | None, url: str | None = None) -> Json | None:
    """taskExecutionInfo, startTaskInfo and their kin."""
    if run is None:
        return None
    return _clean(
        {
            "state": run.state,
            "startTime": _time(run.start_time),
            "endTime": _time(run.end_time),
            "taskRootDirectory": run.root_directory,
            "taskRootDirectoryUrl": f"{url}/files/{quote(run.root_directory, safe='/')}"
            if url and run.root_directory
            else None,
            "exitCode": run.exit_code,
            "retryCount": run.retry_count,
            "lastRetryTime": _time(run.last_retry_time),
            "result": run.result,
            "containerInfo": _container(run),
            "failureInfo": failure(run.failure),
        }
    )


def node(record: Node, url: str, spec: Mapping[str, Any]) -> Json:
    """Source: REST, Nodes - Get Node. `spec` is the pool's."""
    address = f"{url}/pools/{record.pool_id}/nodes/{record.id}"
    recent = [
        _clean(
            {
                "taskUrl": f"{url}/jobs/{entry.job_id}/tasks/{entry.task_id}",
                "jobId": entry.job_id,
                "taskId": entry.task_id,
                "subtaskId": entry.subtask_id,
                "taskState": entry.state.value,
                "executionInfo": task_execution(entry.execution),
            }
        )
        for entry in record.recent
    ]
    machine = spec.get("virtualMachineConfiguration") or {}
    return _clean(
        {
            "id": record.id,
            "url": address,
            "state": record.state.value,
            "schedulingState": record.scheduling.value,
            "stateTransitionTime": stamp(record.state_since),
            "lastBootTime": _time(record.last_boot_time),
            "allocationTime": stamp(record.allocation_time),
            "ipAddress": record.ip,
            "affinityId": f"TVM:{record.id}",
            "vmSize": record.vm_size,
            "totalTasksRun": record.total_run,
            "runningTasksCount": record.running_tasks,
            "runningTaskSlotsCount": record.slots_used,
            "totalTasksSucceeded": record.total_succeeded,
            "recentTasks": recent or None,
            "startTask": shown(spec.get("startTask")),
            "startTaskInfo": execution(record.start_task),
            "errors": [{**error(f), "errorDetails": _details(f) or []} for f in record.errors] or None,
            "isDedicated": record.dedicated,
            "endpointConfiguration": {"inboundEndpoints": []},
            "nodeAgentInfo": {"version": "1.12.0", "lastUpdateTime": stamp(record.allocation_time)},
            "virtualMachineInfo": {"imageReference": machine["imageReference"]} if machine else None,
        }
    )


def job(record: Job, url: str) -> Json:
    """Source: REST, Jobs - Get Job."""
    info = {
        "startTime": stamp(record.start_time),
        "endTime": _time(record.end_time),
        "poolId": record.pool_id or None,
        "schedulingError": failure(record.scheduling_error),
        "terminateReason": record.terminate_reason,
    }
    return _clean(
        {
            **shown(record.spec),
            "id": record.id,
            "url": f"{url}/jobs/{record.id}",
            **_changes(record),
            **_states(record),
            "executionInfo": _clean(info),
        }
    )


def task_execution(run: Execution) -> Json:
    return _clean(
        {
            "startTime": _time(run.start_time),
            "endTime": _time(run.end_time),
            "exitCode": run.exit_code,
            "containerInfo": _container(run),
            "failureInfo": failure(run.failure),
            "retryCount": run.retry_count,
            "lastRetryTime": _time(run.last_retry_time),
            "requeueCount": run.requeue_count,
            "lastRequeueTime": _time(run.last_requeue_time),
            "result": run.result,
        }
    )


def _node_info(record: Task, url: str) -> Json:
    if record.node_id is None or record.execution.root_directory is None:
        return {}
    address = f"{url}/pools/{record.pool_id}/nodes/{record.node_id}"
    directory = record.execution.root_directory
    return {
        "affinityId": f"TVM:{record.node_id}",
        "nodeUrl": address,
        "poolId": record.pool_id,
        "nodeId": record.node_id,
        "taskRootDirectory": directory,
        "taskRootDirectoryUrl": f"{address}/files/{quote(directory, safe='/')}",
    }


def task(record: Task, url: str) -> Json:
    """Source: REST, Tasks - Get Task."""
    return _clean(
        {
            **(shown(record.spec) if "containerSettings" in record.spec else record.spec),
            "id": record.id,
            "url": f"{url}/jobs/{record.job_id}/tasks/{record.id}",
            **_changes(record),
            **_states(record),
            "executionInfo": task_execution(record.execution),
            "nodeInfo": _node_info(record, url),
        }
    )


def subtask(record: Subtask, task: Task, url: str) -> Json:
    """Source: REST, Tasks - List Sub Tasks."""
    run = record.execution
    placed = replace(task, pool_id=record.pool_id, node_id=record.node_id, execution=run)
    return _clean(
        {
            "id": record.id,
            "nodeInfo": _node_info(placed, url) or None,
            "startTime": _time(run.start_time),
            "endTime": _time(run.end_time),
            "exitCode": run.exit_code,
            "failureInfo": failure(run.failure),
            "result": run.result,
            **_states(record),
        }
    )


def job_schedule(record: JobSchedule, url: str) -> Json:
    """Source: REST, Job Schedules - Get Job Schedule."""
    recent = {"id": record.recent_job, "url": f"{url}/jobs/{record.recent_job}"} if record.recent_job else None
    return _clean(
        {
            **shown(record.spec),
            "id": record.id,
            "url": f"{url}/jobschedules/{record.id}",
            **_changes(record),
            **_states(record),
            "executionInfo": _clean(
                {"nextRunTime": _time(record.next_run), "recentJob": recent, "endTime": _time(record.end_time)}
            ),
        }
    )


def counts(value: Counts) -> Json:
    return {
        "active": value.active,
        "running": value.running,
        "completed": value.completed,
        "succeeded": value.succeeded,
        "failed": value.failed,
    }
