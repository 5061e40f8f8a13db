"""Runs the peer and ours against the emulator in one run; `--write` adds a dated section to bench/RESULTS.md.

    ./scripts/bench peer [--quick] [--write] [ROW …]

Rows: overhead, cancel, check, shared, files, large, wall. The peer (snakemake-executor-plugin-azure-batch 0.3.0,
snakemake-storage-plugin-azure 0.4.4) is unchanged, in .venv-peer. It names Azure's hosts itself, so its processes get
an /etc/hosts of their own (bench/doors.py): Linux, and root. Its storage plugin takes AZURITE_CONNECTION_STRING.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azbatch_emulator.launcher import Emulator
from bench.common import Row
from bench.doors import ARM, door, past_proxies
from bench.run import write

ROOT = Path(__file__).resolve().parent.parent
PYTHON = {"peer": str(ROOT / ".venv-peer/bin/python"), "ours": sys.executable, "raw": sys.executable}
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
HOST = "emulator.westeurope.batch.azure.com"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/emulator"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
SIZE = "Standard_D8ds_v5"  # as many slots as a row asks for
IMAGE = ("microsoft-dsvm", "ubuntu-hpc", "2404")
AGENT = "batch.node.ubuntu 24.04"
STATUS = ("GetPool", "ListNodes", "GetTask", "ListTasks", "GetJobTaskCounts", "GetJob")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    emulator: Emulator
    enter: list[str]
    bundle: Path
    quick: bool

    def environment(self, kind: str) -> dict[str, str]:
        variables = {**os.environ, **self.emulator.environment(), "PYTHONUNBUFFERED": "1"}
        variables["AZURITE_CONNECTION_STRING"] = self.emulator.storage_connection_string
        if kind == "peer":
            variables.pop("PYTHONPATH", None)
            variables |= past_proxies((ARM, HOST))
            variables |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.bundle))
        return variables

    def command(self, kind: str, name: str, slots: int, jobs: int) -> list[str]:
        words = [PYTHON[kind], "-m", "snakemake", "--jobs", str(jobs), "--nocolor"]
        if kind == "ours":
            provider = ("--executor", "azbatch", "--default-storage-provider", "azblob")
            own = ("--azbatch-pool-id", "bench", "--azbatch-python", PYTHON["ours"])
            return [*words, *provider, "--default-storage-prefix", f"az://bench/{name}", *own]
        settings = {
            "azure-batch-account-url": f"https://{HOST}",
            "azure-batch-subscription-id": SUBSCRIPTION,
            "azure-batch-resource-group-name": "emulator",
            "azure-batch-managed-identity-resource-id": IDENTITY,
            "azure-batch-pool-image-publisher": IMAGE[0],
            "azure-batch-pool-image-offer": IMAGE[1],
            "azure-batch-pool-image-sku": IMAGE[2],
            "azure-batch-pool-vm-node-agent-sku-id": AGENT,
            "azure-batch-pool-vm-size": SIZE,
            "azure-batch-tasks-per-node": str(slots),
            "default-storage-provider": "azure",
            "default-storage-prefix": f"az://bench/{name}",
            "storage-azure-account-name": self.emulator.storage_account,
        }
        words += [word for option, value in settings.items() for word in (f"--{option}", value)]
        return [*self.enter, *words, "--executor", "azure-batch"]

    def counts(self) -> Counter[str]:
        return Counter({name: int(count) for name, count in self.emulator.control("requests").items()})

    @contextmanager
    def storage(self) -> Iterator[Any]:
        """The container that runs keep their files in."""
        from azure.storage.blob import BlobServiceClient

        service = BlobServiceClient.from_connection_string(
            self.emulator.storage_connection_string, connection_verify=str(self.emulator.ca_bundle)
        )
        with service, service.get_container_client("bench") as container:
            if not container.exists():
                container.create_container()
            yield container

    def pool(self, slots: int, nodes: int = 1) -> None:
        """The pool that ours uses, with its nodes up; the peer always makes its own."""
        from azbatch.azure.batch import BatchAccount

        account = BatchAccount(self.emulator.http_url, self.emulator.account_key)
        if any(pool["id"] == "bench" for pool in account.list_pools()):
            account.delete_pool("bench")
            while any(pool["id"] == "bench" for pool in account.list_pools()):
                time.sleep(0.2)
        image = dict(zip(("publisher", "offer", "sku"), IMAGE, strict=True))
        machine = {"imageReference": image, "nodeAgentSKUId": AGENT}
        account.create_pool(
            {
                "id": "bench",
                "vmSize": SIZE,
                "taskSlotsPerNode": slots,
                "targetDedicatedNodes": nodes,
                "virtualMachineConfiguration": machine,
            }
        )
        while [node["state"] for node in account.list_nodes("bench")] != ["idle"] * nodes:
            time.sleep(0.1)
        account.close()

    def snakemake(
        self,
        kind: str,
        name: str,
        jobs: int,
        shell: str,
        *more: str,
        slots: int = 1,
        interrupt: bool = False,
        source: str | None = None,
    ) -> tuple[float, Counter[str], Counter[str], Counter[str]]:
        """Seconds of `jobs` jobs from the first one's announcement to the last one's end; requests until then.

        `source` is an input that all jobs share. `interrupt`: seconds from a Ctrl-C to the exit, and requests until it
        and of looking at all jobs. It is sent when all jobs have been submitted and have then been looked at.
        """
        before, there = self.counts(), None
        with tempfile.TemporaryDirectory() as folder:
            takes = f'    input: "{source}"\n' if source else ""
            envvars = 'envvars: "AZURITE_CONNECTION_STRING"\n' if kind == "peer" else ""
            (Path(folder) / "Snakefile").write_text(
                f'{envvars}rule all:\n    input: expand("x/{{i}}.txt", i=range({jobs}))\n'
                f'rule one:\n{takes}    output: "x/{{i}}.txt"\n    shell: "{shell}"\n'
            )
            command = [*self.command(kind, name, slots, jobs), *more]
            log = Path(folder) / "log"
            with log.open("w") as stream:
                running = subprocess.Popen(
                    command, cwd=folder, env=self.environment(kind), stdout=stream, stderr=stream
                )
                begun = ended = 0.0
                while running.poll() is None:
                    time.sleep(0.05)
                    text = log.read_text()
                    begun = begun or ("rule one:" in text and time.monotonic()) or 0.0
                    ended = ended or (text.count("(Rule: one)") >= jobs and time.monotonic()) or 0.0
                    if interrupt and there is None and self._tasks() >= jobs:
                        there = self.counts()
                    if there is not None and self._looked(kind, self.counts() - there, jobs):
                        break
                if there is not None and running.poll() is None:
                    middle, begun = self.counts(), time.monotonic()
                    running.send_signal(signal.SIGINT)
                    running.wait(timeout=600)
                    took = time.monotonic() - begun
                    return took, middle - before, middle - there, self.counts() - middle
            if running.returncode or not ended:
                raise SystemExit(log.read_text()[-3000:])
        return ended - begun, self.counts() - before, Counter(), Counter()

    def _tasks(self) -> int:
        """Tasks that have not ended, in the largest job."""
        jobs = self.emulator.control("status")["jobs"]
        return max((job["tasks"]["active"] + job["tasks"]["running"] for job in jobs), default=0)

    @staticmethod
    def _looked(kind: str, counts: Counter[str], jobs: int) -> bool:
        return counts["GetTask"] >= jobs if kind == "peer" else counts["ListTasks"] >= 3

    def files(self, kind: str, what: str, number: int, megabytes: int) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            words = [PYTHON[kind], str(ROOT / "bench/files.py"), kind, what, str(number), str(megabytes), folder]
            done = subprocess.run(words, env=self.environment(kind), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found: dict[str, float] = json.loads(done.stdout)
        return found


def overhead(bench: Bench) -> list[Row]:
    """A trivial job, announcement to report; ours also packed, per job at 100 jobs a task."""
    bench.pool(2)
    bench.snakemake("ours", "warm", 1, "echo {wildcards.i} > {output}")
    ours, asked, *_ = bench.snakemake("ours", "one", 1, "echo {wildcards.i} > {output}")
    packed, *_ = bench.snakemake("ours", "packed", 100, "echo {wildcards.i} > {output}", "--azbatch-pack", "100")
    peer, peer_asked, *_ = bench.snakemake("peer", "peer-one", 1, "echo {wildcards.i} > {output}")
    return [
        (
            "overhead of a trivial job (the peer's with its pool's start), s",
            f"{ours:.1f}, {asked.total()} Batch requests",
            "≤ 2.0, 8 x",
            f"{peer:.1f}, {peer_asked.total()} ({peer / ours:.1f} x)",
        ),
        ("the same, packed, a job at 100 jobs a task, s", f"{packed / 100:.2f}", "≤ 0.3", f"{peer:.1f}"),
    ]


def cancel(bench: Bench) -> list[Row]:
    """Requests to submit and to look once at jobs that all run or wait; then Ctrl-C."""
    number, fewer = (200, 50) if bench.quick else (500, 500)
    bench.pool(2)
    ours, early, looking, late = bench.snakemake("ours", "cancel", number, "sleep 900", interrupt=True)
    peer, peer_early, peer_looking, peer_late = bench.snakemake(
        "peer", "peer-cancel", fewer, "sleep 900", interrupt=True
    )
    adding = early["CreateTaskCollection"] + early["CreateTask"]
    passes = looking["ListTasks"]
    looked = sum(looking[name] for name in STATUS)
    peer_looked = sum(peer_looking[name] for name in STATUS) / peer_looking["GetTask"]
    return [
        (
            f"requests to submit {number} jobs",
            f"{adding}",
            "≤ 12 for 1000",
            f"{peer_early['CreateTask'] * number / fewer:.0f} ({peer_early['CreateTask']} for {fewer})",
        ),
        (
            f"requests of a status pass, {number} jobs submitted",
            f"{looked / passes:.1f}",
            "≤ 3",
            f"{peer_looked * number:.0f} ({peer_looked:.1f} a job, measured with {fewer})",
        ),
        (
            f"Ctrl-C, {number} jobs submitted, to exit",
            f"{ours:.1f} s, {late.total()} requests",
            "< 3 s",
            f"{peer:.1f} s, {peer_late.total()} requests, with {fewer}",
        ),
    ]


def check(bench: Bench) -> list[Row]:
    number, fewer = (2000, 200) if bench.quick else (10_000, 1000)
    ours, peer = bench.files("ours", "check", number, 0), bench.files("peer", "check", fewer, 0)
    times = peer["requests"] * number / fewer
    return [
        (
            f"storage requests to check {number} up-to-date files",
            f"{ours['requests']:.0f} ({ours['seconds']:.1f} s)",
            "≤ 5 for 10000",
            f"{times:.0f} ({peer['seconds'] * number / fewer:.0f} s), from {fewer} files",
        )
    ]


def shared(bench: Bench) -> list[Row]:
    """How often an input that all jobs share is moved to their nodes: the files that they saw, by inode."""
    number, megabytes = (8, 20) if bench.quick else (40, 200)
    bench.pool(20, nodes=2)
    found = {}
    with bench.storage() as container:
        for kind in ("ours", "peer"):
            name = f"{kind}-shared"
            container.upload_blob(f"{name}/reference", os.urandom(1 << 20) * megabytes, overwrite=True)
            command = "stat -L -c %i {input} > {output}"
            bench.snakemake(kind, name, number, command, slots=20, source="reference")
            outputs = [
                container.download_blob(blob).readall()
                for blob in container.list_blob_names(name_starts_with=f"{name}/x/")
            ]
            assert len(outputs) == number
            found[kind] = len(set(outputs))
    return [
        (
            f"shared {megabytes} MB input, {number} jobs: moved",
            f"{found['ours']} x (2 nodes)",
            "2 x",
            f"{found['peer']} x",
        )
    ]


def _moved(bench: Bench, what: str, number: int, megabytes: int) -> list[Row]:
    found = {kind: bench.files(kind, what, number, megabytes) for kind in ("raw", "ours", "peer")}
    raw, size = found["raw"], number * megabytes

    def told(one: dict[str, float]) -> str:
        speed = (f"{way} {size / one[way]:.0f} MB/s ({raw[way] / one[way]:.2f} x raw)" for way in ("up", "down"))
        return f"{', '.join(speed)}, {one['memory']:.0f} MB memory"

    goal = "≥ 0.9 x raw, < 150 MB"
    return [(f"{number} x {megabytes} MB moved", told(found["ours"]), goal, told(found["peer"]))]


def files(bench: Bench) -> list[Row]:
    return _moved(bench, "files", 200 if bench.quick else 1000, 2)


def large(bench: Bench) -> list[Row]:
    return _moved(bench, "large", 1, 512 if bench.quick else 4096)


def wall(bench: Bench) -> list[Row]:
    """Jobs of 1 s on 20 slots of one node: on this machine's cores, so that it is their overhead that counts."""
    number, fewer = (40, 20) if bench.quick else (500, 100)
    bench.pool(20)
    command = "sleep 1; touch {output}"
    packed, *_ = bench.snakemake("ours", "wall-packed", number, command, "--azbatch-pack", str(number // 20), slots=20)
    ours, *_ = bench.snakemake("ours", "wall", number, command, slots=20)
    peer, *_ = bench.snakemake("peer", "peer-wall", fewer, command, slots=20)
    peer *= number / fewer
    told = f"{peer:.0f}, from {fewer} jobs"
    return [
        (f"{number} jobs of 1 s on 20 slots, s", f"{ours:.0f}", "5 x less", f"{told} ({peer / ours:.1f} x)"),
        (f"the same, {number // 20} jobs a task, s", f"{packed:.0f}", "5 x less", f"{told} ({peer / packed:.1f} x)"),
    ]


ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "overhead": overhead,
    "cancel": cancel,
    "check": check,
    "shared": shared,
    "files": files,
    "large": large,
    "wall": wall,
}


def _make_identity(emulator: Emulator) -> None:
    """The managed identity that the peer insists on, made over ARM as the subscription's owner."""
    query = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/"
    asked = urllib.request.Request(emulator.http_url + query, headers={"Metadata": "true"})
    with urllib.request.urlopen(asked) as answer:
        token = json.load(answer)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = f"{emulator.http_url}{IDENTITY}?api-version=2023-01-31"
    body = b'{"location":"westeurope"}'
    urllib.request.urlopen(urllib.request.Request(url, data=body, method="PUT", headers=headers)).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help="which rows; default all")
    parser.add_argument("--quick", action="store_true", help="smaller numbers")
    parser.add_argument("--write", action="store_true", help="add the results to bench/RESULTS.md")
    arguments = parser.parse_args()
    if sys.platform != "linux" or os.geteuid():
        raise SystemExit(
            "The peer needs host names of its own, which only root on Linux can give it: run this as root."
        )
    # A node's `python` is the peer's; ours names its interpreter.
    os.environ["PATH"] = f"{ROOT / '.venv-peer/bin'}:{os.environ['PATH']}"
    os.environ["AZBATCH_ACCOUNT_NAME"] = "emulator"
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, Emulator() as emulator:
        _make_identity(emulator)
        with door(Path(folder), (ARM, HOST), emulator.http_url, emulator.ca_bundle) as (enter, bundle):
            bench = Bench(emulator=emulator, enter=enter, bundle=bundle, quick=arguments.quick)
            try:
                for name in arguments.rows or ROWS:
                    print(f"measuring {name} …", file=sys.stderr)
                    rows = ROWS[name](bench)
                    print("\n".join(f"| {' | '.join(row)} |" for row in rows), flush=True)
                    found += rows
            finally:
                if arguments.write and found:
                    write(found)


if __name__ == "__main__":
    main()
