"""The operations of the data plane: one table of method, path, name and handler.

Source: REST, api-version 2025-06-01 (72 operations).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from azbatch_emulator.batch import (
    applications,
    files,
    jobs,
    node_logs,
    node_users,
    nodes,
    pools,
    retired,
    schedules,
    tasks,
    usage,
)
from azbatch_emulator.batch.call import Call, Reply
from azbatch_emulator.records import Refused

Handler = Callable[[Call], Reply]
NEWEST = "2025-06-01"
FILE = "filePath"
FILE_PATH = 5  # segments before the path of a task's or node's file
_POOL, _JOB, _SCHEDULE = "/pools/{poolId}", "/jobs/{jobId}", "/jobschedules/{jobScheduleId}"
_NODE, _TASK = f"{_POOL}/nodes/{{nodeId}}", f"{_JOB}/tasks/{{taskId}}"

OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/applications", "ListApplications", applications.list_),
    ("GET", "/applications/{applicationId}", "GetApplication", applications.get),
    ("GET", "/poolusagemetrics", "ListPoolUsageMetrics", usage.list_),
    ("GET", "/supportedimages", "ListSupportedImages", pools.list_images),
    ("GET", "/nodecounts", "ListPoolNodeCounts", pools.node_counts),
    ("POST", "/pools", "CreatePool", pools.add),
    ("GET", "/pools", "ListPools", pools.list_),
    ("GET", _POOL, "GetPool", pools.get),
    ("HEAD", _POOL, "PoolExists", pools.exists),
    ("PATCH", _POOL, "UpdatePool", pools.patch),
    ("DELETE", _POOL, "DeletePool", pools.delete),
    ("POST", f"{_POOL}/resize", "ResizePool", pools.resize),
    ("POST", f"{_POOL}/stopresize", "StopPoolResize", pools.stop_resize),
    ("POST", f"{_POOL}/enableautoscale", "EnablePoolAutoScale", pools.enable_autoscale),
    ("POST", f"{_POOL}/disableautoscale", "DisablePoolAutoScale", pools.disable_autoscale),
    ("POST", f"{_POOL}/evaluateautoscale", "EvaluatePoolAutoScale", pools.evaluate_autoscale),
    ("POST", f"{_POOL}/updateproperties", "ReplacePoolProperties", pools.update_properties),
    ("POST", f"{_POOL}/removenodes", "RemoveNodes", pools.remove_nodes),
    ("GET", f"{_POOL}/nodes", "ListNodes", nodes.list_),
    ("GET", _NODE, "GetNode", nodes.get),
    ("POST", f"{_NODE}/reboot", "RebootNode", nodes.reboot),
    ("POST", f"{_NODE}/reimage", "ReimageNode", nodes.reimage),
    ("POST", f"{_NODE}/start", "StartNode", nodes.start),
    ("POST", f"{_NODE}/deallocate", "DeallocateNode", nodes.deallocate),
    ("POST", f"{_NODE}/disablescheduling", "DisableNodeScheduling", nodes.disable_scheduling),
    ("POST", f"{_NODE}/enablescheduling", "EnableNodeScheduling", nodes.enable_scheduling),
    ("POST", f"{_NODE}/uploadbatchservicelogs", "UploadNodeLogs", node_logs.upload),
    ("GET", f"{_NODE}/remoteloginsettings", "GetNodeRemoteLoginSettings", nodes.remote_login),
    ("POST", f"{_NODE}/users", "CreateNodeUser", node_users.add),
    ("PUT", f"{_NODE}/users/{{userName}}", "ReplaceNodeUser", node_users.replace),
    ("DELETE", f"{_NODE}/users/{{userName}}", "DeleteNodeUser", node_users.delete),
    ("GET", f"{_NODE}/extensions", "ListNodeExtensions", nodes.list_extensions),
    ("GET", f"{_NODE}/extensions/{{extensionName}}", "GetNodeExtension", nodes.get_extension),
    ("GET", f"{_NODE}/files", "ListNodeFiles", files.list_node_files),
    ("GET", f"{_NODE}/files/{{filePath}}", "GetNodeFile", files.get_node_file),
    ("HEAD", f"{_NODE}/files/{{filePath}}", "GetNodeFileProperties", files.node_file_properties),
    ("DELETE", f"{_NODE}/files/{{filePath}}", "DeleteNodeFile", files.delete_node_file),
    ("POST", "/jobs", "CreateJob", jobs.add),
    ("GET", "/jobs", "ListJobs", jobs.list_),
    ("GET", _JOB, "GetJob", jobs.get),
    ("PUT", _JOB, "ReplaceJob", jobs.put),
    ("PATCH", _JOB, "UpdateJob", jobs.patch),
    ("DELETE", _JOB, "DeleteJob", jobs.delete),
    ("POST", f"{_JOB}/disable", "DisableJob", jobs.disable),
    ("POST", f"{_JOB}/enable", "EnableJob", jobs.enable),
    ("POST", f"{_JOB}/terminate", "TerminateJob", jobs.terminate),
    ("GET", f"{_JOB}/taskcounts", "GetJobTaskCounts", jobs.task_counts),
    (
        "GET",
        f"{_JOB}/jobpreparationandreleasetaskstatus",
        "ListJobPreparationAndReleaseTaskStatus",
        jobs.preparation_and_release,
    ),
    ("POST", f"{_JOB}/tasks", "CreateTask", tasks.add),
    ("GET", f"{_JOB}/tasks", "ListTasks", tasks.list_),
    ("POST", f"{_JOB}/addtaskcollection", "CreateTaskCollection", tasks.add_collection),
    ("GET", _TASK, "GetTask", tasks.get),
    ("PUT", _TASK, "ReplaceTask", tasks.put),
    ("DELETE", _TASK, "DeleteTask", tasks.delete),
    ("POST", f"{_TASK}/terminate", "TerminateTask", tasks.terminate),
    ("POST", f"{_TASK}/reactivate", "ReactivateTask", tasks.reactivate),
    ("GET", f"{_TASK}/subtasksinfo", "ListSubTasks", tasks.subtasks),
    ("GET", f"{_TASK}/files", "ListTaskFiles", files.list_task_files),
    ("GET", f"{_TASK}/files/{{filePath}}", "GetTaskFile", files.get_task_file),
    ("HEAD", f"{_TASK}/files/{{filePath}}", "GetTaskFileProperties", files.task_file_properties),
    ("DELETE", f"{_TASK}/files/{{filePath}}", "DeleteTaskFile", files.delete_task_file),
    ("POST", "/jobschedules", "CreateJobSchedule", schedules.add),
    ("GET", "/jobschedules", "ListJobSchedules", schedules.list_),
    ("GET", _SCHEDULE, "GetJobSchedule", schedules.get),
    ("HEAD", _SCHEDULE, "JobScheduleExists", schedules.exists),
    ("PUT", _SCHEDULE, "ReplaceJobSchedule", schedules.put),
    ("PATCH", _SCHEDULE, "UpdateJobSchedule", schedules.patch),
    ("DELETE", _SCHEDULE, "DeleteJobSchedule", schedules.delete),
    ("POST", f"{_SCHEDULE}/disable", "DisableJobSchedule", schedules.disable),
    ("POST", f"{_SCHEDULE}/enable", "EnableJobSchedule", schedules.enable),
    ("POST", f"{_SCHEDULE}/terminate", "TerminateJobSchedule", schedules.terminate),
    ("GET", f"{_SCHEDULE}/jobs", "ListJobsFromSchedule", schedules.list_jobs),
)


# What earlier api-versions have besides: (method, path, name, handler, the first version without it).
RETIRED: tuple[tuple[str, str, str, Handler, str], ...] = (
    ("POST", "/certificates", "AddCertificate", retired.add_certificate, "2024-07"),
    ("GET", "/certificates", "ListCertificates", retired.list_certificates, "2024-07"),
    ("GET", "/certificates({certificate})", "GetCertificate", retired.no_certificate, "2024-07"),
    ("DELETE", "/certificates({certificate})", "DeleteCertificate", retired.no_certificate, "2024-07"),
    (
        "POST",
        "/certificates({certificate})/canceldelete",
        "CancelCertificateDeletion",
        retired.no_certificate,
        "2024-07",
    ),
    ("GET", f"{_NODE}/rdp", "GetRemoteDesktop", retired.no_remote_desktop, "2024-07"),
)


@dataclass(frozen=True, slots=True)
class Match:
    name: str
    handler: Handler
    path: Mapping[str, str]


def _index() -> dict[tuple[str, int], list[tuple[tuple[str, ...], str, Handler, str]]]:
    index: dict[tuple[str, int], list[tuple[tuple[str, ...], str, Handler, str]]] = {}
    everything = (*((*one, "9999") for one in OPERATIONS), *RETIRED)
    for method, template, name, handler, gone in everything:
        parts = tuple(template.strip("/").split("/"))
        index.setdefault((method, len(parts)), []).append((parts, name, handler, gone))
    return index


_INDEX = _index()


def match(method: str, raw_path: str, version: str = NEWEST) -> Match:
    """The operation of a request in an api-version; a file's path may come with its slashes escaped or bare.

    Raises Refused(OperationNotFound), or UnsupportedHttpVerb where the path is known with other methods.
    """
    parts = raw_path.strip("/").split("/")
    if len(parts) > FILE_PATH and parts[FILE_PATH - 1].lower() == "files":
        parts = [*parts[:FILE_PATH], "/".join(parts[FILE_PATH:])]
    found = _find(method, parts, version)
    if found is not None:
        return found
    if any(_find(other, parts, version) for other in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")):
        raise Refused("UnsupportedHttpVerb")
    raise Refused("OperationNotFound")


def _find(method: str, parts: list[str], version: str) -> Match | None:
    for template, name, handler, gone in _INDEX.get((method, len(parts)), ()):
        if version >= gone:
            continue
        path: dict[str, str] = {}
        for expected, given in zip(template, parts, strict=True):
            before, brace, rest = expected.partition("{")
            name_of, _, behind = rest.partition("}")
            if brace and given.lower().startswith(before) and given.endswith(behind):
                path[name_of] = _parameter(name_of, given[len(before) : len(given) - len(behind)])
            elif expected != given.lower():
                break
        else:
            return Match(name, handler, path)
    return None


def _parameter(name: str, given: str) -> str:
    """A part of the path. Names of files are bytes; ids are ASCII, so that no two letters fold into one."""
    text = unquote(given, errors="surrogateescape")
    if name != FILE and not text.isascii():
        raise Refused("InvalidUri")
    return text
