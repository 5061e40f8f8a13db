"""Whose fault a failed task is: the user's, the service's (worth another try), or one that never heals. Pure.

Source: "Batch Status and Error Codes", task scheduling errors; `ErrorCategory` of TaskFailureInfo.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Blame(StrEnum):
    USER = "user"  # the command itself failed, or was ended: Snakemake's retries
    PASSING = "passing"  # the service or the node: another node may do
    LASTING = "lasting"  # the next try would fail in the same way


# Of the service's own category, and yet the same at each try.
_LASTING = frozenset(
    {
        "ContainerInvalidImage",
        "ContainerInvalidRegistry",
        "ContainerInvalidSettings",
        "ContainerPoolNotSupported",
        "ContainerTaskSettingsNotFound",
        "CommandProgramNotFound",
        "BlobAccessDenied",
        "BlobNotFound",
        "ResourceContainerAccessDenied",
        "ResourceContainerNotFound",
        "FileUploadAccessDenied",
        "FileUploadContainerNotFound",
    }
)


def blame(task: Json) -> Blame:
    """Judge a task, as listed, that completed without success."""
    info = task.get("executionInfo") or {}
    failure = info.get("failureInfo") or {}
    if str(failure.get("code")) in _LASTING:
        return Blame.LASTING
    if str(failure.get("category", "")).lower() == "servererror":
        return Blame.PASSING
    if info.get("exitCode") is None and failure.get("code") is None:
        # Completed, and nobody says how: not the command's doing.
        return Blame.PASSING
    return Blame.USER
