"""Why a task failed, in the service's codes and words.

Source: "Batch Status and Error Codes", task scheduling errors; .NET `TaskFailureInformationCodes`. Those of containers
as users report them, but for two whose words are a guess: ContainerMiscError and ContainerPoolNotSupported.
"""

from __future__ import annotations

from datetime import timedelta

from azbatch_emulator.records import Fault

_USER, _SERVER = "usererror", "servererror"
_KNOWN: dict[str, tuple[str, str]] = {
    "ApplicationPackageError": (_USER, "One of the specified application packages could not be deployed to the node"),
    "BlobAccessDenied": (_USER, "Access for one of the specified Azure Blob(s) is denied"),
    "BlobDownloadMiscError": (
        _SERVER,
        "Miscellaneous error encountered while downloading one of the specified Azure Blob(s)",
    ),
    "BlobDownloadTimedOut": (_SERVER, "Timeout encountered while downloading one of the specified Azure Blob(s)"),
    "BlobNotFound": (_USER, "One of the specified Azure Blob(s) is not found"),
    "CommandLaunchFailed": (_USER, "Failed to launch the specified command line"),
    "CommandProgramNotFound": (_USER, "The specified command program is not found"),
    "ContainerInvalidImage": (_USER, "One or more container images specified are invalid"),
    "ContainerInvalidRegistry": (_USER, "One or more container registries specified are invalid"),
    "ContainerInvalidSettings": (_USER, "At least one value of specified task container settings is invalid"),
    "ContainerMiscError": (_USER, "An unknown error was encountered while running the task in a container"),
    "ContainerPoolNotSupported": (_USER, "The compute node does not support container tasks"),
    "ContainerTaskSettingsNotFound": (_USER, "Container-enabled compute node requires task container settings"),
    "DiskFull": (_SERVER, "There is not enough disk space on the node that was selected to run the task"),
    "FailureExitCode": (_USER, "The task exited with an exit code representing a failure"),
    "FileUploadAccessDenied": (
        _USER,
        "Access was denied to one of the specified Azure container(s) while attempting to upload an output file",
    ),
    "FileUploadContainerNotFound": (
        _USER,
        "One of the specified Azure container(s) was not found while attempting to upload an output file",
    ),
    "FileUploadMiscError": (_SERVER, "A miscellaneous error was encountered while uploading one of the output files"),
    "ResourceContainerAccessDenied": (_USER, "Access for one of the specified Azure Blob container(s) is denied"),
    "ResourceContainerListMiscError": (
        _SERVER,
        "A miscellaneous error was encountered while listing one of the specified Azure Blob container(s)",
    ),
    "ResourceContainerNotFound": (_USER, "One of the specified Azure Blob container(s) is not found"),
    "ResourceFileCreateFailed": (_SERVER, "Failure encountered creating resource file"),
    "TaskEnded": (_USER, "The task was ended"),
    "Unknown": (_SERVER, "An unknown error has occurred"),
}


# What befalls nodes and resizes; wording of the documentation of node and resize errors.
NODE_UNUSABLE = Fault(code="NodeUnusable", message="The node is broken.")
DISK_FULL = Fault(code="DiskFull", message="There is not enough disk space on the node.")
IMAGE_NOT_FOUND = Fault(code="ContainerInvalidImage", message="One or more container images specified are invalid")
ALLOCATION_FAILED = Fault(
    code="AllocationFailed", message="Desired number of nodes could not be allocated due to an internal error."
)


def fault(code: str, **details: str) -> Fault:
    """The failureInfo for one of the codes above; `details` become its name/value pairs."""
    category, message = _KNOWN[code]
    return Fault(code=code, message=message, category=category, details=tuple(details.items()))


def exit_code(code: int) -> Fault:
    """For a command that ended with a non-zero code [recorded wording]."""
    return fault("FailureExitCode", Message=f"The task exited with an exit code representing a failure: {code}")


def out_of_time(limit: timedelta) -> Fault:
    """For a task that was ended after its maxWallClockTime; the service's own code for it is not recorded."""
    return fault("TaskEnded", Message=f"The task ran longer than its maxWallClockTime of {limit.total_seconds():g} s")
