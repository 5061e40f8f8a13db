"""The emulator under load: what a call costs with 1,000, 10,000 and 100,000 tasks, and with 1,000 nodes."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from azbatch.azure.batch import BatchAccount
from azbatch.jobs import TaskSpec, submit
from azbatch_emulator.launcher import Emulator
from bench.common import Row

SERVER = (
    "import pathlib, re, sys\n"
    "from azbatch_emulator.launcher import Emulator\n"
    "with Emulator(runner='instant', storage=False, speed=600) as e:\n"
    "    print(e.http_url, e.account_key, flush=True)\n"
    "    for _ in sys.stdin:\n"
    "        found = re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())\n"
    "        print(int(found[1]) / 1024, flush=True)\n"
)
REPEATS = 20


class Server:
    """An emulator in a process of its own, and a client of it."""

    def __init__(self, process: subprocess.Popen[str], account: BatchAccount) -> None:
        self._process, self.account = process, account

    def memory(self) -> float:
        """Its peak so far, MB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def pool(self, nodes: int, slots: int) -> None:
        image = {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"}
        body = {
            "id": "p",
            "vmSize": "Standard_D16s_v5",
            "taskSlotsPerNode": slots,
            "targetDedicatedNodes": nodes,
            "virtualMachineConfiguration": {"imageReference": image, "nodeAgentSKUId": "batch.node.ubuntu 24.04"},
        }
        self.account.create_pool(body)
        while [node["state"] for node in self.account.list_nodes("p")] != ["idle"] * nodes:
            time.sleep(0.05)


@contextmanager
def server() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url, key = process.stdout.readline().split()
        os.environ["AZBATCH_ACCOUNT_NAME"] = "emulator"
        account = BatchAccount(url, key)
        try:
            yield Server(process, account)
        finally:
            account.close()
            process.communicate("")


def _milliseconds(call: Callable[[], object]) -> float:
    """The median of some repetitions."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def tasks(_: Emulator, quick: bool) -> list[Row]:
    """Tasks added and completed a second; calls that should not cost more the more tasks there are."""
    rows: list[Row] = []
    for number in (1000, 5000) if quick else (1000, 10_000, 100_000):
        with server() as running:
            rows += _with_tasks(running, number)
    return rows


def _with_tasks(running: Server, number: int) -> list[Row]:
    account = running.account
    running.pool(4, 64)
    account.create_job({"id": "j", "poolInfo": {"poolId": "p"}})
    started = time.monotonic()
    submit(account, "j", [TaskSpec(id=f"t{n}", command="true") for n in range(number)])
    while account.task_counts("j")["completed"] < number:
        time.sleep(0.01)
    took = time.monotonic() - started
    since = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    polled = f"state eq 'completed' and stateTransitionTime ge DateTime'{since}'"
    fresh = itertools.count(number)

    def add() -> None:
        account.add_tasks("j", [TaskSpec(id=f"t{next(fresh)}", command="true").body() for _ in range(100)])

    costs = {
        "get": _milliseconds(lambda: account.get_task("j", "t7")),
        "counts": _milliseconds(lambda: account.task_counts("j")),
        "poll, nothing new": _milliseconds(lambda: account.list_tasks("j", filter=polled)),
        "add 100": _milliseconds(add),
        "list all, a thousand": _listed(account, None),
        "list completed, a thousand": _listed(account, "state eq 'completed'"),
    }
    return [
        (
            f"emulator, {number} tasks added and completed over HTTP, instant runner",
            f"{number / took:.0f} tasks/s, {running.memory():.0f} MB",
            "≥ 1500/s, < 1 GB",
            "–",
        ),
        (
            f"calls with {number} tasks, ms",
            ", ".join(f"{name} {cost:.1f}" for name, cost in costs.items()),
            "the same with any number",
            "–",
        ),
    ]


def _listed(account: BatchAccount, filter: str | None) -> float:
    """Milliseconds for a thousand tasks of a list that is read to its end."""
    started = time.perf_counter()
    listed = len(account.list_tasks("j", filter=filter, select="id,state"))
    return (time.perf_counter() - started) / listed * 1_000_000


def nodes(_: Emulator, quick: bool) -> list[Row]:
    """A pool of many nodes: made, listed, counted, used."""
    number = 200 if quick else 1000
    with server() as running:
        account = running.account
        started = time.monotonic()
        running.pool(number, 4)
        up = time.monotonic() - started
        listing = _milliseconds(lambda: account.list_nodes("p"))
        account.create_job({"id": "j", "poolInfo": {"poolId": "p"}})
        started = time.monotonic()
        submit(account, "j", [TaskSpec(id=f"t{n}", command="true") for n in range(number * 4)])
        while account.task_counts("j")["completed"] < number * 4:
            time.sleep(0.01)
        rate = number * 4 / (time.monotonic() - started)
        memory = running.memory()
    return [
        (
            f"emulator, {number} nodes",
            f"all idle after {up:.1f} s, listed in {listing:.0f} ms, {rate:.0f} tasks/s on them, {memory:.0f} MB",
            "works",
            "–",
        )
    ]


def yardstick(emulator: Emulator, quick: bool) -> list[Row]:
    """Blobs of 1 KB that Azurite takes a second, through its own client: what an emulator of the neighbourhood does."""
    from azure.storage.blob import BlobServiceClient

    number, threads = (300, 8) if quick else (3000, 8)
    service = BlobServiceClient.from_connection_string(
        emulator.storage_connection_string, connection_verify=str(emulator.ca_bundle)
    )
    container = service.create_container("yardstick")
    started = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda n: container.upload_blob(f"b{n}", b"x" * 1024), range(number)))
    took = time.monotonic() - started
    container.delete_container()
    service.close()
    return [(f"yardstick: Azurite, {number} blobs of 1 KB put", f"{number / took:.0f} blobs/s", "–", "–")]
