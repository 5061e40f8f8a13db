"""Requests are recorded without secrets, and sent again to another emulator."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.launcher import Emulator
from azbatch_emulator.recording.replay import replay
from tests.contract.sdk import Token, connect, pool


def play(emulator: Emulator) -> None:
    """A small session with secrets in it, in a time that stands still."""
    emulator.control("clock", pause=True)
    for tls in (False, True):
        driver = connect(emulator, aio=False, tls=tls)
        name = f"p{int(tls)}"
        setting = {"name": "DB_PASSWORD", "value": "hunter2"}
        task = {"commandLine": "run --token hunter2", "environmentSettings": [setting]}
        driver.call("create_pool", pool(name, startTask=task))
        emulator.control("clock", advance=60)
        (node,) = driver.all("list_nodes", name)
        assert driver.call("get_node", name, node.id).state == "idle"
        driver.call("create_job", {"id": name, "poolInfo": {"poolId": name}})
        files = [{"httpUrl": "https://a.blob/c/x?sv=1&sig=hunter2", "filePath": "x"}]
        driver.call("create_task", name, {"id": "t", "commandLine": "/bin/true", "resourceFiles": files})
        etag = driver.call("get_pool", name)["eTag"]
        driver.call("update_pool", name, {"metadata": []}, etag=etag, match_condition=_unchanged())
        with pytest.raises(HttpResponseError):
            driver.call("get_job", "nothing")
        driver.close()
    emulator.control("faults/add", kind="reset-after", operation="CreateJob")
    token = Token(emulator).get_token("https://batch.core.windows.net/.default").token
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{emulator.http_url}/jobs",
            params={"api-version": "2025-06-01"},
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            json={"id": "lost", "poolInfo": {"poolId": "p0"}},
            timeout=10,
        )


def _unchanged() -> Any:
    from azure.core import MatchConditions

    return MatchConditions.IfNotModified


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The recording of a session, and the secrets of its emulator."""
    path = tmp_path_factory.mktemp("recorded") / "session.jsonl"
    with Emulator(runner="instant", storage=False, virtual_time=True, record=path) as emulator:
        play(emulator)
        secrets = [emulator.account_key, emulator.storage_key, "hunter2", "Authorization", "SharedKey", "Bearer", "eyJ"]
    return path, secrets


def test_a_recording_holds_every_request_and_no_secret(recorded: tuple[Path, list[str]]) -> None:
    """Only its owner reads it; each request with its answer is there; what is secret is not, in any form."""
    path, secrets = recorded
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert [secret for secret in secrets if secret in text] == []
    entries = [json.loads(line) for line in text.splitlines()]
    made = [(entry["method"], entry["target"].partition("?")[0], entry["status"]) for entry in entries]
    assert made[0] == ("POST", "/pools", 201)
    assert ("GET", "/jobs/nothing", 404) in made
    assert made[-1] == ("POST", "/jobs", None)
    assert len(made) == 2 * 8 + 1
    assert entries[0]["body"]["startTask"]["environmentSettings"] == [{"name": "DB_PASSWORD", "value": "REMOVED"}]


def test_a_recording_is_replayed(recorded: tuple[Path, list[str]]) -> None:
    """Against a fresh emulator all answers are the same but for ids and times; against a used one the statuses tell."""
    path, _ = recorded
    with Emulator(runner="instant", storage=False, virtual_time=True) as emulator:
        emulator.control("clock", pause=True)
        waited: list[float] = []

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            emulator.control("clock", advance=seconds)

        emulator.control("faults/add", kind="reset-after", operation="CreateJob", skip=2)
        done = replay(path, emulator.http_url, pace=1, sleep=sleep)
        assert (done.sent, done.skipped, done.differences) == (17, 0, ())
        assert sum(waited) == 120
        again = replay(path, emulator.http_url)
        statuses = [(one.request, one.recorded, one.now) for one in again.differences if one.where == "status"]
        assert ("POST /pools", 201, 409) in statuses


def test_keys_of_accounts_are_not_recorded(tmp_path: Path) -> None:
    """What Resource Manager's listKeys hands out is in no recording; the rest of its answers is."""
    path = tmp_path / "arm.jsonl"
    with Emulator(runner="instant", storage=False, record=path) as emulator:
        emulator.control("workspace", name="lab")
        token = Token(emulator).get_token("https://management.azure.com/.default").token
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"
        session.trust_env = False  # its bundle of authorities would go first
        session.verify = str(emulator.ca_bundle)
        subscriptions = session.get(
            f"{emulator.https_url}/subscriptions", params={"api-version": "2022-12-01"}, timeout=10
        ).json()["value"]
        found = [
            one
            for subscription in subscriptions
            for one in session.get(
                f"{emulator.https_url}{subscription['id']}/resources", params={"api-version": "2021-04-01"}, timeout=10
            ).json()["value"]
            if one["type"] == "Microsoft.Storage/storageAccounts"
        ]
        keys = session.post(
            f"{emulator.https_url}{found[0]['id']}/listKeys", params={"api-version": "2023-05-01"}, timeout=10
        ).json()["keys"]
        session.close()
    text = path.read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert [entry["plane"] for entry in entries] == ["arm"] * len(entries)
    assert entries[-1]["answer"] == "REMOVED"
    assert found[0]["id"] in text
    assert [key["keyName"] for key in keys if key["value"] in text] == []


def test_what_is_no_recording(tmp_path: Path) -> None:
    """Files that are none are refused in a sentence, as is one that cannot be written."""
    (tmp_path / "x").write_text("{}\n")
    with pytest.raises(EmulatorError, match="is no recording"):
        replay(tmp_path / "x", "http://127.0.0.1:1")
    with pytest.raises(EmulatorError, match="cannot be read"):
        replay(tmp_path / "y", "http://127.0.0.1:1")
    with (
        pytest.raises(EmulatorError, match="cannot be written"),
        Emulator(runner="instant", storage=False, record=tmp_path / "no" / "x"),
    ):
        pass
