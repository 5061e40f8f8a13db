"""The service's errors: one table from code to status and message; the body as the service writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from azbatch_emulator.batch.times import stamp

# code -> (HTTP status, message). Source: "Batch status and error codes"; wording recorded where known.
ERRORS: Mapping[str, tuple[int, str]] = {
    "AutoScalingFormulaSyntaxError": (400, "The specified auto-scaling formula has a syntax error."),
    "AutoScalingFormulaTooLong": (400, "The specified auto-scaling formula exceeds lengths limit."),
    "InvalidAutoScalingSettings": (400, "The specified auto-scaling settings are not valid."),
    "InvalidHeaderValue": (400, "The value provided for one of the HTTP headers was not in the correct format."),
    "InvalidPropertyValue": (
        400,
        "The value provided for one of the properties in the request body is invalid.",
    ),
    "InvalidQueryParameterValue": (
        400,
        "Value for one of the query parameters specified in the request URI is invalid.",
    ),
    "InvalidRequestBody": (400, "The specified Request Body is not syntactically valid."),
    "MissingRequiredHeader": (400, "A mandatory HTTP header is not specified"),
    "MissingRequiredProperty": (400, "A required property was not specified in the request body."),
    "MissingRequiredQueryParameter": (
        400,
        "A query parameter that's mandatory for this request is not specified.",
    ),
    "UnsupportedQueryParameter": (400, "One of the query parameters specified in the request URI is not supported."),
    "InvalidUri": (400, "The requested URI does not represent any resource on the server."),
    "TaskDependencyListTooLong": (
        400,
        "The list of tasks that the task depends on is too long. Consider task id ranges instead.",
    ),
    "MutuallyExclusiveQueryParameters": (400, "Two or more of the query parameters cannot be used together."),
    "OutOfRangeInput": (400, "One of the request inputs is out of range."),
    "TaskDependenciesNotSpecifiedOnJob": (400, "The job does not specify that it uses task dependencies."),
    "UnsupportedRequestVersion": (400, "The specified api-version is not supported."),
    "AuthenticationFailed": (
        403,
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly.",
    ),
    "PermissionDenied": (403, "The caller does not have permission to perform the action on the account."),
    "PublicNetworkAccessDisabled": (403, "Public network access to the account is disabled."),
    "IOError": (403, "An I/O error occurred when accessing the specified resource."),
    "InsufficientAccountPermissions": (403, "The account does not have sufficient permissions for the operation."),
    "CertificateNotFound": (404, "The specified certificate does not exist."),
    "FileNotFound": (404, "The specified file does not exist."),
    "JobNotFound": (404, "The specified job does not exist."),
    "JobScheduleNotFound": (404, "The specified job schedule does not exist."),
    "ApplicationNotFound": (404, "The specified application does not exist."),
    "NodeUserNotFound": (404, "The specified node user does not exist."),
    "NodeNotFound": (404, "The specified node does not exist."),
    "OperationNotFound": (404, "The specified operation does not exist."),
    "PoolNotFound": (404, "The specified pool does not exist."),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "TaskNotFound": (404, "The specified task does not exist."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "InvalidApplicationPackageReferences": (409, "One or more of the specified application packages do not exist."),
    "InvalidConstraintValue": (409, "The specified constraint has an invalid value."),
    "JobBeingDeleted": (409, "The specified job has been marked for deletion and is being reclaimed."),
    "JobBeingTerminated": (409, "The specified job is being terminated."),
    "JobCompleted": (409, "The specified job is already in a completed state."),
    "JobDisabled": (409, "The specified job has been disabled."),
    "JobScheduleBeingDeleted": (409, "The specified job schedule has been marked for deletion and is being reclaimed."),
    "JobScheduleBeingTerminated": (409, "The specified job schedule is being terminated."),
    "JobScheduleCompleted": (409, "The specified job schedule is already in a completed state."),
    "JobScheduleExists": (409, "The specified job schedule already exists."),
    "JobExists": (409, "The specified job already exists."),
    "JobNotActive": (409, "The specified job is not in active state."),
    "JobNotDisabled": (409, "The specified operation is not valid unless the job is disabled."),
    "JobPreparationTaskNotSpecified": (409, "The specified job has no job preparation task."),
    "NodeAlreadyInTargetSchedulingState": (409, "The specified node is already in the target scheduling state."),
    "NodeBeingCreated": (409, "The specified node is being created."),
    "NodeBeingRebooted": (409, "The specified node is being rebooted."),
    "NodeBeingReimaged": (409, "The specified node is being reimaged."),
    "NodeBeingStarted": (409, "The specified node is being started."),
    "NodeNotReady": (409, "The specified node is not ready."),
    "NodeUserExists": (409, "The specified node user already exists."),
    "NodeStateUnusable": (409, "The specified operation is not valid for the current state of the node."),
    "OperationInvalidForCurrentState": (409, "The operation is invalid for the current state of the resource."),
    "PoolBeingDeleted": (409, "The specified pool has been marked for deletion and is being reclaimed."),
    "PoolBeingResized": (409, "The specified pool has an on-going resize operation in progress."),
    "PoolExists": (409, "The specified pool already exists."),
    "TaskCompleted": (409, "The specified task is already in a completed state."),
    "TaskIdSameAsJobPreparationTask": (409, "The specified task id is same as the job preparation task."),
    "TaskIdSameAsJobReleaseTask": (409, "The specified task id is same as the job release task."),
    "TaskExists": (409, "The specified task already exists."),
    "TaskNotCompleted": (409, "The specified task is not in a completed state."),
    "TaskSucceeded": (409, "The specified task has already succeeded."),
    "TaskFilesUnavailable": (409, "The specified task has not run on a node, so it has no files."),
    "TaskFilesCleanedup": (404, "The files of the specified task have been cleaned up."),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "RequestBodyTooLarge": (413, "The size of the request body exceeds the maximum permitted."),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "TooManyRequests": (429, "Too many requests. Please retry later."),
    "InternalError": (500, "Server encountered an internal error. Please try again after some time."),
    "ServerBusy": (503, "Server is busy. Please retry after some time."),
    "TooManyEnableAutoScaleRequests": (503, "Too many Enable Pool AutoScale requests are issued on the pool."),
}
METADATA = "https://127.0.0.1/$metadata#Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"


def error_content(
    code: str, message: str | None, values: Mapping[str, str], request_id: str, now: datetime
) -> dict[str, object]:
    """`{code, message, values}` of an error; `values` only where there are some."""
    text = message or ERRORS[code][1]
    content: dict[str, object] = {
        "code": code,
        "message": {"lang": "en-US", "value": f"{text}\nRequestId:{request_id}\nTime:{stamp(now)}"},
    }
    if values:
        content["values"] = [{"key": key, "value": value} for key, value in values.items()]
    return content


def error_body(code: str, message: str | None, values: Mapping[str, str], request_id: str, now: datetime) -> bytes:
    """The body of an error response."""
    content = error_content(code, message, values, request_id, now)
    return json.dumps({"odata.metadata": METADATA, **content}).encode()


def status_of(code: str) -> int:
    return ERRORS[code][0]
