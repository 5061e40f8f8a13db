"""The emulator as a service: reached from elsewhere, watched, logged, and never more privileged than its user."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
from click.testing import CliRunner, Result

from azbatch.cli import cli
from azbatch_emulator import Emulator, EmulatorError, launcher
from azbatch_emulator.__main__ import main
from azbatch_emulator.daemon import notify_systemd
from azbatch_emulator.state import StateFolder
from tests.contract.test_launcher import ours, until


def address() -> str:
    """An address of this machine that is not loopback's, else loopback's: the listener is the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that listens on all addresses, with a key and a token of our own."""
    folder = tmp_path_factory.mktemp("open")
    for name, size in (("key", 64), ("token", 48)):
        (folder / name).write_text(base64.b64encode(secrets.token_bytes(size)).decode() + "\n")
    with Emulator(
        runner="instant",
        listen="0.0.0.0",
        allow_remote=True,
        host_names=[address()],
        key_file=folder / "key",
        token_file=folder / "token",
    ) as emulator:
        assert emulator.account_key == emulator.storage_key == (folder / "key").read_text().strip()
        yield emulator


@pytest.fixture
def elsewhere(open_to_all: Emulator) -> Iterator[requests.Session]:
    """Somebody on another machine, who trusts the emulator's authority."""
    with requests.Session() as session:
        session.verify = str(open_to_all.ca_bundle)
        session.trust_env = False
        yield session


def outside(url: str) -> str:
    """The same address as another machine has it."""
    return url.replace("127.0.0.1", address())


# Beyond loopback


def test_others_need_the_key(open_to_all: Emulator) -> None:
    """With the user's own key the account opens over TLS under a name that others have; with another it does not."""
    bundle = str(open_to_all.ca_bundle)
    for key, good in ((open_to_all.account_key, True), (base64.b64encode(bytes(64)).decode(), False)):
        credential = AzureNamedKeyCredential(open_to_all.account, key)
        with BatchClient(
            endpoint=outside(open_to_all.https_url), credential=credential, connection_verify=bundle
        ) as client:
            if good:
                assert list(client.list_pools()) == []
            else:
                with pytest.raises(HttpResponseError, match="AuthenticationFailed"):
                    list(client.list_pools())


def test_no_token_is_given_to_others(open_to_all: Emulator, elsewhere: requests.Session) -> None:
    """The metadata service, which asks for no key, is on loopback only; so is everything that is not encrypted."""
    query = {"resource": "https://batch.core.windows.net/", "api-version": "2018-02-01"}
    for path in ("/metadata/identity/oauth2/token", "/_identity/owner/metadata/identity/oauth2/token"):
        asked = {"params": query, "headers": {"Metadata": "true"}, "timeout": 10}
        assert elsewhere.get(f"{open_to_all.http_url}{path}", **asked).json()["access_token"]  # type: ignore[arg-type]
        refused = elsewhere.get(f"{outside(open_to_all.https_url)}{path}", **asked)  # type: ignore[arg-type]
        assert refused.status_code >= 400
        assert "access_token" not in refused.text
    if address() != "127.0.0.1":
        with pytest.raises(requests.ConnectionError):
            elsewhere.get(outside(open_to_all.http_url), timeout=10)


def test_control_and_health(open_to_all: Emulator, elsewhere: requests.Session) -> None:
    """Control takes the user's own token; whether it is well is told to everybody, and nothing else."""
    url = outside(open_to_all.https_url)
    token = {"x-azbatch-emulator-token": "x" * 40}
    assert elsewhere.get(f"{url}/_emulator/status", timeout=10).status_code == 403
    assert elsewhere.get(f"{url}/_emulator/status", headers=token, timeout=10).status_code == 403
    assert elsewhere.get(f"{url}/_emulator/health", timeout=10).json() == {"healthy": True}
    assert open_to_all.control("status")["remote"] is True


def forged(subject: str) -> str:
    """A token of the right shape that nobody signed."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"aud": "https://storage.azure.com", "sub": subject, "exp": 4102444800})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def test_blobs_open_to_the_key(open_to_all: Emulator) -> None:
    """By the connection string, written and read back from elsewhere."""
    text = outside(open_to_all.storage_connection_string)
    with BlobServiceClient.from_connection_string(text, connection_verify=str(open_to_all.ca_bundle)) as client:
        box = client.create_container("box")
        box.upload_blob("a/b", b"data" * 1000)
        assert box.download_blob("a/b").readall() == b"data" * 1000


@pytest.mark.parametrize(
    "authorizations",
    [
        [],
        ["Bearer {}"],
        ["bearer {}"],
        ["Bearer\t{}"],
        ["Bearer  {}"],
        ["SharedKey a:b", "Bearer {}"],
        ["Bearer {}", "SharedKey a:b"],
    ],
)
def test_blobs_open_to_no_forged_token(open_to_all: Emulator, authorizations: list[str]) -> None:
    """Azurite believes every token; from elsewhere one is only believed with our signature, however it is written."""
    place = urlsplit(outside(open_to_all.blob_url))
    trust = ssl.create_default_context(cafile=str(open_to_all.ca_bundle))
    connection = http.client.HTTPSConnection(str(place.hostname), place.port, context=trust, timeout=10)
    try:
        connection.putrequest("GET", f"{place.path}?comp=list")
        for header in authorizations:
            connection.putheader("Authorization", header.format(forged("me")))
        connection.putheader("x-ms-version", "2024-11-04")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
    finally:
        connection.close()
    assert answer.status in {400, 401, 403}
    assert "<Containers" not in body


def test_it_does_not_start_without_the_flag(tmp_path: Path) -> None:
    """Said in one sentence before anything is started or written."""
    with pytest.raises(EmulatorError, match=r"beyond loopback: add --allow-remote .*; add --key-file"):
        Emulator(state=tmp_path / "state", storage=False, listen="0.0.0.0").__enter__()
    assert not (tmp_path / "state").exists()


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    """Listening where nobody of this machine lives is one sentence."""
    (tmp_path / "key").write_text(base64.b64encode(secrets.token_bytes(64)).decode())
    with pytest.raises(EmulatorError, match=r"203\.0\.113\.9 is no address of this machine"):
        Emulator(storage=False, listen="203.0.113.9", allow_remote=True, key_file=tmp_path / "key").__enter__()


# Root


REPORT = "/bin/sh -c 'id -u; grep NoNewPrivs /proc/self/status; cat /proc/self/loginuid >/dev/null 2>&1; true'"
AS_SOMEBODY = """
import sys
from azbatch_emulator import Emulator
from tests.contract.test_emulator_service import run_one
with Emulator(state=sys.argv[1] + "/state", storage=False, speed=600) as emulator:
    print(run_one(emulator, elevated=True), emulator.control("status")["tasks_run_as"])
"""


def run_one(emulator: Emulator, *, elevated: bool) -> list[str]:
    """What a task writes about who it is; with the right of an administrator, as Batch has it, or without."""
    from azure.batch import models as m

    image = m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404")
    machine = m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04")
    level = m.ElevationLevel.ADMIN if elevated else m.ElevationLevel.NON_ADMIN
    user = m.UserIdentity(auto_user=m.AutoUserSpecification(elevation_level=level, scope=m.AutoUserScope.POOL))
    credential = AzureNamedKeyCredential(emulator.account, emulator.account_key)
    with BatchClient(endpoint=emulator.http_url, credential=credential) as client:
        client.create_pool(
            m.BatchPoolCreateOptions(
                id="p", vm_size="standard_d2s_v3", virtual_machine_configuration=machine, target_dedicated_nodes=1
            )
        )
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        client.create_task("j", m.BatchTaskCreateOptions(id="t", command_line=REPORT, user_identity=user))
        until(lambda: client.get_task("j", "t").state == "completed", "the task's end")
        return b"".join(client.download_task_file("j", "t", "stdout.txt")).decode().split()


def test_tasks_are_nobody_else_than_the_emulator(azbatch_emulator: Emulator) -> None:
    """A task is its user's, also where it asks for an administrator's rights; where that is not root it stays so."""
    azbatch_emulator.control("reset", storage=False)
    uid, _, bound = run_one(azbatch_emulator, elevated=True)
    assert int(uid) == os.geteuid()
    assert bound == ("0" if os.geteuid() == 0 else "1")
    azbatch_emulator.control("reset", storage=False)


@pytest.fixture
def somebodys() -> Iterator[Path]:
    """A home of another user; not below pytest's folder, which is ours alone."""
    with tempfile.TemporaryDirectory(prefix="azbatch-somebody-") as home:
        os.chown(home, 65534, 65534)
        yield Path(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start an emulator as somebody else")
def test_tasks_of_an_ordinary_user_never_become_root(somebodys: Path) -> None:
    """Not even by sudo or another program with the set-user-id bit: the kernel is told so."""

    def as_somebody(code: str, python: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HOME": str(somebodys), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [python, "-c", code, str(somebodys)], user=65534, group=65534, extra_groups=[], env=environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def usable(python: str | None) -> bool:
        try:
            return python is not None and as_somebody("import azbatch_emulator, azure.batch", python).returncode == 0
        except PermissionError:  # an interpreter in root's own directory
            return False

    systems = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    python = next((one for one in (sys.executable, systems) if usable(one)), None)
    if python is None:
        pytest.skip("no interpreter with its packages is readable by others")
    result = as_somebody(AS_SOMEBODY, python)
    assert result.stdout.split() == ["['65534',", "'NoNewPrivs:',", "'1']", "nobody"], result.stderr


# As a daemon


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    launcher.stop(folder)
    assert ours(folder) == []


def command_line(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["emulator", *arguments])


def test_others_can_wait_for_it_and_read_what_it_did(state: Path, tmp_path: Path) -> None:
    """The ready file holds the chosen ports; health tells when it is up; a watch ends with it; no secret is logged."""
    ready = tmp_path / "ready.json"
    early = CliRunner().invoke(main, ["health", "--state", str(state)])
    assert (early.exit_code, "not running" in early.output) == (1, True)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "azbatch_emulator", "health", "--state", str(state), "--wait", "60"]
    )
    options: dict[str, str | bool] = {
        "no-storage": True,
        "runner": "instant",
        "ready-file": str(ready),
        "log-level": "debug",
    }
    record = launcher.start(state, options=options)
    assert waiting.wait(60) == 0
    told = json.loads(ready.read_text())
    assert {name: told[name] for name in ("http_url", "https_url", "pid")} == {
        name: record[name] for name in ("http_url", "https_url", "pid")
    }
    key = StateFolder(state).secrets().account_key
    with BatchClient(endpoint=record["http_url"], credential=AzureNamedKeyCredential("emulator", key)) as client:
        list(client.list_pools(filter="state eq 'active'"))
    requests.get(f"{record['http_url']}/jobs/x?sv=1&sig=c2VjcmV0c2ln&se=2", timeout=10)
    shown = command_line("status", "--state", str(state))
    assert "There is no pool." in shown.output
    assert "\x1b" not in shown.output
    command = [sys.executable, "-c", "from azbatch.cli import main; main()", "emulator", "status", "--watch", "--json"]
    watching = subprocess.Popen(
        [*command, "--interval", "0.1", "--state", str(state)], stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["running"] is True
    log = command_line("logs", "--state", str(state)).output
    assert command_line("stop", "--state", str(state)).exit_code == 0
    assert watching.wait(30) == 1
    watching.stdout.close()
    assert not ready.exists()
    lines = log.splitlines()
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    azbatch_emulator\.requests: "
        r"GET /pools\?.*\$filter=state eq 'active'.* 200 \d+\.\d ms ListPools [0-9a-f-]{36}"
    )
    assert sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1
    assert sum(" GetJob " in line and "sig=REMOVED" in line for line in lines) == 1
    assert "c2VjcmV0c2ln" not in log
    assert key not in log
    if os.geteuid() == 0:
        assert "tasks run as" not in log  # the instant runner runs none


def test_in_the_foreground_it_prints_its_addresses(state: Path) -> None:
    """`python -m azbatch_emulator serve` says where it listens, and tells systemd when it does."""
    state.mkdir()
    notified = str(state / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(notified)
        manager.settimeout(60)
        command = [sys.executable, "-u", "-m", "azbatch_emulator", "serve", "--state", str(state), "--no-storage"]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": notified},
        ) as process:
            assert manager.recv(100) == b"READY=1"
            record: dict[str, Any] = json.loads((state / "emulator.json").read_text())
            process.terminate()
            out, err = process.communicate(timeout=30)
            assert manager.recv(100) == b"STOPPING=1"
    assert process.returncode == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines == [["Batch", record["https_url"]], ["Blob", "storage", "none"], ["Identity", record["http_url"]]]
    assert ("tasks run as root, since the emulator does" in err) == (os.geteuid() == 0)


def test_without_systemd_nobody_is_told() -> None:
    """No variable, no datagram."""
    notify_systemd("READY=1", {})
