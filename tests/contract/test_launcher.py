"""Starting and stopping the emulator: as a library, and as a daemon by `azbatch emulator`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

from azbatch_emulator import Emulator, EmulatorError
from azbatch_emulator.runners.environment import MARKER
from azbatch_emulator.state import StateFolder

SECONDS = 30.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's value once it is true; fails after SECONDS."""
    end = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come about within {SECONDS} s"
        time.sleep(0.02)
    return value


def ours(state: Path) -> list[int]:
    """Processes that belong to the emulator of this state folder: tasks and Azurite."""
    marker = f"{MARKER}={StateFolder(state).owner}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def azbatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it."""
    command = [sys.executable, "-c", "from azbatch.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose daemon, if the test leaves one, is stopped."""
    folder = tmp_path / "state"
    yield folder
    azbatch("emulator", "stop", "--state", str(folder))
    assert ours(folder) == []


def start(state: Path, *options: str) -> dict[str, Any]:
    result = azbatch("emulator", "start", "--state", str(state), "--json", *options)
    assert result.returncode == 0, result.stderr
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def sleeping_task(url: str, key: str, count: int = 3) -> None:
    """A pool of one node on which some tasks sleep, one of them in a session of its own."""
    image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404")
    machine = m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    with BatchClient(endpoint=url, credential=AzureNamedKeyCredential("emulator", key)) as client:
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
        command = "/bin/sh -c 'setsid sleep 600 & sleep 600'"
        client.create_tasks("job", [m.BatchTaskCreateOptions(id=f"t{n}", command_line=command) for n in range(count)])
        until(lambda: client.get_job_task_counts("job").task_counts.running == count, "running tasks")


# As a library


def test_the_environment_is_all_that_clients_need(azbatch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its variables set, DefaultAzureCredential opens Batch and Blob storage; no secret is among them."""
    variables = azbatch_emulator.environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with BatchClient(endpoint=variables["AZBATCH_ACCOUNT_URL"], credential=DefaultAzureCredential()) as client:
        list(client.list_pools())
    with BlobServiceClient(variables["AZBATCH_STORAGE_URL"], credential=DefaultAzureCredential()) as client_of_blobs:
        list(client_of_blobs.list_containers())
    text = json.dumps(variables)
    assert azbatch_emulator.account_key not in text
    assert azbatch_emulator.storage_key not in text


def test_the_connection_string_opens_storage(azbatch_emulator: Emulator) -> None:
    """Tools that want a connection string have one."""
    bundle = str(azbatch_emulator.ca_bundle)
    with BlobServiceClient.from_connection_string(
        azbatch_emulator.storage_connection_string, connection_verify=bundle
    ) as client:
        list(client.list_containers())


def test_two_emulators_live_side_by_side() -> None:
    """Without a state folder each has its own, on ports of its own, and leaves nothing."""
    with Emulator(storage=False) as one, Emulator(storage=False) as two:
        assert one.http_url != two.http_url
        assert one.account_key != two.account_key
        roots = [Path(str(each.control("status")["state"])) for each in (one, two)]
    assert not [root for root in roots if root.exists()]


@pytest.mark.parametrize("option", ["http_port", "https_port"])
def test_a_port_in_use_is_one_sentence(tmp_path: Path, option: str) -> None:
    """The error names the port and the option; the state folder is free again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flag = "--" + option.replace("_", "-")
        ports: dict[str, Any] = {option: port}
        with pytest.raises(EmulatorError, match=rf"Port {port} cannot be used .*{flag}"):
            Emulator(state=tmp_path, storage=False, **ports).__enter__()
    with Emulator(state=tmp_path, storage=False):
        pass


def test_azurite_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    """A fault of one part ends the whole start, cleanly."""
    with pytest.raises(EmulatorError, match=r"missing is not a Node\.js"):
        Emulator(state=tmp_path, node_path=str(tmp_path / "missing")).__enter__()
    assert ours(tmp_path) == []
    assert StateFolder(tmp_path).running() is None


def test_leaving_ends_tasks_and_azurite(tmp_path: Path) -> None:
    """After the block no process of it is left, in whatever session."""
    with Emulator(state=tmp_path) as emulator:
        sleeping_task(emulator.http_url, emulator.account_key)
        assert len(ours(tmp_path)) >= 7  # three shells, six sleeps (some may be yet to come), Azurite
    assert ours(tmp_path) == []


# Control


def _post(url: str, headers: dict[str, str]) -> int:
    request = urllib.request.Request(url, data=b"{}", headers=headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def test_control_is_guarded(azbatch_emulator: Emulator) -> None:
    """A web page that posts to loopback changes nothing: the token is needed."""
    url = f"{azbatch_emulator.control_url}/reset"
    assert _post(url, {}) == 403
    assert _post(url, {"x-azbatch-emulator-token": "guess"}) == 403


def test_control_tells_and_causes(azbatch_emulator: Emulator) -> None:
    """Counts by operation, a broken node, a preempted one, failing start tasks, a quota: each has its effect."""
    azbatch_emulator.control("reset", storage=False)
    credential = AzureNamedKeyCredential(azbatch_emulator.account, azbatch_emulator.account_key)
    image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404")
    machine = m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    start_task = m.BatchStartTask(command_line="/bin/true", wait_for_success=True)

    def nodes(client: BatchClient, pool: str) -> list[str]:
        return sorted(m.BatchNodeState(node.state).value for node in client.list_nodes(pool))

    with BatchClient(endpoint=azbatch_emulator.http_url, credential=credential) as client:

        def pool(name: str, **options: Any) -> None:
            client.create_pool(
                m.BatchPoolCreateOptions(
                    id=name, vm_size="standard_d4s_v3", virtual_machine_configuration=machine, **options
                )
            )

        pool("p", target_dedicated_nodes=1, target_low_priority_nodes=1)
        until(lambda: nodes(client, "p") == ["idle", "idle"], "idle nodes")
        by_kind = {bool(node.is_dedicated): str(node.id) for node in client.list_nodes("p")}
        azbatch_emulator.control("break", pool_id="p", node_id=by_kind[True], code="DiskFull", message="full")
        azbatch_emulator.control("preempt", pool_id="p", node_id=by_kind[False])
        assert set(nodes(client, "p")) <= {"unusable", "preempted", "starting", "idle"}
        assert client.get_node("p", by_kind[True]).state == "unusable"
        with pytest.raises(EmulatorError, match="OperationInvalidForCurrentState"):
            azbatch_emulator.control("preempt", pool_id="p", node_id=by_kind[True])
        with pytest.raises(EmulatorError, match="InvalidRequestBody"):
            azbatch_emulator.control("break", pool_id="p")

        pool("s", target_dedicated_nodes=0, start_task=start_task)
        azbatch_emulator.control("fail-start-tasks", pool_id="s", count=1, exit_code=9)
        client.begin_resize_pool("s", m.BatchPoolResizeOptions(target_dedicated_nodes=1), polling_interval=1).wait()
        until(lambda: nodes(client, "s") == ["starttaskfailed"], "a failed start task")

        azbatch_emulator.control("quota", dedicated_cores=4)
        pool("q", target_dedicated_nodes=5)
        errors = until(lambda: client.get_pool("q").resize_errors, "a resize error")
        assert errors[0].code == "AccountCoreQuotaReached"
    counts = azbatch_emulator.control("requests")
    assert counts["CreatePool"] == 3
    assert counts == azbatch_emulator.control("status")["requests"]
    azbatch_emulator.control("quota")
    azbatch_emulator.control("reset", storage=False)
    assert azbatch_emulator.control("requests") == {}
    assert azbatch_emulator.control("status")["pools"] == []


def test_reset_empties_storage_too(azbatch_emulator: Emulator) -> None:
    """After a reset there is no container; the address and the key are the same."""
    bundle = str(azbatch_emulator.ca_bundle)
    text = azbatch_emulator.storage_connection_string
    with BlobServiceClient.from_connection_string(text, connection_verify=bundle) as client:
        client.create_container("gone")
        azbatch_emulator.control("reset")
        assert azbatch_emulator.storage_connection_string == text
        assert [container.name for container in client.list_containers()] == []


# As a daemon


def test_a_daemons_life(state: Path) -> None:
    """start, a second start refused, status, env, reset, logs, stop; all files private; nothing left."""
    record = start(state)
    again = azbatch("emulator", "start", "--state", str(state))
    assert again.returncode == 1
    assert f"already running (process {record['pid']}" in again.stderr
    assert "Traceback" not in again.stderr
    status = json.loads(azbatch("emulator", "status", "--state", str(state), "--json").stdout)
    assert (status["running"], status["pools"], status["storage_failure"]) == (True, [], None)
    shown = azbatch("emulator", "env", "--state", str(state)).stdout
    assert f"export AZBATCH_ACCOUNT_URL={record['https_url']}" in shown
    secrets = StateFolder(state).secrets()
    logs = azbatch("emulator", "logs", "--state", str(state)).stdout
    for text in (shown, logs, json.dumps(status), json.dumps(record)):
        assert not [key for key in (secrets.account_key, secrets.storage_key, secrets.control_token) if key in text]
    sleeping_task(record["http_url"], secrets.account_key)
    assert azbatch("emulator", "reset", "--state", str(state)).returncode == 0
    assert len(ours(state)) == 1  # Azurite
    for path in state.rglob("*"):
        if path.parent in (state, state / "tls") and path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    stopped = azbatch("emulator", "stop", "--state", str(state))
    assert (stopped.returncode, stopped.stdout) == (0, "The emulator has stopped.\n")
    assert ours(state) == []
    assert azbatch("emulator", "status", "--state", str(state)).returncode == 1


def test_stopping_ends_sleeping_tasks_quickly(state: Path) -> None:
    """A stop does not wait for tasks; it ends them, also those in sessions of their own."""
    record = start(state, "--no-storage")
    sleeping_task(record["http_url"], StateFolder(state).secrets().account_key)
    assert ours(state)
    began = time.monotonic()
    assert azbatch("emulator", "stop", "--state", str(state)).returncode == 0
    assert time.monotonic() - began < 5
    assert ours(state) == []


def test_after_a_kill_it_starts_again_and_clears_up(state: Path) -> None:
    """kill -9 leaves tasks running; the next start ends them, keeps the keys, and runs them again."""
    record = start(state)
    folder = StateFolder(state)
    key = folder.secrets().account_key
    sleeping_task(record["http_url"], key)
    handle = os.pidfd_open(record["pid"])
    os.kill(record["pid"], signal.SIGKILL)
    assert select.select([handle], [], [], SECONDS)[0]
    os.close(handle)
    leftovers = ours(state)
    assert leftovers
    assert "not running" in azbatch("emulator", "env", "--state", str(state)).stderr
    again = start(state)
    assert again["pid"] != record["pid"]
    assert not set(leftovers) & set(ours(state))
    assert folder.secrets().account_key == key
    with BatchClient(endpoint=again["http_url"], credential=AzureNamedKeyCredential("emulator", key)) as client:
        assert [pool.id for pool in client.list_pools()] == ["pool"]
        until(lambda: client.get_job_task_counts("job").task_counts.running == 3, "the tasks' second run")


def test_a_daemon_that_cannot_start_says_why(state: Path) -> None:
    """The reason reaches the one who started it; exit code 1, nothing left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option, storage in (("--https-port", ["--no-storage"]), ("--blob-port", [])):
            result = azbatch("emulator", "start", "--state", str(state), option, port, *storage)
            assert result.returncode == 1
            assert result.stderr.startswith(f"azbatch: Port {port} ")
            assert result.stderr.count("\n") == 1
    assert ours(state) == []


def test_the_plugin_costs_nothing_to_others() -> None:
    """pytest loads our plugin in every project: it must not import the emulator, let alone a server."""
    code = (
        "import sys, azbatch_emulator.pytest_plugin\n"
        "heavy = ('starlette', 'uvicorn', 'azure', 'requests', 'azbatch_emulator.emulator')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
