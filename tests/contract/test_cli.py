"""`azbatch pool` and `azbatch job` as a user types them, on the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azbatch.azure.batch import BatchAccount
from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import pool

AZBATCH = Path(sys.executable).with_name("azbatch")


def _azbatch(emulator: Emulator, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(AZBATCH), *arguments],
        env={**os.environ, **emulator.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _json(emulator: Emulator, *arguments: str) -> Any:
    done = _azbatch(emulator, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def account(azbatch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchAccount]:
    monkeypatch.setenv("AZBATCH_ACCOUNT_NAME", azbatch_emulator.account)
    connected = BatchAccount(azbatch_emulator.http_url, azbatch_emulator.account_key)
    yield connected
    connected.close()


def test_a_pool_from_the_command_line(azbatch_emulator: Emulator) -> None:
    """Made by need, shown with its nodes, resized, listed and deleted; progress goes to standard error."""
    made = _azbatch(
        azbatch_emulator, "pool", "create", "cli-pool", "--cores", "2", "--memory-mb", "5000", "--nodes", "1"
    )
    assert made.returncode == 0, made.stderr
    assert "Standard_D2ds_v5 with 2 slots" in made.stderr
    shown = _json(azbatch_emulator, "pool", "show", "cli-pool")
    assert (shown["verdict"], len(shown["nodes"])) == ("ready", 1)
    assert _json(azbatch_emulator, "pool", "resize", "cli-pool", "--nodes", "2")["currentDedicatedNodes"] == 2
    assert "cli-pool" in [p["id"] for p in _json(azbatch_emulator, "pool", "list")]
    assert "cli-pool\tactive" in _azbatch(azbatch_emulator, "pool", "list").stdout
    assert _json(azbatch_emulator, "pool", "delete", "--yes", "cli-pool") == {"deleted": ["cli-pool"]}


def test_a_pool_that_fails_is_deleted_again(azbatch_emulator: Emulator, account: BatchAccount) -> None:
    """With no quota the command says so with the remedy, ends with 1, and leaves no pool."""
    azbatch_emulator.control("quota", dedicated_cores=0)
    try:
        made = _azbatch(azbatch_emulator, "pool", "create", "no-quota")
    finally:
        azbatch_emulator.control("quota")
    assert made.returncode == 1
    assert "AccountCoreQuotaReached: the core quota is used up" in made.stderr
    assert all(p["id"] != "no-quota" or p["state"] == "deleting" for p in account.list_pools())


def test_a_job_from_the_command_line(azbatch_emulator: Emulator, account: BatchAccount) -> None:
    """Listed, shown with its failed tasks, its logs read, deleted."""
    account.create_pool(pool("cli-jobs"))
    account.create_job({"id": "cli-job", "poolInfo": {"poolId": "cli-jobs"}})
    account.add_tasks("cli-job", [{"id": "t", "commandLine": "/bin/sh -c 'echo spoken >&2; exit 4'"}])
    while account.task_counts("cli-job")["completed"] == 0:
        pass
    assert "cli-job" in [job["id"] for job in _json(azbatch_emulator, "job", "list")]
    shown = _json(azbatch_emulator, "job", "show", "cli-job", "--failed")
    assert [task["executionInfo"]["exitCode"] for task in shown["tasks"]] == [4]
    assert "t\tcompleted\t4\t" in _azbatch(azbatch_emulator, "job", "show", "cli-job").stdout
    assert _azbatch(azbatch_emulator, "job", "logs", "cli-job", "t").stdout == "spoken\n"
    assert _json(azbatch_emulator, "job", "delete", "--yes", "cli-job") == {"deleted": ["cli-job"]}
    account.delete_pool("cli-jobs")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (("pool", "show", "nowhere"), {}, 1, "PoolNotFound); see `azbatch pool list`"),
        (("job", "show", "nowhere"), {}, 1, "JobNotFound"),
        (("pool", "list"), {"AZBATCH_ACCOUNT_URL": ""}, 1, "Batch account is not known: set AZBATCH_ACCOUNT_URL"),
        (("pool", "list"), {"AZBATCH_ACCOUNT_URL": "nonsense"}, 1, "'nonsense' is no Batch account URL"),
        (("pool", "list"), {"AZBATCH_ACCOUNT_URL": "http://127.0.0.1:9"}, 1, "cannot be reached"),
        (("pool", "list"), {"REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"}, 1, "is not trusted"),
        (("pool", "create", "x", "--vm-size", "Standard_Dfour"), {}, 1, "is no VM size"),
        (("pool", "create", "x", "--image", "a:b:c"), {}, 1, "is no supported image"),
        (("pool", "create", "x y"), {}, 1, "is no pool id"),
        (("pool", "resize", "x"), {}, 1, "give --nodes, --spot or both"),
        (("pool", "nothing"), {}, 2, "No such command"),
    ],
)
def test_mistakes_are_one_sentence(
    azbatch_emulator: Emulator, arguments: tuple[str, ...], environment: dict[str, str], code: int, said: str
) -> None:
    """Each mistake: what happened, to what, what to do; the right exit code, and never a traceback."""
    if environment.get("AZBATCH_ACCOUNT_URL") == "http://127.0.0.1:9":
        environment = {**environment, "AZBATCH_ACCOUNT_KEY": "a2V5", "AZBATCH_ACCOUNT_NAME": "x"}
    done = _azbatch(azbatch_emulator, *arguments, **environment)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_is_told_and_not_shown(azbatch_emulator: Emulator) -> None:
    """AuthenticationFailed with what to check; the key itself appears nowhere."""
    key = "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXk="
    done = _azbatch(
        azbatch_emulator,
        *("pool", "list", "--account-url", azbatch_emulator.http_url),
        AZBATCH_ACCOUNT_KEY=key,
        AZBATCH_ACCOUNT_NAME=azbatch_emulator.account,
    )
    assert done.returncode == 1
    assert "(AuthenticationFailed)" in done.stderr
    assert "check the account key" in done.stderr
    assert key not in done.stderr + done.stdout


def test_help_is_quick_and_imports_little() -> None:
    """`azbatch --help` needs neither Azure's SDKs nor rich."""
    script = "import sys; sys.argv = ['azbatch', '--help']\nimport azbatch.cli\n"
    script += "try: azbatch.cli.main()\nexcept SystemExit: pass\n"
    script += "assert not {'azure', 'rich', 'starlette'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "emulator" in done.stdout


def test_a_job_and_a_tasks_output_are_followed(
    azbatch_emulator: Emulator, account: BatchAccount, tmp_path: Path
) -> None:
    """`logs -f` waits for a task that has no node yet and prints what it writes while it runs; `attach` tells each end,
    and ends with 1 for a failure."""
    account.create_pool(pool("cli-follow", targetDedicatedNodes=0))
    account.create_job({"id": "cli-follow", "poolInfo": {"poolId": "cli-follow"}})
    go = tmp_path / "go"
    waits = f"/bin/sh -c 'echo begun; while [ ! -e {go} ]; do sleep 0.05; done; echo ended'"
    account.add_tasks(
        "cli-follow",
        [{"id": "waits", "commandLine": waits}, {"id": "fails", "commandLine": "/bin/sh -c 'exit 4'"}],
    )
    command = [str(AZBATCH), "job", "logs", "cli-follow", "waits", "--file", "stdout.txt", "-f"]
    environment = {**os.environ, **azbatch_emulator.environment()}

    def asked() -> int:
        return int(azbatch_emulator.control("requests").get("GetTaskFileProperties", 0))

    before = asked()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        while asked() == before:
            assert following.poll() is None
        account.resize_pool("cli-follow", 1, 0)
        assert following.stdout is not None
        assert following.stdout.readline() == "begun\n"
        go.touch()
        assert following.stdout.read() == "ended\n"
    assert following.returncode == 0
    attached = _azbatch(azbatch_emulator, "job", "attach", "cli-follow")
    assert attached.returncode == 1
    assert "1 failed" in attached.stdout
    account.delete_job("cli-follow")
    account.delete_pool("cli-follow")


def test_cleanup_takes_only_what_dead_runs_left(azbatch_emulator: Emulator, account: BatchAccount) -> None:
    """A pool whose lease has run out goes, with its job; what may live and what is not ours stays."""
    ours = [{"name": "azbatch-workflow", "value": "key"}]
    for name, moment in (("cli-dead", "2020-01-01T00:00:00Z"), ("cli-lives", "2099-01-01T00:00:00Z")):
        spec = {k: v for k, v in pool(name).items() if not k.startswith("target")}
        text = f'x = time() < time("{moment}") ? 1 : 0; $TargetDedicatedNodes = x;'
        account.create_pool({**spec, "metadata": ours, "enableAutoScale": True, "autoScaleFormula": text})
        account.create_job({"id": name, "poolInfo": {"poolId": name}, "metadata": ours})
    account.create_pool(pool("cli-foreign"))
    try:
        listed = _azbatch(azbatch_emulator, "cleanup", "--dry-run")
        assert "pool\tcli-dead" in listed.stdout
        assert "cli-foreign" not in listed.stdout
        answer = _json(azbatch_emulator, "cleanup", "--yes")
        assert {"cli-dead"} == set(answer["removed"]) & {"cli-dead", "cli-lives", "cli-foreign"}
        gone = {p["id"] for p in account.list_pools() if p["state"] == "deleting"}
        left = {p["id"] for p in account.list_pools()} - gone
        assert {"cli-lives", "cli-foreign"} <= left
        assert "cli-dead" not in left
        wrong = _azbatch(azbatch_emulator, "cleanup", "--older-than", "soon")
        assert (wrong.returncode, "'soon' is no age" in wrong.stderr) == (1, True)
    finally:
        account.delete_job("cli-lives")
        for name in ("cli-lives", "cli-foreign"):
            account.delete_pool(name)


def test_a_profile_runs_a_workflow(azbatch_emulator: Emulator, tmp_path: Path) -> None:
    """`snakemake --profile azbatch` needs nothing else; a profile that is there is kept, a bad prefix told."""
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    wanted = ("snakemake", "profile", "--prefix", "az://profile/run")
    done = _azbatch(azbatch_emulator, *wanted, **home)
    assert done.returncode == 0, done.stderr
    kept = _azbatch(azbatch_emulator, *wanted, **home)
    assert (kept.returncode, "was kept" in kept.stderr) == (1, True)
    bad = _azbatch(azbatch_emulator, "snakemake", "profile", "--prefix", "s3://x", **home)
    assert (bad.returncode, "is no place for a run" in bad.stderr) == (1, True)
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "done"\n    shell: "touch {output}"\n')
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "azbatch"],
        cwd=tmp_path,
        env={**os.environ, **azbatch_emulator.environment(), **home},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "autoscaled up to 10" in run.stderr
