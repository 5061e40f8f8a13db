"""Tasks as real processes, over HTTP with Azure's own clients: files, environment, limits, ends."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas

from azbatch_emulator import Emulator
from azbatch_emulator.runners.environment import MARKER

SECONDS = 30.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's value once it is true; fails after SECONDS."""
    end = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come about within {SECONDS} s"
        time.sleep(0.02)
    return value


def processes_of(emulator: Emulator, text: str = "/nodes/") -> list[int]:
    """Processes of the emulator's tasks, found by their environment whatever group or session they are in."""
    owner = Path(str(emulator.control("status")["state"]))
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if MARKER.encode() in environment and os.fsencode(owner) in environment and text.encode() in environment:
            found.append(int(entry.name))
    return found


class Batch:
    """One pool and one job with short ways to run a task and read what it left."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.client = BatchClient(
            endpoint=emulator.http_url, credential=AzureNamedKeyCredential(emulator.account, emulator.account_key)
        )
        self.pool("pool")
        self.job("job")

    def pool(self, name: str, nodes: int = 1, **options: Any) -> None:
        image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404")
        machine = m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
        self.client.create_pool(
            m.BatchPoolCreateOptions(
                id=name,
                vm_size="standard_d4s_v3",
                virtual_machine_configuration=machine,
                target_dedicated_nodes=nodes,
                task_slots_per_node=4,
                **options,
            )
        )

    def job(self, name: str, pool: str = "pool", **options: Any) -> None:
        self.client.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=pool), **options))

    def add(self, command: str, name: str = "task", job: str = "job", **options: Any) -> None:
        self.client.create_task(job, m.BatchTaskCreateOptions(id=name, command_line=command, **options))

    def task(self, name: str = "task", job: str = "job") -> m.BatchTask:
        return self.client.get_task(job, name)

    def done(self, name: str = "task", job: str = "job") -> m.BatchTaskExecutionInfo:
        """How the task ended."""

        def completed() -> m.BatchTaskExecutionInfo | None:
            task = self.task(name, job)
            return task.execution_info if task.state == m.BatchTaskState.COMPLETED else None

        info = until(completed, f"the end of task {name}")
        assert isinstance(info, m.BatchTaskExecutionInfo)
        return info

    def run(self, command: str, name: str = "task", **options: Any) -> m.BatchTaskExecutionInfo:
        self.add(command, name, **options)
        return self.done(name)

    def read(self, path: str, name: str = "task", job: str = "job") -> str:
        return b"".join(self.client.download_task_file(job, name, path)).decode()

    def code(self, info: m.BatchTaskExecutionInfo) -> str:
        assert info.failure_info is not None
        return str(info.failure_info.code)


@pytest.fixture
def batch(azbatch_emulator: Emulator) -> Iterator[Batch]:
    """A fresh account with a pool of one node and a job."""
    azbatch_emulator.control("reset", storage=False)
    fresh = Batch(azbatch_emulator)
    with fresh.client:
        yield fresh
    azbatch_emulator.control("reset", storage=False)


@pytest.fixture
def container(azbatch_emulator: Emulator) -> Iterator[ContainerClient]:
    """An empty container, opened by the account's key."""
    service = BlobServiceClient(
        azbatch_emulator.blob_url,
        credential={"account_name": azbatch_emulator.storage_account, "account_key": azbatch_emulator.storage_key},
        connection_verify=str(azbatch_emulator.ca_bundle),
    )
    with service:
        made = service.create_container(f"c{time.monotonic_ns()}")
        yield made
        made.delete_container()


def sas(emulator: Emulator, container: ContainerClient, permission: str, minutes: int = 60) -> str:
    """The container's address with a SAS; a negative time is one that has expired."""
    now = datetime.now(UTC)
    token = generate_container_sas(
        account_name=emulator.storage_account,
        container_name=container.container_name,
        account_key=emulator.storage_key,
        permission=ContainerSasPermissions.from_string(permission),
        start=now - timedelta(days=1),
        expiry=now + timedelta(minutes=minutes),
    )
    return f"{container.url}?{token}"


IDENTITY = m.BatchNodeIdentityReference(resource_id="/subscriptions/s/resourceGroups/g/identities/node")

# Running


def test_a_task_runs_in_its_directory_and_its_output_is_kept(batch: Batch) -> None:
    """stdout and stderr are files of the task, its working directory is `wd`, and all can be listed and read."""
    info = batch.run("/bin/sh -c 'pwd; echo problem >&2; echo data > made.txt'")
    assert (info.exit_code, info.result, info.failure_info) == (0, "success", None)
    assert batch.read("stdout.txt").strip().endswith("/workitems/job/job-1/task/wd")
    assert batch.read("stderr.txt") == "problem\n"
    assert batch.read("wd/made.txt") == "data\n"
    names = {file.name for file in batch.client.list_task_files("job", "task", recursive=True)}
    assert names == {"stdout.txt", "stderr.txt", "wd", "wd/made.txt"}


def test_the_node_has_batchs_directories(batch: Batch) -> None:
    """The layout on disk is that of a Batch node."""
    batch.run("/bin/sh -c 'cd $AZ_BATCH_NODE_ROOT_DIR && ls -d */'")
    found = {line.rstrip("/") for line in batch.read("stdout.txt").splitlines()}
    assert found == {"applications", "fsmounts", "shared", "startup", "volatile", "workitems"}


def test_no_shell_takes_part(batch: Batch) -> None:
    """Variables and globs in a command line are plain text."""
    batch.run("/bin/echo $HOME * 'a  b'")
    assert batch.read("stdout.txt") == "$HOME * a  b\n"


def test_the_environment_is_batchs_and_the_tasks_alone(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the emulator's own environment, keys and tokens least of all, reaches a task."""
    settings = [
        m.EnvironmentSetting(name="WHERE", value="$AZ_BATCH_TASK_WORKING_DIR/x"),
        m.EnvironmentSetting(name="PLAIN", value="v"),
    ]
    batch.run("/usr/bin/env", environment_settings=settings)
    found = dict(line.split("=", 1) for line in batch.read("stdout.txt").splitlines())
    assert found["WHERE"] == f"{found['AZ_BATCH_TASK_WORKING_DIR']}/x"
    assert (found["PLAIN"], found["AZ_BATCH_POOL_ID"], found["AZ_BATCH_JOB_ID"]) == ("v", "pool", "job")
    allowed = {"PATH", "LANG", "HOME", "TMPDIR", "WHERE", "PLAIN", MARKER}
    allowed |= {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZURE_TOKEN_CREDENTIALS",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
    }
    assert {name for name in found if not name.startswith("AZ_BATCH_")} <= allowed
    text = "\n".join(found.values())
    assert batch.emulator.account_key not in text
    assert batch.emulator.storage_key not in text


def test_the_nodes_identity_opens_storage_from_within_a_task(batch: Batch, container: ContainerClient) -> None:
    """DefaultAzureCredential in a task needs nothing but what the node gives it."""
    container.upload_blob("x.txt", b"by identity")
    code = (
        "from azure.identity import DefaultAzureCredential as C; from azure.storage.blob import BlobClient as B; "
        f"print(B.from_blob_url('{container.url}/x.txt', credential=C()).download_blob().readall().decode())"
    )
    info = batch.run(f'python -c "{code}"')
    assert info.exit_code == 0, batch.read("stderr.txt")
    assert batch.read("stdout.txt") == "by identity\n"


def test_a_non_zero_exit_is_a_failure_and_is_retried(batch: Batch) -> None:
    """FailureExitCode with the code in its details; each retry starts in a fresh working directory."""
    constraints = m.BatchTaskConstraints(max_task_retry_count=2)
    command = "/bin/sh -c 'echo x >> tries; wc -l < tries; echo once >> $AZ_BATCH_NODE_SHARED_DIR/all; exit 5'"
    info = batch.run(command, constraints=constraints)
    assert (info.exit_code, info.retry_count, info.result) == (5, 2, "failure")
    assert batch.code(info) == "FailureExitCode"
    assert batch.read("stdout.txt").strip() == "1"
    batch.run("/bin/sh -c 'cat $AZ_BATCH_NODE_SHARED_DIR/all'", "look")
    assert batch.read("stdout.txt", "look").split() == ["once"] * 3


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("no-such-program --x", "CommandProgramNotFound"),
        ("./missing.sh", "CommandProgramNotFound"),
        ("/etc/hostname", "CommandLaunchFailed"),
        ("/bin/sh -c 'open quote", "CommandLaunchFailed"),
    ],
)
def test_a_command_that_cannot_be_launched(batch: Batch, command: str, code: str) -> None:
    """No exit code, a user error that names the program, no retry."""
    info = batch.run(command, constraints=m.BatchTaskConstraints(max_task_retry_count=3))
    assert (info.exit_code, info.retry_count, batch.code(info)) == (None, 0, code)
    assert info.failure_info is not None
    assert info.failure_info.category == "usererror"


def test_a_signal_is_an_exit_code_as_a_shell_says_it(batch: Batch) -> None:
    """A task killed by SIGKILL, as by the kernel out of memory, ends with 137."""
    assert batch.run("/bin/sh -c 'kill -9 $$'").exit_code == 137


def test_max_wall_clock_ends_a_task_with_all_its_processes(batch: Batch) -> None:
    """After its time the task has failed, is not retried, and nothing of it runs on."""
    constraints = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=0.5), max_task_retry_count=1)
    began = time.monotonic()
    info = batch.run("/bin/sh -c 'sleep 60 & sleep 60'", constraints=constraints)
    assert time.monotonic() - began < 10
    assert (info.result, info.retry_count, batch.code(info)) == ("failure", 0, "TaskEnded")
    assert info.failure_info is not None
    assert "maxWallClockTime of 0.5 s" in str(info.failure_info.details)
    until(lambda: not processes_of(batch.emulator), "the end of the processes")


ESCAPES = "/bin/sh -c 'sleep 300 & setsid sleep 300 & (setsid sh -c \"sleep 300 & sleep 300\" &) ; touch ready; wait'"


def _running(batch: Batch, count: int) -> None:
    def ready() -> bool:
        started = [file.name for file in batch.client.list_task_files("job", "task", recursive=True)]
        return "wd/ready" in started and len(processes_of(batch.emulator)) >= count

    until(lambda: batch.task().state == "running", "the start of the task")
    until(ready, "the task's processes")


def test_terminate_leaves_no_process(batch: Batch) -> None:
    """Children in sessions of their own, and orphans, end with the task."""
    batch.add(ESCAPES)
    _running(batch, 5)
    batch.client.terminate_task("job", "task")
    assert batch.code(batch.done()) == "TaskEnded"
    until(lambda: not processes_of(batch.emulator), "the end of all processes")


def test_what_a_finished_task_left_running_is_ended(batch: Batch) -> None:
    """Background processes do not outlive their task and hold its slots' memory."""
    batch.run("/bin/sh -c 'setsid sleep 300 & sleep 300 & exit 0'")
    until(lambda: not processes_of(batch.emulator), "the end of the background processes")


def test_deleting_the_pool_ends_its_processes_and_files(batch: Batch) -> None:
    """A removed node runs nothing and keeps nothing on disk."""
    batch.add(ESCAPES)
    _running(batch, 5)
    root = Path(str(batch.emulator.control("status")["state"])) / "nodes" / "pool"
    assert list(root.iterdir())
    batch.client.begin_delete_pool("pool")
    until(lambda: not processes_of(batch.emulator), "the end of the processes")
    until(lambda: not list(root.iterdir()), "the end of the node's files")


def test_deleting_a_task_deletes_its_directory(batch: Batch) -> None:
    """The files of a deleted task take no room."""
    batch.run("/bin/sh -c 'pwd'")
    directory = Path(batch.read("stdout.txt").strip()).parent
    assert directory.is_dir()
    batch.client.delete_task("job", "task")
    until(lambda: not directory.exists(), "the end of the directory")


def test_preparation_runs_before_and_release_after(batch: Batch) -> None:
    """A job's preparation task runs once on a node, its directory is known to tasks; release runs at the end."""
    batch.job(
        "prepared",
        job_preparation_task=m.BatchJobPreparationTask(
            command_line="/bin/sh -c 'echo ready > here; echo p >> $AZ_BATCH_NODE_SHARED_DIR/count'",
            wait_for_success=True,
        ),
        job_release_task=m.BatchJobReleaseTask(command_line="/bin/sh -c 'echo bye > $AZ_BATCH_NODE_SHARED_DIR/bye'"),
    )
    command = "/bin/sh -c 'cat $AZ_BATCH_JOB_PREP_WORKING_DIR/here $AZ_BATCH_NODE_SHARED_DIR/count'"
    for name in ("one", "two"):
        batch.add(command, name, "prepared")
        batch.done(name, "prepared")
        assert batch.read("stdout.txt", name, "prepared") == "ready\np\n"
    terminate: Any = batch.client.begin_terminate_job  # 15.1 has no public model for its body, and needs one
    terminate("prepared", {"terminateReason": "done"}, polling_interval=0.1).wait()
    until(lambda: batch.client.get_job("prepared").state == "completed", "the end of the job")
    batch.run("/bin/sh -c 'cat $AZ_BATCH_NODE_SHARED_DIR/bye'", "look")
    assert batch.read("stdout.txt", "look") == "bye\n"


def test_a_start_task_makes_the_node_ready(batch: Batch) -> None:
    """What it puts into `shared` is there for tasks; its output can be read as a node file."""
    start = m.BatchStartTask(
        command_line="/bin/sh -c 'echo tool > $AZ_BATCH_NODE_SHARED_DIR/tool; env'", wait_for_success=True
    )
    batch.pool("started", start_task=start)
    batch.job("on-it", "started")
    batch.add("/bin/sh -c 'cat $AZ_BATCH_NODE_SHARED_DIR/tool'", "t", "on-it")
    assert batch.done("t", "on-it").exit_code == 0
    node = next(iter(batch.client.list_nodes("started")))
    output = b"".join(batch.client.download_node_file("started", node.id, "startup/stdout.txt")).decode()
    assert "AZ_BATCH_NODE_STARTUP_DIR" in output
    assert "AZ_BATCH_TASK_ID" not in output


# Files in


def test_resource_files_by_sas_identity_and_listing(batch: Batch, container: ContainerClient) -> None:
    """One blob by SAS with its mode, one by the node's identity, a prefix of the container with its structure."""
    for name in ("a.txt", "in/x.txt", "in/deep/y with space.txt", "other.txt"):
        container.upload_blob(name, name.encode())
    address = sas(batch.emulator, container, "rl")
    resources = [
        m.ResourceFile(http_url=address.replace("?", "/a.txt?"), file_path="tools/a.txt", file_mode="0750"),
        m.ResourceFile(http_url=f"{container.url}/other.txt", file_path="o.txt", identity_reference=IDENTITY),
        m.ResourceFile(storage_container_url=address, blob_prefix="in/", file_path="data"),
    ]
    assert batch.run("/bin/sh -c 'find . -type f | sort; cat o.txt'", resource_files=resources).exit_code == 0
    lines = ["./data/in/deep/y with space.txt", "./data/in/x.txt", "./o.txt", "./tools/a.txt", "other.txt"]
    assert batch.read("stdout.txt").splitlines() == lines
    modes = {
        file.name: file.properties.file_mode
        for file in batch.client.list_task_files("job", "task", recursive=True)
        if file.properties is not None
    }
    assert (modes["wd/tools/a.txt"], modes["wd/o.txt"]) == ("0o100750", "0o100770")


def test_auto_storage_is_the_emulators_storage(batch: Batch, container: ContainerClient) -> None:
    """autoStorageContainerName needs neither address nor key."""
    container.upload_blob("in/x.txt", b"auto")
    files = [m.ResourceFile(auto_storage_container_name=container.container_name, blob_prefix="in/")]
    batch.run("/bin/cat in/x.txt", resource_files=files)
    assert batch.read("stdout.txt") == "auto"


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("missing blob", "BlobNotFound"),
        ("expired", "BlobAccessDenied"),
        ("no key at all", "BlobAccessDenied"),
        ("missing container", "ResourceContainerNotFound"),
        ("expired listing", "ResourceContainerAccessDenied"),
        ("outside", "ResourceFileCreateFailed"),
        ("nobody listens", "BlobDownloadMiscError"),
    ],
)
def test_resource_files_that_cannot_be_had(batch: Batch, container: ContainerClient, case: str, code: str) -> None:
    """The task fails before its command runs, with the service's code, and no SAS is shown."""
    container.upload_blob("a.txt", b"a")
    good, expired = sas(batch.emulator, container, "rl"), sas(batch.emulator, container, "rl", minutes=-5)
    other = batch.emulator.blob_url + "/nosuchcontainer"
    file = {
        "missing blob": m.ResourceFile(http_url=good.replace("?", "/none?"), file_path="a"),
        "expired": m.ResourceFile(http_url=expired.replace("?", "/a.txt?"), file_path="a"),
        "no key at all": m.ResourceFile(http_url=f"{container.url}/a.txt", file_path="a"),
        "missing container": m.ResourceFile(storage_container_url=other, identity_reference=IDENTITY),
        "expired listing": m.ResourceFile(storage_container_url=expired),
        "outside": m.ResourceFile(http_url=good.replace("?", "/a.txt?"), file_path="../../x"),
        "nobody listens": m.ResourceFile(http_url="https://127.0.0.1:1/c/b?sig=secret", file_path="a"),
    }[case]
    info = batch.run(
        "/bin/touch ran", resource_files=[file], constraints=m.BatchTaskConstraints(max_task_retry_count=2)
    )
    assert (info.exit_code, info.retry_count, batch.code(info)) == (None, 0, code)
    assert "sig=" not in str(info.failure_info)
    assert "wd/ran" not in {found.name for found in batch.client.list_task_files("job", "task", recursive=True)}


# Files out


def _output(pattern: str, url: str, condition: str = "taskcompletion", **container: Any) -> m.OutputFile:
    destination = m.OutputFileDestination(
        container=m.OutputFileBlobContainerDestination(container_url=url, **container)
    )
    options = m.OutputFileUploadConfiguration(upload_condition=m.OutputFileUploadCondition(condition))
    return m.OutputFile(file_pattern=pattern, destination=destination, upload_options=options)


@pytest.mark.parametrize(("exit_code", "expected"), [(0, {"ok/good.txt"}), (3, {"bad/good.txt"})])
def test_output_files_follow_their_conditions(
    batch: Batch, container: ContainerClient, exit_code: int, expected: set[str]
) -> None:
    """Success, failure and completion each get their files, all of them before the task is `completed`."""
    url = sas(batch.emulator, container, "rcwl")
    outputs = [
        _output("*.txt", url, "tasksuccess", path="ok"),
        _output("*.txt", url, "taskfailure", path="bad"),
        _output("../std*.txt", url, path="logs"),
        _output("out/**/*", url, path="tree"),
    ]
    command = f"/bin/sh -c 'mkdir -p out/d; echo 1 > good.txt; echo 2 > out/d/f; echo hello; exit {exit_code}'"
    batch.run(command, output_files=outputs)
    always = {"logs/stdout.txt", "logs/stderr.txt", "tree/d/f"}
    assert {blob.name for blob in container.list_blobs()} == expected | always
    assert container.download_blob("logs/stdout.txt").readall() == b"hello\n"
    assert "tree/d/f" in batch.read("fileuploadout.txt")
    assert "sig=" not in batch.read("fileuploadout.txt")


def test_a_large_output_goes_up_in_blocks_by_identity_with_headers(batch: Batch, container: ContainerClient) -> None:
    """A file above one block arrives whole; the blob has the headers that the output file asks for."""
    size = 20_000_003
    headers = [m.OutputFileUploadHeader(name="Content-Type", value="application/x-test")]
    outputs = [_output("big", container.url, path="big.bin", identity_reference=IDENTITY, upload_headers=headers)]
    batch.run(f"/bin/sh -c 'head -c {size} /dev/urandom > big; sha256sum big'", output_files=outputs)
    digest = hashlib.sha256()
    for chunk in container.download_blob("big.bin").chunks():
        digest.update(chunk)
    assert batch.read("stdout.txt").split()[0] == digest.hexdigest()
    properties = container.get_blob_client("big.bin").get_blob_properties()
    assert (properties.size, properties.content_settings.content_type) == (size, "application/x-test")


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("expired", "FileUploadAccessDenied"),
        ("read only", "FileUploadAccessDenied"),
        ("missing container", "FileUploadContainerNotFound"),
    ],
)
def test_an_output_that_cannot_be_put_fails_the_task(
    batch: Batch, container: ContainerClient, case: str, code: str
) -> None:
    """The command succeeded, the task did not: its exit code stays, its reason is the upload, it is not run again."""
    url = {
        "expired": sas(batch.emulator, container, "rcw", minutes=-5),
        "read only": sas(batch.emulator, container, "r"),
        "missing container": batch.emulator.blob_url + "/nosuchcontainer",
    }[case]
    identity: dict[str, Any] = {"identity_reference": IDENTITY} if case == "missing container" else {}
    info = batch.run(
        "/bin/sh -c 'echo 1 > x.txt'",
        output_files=[_output("x.txt", url, **identity)],
        constraints=m.BatchTaskConstraints(max_task_retry_count=2),
    )
    assert (info.exit_code, info.result, info.retry_count, batch.code(info)) == (0, "failure", 0, code)
    assert code in batch.read("fileuploaderr.txt")


def test_many_tasks_at_once_on_several_nodes(batch: Batch) -> None:
    """Eighty short tasks over three nodes all end well and leave nothing running."""
    batch.pool("many", nodes=3)
    batch.job("load", "many")
    tasks = [m.BatchTaskCreateOptions(id=f"t{n}", command_line=f"/bin/sh -c 'echo {n}'") for n in range(80)]
    batch.client.create_tasks("load", tasks)
    counts = until(
        lambda: c if (c := batch.client.get_job_task_counts("load").task_counts).completed == 80 else None, "all tasks"
    )
    assert counts.succeeded == 80
    nodes = {task.node_info.node_id for task in batch.client.list_tasks("load") if task.node_info is not None}
    assert len(nodes) == 3
    assert batch.read("stdout.txt", "t79", "load") == "79\n"
    until(lambda: not processes_of(batch.emulator), "quiet")
