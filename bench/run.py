"""Measures what the issues promise, on the emulator; `--write` adds a dated section to bench/RESULTS.md.

    ./scripts/bench [--quick] [--write] [ROW …]

Rows: submit, overhead, storage, blob, tasks, nodes, yardstick, packed, shared, many, processes, interrupt.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azbatch.azure import credentials
from azbatch.jobs import JobSpec, Monitor, TaskSpec, submit
from azbatch_emulator.launcher import Emulator
from bench import load, scale
from bench.common import Row, command, connected

# What the peer costs, measured with its version 0.3.0 and its storage plugin 0.4.4 (shared/design/snakemake.md).
PEER_OVERHEAD = 19.4


def submit_and_pass(emulator: Emulator, quick: bool) -> list[Row]:
    """Requests to submit N ready jobs, and for one status pass with N running and c changed."""
    number = 200 if quick else 1000
    with connected(emulator) as account:
        account.create_job(JobSpec(id="bench-submit", pool_id="nowhere").body())
        account.requests.clear()
        submit(account, "bench-submit", [TaskSpec(id=f"t{n}", command="true") for n in range(number)])
        adding = sum(account.requests.values())
        changed = number // 2
        for n in range(changed):
            account.terminate_task("bench-submit", f"t{n}")
        monitor = Monitor("bench-submit")
        monitor.expect(f"t{n}" for n in range(number))
        account.requests.clear()
        news = monitor.look(account)
        asking = sum(account.requests.values())
        assert len(news) == changed
        account.delete_job("bench-submit")
    return [
        (f"requests to submit {number} jobs", str(adding), f"≤ {math.ceil(number / 100) + 2}", str(number)),
        (
            f"requests of a pass, {number - changed} running, {changed} changed",
            str(asking),
            f"≤ {2 + changed / 1000:g}",
            str(3 * number),
        ),
    ]


TRIVIAL = (
    'rule all:\n    input: "x/0.txt"\nrule one:\n    output: "x/{i}.txt"\n    shell: "echo {wildcards.i} > {output}"\n'
)
MANY = (
    'N = range({n})\nrule all:\n    input: expand("out/{{i}}.txt", i=N)\n'
    'rule one:\n    output: "out/{{i}}.txt"\n    shell: "echo {{wildcards.i}} > {{output}}"\n'
)


def overhead(emulator: Emulator, quick: bool) -> list[Row]:
    """Seconds from the submission of one trivial job to Batch's knowing it ended, its own command taking none."""
    pool = {
        "id": "bench",
        "vmSize": "Standard_D2ds_v5",
        "taskSlotsPerNode": 2,
        "targetDedicatedNodes": 1,
        "virtualMachineConfiguration": {
            "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"},
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
    }
    times: list[float] = []
    with connected(emulator) as account:
        account.create_pool(pool)
        for number in range(2 if quick else 4):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "Snakefile").write_text(TRIVIAL)
                arguments = ("--azbatch-pool-id", "bench")
                times.append(_announced_to_finished(emulator, Path(folder), f"az://bench/one{number}", *arguments))
        account.delete_pool("bench")
    # The first run compiles bytecode and prepares the node.
    best = min(times[1:])
    return [
        (
            "overhead of one trivial job, submission to report, s (best; first)",
            f"{best:.1f}; {times[0]:.1f}",
            "≤ 4",
            f"{PEER_OVERHEAD} ({PEER_OVERHEAD / best:.1f} x)",
        )
    ]


def _announced_to_finished(emulator: Emulator, folder: Path, prefix: str, *arguments: str) -> float:
    """Seconds from Snakemake's announcing its only remote job to its telling the finish, as its lines arrive."""
    words = command(prefix, *arguments)
    environment = {**os.environ, **emulator.environment(), "PYTHONUNBUFFERED": "1"}
    begun = ended = 0.0
    lines: list[str] = []
    with subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            lines.append(line)
            if line.startswith("rule one:"):
                begun = time.monotonic()
            elif "(Rule: one)" in line:
                ended = time.monotonic()
    if running.returncode or not ended:
        raise SystemExit("".join(lines)[-3000:])
    return ended - begun


def storage(_: Emulator, quick: bool) -> list[Row]:
    """Storage requests a file on a first run, and to check files that are up to date, counted by the client's hook."""
    from snakemake_storage_plugin_azblob import StorageProvider
    from snakemake_storage_plugin_azblob.settings import StorageProviderSettings

    number = 1000 if quick else 10_000
    import asyncio
    import logging

    from snakemake.io import IOCache

    with tempfile.TemporaryDirectory() as folder:
        provider = StorageProvider(
            local_prefix=Path(folder), logger=logging.getLogger("bench"), settings=StorageProviderSettings()
        )
        first = _round_trip(provider, 50)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda n: _store(provider, f"az://benchfiles/run/many/{n}.txt"), range(number)))
        fresh = StorageProvider(
            local_prefix=Path(folder), logger=logging.getLogger("bench"), settings=StorageProviderSettings()
        )
        cache = IOCache(60)
        items = [fresh.object(f"az://benchfiles/run/many/{n}.txt") for n in range(number)]

        async def check() -> None:
            for item in items:
                await item.inventory(cache)

        started = time.monotonic()
        asyncio.run(check())
        took = time.monotonic() - started
        assert all(cache.exists_in_storage.get(item.cache_key()) for item in items)
    asked = sum(fresh.blobs.requests.values())
    return [
        ("storage requests a file, first run (store, look, fetch)", f"{first:g}", "≤ 3", "26"),
        (
            f"storage requests to check {number} up-to-date files",
            f"{asked} ({took:.1f} s)",
            f"≤ {number / 5000 + 3:g}",
            str(5 * number),
        ),
    ]


def _store(provider: Any, query: str) -> Any:
    item = provider.object(query)
    item.local_path().parent.mkdir(parents=True, exist_ok=True)
    item.local_path().write_text("x")
    item.store_object()
    return item


def _round_trip(provider: Any, number: int) -> float:
    """Requests a file: stored by one job, looked at by the driver, looked at and fetched by another job."""
    _store(provider, "az://benchfiles/run/warm")
    before = sum(provider.blobs.requests.values())
    for n in range(number):
        item = _store(provider, f"az://benchfiles/run/trip/{n}.txt")
        item.exists()
        again = provider.object(f"az://benchfiles/run/trip/{n}.txt")
        assert again.exists()
        assert again.mtime() > 0
        again.retrieve_object()
    return float(sum(provider.blobs.requests.values()) - before) / number


BLOB = r"""
import json, logging, pathlib, re, sys, time
from snakemake_storage_plugin_azblob import StorageProvider, StorageProviderSettings
size, kind = int(sys.argv[1]), sys.argv[2]
folder = pathlib.Path(sys.argv[3])
provider = StorageProvider(local_prefix=folder, logger=logging.getLogger(), settings=StorageProviderSettings())
item = provider.object("az://benchfiles/run/large-" + kind)
path = item.local_path()
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("wb") as stream:
    for _ in range(size):
        stream.write(bytes(1 << 20))
provider.blobs._make_container("benchfiles")
blob = provider.blobs._blob("benchfiles", "run/large-" + kind)
t = time.monotonic()
if kind == "ours":
    item.store_object()
else:
    with path.open("rb") as stream:
        blob.upload_blob(stream, overwrite=True, max_concurrency=4)
up = time.monotonic() - t
path.unlink()
t = time.monotonic()
if kind == "ours":
    item.retrieve_object()
else:
    with path.open("wb") as stream:
        blob.download_blob(max_concurrency=4).readinto(stream)
down = time.monotonic() - t
assert path.stat().st_size == size << 20
provider.object("az://benchfiles/run/large-" + kind).remove()
peak = re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(json.dumps([up, down, int(peak) / 1024]))
"""


def blob(emulator: Emulator, quick: bool) -> list[Row]:
    """One large blob up and down: throughput beside a raw SDK loop in the same run, and peak memory."""
    size = 512 if quick else 4096
    found: dict[str, list[float]] = {}
    for kind in ("raw", "ours", "raw"):  # the first warms the service up; its figures are replaced
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", BLOB, str(size), kind, folder],
                env={**os.environ, **emulator.environment()},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found[kind] = json.loads(done.stdout)
    ours, raw = found["ours"], found["raw"]
    speed = ", ".join(
        f"{way} {size / ours[n]:.0f} MB/s ({raw[n] / ours[n]:.2f} x raw)" for n, way in enumerate(("up", "down"))
    )
    return [
        (f"{size} MB blob up and down, peak memory", f"{ours[2]:.0f} MB", "< 150 MB", "494 MB for 400 MB"),
        (f"{size} MB blob, throughput", speed, "≥ 0.9 x raw", "–"),
    ]


ROWS: dict[str, Callable[[Emulator, bool], list[Row]]] = {
    "submit": submit_and_pass,
    "overhead": overhead,
    "storage": storage,
    "blob": blob,
    "tasks": load.tasks,
    "nodes": load.nodes,
    "yardstick": load.yardstick,
    "packed": scale.packed,
    "shared": scale.shared,
    "many": scale.many,
    "processes": scale.processes,
    "interrupt": scale.interrupt,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help="which rows; default all")
    parser.add_argument("--quick", action="store_true", help="smaller numbers")
    parser.add_argument("--write", action="store_true", help="add the results to bench/RESULTS.md")
    arguments = parser.parse_args()
    found: list[Row] = []
    with Emulator() as emulator:
        os.environ.update(emulator.environment())
        credentials.entra.cache_clear()
        for name in arguments.rows or ROWS:
            print(f"measuring {name} …", file=sys.stderr)
            found += ROWS[name](emulator, arguments.quick)
    print(_table(found))
    if arguments.write:
        write(found)


def write(rows: list[Row]) -> None:
    """Add a dated section to bench/RESULTS.md."""
    path = Path(__file__).with_name("RESULTS.md")
    head = path.read_text() if path.exists() else "# Results\n\nMade by `./scripts/bench --write`, newest last.\n"
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    path.write_text(f"{head}\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}\n\n{_table(rows)}\n")


def _table(rows: list[Row]) -> str:
    lines = ["| what | measured | goal | peer |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    main()
