"""The unchanged azure-batch 15.1, sync and aio, drives every operation: over http with a key, over TLS with a token."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Driver, connect, driver_of, pool

_numbers = itertools.count()
SHELL = "/bin/sh -c '{}'"


@pytest.fixture(params=["sync-http", "sync-tls", "aio-http", "aio-tls"])
def driver(request: pytest.FixtureRequest, azbatch_emulator: Emulator) -> Iterator[Driver]:
    """Each kind of client in turn."""
    with driver_of(str(request.param), azbatch_emulator) as made:
        yield made


@pytest.fixture
def name(driver: Driver) -> str:
    """An id that no other test uses."""
    return f"n{next(_numbers)}"


def _ready(driver: Driver, pool_id: str, nodes: int = 1) -> list[str]:
    states: dict[str, str] = {}

    def idle() -> bool:
        states.clear()
        states.update({node.id: node.state for node in driver.all("list_nodes", pool_id)})
        return sum(state in {"idle", "running"} for state in states.values()) == nodes

    driver.until(idle)
    return list(states)


def test_pools(driver: Driver, name: str) -> None:
    """Every pool operation answers as the client expects, and does what it says."""
    assert any(i.node_agent_sku_id == "batch.node.ubuntu 24.04" for i in driver.all("list_supported_images"))
    driver.call("create_pool", pool(name, metadata=[{"name": "a", "value": "b"}]))
    with pytest.raises(ResourceExistsError):
        driver.call("create_pool", pool(name))
    assert driver.call("pool_exists", name) is True
    assert name in [p.id for p in driver.all("list_pools", filter=f"startswith(id, '{name}')", select=["id", "state"])]
    found = driver.call("get_pool", name)
    assert (found.vm_size, found.task_slots_per_node, found.state) == ("standard_d2s_v5", 2, "active")
    _ready(driver, name)
    driver.call("update_pool", name, {"startTask": {"commandLine": "/bin/true"}})
    assert driver.call("get_pool", name).start_task.command_line == "/bin/true"
    driver.call(
        "replace_pool_properties",
        name,
        {"metadata": [], "applicationPackageReferences": []},
    )
    assert driver.call("get_pool", name).start_task is None
    driver.done("begin_resize_pool", name, {"targetDedicatedNodes": 2})
    first, second = _ready(driver, name, 2)
    counts = next(c for c in driver.all("list_pool_node_counts") if c.pool_id == name)
    assert counts.dedicated.total == 2
    driver.done("begin_remove_nodes", name, {"nodeList": [second]})
    assert _ready(driver, name) == [first]
    driver.done("begin_delete_pool", name)
    with pytest.raises(ResourceNotFoundError):
        driver.call("get_pool", name)


def test_a_resize_is_stopped() -> None:
    """A stopped resize is steady again, keeps its targets, and says that it was stopped."""
    with Emulator(runner="instant", storage=False, speed=1) as slow:
        driver = connect(slow, aio=False, tls=False)
        driver.call("create_pool", pool("p", targetDedicatedNodes=3))
        driver.done("begin_stop_pool_resize", "p")
        stopped = driver.call("get_pool", "p")
        assert (stopped.allocation_state, stopped.target_dedicated_nodes) == ("steady", 3)
        assert [error.code for error in stopped.resize_errors] == ["ResizeStopped"]
        driver.close()


def test_autoscale(driver: Driver, name: str) -> None:
    """Autoscale is enabled, evaluated with the fault's place, applied, and disabled."""
    driver.call("create_pool", pool(name, targetDedicatedNodes=0))
    driver.call("enable_pool_auto_scale", name, {"autoScaleFormula": "$TargetDedicatedNodes = 2;"})
    driver.until(lambda: driver.call("get_pool", name).target_dedicated_nodes == 2)
    run = driver.call("evaluate_pool_auto_scale", name, {"autoScaleFormula": "x = 1/3; $TargetDedicatedNodes = 5.9;"})
    assert run.results == "$TargetDedicatedNodes=5;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;x=0.333333"
    bad = driver.call("evaluate_pool_auto_scale", name, {"autoScaleFormula": "$TargetDedicatedNodes = $nope;"})
    assert bad.error.code == "AutoScalingFormulaEvaluationError"
    assert bad.error.as_dict()["values"][0]["value"] == "Line 1, Col 25: Undefined symbol: $nope"
    with pytest.raises(HttpResponseError, match="Line 1, Col 1"):
        driver.call("enable_pool_auto_scale", name, {"autoScaleFormula": "# nothing"})
    driver.call("disable_pool_auto_scale", name)
    assert driver.call("get_pool", name).enable_auto_scale is False
    driver.done("begin_delete_pool", name)


def test_nodes(driver: Driver, name: str) -> None:
    """Nodes are listed, read, taken out of scheduling and back, rebooted and reimaged; their files are read."""
    driver.call("create_pool", pool(name))
    (node,) = _ready(driver, name)
    found = driver.call("get_node", name, node)
    assert (found.is_dedicated, found.scheduling_state, found.affinity_id) == (True, "enabled", f"TVM:{node}")
    driver.call("disable_node_scheduling", name, node, {"nodeDisableSchedulingOption": "requeue"})
    assert driver.call("get_node", name, node).state == "offline"
    driver.call("enable_node_scheduling", name, node)
    assert driver.call("get_node", name, node).state == "idle"
    assert driver.call("get_node_remote_login_settings", name, node).remote_login_port == 22
    assert driver.all("list_node_extensions", name, node) == []
    driver.done("begin_reboot_node", name, node, {"nodeRebootOption": "requeue"})
    _ready(driver, name)
    driver.done("begin_reimage_node", name, node, {"nodeReimageOption": "requeue"})
    _ready(driver, name)
    assert {f.name for f in driver.all("list_node_files", name, node)} >= {"shared", "startup", "workitems"}
    driver.done("begin_delete_pool", name)


def test_jobs(driver: Driver, name: str) -> None:
    """Every job operation does what it says; states pass as the service's do."""
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": "none"}, "priority": 5})
    with pytest.raises(ResourceExistsError):
        driver.call("create_job", {"id": name, "poolInfo": {"poolId": "none"}})
    job = driver.call("get_job", name)
    assert (job.state, job.priority, job.execution_info.pool_id) == ("active", 5, "none")
    driver.call("update_job", name, {"priority": 7})
    job = driver.call("get_job", name)
    assert job.priority == 7
    with pytest.raises(HttpResponseError, match="ConditionNotMet"):
        driver.call("update_job", name, {"priority": 8}, etag="0x0", match_condition=MatchConditions.IfNotModified)
    job.priority = 9
    driver.call("replace_job", name, job)
    assert driver.call("get_job", name).priority == 9
    driver.call("create_tasks", name, [{"id": f"t{i}", "commandLine": "true"} for i in range(3)])
    assert driver.call("get_job_task_counts", name).task_counts.active == 3
    driver.done("begin_disable_job", name, {"disableTasks": "requeue"})
    assert driver.call("get_job", name).state == "disabled"
    driver.done("begin_enable_job", name)
    assert driver.call("get_job", name).state == "active"
    driver.done("begin_terminate_job", name, {"terminateReason": "enough"})
    ended = driver.call("get_job", name)
    assert (ended.state, ended.execution_info.termination_reason) == ("completed", "enough")
    assert driver.call("get_job_task_counts", name).task_counts.failed == 3
    assert name in [j.id for j in driver.all("list_jobs", filter="state eq 'completed'")]
    driver.done("begin_delete_job", name)
    with pytest.raises(ResourceNotFoundError):
        driver.call("get_job", name)


def test_tasks_and_files(driver: Driver, name: str) -> None:
    """Tasks run as processes after their preparation task; their files are served whole and in ranges."""
    driver.call("create_pool", pool(name))
    job = {
        "id": name,
        "poolInfo": {"poolId": name},
        "usesTaskDependencies": True,
        "jobPreparationTask": {"commandLine": SHELL.format("echo ready > made")},
        "jobReleaseTask": {"commandLine": "/bin/true"},
    }
    driver.call("create_job", job)
    driver.call(
        "create_task", name, {"id": "one", "commandLine": SHELL.format("cat $AZ_BATCH_JOB_PREP_WORKING_DIR/made")}
    )
    result = driver.call(
        "create_tasks",
        name,
        [
            {"id": "two", "commandLine": SHELL.format("exit 3"), "dependsOn": {"taskIds": ["one"]}},
            {"id": "three", "commandLine": "/bin/sleep 600"},
        ],
    )
    assert [r["status"].lower() for r in result.as_dict()["value"]] == ["success", "success"]
    driver.until(lambda: driver.call("get_task", name, "two").state == "completed")
    one, two = driver.call("get_task", name, "one"), driver.call("get_task", name, "two")
    assert (one.execution_info.exit_code, one.execution_info.result) == (0, "success")
    assert (two.execution_info.exit_code, two.execution_info.failure_info.code) == (3, "FailureExitCode")
    done = driver.all("list_tasks", name, filter="state eq 'completed'", select=["id", "state"])
    assert sorted(t.id for t in done) == ["one", "two"]
    assert driver.read("download_task_file", name, "one", "stdout.txt") == b"ready\n"
    assert driver.read("download_task_file", name, "one", "stdout.txt", ocp_range="bytes=1-3") == b"ead"
    assert driver.call("get_task_file_properties", name, "one", "stdout.txt").content_length == 6
    assert {"stdout.txt", "stderr.txt", "wd"} <= {f.name for f in driver.all("list_task_files", name, "one")}
    driver.call("delete_task_file", name, "one", "stdout.txt")
    with pytest.raises(ResourceNotFoundError):
        driver.read("download_task_file", name, "one", "stdout.txt")
    path = f"workitems/{name}/job-1/two/stderr.txt"
    assert driver.read("download_node_file", name, two.node_info.node_id, path) == b""
    assert driver.call("get_node_file_properties", name, two.node_info.node_id, path).content_length == 0
    status = driver.all("list_job_preparation_and_release_task_status", name)
    assert status[0].job_preparation_task_execution_info.exit_code == 0
    driver.call("reactivate_task", name, "two")
    driver.until(lambda: driver.call("get_task", name, "two").state == "completed")
    with pytest.raises(HttpResponseError, match="TaskSucceeded"):
        driver.call("reactivate_task", name, "one")
    driver.until(lambda: driver.call("get_task", name, "three").state == "running")
    three = driver.call("get_task", name, "three")
    three.constraints.max_task_retry_count = 2
    driver.call("replace_task", name, "three", three)
    assert driver.call("get_task", name, "three").constraints.max_task_retry_count == 2
    driver.call("terminate_task", name, "three")
    assert driver.call("get_task", name, "three").execution_info.failure_info.code == "TaskEnded"
    assert (
        driver.all("list_sub_tasks" if hasattr(driver.client, "list_sub_tasks") else "list_subtasks", name, "one") == []
    )
    driver.call("delete_task", name, "three")
    with pytest.raises(ResourceNotFoundError):
        driver.call("get_task", name, "three")
    driver.done("begin_delete_job", name)
    driver.done("begin_delete_pool", name)


def test_pages(driver: Driver, name: str) -> None:
    """A long list comes whole through its pages, each task once."""
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": "none"}})
    ids = {f"t{i}" for i in range(25)}
    driver.call("create_tasks", name, [{"id": i, "commandLine": "true"} for i in sorted(ids)])
    found = [task.id for task in driver.all("list_tasks", name, max_results=7)]
    assert len(found) == 25
    assert set(found) == ids
    driver.done("begin_delete_job", name)
