"""Tasks in containers of podman or docker, over HTTP with Azure's own client. Skipped where neither can run one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from azbatch_emulator import Emulator
from azbatch_emulator.runners.container import COMMAND, limits

IMAGE = "localhost/azbatch-test:1"
SECONDS = 60.0


def engine_here(folder: Path) -> list[str] | None:
    """Words of an engine that can run a container on this machine, its image imported; None if there is none."""
    busybox = shutil.which("busybox")
    if busybox is None:
        return None
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(Path(busybox).resolve(), "bin/busybox")
        for name in ("sh", "cat", "sleep"):
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
    for words in candidates:
        if shutil.which(words[0]) is None:
            continue
        for step in (["import", str(archive), IMAGE], trial):
            if subprocess.run([*words, *step], capture_output=True, timeout=60, check=False).returncode:
                break
        else:
            return words
    return None


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BatchClient, list[str]]]:
    words = engine_here(tmp_path_factory.mktemp("engine"))
    if words is None:
        pytest.skip("no podman or docker (with busybox) that can run a container here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMMAND, " ".join(words))
        with Emulator(runner="container", storage=False, speed=10_000) as emulator:
            client = BatchClient(emulator.http_url, AzureNamedKeyCredential(emulator.account, emulator.account_key))
            image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404")
            machine = m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
            client.create_pool(
                m.BatchPoolCreateOptions(
                    id="pool",
                    vm_size="standard_d4s_v3",
                    virtual_machine_configuration=machine,
                    target_dedicated_nodes=1,
                    task_slots_per_node=4,
                )
            )
            client.create_job(m.BatchJobCreateOptions(id="job", pool_info=m.BatchPoolInfo(pool_id="pool")))
            yield client, words


def add(client: BatchClient, name: str, line: str, image: str = IMAGE, **options: Any) -> None:
    settings = m.BatchTaskContainerSettings(image_name=image, container_run_options=options.pop("run_options", None))
    task = m.BatchTaskCreateOptions(id=name, command_line=line, container_settings=settings, **options)
    client.create_task("job", task)


def until_state(client: BatchClient, name: str, state: m.BatchTaskState) -> m.BatchTask:
    end = time.monotonic() + SECONDS
    while (task := client.get_task("job", name)).state != state:
        assert time.monotonic() < end, f"task {name} is {task.state}"
        time.sleep(0.05)
    return task


def output(client: BatchClient, name: str) -> str:
    return b"".join(client.download_task_file("job", name, "stdout.txt")).decode()


def test_a_task_runs_inside_its_image(batch: tuple[BatchClient, list[str]]) -> None:
    """Root file system of the image, node's directories and variables, run options, exit code of the command."""
    client, _ = batch
    line = (
        "/bin/sh -c 'echo made > made.txt; echo $AZ_BATCH_TASK_ID $MINE $OPTION; [ $PWD = $AZ_BATCH_TASK_WORKING_DIR ] "
        "&& [ -d $AZ_BATCH_NODE_SHARED_DIR ] && [ ! -e /etc/debian_version ] && [ ! -e /usr/bin/env ] && exit 7'"
    )
    settings = [m.EnvironmentSetting(name="MINE", value="a b")]
    add(client, "inside", line, run_options="--env OPTION=given", environment_settings=settings)
    info = until_state(client, "inside", m.BatchTaskState.COMPLETED).execution_info
    assert info is not None
    assert output(client, "inside") == "inside a b given\n"
    assert info.exit_code == 7
    assert b"".join(client.download_task_file("job", "inside", "wd/made.txt")) == b"made\n"


def test_terminate_ends_the_container(batch: tuple[BatchClient, list[str]]) -> None:
    """No container, and no process of one, is left of a task that is terminated."""
    client, words = batch
    add(client, "long", "/bin/sh -c 'echo up; exec sleep 1000'")
    until_state(client, "long", m.BatchTaskState.RUNNING)
    end = time.monotonic() + SECONDS
    while output(client, "long") != "up\n":
        assert time.monotonic() < end
        time.sleep(0.05)
    client.terminate_task("job", "long")
    until_state(client, "long", m.BatchTaskState.COMPLETED)
    while subprocess.run([*words, "ps", "-aq"], capture_output=True, check=True).stdout.strip():
        assert time.monotonic() < end, "a container is left"
        time.sleep(0.05)


def test_an_image_that_cannot_be_pulled_fails_the_task(batch: tuple[BatchClient, list[str]]) -> None:
    """The task says which image was not to be had; its command never ran."""
    client, _ = batch
    add(client, "missing", "/bin/sh -c :", image="127.0.0.1:1/none:1")
    info = until_state(client, "missing", m.BatchTaskState.COMPLETED).execution_info
    assert info is not None
    assert info.exit_code is None
    assert info.failure_info is not None
    assert info.failure_info.code == "ContainerInvalidImage"


def test_a_registry_with_credentials_is_refused_not_ignored(batch: tuple[BatchClient, list[str]]) -> None:
    """A task that names a registry to sign in to fails with the reason; nothing is pulled anonymously instead."""
    client, _ = batch
    registry = m.ContainerRegistryReference(username="user", password="word", registry_server="127.0.0.1:1")
    settings = m.BatchTaskContainerSettings(image_name=IMAGE, registry=registry)
    task = m.BatchTaskCreateOptions(id="registry", command_line="/bin/sh -c :", container_settings=settings)
    client.create_task("job", task)
    info = until_state(client, "registry", m.BatchTaskState.COMPLETED).execution_info
    assert info is not None
    assert info.failure_info is not None
    assert info.failure_info.code == "ContainerInvalidRegistry"


def test_without_an_engine_the_emulator_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and nothing started."""
    from azbatch_emulator.errors import EmulatorError

    monkeypatch.delenv(COMMAND, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulatorError, match="podman or docker"), Emulator(runner="container", storage=False):
        pass
    assert os.environ["PATH"] == str(tmp_path)
