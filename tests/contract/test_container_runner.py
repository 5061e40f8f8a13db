"""Tasks in containers of podman or docker, over HTTP with Azure's own client. Skipped where neither can run one."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from azbatch_emulator import Emulator
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.runners.container import COMMAND, LABEL, TASK_USER, limits
from tests.contract import registry

IMAGE = "localhost/azbatch-test:1"
SECONDS = 120.0
LEFT = "azbatch-test-left"
Words = list[str]


def engine_here(folder: Path) -> Words | None:
    """Words of an engine that can run a container on this machine, its image imported; None if there is none."""
    busybox = shutil.which("busybox")
    if busybox is None:
        return None
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(Path(busybox).resolve(), "bin/busybox")
        for library in libraries(busybox):
            tar.add(library.resolve(), str(library).lstrip("/"))
        for name in ("sh", "cat", "id", "sleep", "touch"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    own = ["--storage-driver", "vfs", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    candidates = [["podman", "--cgroup-manager", "cgroupfs", *own], ["docker"]]
    candidates.insert(0, ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *own])
    trial = ["run", "--rm", "--network", "host"]
    for name, (soft, hard) in limits().items():
        trial += ["--ulimit", f"{name}={soft}:{hard}"]
    trial += [IMAGE, "/bin/sh", "-c", ":"]
    make = ["import", "--change", 'CMD ["/bin/sh", "-c", "echo of the image"]', str(archive), IMAGE]
    for words in candidates:
        if shutil.which(words[0]) is None:
            continue
        for step in (make, trial):
            if subprocess.run([*words, *step], capture_output=True, timeout=60, check=False).returncode:
                break
        else:
            return words
    return None


def libraries(program: str) -> list[Path]:
    """What a program needs besides itself: nothing, if it is static."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    words = [word for line in told.splitlines() for word in line.split() if word.startswith("/")]
    return [Path(word) for word in words]


@pytest.fixture(scope="module")
def engine() -> Iterator[Words]:
    # Not pytest's own folder: podman takes a run root of at most 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as folder:
        words = engine_here(Path(folder))
        if words is None:
            pytest.skip("no podman or docker (with busybox) that can run a container here")
        yield words


@pytest.fixture(scope="module")
def batch(engine: Words) -> Iterator[BatchClient]:
    """An account whose pool `pool` runs containers, and a job there; a container is left of an emulator before it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMMAND, " ".join(engine))
        with Emulator(runner="container", storage=False, speed=10_000) as emulator:
            label = f"{LABEL}={emulator._folder.owner}/nodes"
            done(engine, "create", "--name", LEFT, "--label", label, "--network", "host", *ulimits(), IMAGE)
            client = BatchClient(emulator.http_url, AzureNamedKeyCredential(emulator.account, emulator.account_key))
            make_pool(client, "pool", task_slots_per_node=16)
            line = "/bin/sh -c 'echo p > $AZ_BATCH_JOB_PREP_WORKING_DIR/p; echo s > $AZ_BATCH_NODE_SHARED_DIR/s'"
            client.create_job(
                m.BatchJobCreateOptions(
                    id="job",
                    pool_info=m.BatchPoolInfo(pool_id="pool"),
                    job_preparation_task=m.BatchJobPreparationTask(command_line=line),
                )
            )
            yield client


def ulimits() -> Words:
    return [word for name, (soft, hard) in limits().items() for word in ("--ulimit", f"{name}={soft}:{hard}")]


def done(words: Words, *more: str) -> str:
    return subprocess.run([*words, *more], capture_output=True, check=True, text=True, timeout=SECONDS).stdout


def make_pool(client: BatchClient, name: str, *images: str, registries: Any = None, **options: Any) -> None:
    image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404")
    machine = m.VirtualMachineConfiguration(
        image_reference=image,
        node_agent_sku_id="batch.node.ubuntu 24.04",
        container_configuration=m.BatchContainerConfiguration(
            type="dockerCompatible", container_image_names=list(images), container_registries=registries
        ),
    )
    client.create_pool(
        m.BatchPoolCreateOptions(
            id=name,
            vm_size="standard_d4s_v3",
            virtual_machine_configuration=machine,
            target_dedicated_nodes=1,
            **options,
        )
    )


def task(name: str, line: str, image: str = IMAGE, admin: bool = False, **options: Any) -> m.BatchTaskCreateOptions:
    names = ("container_run_options", "working_directory", "container_host_batch_bind_mounts", "registry")
    settings = m.BatchTaskContainerSettings(
        image_name=image, **{key: options.pop(key) for key in names if key in options}
    )
    level = m.ElevationLevel.ADMIN if admin else m.ElevationLevel.NON_ADMIN
    user = m.UserIdentity(auto_user=m.AutoUserSpecification(scope="pool", elevation_level=level))
    return m.BatchTaskCreateOptions(
        id=name, command_line=line, container_settings=settings, user_identity=user, **options
    )


def mount(source: str, read_only: bool = False) -> m.ContainerHostBatchBindMountEntry:
    return m.ContainerHostBatchBindMountEntry(source=source, is_read_only=read_only)


def variables(**values: str) -> list[m.EnvironmentSetting]:
    return [m.EnvironmentSetting(name=name, value=value) for name, value in values.items()]


def until_state(client: BatchClient, name: str, state: m.BatchTaskState) -> m.BatchTask:
    end = time.monotonic() + SECONDS
    while (found := client.get_task("job", name)).state != state:
        assert time.monotonic() < end, f"task {name} is {found.state}"
        time.sleep(0.05)
    return found


def ended(client: BatchClient, name: str) -> m.BatchTaskExecutionInfo:
    info = until_state(client, name, m.BatchTaskState.COMPLETED).execution_info
    assert info is not None
    return info


def failure(client: BatchClient, name: str) -> tuple[str, str, str]:
    """(code, category, all details) of a task whose command did not run."""
    info = ended(client, name)
    assert (info.exit_code, info.container_info) == (None, None)
    assert info.failure_info is not None
    details = " ".join(f"{one.name}={one.value}" for one in info.failure_info.details or ())
    return str(info.failure_info.code), m.BatchErrorSourceCategory(info.failure_info.category).value.lower(), details


def output(client: BatchClient, name: str, file: str = "stdout.txt") -> str:
    return b"".join(client.download_task_file("job", name, file)).decode()


def good(client: BatchClient, name: str) -> str:
    """What a task that succeeded told."""
    info = ended(client, name)
    assert info.exit_code == 0, (info.failure_info, output(client, name, "stderr.txt"))
    return output(client, name)


class Blobs(ThreadingHTTPServer):
    """Keeps what is put there, and gives it back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Blob)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.kept = {"/c/given": b"given\n"}

    def upload(self, name: str) -> m.OutputFile:
        container = m.OutputFileBlobContainerDestination(container_url=f"{self.url}/c?sig=s", path=name)
        return m.OutputFile(
            file_pattern=name,
            destination=m.OutputFileDestination(container=container),
            upload_options=m.OutputFileUploadConfiguration(upload_condition="taskcompletion"),
        )


class _Blob(BaseHTTPRequestHandler):
    server: Blobs

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(200, self.server.kept[self.path])

    def do_PUT(self) -> None:
        self.server.kept[self.path.partition("?")[0]] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def blobs() -> Iterator[Blobs]:
    with Blobs() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def ran(batch: BatchClient, blobs: Blobs) -> BatchClient:
    """The tasks that need nothing of each other, all under way at once."""
    inside = (
        "/bin/sh -c 'echo made > made.txt; echo $AZ_BATCH_TASK_ID $MINE $DOCKER_MINE $OPTION $AZ_BATCH_ACCOUNT_NAME; "
        "[ $PWD = $AZ_BATCH_TASK_WORKING_DIR ] && [ -d $AZ_BATCH_NODE_STARTUP_DIR ] && [ ! -e /etc/debian_version ] "
        "&& [ ! -e /usr/bin/env ] && exit 7'"
    )
    few = (
        "/bin/sh -c '[ -d $AZ_BATCH_NODE_SHARED_DIR ] && ! touch $AZ_BATCH_NODE_SHARED_DIR/x 2>/dev/null "
        "&& [ ! -e $AZ_BATCH_NODE_STARTUP_DIR ] && echo kept > kept.txt'"
    )
    none = "/bin/sh -c '[ ! -e $AZ_BATCH_NODE_SHARED_DIR ] && touch lost.txt && echo $PWD'"
    batch.create_tasks(
        "job",
        [
            task(
                "inside",
                inside,
                container_run_options='--env "OPTION=given twice" --hostname=thing',
                environment_settings=variables(MINE="a b", DOCKER_MINE="c  d"),
            ),
            task("image-directory", "/bin/sh -c 'echo $PWD'", working_directory="containerImageDefault"),
            task("plain", "/bin/sh -c 'touch here $TMPDIR/there && cat $SSL_CERT_FILE > certificates && id -u'"),
            task("elevated", "id -u", admin=True),
            task("few", few, container_host_batch_bind_mounts=[mount("Shared", read_only=True), mount("Task")]),
            task("none", none, container_host_batch_bind_mounts=[]),
            task("entry", ""),
            task("no-program", "/bin/nothing"),
            task("no-option", "id", container_run_options="--no-such-option"),
            task("open-quote", "id", container_run_options="--env 'A"),
            task(
                "shared",
                "/bin/sh -c 'cd $AZ_BATCH_JOB_PREP_WORKING_DIR && echo P >> p && cat p; "
                "cd $AZ_BATCH_NODE_SHARED_DIR && echo S >> s && cat s'",
                container_host_batch_bind_mounts=[mount("JobPrep"), mount("Shared")],
            ),
            task(
                "files",
                "/bin/sh -c 'cat given.txt > made.txt; echo more >> made.txt; exit 3'",
                resource_files=[m.ResourceFile(http_url=f"{blobs.url}/c/given", file_path="given.txt")],
                output_files=[blobs.upload("made.txt")],
            ),
            task("no-image", "id", image="127.0.0.1:1/none:1"),
            task(
                "too-long",
                "sleep 1000",
                constraints=m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=5)),
            ),
        ],
    )
    return batch


def test_a_task_runs_inside_its_image(ran: BatchClient) -> None:
    """Root file system of the image, node's directories and variables, run options with quotes, the exit code.

    Its files are there when the container is gone.
    """
    info = ended(ran, "inside")
    assert info.exit_code == 7
    assert info.container_info is not None
    assert (len(str(info.container_info.container_id)), info.container_info.state) == (64, "exited")
    assert output(ran, "inside") == "inside a b c d given twice emulator\n"
    assert output(ran, "inside", "wd/made.txt") == "made\n"


def test_the_working_directory_may_be_the_image_s(ran: BatchClient) -> None:
    """containerImageDefault: where the image says, `/` by default."""
    assert good(ran, "image-directory") == "/\n"


def test_the_user_is_root_only_where_elevated(ran: BatchClient) -> None:
    """A task without elevation writes where tasks write, reads the certificates, and is not root."""
    assert good(ran, "plain").strip() == str(os.getuid() or TASK_USER)
    assert "BEGIN CERTIFICATE" in output(ran, "plain", "wd/certificates")
    assert good(ran, "elevated") == "0\n"


def test_only_the_named_directories_are_mounted(ran: BatchClient) -> None:
    """containerHostBatchBindMounts: those, read-only where it says so; an empty list mounts none of the node's."""
    assert good(ran, "few") == ""
    assert output(ran, "few", "wd/kept.txt") == "kept\n"
    assert good(ran, "none").endswith("/wd\n")
    assert not [one.name for one in ran.list_task_files("job", "none", recursive=True) if "lost" in str(one.name)]


def test_what_the_node_made_is_the_tasks_to_change(ran: BatchClient) -> None:
    """The preparation task runs on the host; a task in a container, no root, goes on with what it left."""
    assert good(ran, "shared") == "p\nP\ns\nS\n"


def test_files_come_and_go(ran: BatchClient, blobs: Blobs) -> None:
    """Resource files are there for the container, output files are uploaded when it has ended, failed or not."""
    assert ended(ran, "files").exit_code == 3
    assert blobs.kept["/c/made.txt"] == b"given\nmore\n"


def test_without_a_command_line_the_image_s_own_runs(ran: BatchClient) -> None:
    """The empty command line stands for the image's entry point."""
    assert good(ran, "entry") == "of the image\n"


@pytest.mark.parametrize(
    ("name", "code", "detail"),
    [
        ("no-program", "CommandProgramNotFound", "/bin/nothing"),
        ("no-option", "ContainerInvalidSettings", "no-such-option"),
        ("open-quote", "ContainerInvalidSettings", "No closing quotation"),
        ("no-image", "ContainerInvalidImage", "ContainerImage=127.0.0.1:1/none:1"),
    ],
)
def test_what_cannot_run_fails_with_the_service_s_code(ran: BatchClient, name: str, code: str, detail: str) -> None:
    """The user's error, with what is wrong; there is no exit code, since no command ran."""
    found, category, details = failure(ran, name)
    assert (found, category) == (code, "usererror")
    assert detail in details


def containers(words: Words, name: str) -> Words:
    return done(words, "ps", "--all", "--quiet", "--filter", f"name={name}").split()


def until_gone(words: Words, name: str) -> None:
    end = time.monotonic() + SECONDS
    while containers(words, name):
        assert time.monotonic() < end, "a container is left"
        time.sleep(0.05)


def test_terminate_ends_the_container(ran: BatchClient, engine: Words) -> None:
    """No container, and no process of one, is left of a task that is terminated; nor of an emulator before."""
    ran.create_task("job", task("long", "/bin/sh -c 'echo up; exec sleep 1000'"))
    until_state(ran, "long", m.BatchTaskState.RUNNING)
    end = time.monotonic() + SECONDS
    while output(ran, "long") != "up\n":
        assert time.monotonic() < end
        time.sleep(0.05)
    ran.terminate_task("job", "long")
    until_state(ran, "long", m.BatchTaskState.COMPLETED)
    until_gone(engine, "")


# Registries


def test_a_pull_ends_with_its_node(batch: BatchClient) -> None:
    """A registry that never answers holds up nobody: when the pool is deleted the engine lets go of it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        make_pool(batch, "silent", f"127.0.0.1:{silent.getsockname()[1]}/a:1")
        connection, _ = silent.accept()
        connection.settimeout(SECONDS)
        batch.begin_delete_pool("silent")
        with connection:
            while connection.recv(65_536):
                pass
    assert not [pool.id for pool in batch.list_pools() if pool.id == "silent" and pool.state == "active"]


@pytest.fixture(scope="module")
def site(engine: Words, batch: BatchClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A registry with a user, in front of it one that answers as an ACR, and images that only they have."""
    if registry.program() is None:
        pytest.skip("no docker-registry (Debian: apt-get install docker-registry)")
    with registry.running(tmp_path_factory.mktemp("registry")) as server, registry.acr(server) as acr:
        tls = ["--tls-verify=false"] if engine[0] == "podman" else []
        keys = tmp_path_factory.mktemp("keys")
        words = ["env", f"DOCKER_CONFIG={keys}", f"REGISTRY_AUTH_FILE={keys}/config.json", *engine]
        done(words, "login", "--username", registry.USER, "--password", registry.PASSWORD, *tls, server)
        for name in ("pool", "task", "identity"):
            done(words, "tag", IMAGE, f"{server}/{name}:1")
            done(words, "push", *tls, f"{server}/{name}:1")
            done(words, "rmi", f"{server}/{name}:1")
        yield SimpleNamespace(batch=batch, server=server, acr=acr)


def reference(server: str, password: str = registry.PASSWORD) -> m.ContainerRegistryReference:
    return m.ContainerRegistryReference(username=registry.USER, password=password, registry_server=server)


def node_of(client: BatchClient, pool: str, *states: str) -> m.BatchNode:
    end = time.monotonic() + SECONDS
    while True:
        found = list(client.list_nodes(pool))
        if found and found[0].state in states:
            return found[0]
        assert time.monotonic() < end, [node.state for node in found]
        time.sleep(0.05)


def test_images_are_pulled_before_the_start_task(site: SimpleNamespace, engine: Words) -> None:
    """A pool's registry lets its nodes in: the image is there when the start task runs in it.

    The service keeps the password to itself.
    """
    image = f"{site.server}/pool:1"
    settings = m.BatchTaskContainerSettings(image_name=image)
    start = m.BatchStartTask(command_line="id", container_settings=settings, wait_for_success=True)
    make_pool(site.batch, "pulled", image, registries=[reference(site.server)], start_task=start)
    node = node_of(site.batch, "pulled", "idle", "unusable", "starttaskfailed")
    assert (node.state, node.errors) == ("idle", None), node.start_task_info
    assert done(engine, "image", "inspect", "--format", "{{.Id}}", image)
    machine = site.batch.get_pool("pulled").virtual_machine_configuration
    (shown,) = machine.container_configuration.container_registries
    assert (shown.username, shown.password) == (registry.USER, None)


@pytest.mark.parametrize(
    ("image", "password", "code", "detail"),
    [
        ("nothing:1", registry.PASSWORD, "ContainerInvalidImage", "nothing:1"),
        ("pool:1", "wrong", "ContainerInvalidRegistry", "{server}"),
    ],
)
def test_a_node_that_cannot_pull_is_unusable(
    site: SimpleNamespace, image: str, password: str, code: str, detail: str
) -> None:
    """An image that is not there, a registry that does not let it in: the node's error says which."""
    pool = code[9:].lower()
    make_pool(site.batch, pool, f"{site.server}/{image}", registries=[reference(site.server, password)])
    node = node_of(site.batch, pool, "unusable", "idle")
    assert node.errors is not None
    assert [error.code for error in node.errors] == [code]
    told = [one.value for one in node.errors[0].error_details or ()]
    assert detail.format(server=site.server) in str(told[0])
    assert "wrong" not in str(told)


def test_a_task_brings_its_own_registry(site: SimpleNamespace) -> None:
    """containerSettings.registry lets the task's pull in; with another password, or without one, the task fails."""
    image = f"{site.server}/task:1"
    site.batch.create_task("job", task("nobody", "id", image))
    code, _, details = failure(site.batch, "nobody")
    assert (code, "uthent" in details) == ("ContainerInvalidImage", True)
    site.batch.create_task("job", task("stranger", "id", image, registry=reference(site.server, "wrong")))
    assert failure(site.batch, "stranger")[:2] == ("ContainerInvalidRegistry", "usererror")
    site.batch.create_task("job", task("known", "id", image, registry=reference(site.server)))
    assert good(site.batch, "known").startswith("uid=")


def test_a_registry_with_identity(site: SimpleNamespace) -> None:
    """The node's identity gets a token for Resource Manager, and exchanges it for what lets the pull in."""
    identity = m.BatchNodeIdentityReference(resource_id="/subscriptions/s/identity")
    site.acr.claims.clear()
    make_pool(
        site.batch,
        "identity",
        f"{site.acr.server}/identity:1",
        registries=[m.ContainerRegistryReference(registry_server=site.acr.server, identity_reference=identity)],
    )
    node = node_of(site.batch, "identity", "idle", "unusable")
    assert (node.state, node.errors) == ("idle", None)
    (claims,) = site.acr.claims
    assert (claims["aud"], bool(claims["oid"])) == ("https://management.azure.com/", True)
    plain = m.ContainerRegistryReference(registry_server=site.server, identity_reference=identity)
    make_pool(site.batch, "no-acr", f"{site.server}/identity:1", registries=[plain])
    errors = node_of(site.batch, "no-acr", "idle", "unusable").errors
    assert errors is not None
    assert [error.code for error in errors] == ["ContainerInvalidRegistry"]


def test_a_task_that_is_too_long_ends_with_its_container(ran: BatchClient, engine: Words) -> None:
    """maxWallClockTime: the task says so, and no container is left of it."""
    info = ended(ran, "too-long")
    assert info.failure_info is not None
    assert info.failure_info.code == "TaskEnded"
    until_gone(engine, "")


# Without containers


def test_without_an_engine_the_emulator_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and nothing started."""
    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorError, match="podman or docker"), Emulator(runner="container", storage=False):
        pass
    assert os.environ["PATH"] == str(tmp_path)


def test_the_process_runner_says_once_that_it_ignores_images(caplog: pytest.LogCaptureFixture) -> None:
    """Pools that pull and tasks that name an image run on this machine; the log has one line about it."""
    with caplog.at_level(logging.WARNING), Emulator(storage=False, speed=10_000) as emulator:
        client = BatchClient(emulator.http_url, AzureNamedKeyCredential(emulator.account, emulator.account_key))
        make_pool(client, "p", "none.example/a:1")
        client.create_job(m.BatchJobCreateOptions(id="job", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.create_tasks("job", [task(name, "/bin/sh -c 'echo here'") for name in "ab"])
        assert [good(client, name) for name in "ab"] == ["here\n"] * 2
    assert len([one for one in caplog.records if "images are ignored" in one.message]) == 1
