"""The environment of a command on a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from azbatch_emulator.commands import Run
from azbatch_emulator.runners.environment import MARKER, Surroundings, build
from azbatch_emulator.runners.layout import TaskPaths

NODE = Path("/state/nodes/pool/node")
SURROUNDINGS = Surroundings(
    account="acct",
    account_url="https://127.0.0.1:1",
    identity_url=lambda _pool: "http://127.0.0.1:2",
    ca_bundle=Path("/state/tls/bundle.pem"),
    storage_url="https://127.0.0.1:3/storage",
    token=lambda resource, identity: "secret-token",
)


def _build(settings: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, str]:
    fields: dict[str, Any] = {
        "run": "run-1",
        "kind": "task",
        "pool_id": "pool",
        "node_id": "node",
        "job_id": "job",
        "task_id": "task",
        "spec": {"environmentSettings": settings or []},
        "directory": "workitems/job/job-1/task",
        "preparation_directory": None,
        "environment": {"AZ_BATCH_JOB_ID": "job", "AZ_BATCH_TASK_ID": "task", "AZ_BATCH_POOL_ID": "pool"},
        "max_wall_clock": None,
    }
    command = Run(**{**fields, **changes})
    paths = TaskPaths(NODE, NODE / command.directory)
    return build(command, paths, SURROUNDINGS, path="/bin", temporary="/tmp/x", marker="m/")


def test_batchs_variables_name_the_directories_of_the_node() -> None:
    """The AZ_BATCH_* paths are those of the documented layout."""
    found = _build(preparation_directory="workitems/job/job-1/jobpreparation")
    assert found["AZ_BATCH_NODE_ROOT_DIR"] == str(NODE)
    assert found["AZ_BATCH_NODE_SHARED_DIR"] == f"{NODE}/shared"
    assert found["AZ_BATCH_NODE_STARTUP_DIR"] == f"{NODE}/startup"
    assert found["AZ_BATCH_NODE_MOUNTS_DIR"] == f"{NODE}/fsmounts"
    assert found["AZ_BATCH_TASK_DIR"] == f"{NODE}/workitems/job/job-1/task"
    assert found["AZ_BATCH_TASK_WORKING_DIR"] == found["HOME"] == f"{NODE}/workitems/job/job-1/task/wd"
    assert found["AZ_BATCH_JOB_PREP_DIR"] == f"{NODE}/workitems/job/job-1/jobpreparation"
    assert found["AZ_BATCH_JOB_PREP_WORKING_DIR"] == f"{NODE}/workitems/job/job-1/jobpreparation/wd"
    assert (found["AZ_BATCH_ACCOUNT_NAME"], found["AZ_BATCH_JOB_ID"]) == ("acct", "job")


def test_jobs_without_preparation_have_no_variables_of_it() -> None:
    """A variable is absent rather than empty."""
    assert not [name for name in _build() if "PREP" in name]


def test_nothing_of_our_own_environment_and_no_secret_reaches_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the emulator was started with stays with it; tokens and keys are asked for, not handed out."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = _build()
    assert "hunter2" not in found.values()
    assert "PYTHONPATH" not in found
    assert not [name for name, value in found.items() if "secret-token" in value]
    assert SURROUNDINGS.storage_url not in found.values()


def test_the_nodes_identity_is_found_and_trusted() -> None:
    """DefaultAzureCredential works on a node as in a pool with a managed identity."""
    found = _build()
    assert found["AZURE_POD_IDENTITY_AUTHORITY_HOST"] == "http://127.0.0.1:2"
    assert found["AZURE_TOKEN_CREDENTIALS"] == "ManagedIdentityCredential"
    assert found["REQUESTS_CA_BUNDLE"] == found["SSL_CERT_FILE"] == "/state/tls/bundle.pem"


def test_settings_come_last_and_may_refer_to_earlier_variables() -> None:
    """A task's own settings win, see Batch's variables and each other, and cannot hide the process from us."""
    settings = [
        {"name": "DATA", "value": "$AZ_BATCH_TASK_WORKING_DIR/data"},
        {"name": "PATH", "value": "/opt:${PATH}"},
        {"name": "BOTH", "value": "$DATA"},
        {"name": "EMPTY"},
        {"name": MARKER, "value": "mine"},
    ]
    found = _build(settings)
    assert found["BOTH"] == found["DATA"] == f"{NODE}/workitems/job/job-1/task/wd/data"
    assert found["PATH"] == "/opt:/bin"
    assert found["EMPTY"] == ""
    assert found[MARKER] == "m/"
