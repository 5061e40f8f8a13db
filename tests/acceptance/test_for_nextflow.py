"""`azbatch emulator start --for-nextflow`: the storage under its name on Azure, for Java and for tasks; and Nextflow
itself, end to end, where there is one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azbatch.azure.batch import BatchAccount
from azbatch_emulator.launcher import Emulator, EmulatorError
from tests.acceptance.conftest import until
from tests.contract.nf_azure import token
from tests.contract.sdk import MACHINE

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("for-nextflow")]
REPOSITORY = Path(__file__).parents[2]
STORAGE = "https://storage.azure.com/"
GET = """\
import java.net.URI; import java.net.http.*; import java.net.*;
class Get {
  public static void main(String[] a) throws Exception {
    var client = HttpClient.newBuilder().proxy(ProxySelector.getDefault()).build();
    var request = HttpRequest.newBuilder(URI.create(a[0])).header("Authorization", "Bearer " + a[1])
        .header("x-ms-version", "2021-12-02").build();
    var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
    System.out.println(answer.statusCode() + " " + answer.body());
  }
}
"""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(for_nextflow=True, speed=2000) as running:
        yield running


def _environment(emulator: Emulator, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AZBATCH_")}
    return {
        **kept,
        **emulator.environment(),
        "AZBATCH_ACCOUNT_NAME": emulator.account,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")]),
        **more,
    }


@pytest.fixture
def account(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    monkeypatch.setenv("AZBATCH_ACCOUNT_NAME", emulator.account)
    connected = BatchAccount(emulator.http_url, emulator.account_key)
    yield connected
    connected.close()


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java on PATH")
def test_java_finds_and_trusts_the_storage_by_its_name_on_azure(emulator: Emulator, tmp_path: Path) -> None:
    """A Java of its own with nothing but NXF_OPTS: the emulator's storage answers as ACCOUNT.blob.core.windows.net;
    without the trust store it is refused."""
    (tmp_path / "Get.java").write_text(GET)
    bearer = token(emulator.http_url, STORAGE)
    url = f"https://{emulator.storage_account}.blob.core.windows.net/?comp=list"
    options = shlex.split(emulator.environment()["NXF_OPTS"])

    def java(*given: str) -> subprocess.CompletedProcess[str]:
        command = ["java", *given, str(tmp_path / "Get.java"), url, bearer]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    done = java(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("200 ")
    assert "<EnumerationResults" in done.stdout
    distrustful = java(*(option for option in options if "trustStore" not in option))
    assert "PKIX path building failed" in distrustful.stderr


def test_a_task_uses_the_storage_by_its_name_on_azure(emulator: Emulator, account: BatchAccount) -> None:
    """Resource files, the task's own requests and output files: all with the address that nf-azure writes."""
    from azure.identity import ManagedIdentityCredential
    from azure.storage.blob import BlobServiceClient

    kept = dict(os.environ)
    os.environ.update(emulator.environment())
    try:
        with (
            ManagedIdentityCredential() as credential,
            BlobServiceClient(
                emulator.blob_url, credential=credential, connection_verify=str(emulator.ca_bundle)
            ) as blobs,
        ):
            container = blobs.create_container("by-name")
            container.upload_blob("in.txt", b"hello")
            usual = f"https://{emulator.storage_account}.blob.core.windows.net/by-name"
            identity = {"identityReference": {"resourceId": "/subscriptions/s/nodes"}}
            ask = (
                "import os, requests, sys; t = requests.get(os.environ['AZURE_POD_IDENTITY_AUTHORITY_HOST'] + "
                f"'/metadata/identity/oauth2/token?resource={STORAGE}', headers={{'Metadata': 'true'}}).json(); "
                f"print(requests.get('{usual}/in.txt', headers={{'Authorization': 'Bearer ' + t['access_token'], "
                "'x-ms-version': '2021-12-02'}).text)"
            )
            account.create_pool(
                {
                    "id": "n",
                    "vmSize": "Standard_D2s_v5",
                    "virtualMachineConfiguration": MACHINE_BODY,
                    "targetDedicatedNodes": 1,
                }
            )
            account.create_job({"id": "j", "poolInfo": {"poolId": "n"}})
            steps = f"cat in.txt > out.txt && python -c {shlex.quote(ask)} >> out.txt"
            task = {
                "id": "t",
                "commandLine": f"/bin/bash -c {shlex.quote(steps)}",
                "resourceFiles": [{"httpUrl": f"{usual}/in.txt", "filePath": "in.txt", **identity}],
                "outputFiles": [
                    {
                        "filePattern": "out.txt",
                        "destination": {"container": {"containerUrl": usual, "path": "out.txt", **identity}},
                        "uploadOptions": {"uploadCondition": "tasksuccess"},
                    }
                ],
            }
            account.add_tasks("j", [task])
            until(lambda: account.get_task("j", "t")["state"] == "completed")
            ended = account.get_task("j", "t")["executionInfo"]
            assert ended["result"] == "success", (ended, account.read_task_file("j", "t", "stderr.txt", 2000))
            assert container.download_blob("out.txt").readall() == b"hellohello\n"
    finally:
        os.environ.clear()
        os.environ.update(kept)


MACHINE_BODY = {"imageReference": MACHINE["imageReference"], "nodeAgentSKUId": MACHINE["nodeAgentSKUId"]}


def test_it_needs_storage() -> None:
    """Asked for without storage, it is refused with what to leave out."""
    with pytest.raises(EmulatorError, match="leave out --no-storage"), Emulator(storage=False, for_nextflow=True):
        pass


@pytest.mark.skipif(shutil.which("nextflow") is None, reason="there is no nextflow on PATH: tried only where there is")
def test_nextflow_itself(emulator: Emulator, tmp_path: Path) -> None:
    """The three lines, and `python nextflow.py` with the real Nextflow: five tasks end, and its pool is gone."""
    azcopy = shutil.which("azcopy")
    assert azcopy is not None, "with Nextflow on PATH, azcopy has to be there as well: its tasks copy with it"

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=_environment(emulator), capture_output=True, text=True, timeout=600, check=False
        )

    made = python("-c", "from nextflowhelper import NextflowHelper\nNextflowHelper().create_nextflow_scripts()")
    assert made.returncode == 0, made.stderr
    done = python("nextflow.py")
    assert done.returncode == 0, done.stderr
    assert re.search(r"exit code 0: 5 completed", done.stderr)
