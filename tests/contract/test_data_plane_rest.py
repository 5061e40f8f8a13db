"""Job schedules, multi-instance tasks, applications, node users, logs and machines, by Azure's unchanged clients."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.mgmt.batch import BatchManagementClient
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from azbatch_emulator.batch.routes import OPERATIONS
from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import MACHINE, Driver, Token, connect, driver_of, now, pool

_numbers = itertools.count()
SHELL = "/bin/sh -c '{}'"


@pytest.fixture(params=["sync-http", "aio-tls"])
def driver(request: pytest.FixtureRequest, azbatch_emulator: Emulator) -> Iterator[Driver]:
    with driver_of(str(request.param), azbatch_emulator) as made:
        yield made


@pytest.fixture
def name(driver: Driver) -> str:
    return f"rest{next(_numbers)}"


def _nodes(driver: Driver, pool_id: str, number: int = 1, state: str = "idle") -> list[str]:
    found: list[str] = []

    def there() -> bool:
        found[:] = [node.id for node in driver.all("list_nodes", pool_id) if node.state == state]
        return len(found) == number

    driver.until(there)
    return found


def _done(driver: Driver, job: str, task: str) -> Any:
    driver.until(lambda: driver.call("get_task", job, task).state == "completed")
    return driver.call("get_task", job, task)


def test_a_job_schedule_and_its_jobs(driver: Driver, name: str) -> None:
    """Every operation of job schedules: the first job is there at once, and goes with the schedule."""
    body = {
        "id": name,
        "schedule": {"recurrenceInterval": "PT1H", "startWindow": "PT5M"},
        "jobSpecification": {"poolInfo": {"poolId": "none"}, "priority": 3},
        "metadata": [{"name": "a", "value": "b"}],
    }
    with pytest.raises(ResourceNotFoundError):  # as the client answers HEAD 404
        driver.call("job_schedule_exists", name)
    driver.call("create_job_schedule", body)
    with pytest.raises(ResourceExistsError, match="JobScheduleExists"):
        driver.call("create_job_schedule", body)
    assert driver.call("job_schedule_exists", name) is True
    found = driver.call("get_job_schedule", name)
    assert (found.state, found.schedule.recurrence_interval) == ("active", timedelta(hours=1))
    assert found.execution_info.recent_job.id == f"{name}:job-1"
    assert found.execution_info.next_run_time - found.creation_time == timedelta(hours=1)
    (job,) = driver.all("list_jobs_from_schedule", name)
    assert (job.id, job.priority, job.state) == (f"{name}:job-1", 3, "active")
    driver.call("create_task", job.id, {"id": "t", "commandLine": "true"})
    assert driver.call("get_task", job.id, "t").state == "active"
    driver.call("update_job_schedule", name, {"schedule": {"recurrenceInterval": "PT2H"}})
    found = driver.call("get_job_schedule", name)
    assert found.execution_info.next_run_time - found.creation_time == timedelta(hours=2)
    found.job_specification.priority = 9
    driver.call("replace_job_schedule", name, found)
    assert driver.call("get_job_schedule", name).job_specification.priority == 9
    driver.call("disable_job_schedule", name)
    assert driver.call("get_job_schedule", name).state == "disabled"
    driver.call("enable_job_schedule", name)
    assert name in [s.id for s in driver.all("list_job_schedules", filter="state eq 'active'", select=["id"])]
    driver.done("begin_terminate_job_schedule", name)
    assert driver.call("get_job_schedule", name).state == "completed"
    assert driver.call("get_job", job.id).state == "completed"
    with pytest.raises(HttpResponseError, match="JobScheduleCompleted"):
        driver.call("enable_job_schedule", name)
    driver.done("begin_delete_job_schedule", name)
    for call, missing in (("get_job_schedule", name), ("get_job", job.id)):
        with pytest.raises(ResourceNotFoundError):
            driver.call(call, missing)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schedule": None}, "MissingRequiredProperty.*schedule"),
        ({"schedule": {"recurrenceInterval": "PT59S"}}, "InvalidPropertyValue.*recurrenceInterval"),
        ({"schedule": {"doNotRunUntil": "tomorrow"}}, "InvalidRequestBody.*doNotRunUntil"),
        ({"jobSpecification": {}}, "MissingRequiredProperty.*jobSpecification"),
        ({"jobSpecification": {"priority": 1}}, "MissingRequiredProperty.*poolInfo"),
        ({"id": "a:b"}, "InvalidPropertyValue.*id"),
    ],
)
def test_a_bad_job_schedule_is_refused(azbatch_emulator: Emulator, changes: dict[str, Any], told: str) -> None:
    """The service's own code, and the property at fault."""
    client = connect(azbatch_emulator, aio=False, tls=False)
    body = {"id": "bad", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "p"}}, **changes}
    answer = _send(client.client, "POST", "/jobschedules", body)
    assert answer.status_code == 400
    assert re.search(told, answer.text(), re.DOTALL)
    client.close()


def _send(client: Any, method: str, path: str, body: Any = None, version: str = "2025-06-01") -> Any:
    request = HttpRequest(
        method,
        f"{path}?api-version={version}",
        json=body,
        headers={"Content-Type": "application/json; odata=minimalmetadata"} if body is not None else {},
    )
    try:
        return client.send_request(request)
    except HttpResponseError as error:
        return error.response


def test_a_multi_instance_task(driver: Driver, name: str) -> None:
    """Coordination runs on every node before the primary; what it leaves running lives as long as the primary."""
    driver.call(
        "create_pool", pool(name, targetDedicatedNodes=2, taskSlotsPerNode=1, enableInterNodeCommunication=True)
    )
    _nodes(driver, name, 2)
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": name}})
    waits = "while ! [ -e $AZ_BATCH_TASK_SHARED_DIR/../../../../../ended ]; do sleep 0.05; done"
    settings = {
        "numberOfInstances": 2,
        "coordinationCommandLine": SHELL.format(
            f"echo $AZ_BATCH_IS_CURRENT_NODE_MASTER $CCP_NODES > $AZ_BATCH_TASK_SHARED_DIR/who; ({waits}) & exit 0"
        ),
    }
    command = SHELL.format("cat $AZ_BATCH_TASK_SHARED_DIR/who; echo $AZ_BATCH_NODE_LIST")
    driver.call("create_task", name, {"id": "m", "commandLine": command, "multiInstanceSettings": settings})
    done = _done(driver, name, "m")
    assert (done.execution_info.exit_code, done.execution_info.result) == (0, "success")
    addresses = {node.ip_address for node in driver.all("list_nodes", name)}
    who, listed = driver.read("download_task_file", name, "m", "stdout.txt").decode().splitlines()
    assert who.split()[:2] == ["true", "2"]
    assert set(listed.split(";")) == addresses
    (other,) = driver.all("list_subtasks", name, "m")
    assert (other.id, other.state, other.exit_code) == (1, "completed", 0)
    path = f"{other.node_info.task_root_directory.rsplit('/', 1)[0]}/who"
    assert driver.read("download_node_file", name, other.node_info.node_id, path).startswith(b"false 2 ")
    driver.done("begin_delete_job", name)
    driver.done("begin_delete_pool", name)


def test_a_node_is_deallocated_and_started(driver: Driver, name: str) -> None:
    driver.call("create_pool", pool(name))
    (node,) = _nodes(driver, name)
    driver.done("begin_deallocate_node", name, node, {"nodeDeallocateOption": "terminate"})
    assert driver.call("get_node", name, node).state == "deallocated"
    with pytest.raises(HttpResponseError, match="OperationInvalidForCurrentState"):
        driver.done("begin_deallocate_node", name, node, {"nodeDeallocateOption": "requeue"})
    driver.done("begin_start_node", name, node)
    _nodes(driver, name)
    driver.done("begin_delete_pool", name)


def test_node_users(driver: Driver, name: str) -> None:
    """Accounts come, change and go; nothing ever tells a password."""
    driver.call("create_pool", pool(name))
    (node,) = _nodes(driver, name)
    user = {"name": "ann", "password": "geheim-1", "isAdmin": True}
    driver.call("create_node_user", name, node, user)
    with pytest.raises(ResourceExistsError, match="NodeUserExists"):
        driver.call("create_node_user", name, node, user)
    driver.call("replace_node_user", name, node, "ann", {"password": "geheim-2"})
    with pytest.raises(ResourceNotFoundError, match="NodeUserNotFound"):
        driver.call("replace_node_user", name, node, "bob", {"password": "geheim-2"})
    with pytest.raises(HttpResponseError, match="MissingRequiredProperty"):
        driver.call("create_node_user", name, node, {"name": "bob"})
    driver.call("delete_node_user", name, node, "ann")
    with pytest.raises(ResourceNotFoundError, match="NodeUserNotFound"):
        driver.call("delete_node_user", name, node, "ann")
    driver.done("begin_delete_pool", name)


def test_service_logs_go_to_a_container(driver: Driver, name: str, azbatch_emulator: Emulator) -> None:
    """What happened on the node in the span is written as a blob, opened by the container's SAS."""
    driver.call("create_pool", pool(name, startTask={"commandLine": "/bin/true", "waitForSuccess": True}))
    (node,) = _nodes(driver, name)
    service = BlobServiceClient.from_connection_string(
        azbatch_emulator.storage_connection_string, connection_verify=str(azbatch_emulator.ca_bundle)
    )
    container = service.create_container(name)
    sas = generate_container_sas(
        azbatch_emulator.storage_account, name, account_key=azbatch_emulator.storage_key,
        permission=ContainerSasPermissions(write=True), expiry=now() + timedelta(hours=1),
    )  # fmt: skip
    since = now() - timedelta(hours=1)
    options = {"containerUrl": f"{container.url}?{sas}", "startTime": since.isoformat()}
    answer = driver.call("upload_node_logs", name, node, options)
    assert answer.number_of_files_uploaded == 1
    blob = f"{answer.virtual_directory_name}/agent-debug.log"
    driver.until(lambda: blob in list(container.list_blob_names()))
    text = container.download_blob(blob).readall().decode()
    assert text.splitlines()[0].endswith(" allocated")
    assert "start task ended, exit code 0" in text
    with pytest.raises(HttpResponseError, match="MissingRequiredProperty"):
        driver.call("upload_node_logs", name, node, {"containerUrl": container.url})
    service.close()
    driver.done("begin_delete_pool", name)


def _management(emulator: Emulator) -> BatchManagementClient:
    client: Any = BatchManagementClient
    made: BatchManagementClient = client(
        Token(emulator),
        "00000000-0000-4000-8000-000000000001",
        base_url=emulator.https_url,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(emulator.ca_bundle),
    )
    return made


def _package(emulator: Emulator, client: BatchManagementClient, application: str, version: str, text: str) -> None:
    """Upload and activate a package with one program that says `text`."""
    package = client.application_package.create("emulator", "emulator", application, version)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        member = zipfile.ZipInfo("bin/say")
        member.external_attr = 0o755 << 16
        packed.writestr(member, f"#!/bin/sh\necho {text}\n")
    answer = requests.put(
        package.storage_url, data=archive.getvalue(), headers={"x-ms-blob-type": "BlockBlob"},
        verify=str(emulator.ca_bundle), timeout=20,
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    active = client.application_package.activate("emulator", "emulator", application, version, {"format": "zip"})
    assert active.state == "Active"


def test_application_packages(driver: Driver, name: str, azbatch_emulator: Emulator) -> None:
    """Made by ARM, listed by the data plane, unpacked on nodes, named in the environment of tasks."""
    client = _management(azbatch_emulator)
    client.application.create("emulator", "emulator", name, {"properties": {"displayName": "Say"}})
    assert name not in [one.id for one in driver.all("list_applications")]
    for version in ("1.0", "2.0-b"):
        _package(azbatch_emulator, client, name, version, f"version {version}")
    client.application.update("emulator", "emulator", name, {"properties": {"defaultVersion": "1.0"}})
    found = driver.call("get_application", name)
    assert (found.display_name, found.versions) == ("Say", ["1.0", "2.0-b"])
    assert name in [one.id for one in driver.all("list_applications")]
    with pytest.raises(ResourceNotFoundError, match="ApplicationNotFound"):
        driver.call("get_application", "nothing")
    with pytest.raises(HttpResponseError, match="InvalidApplicationPackageReferences"):
        driver.call("create_pool", pool(name, applicationPackageReferences=[{"applicationId": name, "version": "3"}]))
    driver.call("create_pool", pool(name, applicationPackageReferences=[{"applicationId": name}]))
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": name}})
    variable = f"AZ_BATCH_APP_PACKAGE_{name}"
    task = {
        "id": "t",
        "commandLine": SHELL.format(f"${variable}/bin/say; ${variable}_2_0_b/bin/say"),
        "applicationPackageReferences": [{"applicationId": name, "version": "2.0-B"}],
    }
    driver.call("create_task", name, task)
    assert _done(driver, name, "t").execution_info.exit_code == 0
    assert driver.read("download_task_file", name, "t", "stdout.txt") == b"version 1.0\nversion 2.0-b\n"
    with pytest.raises(HttpResponseError, match="ApplicationPackageIsDefault"):
        client.application_package.delete("emulator", "emulator", name, "1.0")
    with pytest.raises(HttpResponseError, match="ApplicationHasPackages"):
        client.application.delete("emulator", "emulator", name)
    driver.done("begin_delete_job", name)
    driver.done("begin_delete_pool", name)
    client.close()


def test_a_package_that_is_gone_fails_the_task(driver: Driver, name: str, azbatch_emulator: Emulator) -> None:
    """One sentence of failureInfo, with the package's name; nothing of it is left on the node."""
    client = _management(azbatch_emulator)
    client.application.create("emulator", "emulator", name)
    _package(azbatch_emulator, client, name, "1", "x")
    driver.call("create_pool", pool(name))
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": name}})
    (node,) = _nodes(driver, name)
    driver.call("disable_node_scheduling", name, node, {"nodeDisableSchedulingOption": "requeue"})
    reference = {"applicationId": name, "version": "1"}
    driver.call("create_task", name, {"id": "t", "commandLine": "true", "applicationPackageReferences": [reference]})
    client.application_package.delete("emulator", "emulator", name, "1")
    driver.call("enable_node_scheduling", name, node)
    failure = _done(driver, name, "t").execution_info.failure_info
    assert failure.code == "ApplicationPackageError"
    assert {one.name: one.value for one in failure.details}["ApplicationId"] == name
    driver.done("begin_delete_job", name)
    driver.done("begin_delete_pool", name)
    client.close()


def test_mounts_are_directories(driver: Driver, name: str) -> None:
    """A pool's mounted file systems are there, empty, where tasks look for them."""
    blobs = {"accountName": "a", "containerName": "c", "sasKey": "?sig=x", "relativeMountPath": "in"}
    mounts = [{"azureBlobFileSystemConfiguration": blobs}]
    driver.call("create_pool", pool(name, mountConfiguration=mounts))
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": name}})
    driver.call("create_task", name, {"id": "t", "commandLine": SHELL.format("ls $AZ_BATCH_NODE_MOUNTS_DIR")})
    _done(driver, name, "t")
    assert driver.read("download_task_file", name, "t", "stdout.txt") == b"in\n"
    driver.done("begin_delete_job", name)
    driver.done("begin_delete_pool", name)


def test_every_operation_of_the_table_is_answered() -> None:
    """None of the 72 is missing or fails, whatever it is asked about: at worst the thing named does not exist."""
    assert len(OPERATIONS) == 72
    with Emulator(runner="instant", storage=False, speed=1) as emulator:
        client = connect(emulator, aio=False, tls=False)
        emulator.control("reset")
        for method, template, operation, _ in OPERATIONS:
            path = template.replace("{", "").replace("}", "")
            answer = _send(client.client, method, path, {} if method in {"POST", "PUT", "PATCH"} else None)
            assert answer.status_code < 500, (operation, answer.text())
        assert set(emulator.control("requests")) == {operation for *_, operation, _ in OPERATIONS}
        client.close()


@pytest.mark.parametrize(
    ("version", "method", "path", "status"),
    [
        ("2024-02-01.19.0", "GET", "/certificates", 200),
        ("2024-02-01.19.0", "POST", "/certificates", 409),
        ("2024-02-01.19.0", "GET", "/certificates(thumbprintAlgorithm=sha1,thumbprint=ab)", 404),
        ("2024-02-01.19.0", "DELETE", "/certificates(thumbprintAlgorithm=sha1,thumbprint=ab)", 404),
        ("2024-07-01.20.0", "GET", "/certificates", 404),
        ("2025-06-01", "GET", "/certificates", 404),
    ],
)
def test_what_was_retired(azbatch_emulator: Emulator, version: str, method: str, path: str, status: int) -> None:
    """Earlier api-versions know certificates, of which there are none; later ones do not know the operation."""
    client = connect(azbatch_emulator, aio=False, tls=False)
    assert _send(client.client, method, path, {} if method == "POST" else None, version).status_code == status
    client.close()


def test_usage_metrics(azbatch_emulator: Emulator) -> None:
    """Half hours that have passed; a time that is none is refused."""
    client = connect(azbatch_emulator, aio=False, tls=False)
    assert client.all("list_pool_usage_metrics", filter="poolId eq 'nothing'") == []
    with Emulator(runner="instant", storage=False, virtual_time=True) as virtual:
        virtual.control("clock", pause=True)
        other = connect(virtual, aio=False, tls=True)
        other.call("create_pool", pool("p", vmSize="Standard_D4s_v5"))
        virtual.control("clock", advance=3 * 3600)
        (found,) = other.all("list_pool_usage_metrics")
        assert (found.pool_id, found.vm_size, found.total_core_hours) == ("p", "standard_d4s_v5", 2.0)
        other.close()
    client.close()


def test_no_answer_tells_a_secret(azbatch_emulator: Emulator) -> None:
    """Passwords and keys of registries, users and file systems go in and never come out, however deep they lie."""
    client = connect(azbatch_emulator, aio=False, tls=False)
    users = [
        {
            "name": "u",
            "password": "geheim-u",
            "linuxUserConfiguration": {"uid": 1, "gid": 1, "sshPrivateKey": "geheim-k"},
        }
    ]
    blobs = {"accountName": "a", "containerName": "c", "relativeMountPath": "in", "accountKey": "geheim-m"}
    registry = {"username": "r", "password": "geheim-r", "registryServer": "x.example"}
    machine = {**MACHINE, "containerConfiguration": {"type": "dockerCompatible", "containerRegistries": [registry]}}
    secretive = {
        "virtualMachineConfiguration": machine,
        "userAccounts": users,
        "mountConfiguration": [{"azureBlobFileSystemConfiguration": blobs}],
        "targetDedicatedNodes": 0,
    }
    client.call("create_pool", pool("secretive", **secretive))
    automatic = {key: value for key, value in pool("x", **secretive).items() if key != "id"}
    task = {"id": "t", "commandLine": "true", "containerSettings": {"imageName": "i", "registry": registry}}
    info = {"autoPoolSpecification": {"poolLifetimeOption": "job", "pool": automatic}}
    specification = {"poolInfo": info, "jobManagerTask": task}
    client.call("create_job", {"id": "secretive", **specification})
    client.call("create_task", "secretive", {**task, "id": "another"})
    client.call("create_job_schedule", {"id": "secretive", "schedule": {}, "jobSpecification": specification})
    paths = (
        "/pools",
        "/pools/secretive",
        "/jobs",
        "/jobs/secretive",
        "/jobs/secretive/tasks",
        "/jobschedules/secretive",
    )
    for path in (*paths, "/jobschedules"):
        answer = _send(client.client, "GET", path)
        assert answer.status_code == 200
        assert "geheim" not in answer.text(), path
    client.done("begin_delete_job_schedule", "secretive")
    client.done("begin_delete_job", "secretive")
    client.done("begin_delete_pool", "secretive")
    client.close()


def test_extensions_of_nodes_and_files_that_are_deleted(driver: Driver, name: str) -> None:
    """What the pool installs is told of each node; a node's file is gone once it was deleted."""
    extension = {"name": "logs", "publisher": "p", "type": "t", "typeHandlerVersion": "1.0"}
    driver.call("create_pool", pool(name, virtualMachineConfiguration={**MACHINE, "extensions": [extension]}))
    (node,) = _nodes(driver, name)
    assert [one.vm_extension.name for one in driver.all("list_node_extensions", name, node)] == ["logs"]
    assert driver.call("get_node_extension", name, node, "logs").vm_extension.publisher == "p"
    with pytest.raises(ResourceNotFoundError):
        driver.call("get_node_extension", name, node, "nothing")
    driver.call("create_job", {"id": name, "poolInfo": {"poolId": name}})
    driver.call("create_task", name, {"id": "t", "commandLine": SHELL.format("echo x > $AZ_BATCH_NODE_SHARED_DIR/x")})
    _done(driver, name, "t")
    assert driver.read("download_node_file", name, node, "shared/x") == b"x\n"
    driver.call("delete_node_file", name, node, "shared/x")
    with pytest.raises(ResourceNotFoundError):
        driver.read("download_node_file", name, node, "shared/x")
    driver.done("begin_delete_job", name)
    driver.done("begin_delete_pool", name)
