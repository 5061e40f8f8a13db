"""The calls that Nextflow's nf-azure 1.23 makes, with plain HTTP, for five tasks; also a program in Nextflow's place.

As a program: `nf_azure.py run PIPELINE -c CONFIG -with-trace FILE`, with the identity of the instance metadata service.
It ends its job, as Nextflow does, when it is interrupted. Sleeping tasks: NF_AZURE_COMMAND.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from azure.storage.blob import BlobServiceClient

VERSION = "2025-06-01"
TASKS = ("ada", "barbara", "grace", "katherine", "rosalind")
OUTPUTS = (".command.out", ".command.err", ".command.log", ".exitcode", ".command.trace", ".command.begin")
COMMAND = "bash -o pipefail -c 'bash .command.run 2>&1 | tee .command.log'"


class Calls:
    """The Batch account by token, with a count of what was called."""

    def __init__(self, account_url: str, identity_url: str, bundle: str) -> None:
        self._url = account_url
        self._session = requests.Session()
        self._session.trust_env = False  # else REQUESTS_CA_BUNDLE wins over `verify`
        self._session.verify = bundle
        self._session.headers["Authorization"] = f"Bearer {token(identity_url, 'https://batch.core.windows.net/')}"
        self.made: Counter[str] = Counter()

    def __call__(self, method: str, path: str, body: Any = None, fine: tuple[int, ...] = ()) -> requests.Response:
        kind = re.sub(r"/(pools|jobs|tasks)/[^/]+", r"/\1/*", path)
        self.made[f"{method} {kind}"] += 1
        answer = self._session.request(
            method,
            self._url + path,
            params={"api-version": VERSION},
            json=body,
            headers={"Content-Type": "application/json; odata=minimalmetadata"} if body is not None else {},
            timeout=30,
        )
        if answer.status_code >= 400 and answer.status_code not in fine:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    def close(self) -> None:
        self._session.close()


def token(identity_url: str, resource: str) -> str:
    answer = requests.get(
        f"{identity_url}/metadata/identity/oauth2/token",
        params={"resource": resource, "api-version": "2018-02-01"},
        headers={"Metadata": "true"},
        timeout=10,
    )
    return str(answer.json()["access_token"])


class Work:
    """The work directory in a container, opened by a SAS of the identity's delegation key, as nf-azure does it."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self.client = service.get_container_client(container)
        if not self.client.exists():
            self.client.create_container()
        begin, end = datetime.now(UTC) - timedelta(minutes=5), datetime.now(UTC) + timedelta(hours=1)
        key = service.get_user_delegation_key(begin, end)
        self._sas = delegated(key, f"/blob/{service.account_name}/{container}", begin, end)

    def url(self, blob: str = "") -> str:
        return f"{self.client.url}{'/' + blob if blob else ''}?{self._sas}"


def delegated(key: Any, resource: str, begin: datetime, end: datetime) -> str:
    """A container's SAS by a user delegation key, in the version of the Java client that nf-azure has.

    Source: "Create a user delegation SAS", string to sign of version 2020-12-06 and later.
    """
    start, expiry = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (begin, end))
    signed = {
        "sp": "racwdl",
        "st": start,
        "se": expiry,
        "skoid": key.signed_oid,
        "sktid": key.signed_tid,
        "skt": key.signed_start,
        "ske": key.signed_expiry,
        "sks": key.signed_service,
        "skv": key.signed_version,
        "spr": "https",
        "sv": "2022-11-02",
        "sr": "c",
    }
    head = (
        signed["sp"],
        start,
        expiry,
        resource,
        *(signed[name] for name in ("skoid", "sktid", "skt", "ske", "sks", "skv")),
    )
    text = "\n".join((*head, *[""] * 4, "https", signed["sv"], "c", *[""] * 7))
    digest = hmac.new(base64.b64decode(key.value), text.encode(), hashlib.sha256).digest()
    return urlencode({**signed, "sig": base64.b64encode(digest).decode()})


def task_body(name: str, work: Work, container: str, slots: int, script: str) -> dict[str, Any]:
    """One task as nf-azure sends it: container settings, two resource files, nine output files on completion."""
    folder = f"work/{name[:2]}/{name}"
    work.client.upload_blob(f"{folder}/.command.run", script.encode(), overwrite=True)
    work.client.upload_blob(f"{folder}/.command.sh", b"#!/bin/bash -ue\n", overwrite=True)
    patterns = (*OUTPUTS, f"{name}.txt", "../stdout.txt", "../stderr.txt")
    return {
        "id": f"nf-{name}",
        "displayName": f"GREET ({name})",
        "commandLine": COMMAND,
        "requiredSlots": slots,
        "containerSettings": {
            "imageName": container,
            "containerRunOptions": "-v /etc/ssl/certs:/etc/ssl/certs:ro -v /etc/pki:/etc/pki:ro",
        },
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
        "resourceFiles": [
            {"httpUrl": work.url(f"{folder}/{file}"), "filePath": file} for file in (".command.run", ".command.sh")
        ],
        "outputFiles": [
            {
                "filePattern": pattern,
                "destination": {
                    "container": {"containerUrl": work.url(), "path": f"{folder}/{pattern.removeprefix('../')}"}
                },
                "uploadOptions": {"uploadCondition": "taskcompletion"},
            }
            for pattern in patterns
        ],
        "constraints": {"maxWallClockTime": "P30D", "maxTaskRetryCount": 0},
    }


def run(
    calls: Calls, work: Work, *, pool: str, cores: int, container: str, job: str, command: str, said: Any = print
) -> dict[str, dict[str, Any]]:
    """A whole run: the tasks as the service last described them, by name."""
    found = calls("GET", f"/pools/{pool}").json()
    if found["state"] != "active" or found["taskSlotsPerNode"] != cores:
        raise RuntimeError(f"pool {pool} is {found['state']} with {found['taskSlotsPerNode']} slots")
    calls("POST", "/jobs", {"id": job, "poolInfo": {"poolId": pool}})
    ended: dict[str, dict[str, Any]] = {}
    try:
        for name in TASKS:
            script = f"#!/bin/bash\n{command.format(name=name)}\n"
            calls("POST", f"/jobs/{job}/tasks", task_body(name, work, container, 1, script))
        said("executor > azurebatch (5)", flush=True)
        while len(ended) < len(TASKS):
            for name in TASKS:
                if name in ended:
                    continue
                task = calls("GET", f"/jobs/{job}/tasks/nf-{name}").json()
                if task["state"] == "completed":
                    ended[name] = task
                    calls("GET", f"/jobs/{job}")
                    calls("DELETE", f"/jobs/{job}/tasks/nf-{name}", fine=(404,))
            time.sleep(0.05)  # nf-azure looks every 10 s
    finally:
        for name in set(TASKS) - set(ended):
            calls("POST", f"/jobs/{job}/tasks/nf-{name}/terminate", {}, fine=(404, 409))
        calls("GET", f"/jobs/{job}")
        calls("PATCH", f"/jobs/{job}", {"onAllTasksComplete": "terminatejob"}, fine=(409,))
        calls("DELETE", f"/jobs/{job}")
    return ended


def _setting(config: str, name: str) -> str:
    found = re.search(rf"\b{name} = '([^']*)'", config)
    assert found is not None, name
    return found[1]


def main() -> int:
    """In Nextflow's place."""
    arguments = sys.argv[1:]
    config = Path(arguments[arguments.index("-c") + 1]).read_text()
    trace = Path(arguments[arguments.index("-with-trace") + 1])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ
    from azure.identity import ManagedIdentityCredential

    service = BlobServiceClient(environment["AZBATCH_STORAGE_URL"], credential=ManagedIdentityCredential())
    calls = Calls(
        _setting(config, "endpoint"),
        environment["AZURE_POD_IDENTITY_AUTHORITY_HOST"],
        environment["SSL_CERT_FILE"],
    )
    size = _setting(config, "vmType")
    cores = re.search(r"\d+", size)
    assert cores is not None
    container, _, _ = _setting(config, "workDir").removeprefix("az://").partition("/")
    try:
        ended = run(
            calls,
            Work(service, container),
            pool=_setting(config, "queue"),
            cores=int(cores[0]),
            container=_setting(config, "container"),
            job=f"job-{os.getpid()}-GREET",
            command=environment.get("NF_AZURE_COMMAND", "echo hello {name} > {name}.txt"),
        )
    except KeyboardInterrupt:
        print("WARN: Killing running tasks (5)", flush=True)
        return 130
    statuses = {
        name: "COMPLETED" if task["executionInfo"].get("exitCode") == 0 else "FAILED" for name, task in ended.items()
    }
    trace.write_text("name\tstatus\n" + "".join(f"{name}\t{status}\n" for name, status in statuses.items()))
    return int("FAILED" in statuses.values())


if __name__ == "__main__":
    sys.exit(main())
