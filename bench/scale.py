"""Rows about large runs: packed jobs, a shared input, ten thousand jobs, and their end by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from azbatch.azure import credentials
from azbatch_emulator.launcher import Emulator
from bench.common import Row, command, connected

MANY = (
    'N = range({n})\nrule all:\n    input: expand("out/{{i}}.txt", i=N)\n'
    'rule one:\n    output: "out/{{i}}.txt"\n    resources: runtime=1\n    shell: "{shell}"\n'
)
SHARED = (
    'N = range({n})\nrule all:\n    input: expand("out/{{i}}.txt", i=N)\n'
    'rule one:\n    input: "reference"\n    output: "out/{{i}}.txt"\n'
    '    shell: "stat -c %i {{input}} > {{output}}; hostname >> {{output}}"\n'
)


def _run(emulator: Emulator, folder: Path, prefix: str, *arguments: str) -> tuple[dict[str, Any], float, float]:
    """(the run's report, the driver's CPU seconds, its largest memory in MB)."""
    words = command(prefix, "--azbatch-report", "report.json", *arguments)
    script = (
        "import json, re, resource, subprocess, sys\n"
        "p = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)\n"
        "peak = 0\n"
        "while p.poll() is None:\n"
        "    try:\n"
        "        text = open(f'/proc/{p.pid}/status').read()\n"
        "        found = re.search(r'VmHWM:\\s*(\\d+)', text)\n"
        "        peak = max(peak, int(found[1])) if found else peak\n"
        "        p.wait(0.2)\n"
        "    except (subprocess.TimeoutExpired, OSError): pass\n"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([p.returncode, u.ru_utime + u.ru_stime, peak / 1024]))\n"
    )
    environment = {**os.environ, **emulator.environment()}
    done = subprocess.run(
        [words[0], "-c", script, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    code, cpu, peak = json.loads(done.stdout)
    if code:
        raise SystemExit(done.stderr[-3000:])
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report, cpu, peak


def packed(emulator: Emulator, quick: bool) -> list[Row]:
    """Seconds a job when one task takes many, its command taking none; a single slot, so that nothing overlaps."""
    number = 20 if quick else 100
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "Snakefile").write_text(MANY.format(n=2 * number, shell="echo {wildcards.i} > {output}"))
        report, _, _ = _run(
            emulator,
            folder,
            f"az://bench/packed{time.time_ns()}",
            *("--jobs", str(2 * number), "--azbatch-pack", str(number), "--azbatch-max-nodes", "1"),
            *("--azbatch-task-slots", "1", "--max-jobs-per-timespan", "1000/1s"),
        )
    seconds = [_moment(task["end"]) - _moment(task["start"]) for task in report["tasks"]]
    best = min(seconds) / number
    what = f"a trivial job, {number} packed into a task, s (import of Snakemake included)"
    return [(what, f"{best:.2f}", "≤ 0.3", "19.4")]


def _moment(text: str) -> float:
    return datetime.fromisoformat(re.sub(r"(\.\d{1,6})\d*Z", r"\1+00:00", text)).timestamp()


def shared(emulator: Emulator, quick: bool) -> list[Row]:
    """How often an input that 40 jobs share is moved to 2 nodes: the files that their jobs saw, by inode."""
    from snakemake_storage_plugin_azblob.client import Blobs

    size = (20 if quick else 200) << 20
    blobs = Blobs(os.environ["AZBATCH_STORAGE_URL"], credentials.entra())
    top = f"shared{time.time_ns()}"
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "reference").write_bytes(os.urandom(1 << 20) * (size >> 20))
        blobs.upload("bench", f"{top}/reference", folder / "reference")
        (folder / "reference").unlink()
        (folder / "Snakefile").write_text(SHARED.format(n=40))
        report, _, _ = _run(emulator, folder, f"az://bench/{top}", "--azbatch-max-nodes", "2")
        copies = set()
        for number in range(40):
            blobs.download("bench", f"{top}/out/{number}.txt", folder / "seen")
            copies.add((folder / "seen").read_text().split()[0])
    nodes = {task["node"] for task in report["tasks"]}
    measured = f"{len(copies)} x ({len(nodes)} nodes)"
    return [(f"shared {size >> 20} MB input, 40 jobs on 2 nodes: moved", measured, "2 x", "40 x")]


def many(_: Emulator, quick: bool) -> list[Row]:
    """A workflow of ten thousand jobs on the instant runner: the driver's memory and CPU, and its requests."""
    from concurrent.futures import ThreadPoolExecutor

    from snakemake_storage_plugin_azblob.client import Blobs

    number = 500 if quick else 10_000
    with Emulator(runner="instant") as instant, tempfile.TemporaryDirectory() as text:
        environment = instant.environment()
        saved = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        credentials.entra.cache_clear()
        folder = Path(text)
        # Instant tasks write nothing: their outputs lie there already, and all jobs are forced.
        (folder / "x").write_text("x")
        blobs = Blobs(os.environ["AZBATCH_STORAGE_URL"], credentials.entra())
        blobs.upload("bench", "many/out/0.txt", folder / "x")
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: blobs.upload("bench", f"many/out/{n}.txt", folder / "x"), range(number)))
        (folder / "Snakefile").write_text(MANY.format(n=number, shell="true"))
        began = time.monotonic()
        report, cpu, peak = _run(
            instant,
            folder,
            "az://bench/many",
            *("--jobs", str(number), "--forceall", "--scheduler", "greedy", "--azbatch-pack", "1"),
        )
        took = time.monotonic() - began
        os.environ.update({name: value for name, value in saved.items() if value is not None})
        credentials.entra.cache_clear()
    requests = report["batch_requests"]
    adding, listing = requests["POST tasks"], requests["GET tasks"]
    assert len(report["tasks"]) == number
    return [
        (
            f"{number} jobs, instant runner: driver's CPU a job, memory; wall time",
            f"{1000 * cpu / number:.0f} ms, {peak:.0f} MB; {took:.0f} s",
            "–",
            "–",
        ),
        (
            f"{number} jobs: requests to Batch (adding; listing; all others)",
            f"{adding}; {listing}; {sum(requests.values()) - adding - listing}",
            f"adding ≤ {number // 100 + 2}",
            f"{number}; 3 a job and pass",
        ),
    ]


def processes(emulator: Emulator, quick: bool) -> list[Row]:
    """A workflow of ten thousand jobs as real processes, packed: every result is there and right."""
    number = 400 if quick else 10_000
    top = f"processes{time.time_ns()}"
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        # Without a declared runtime, by which packs are no longer than half an hour.
        rules = MANY.format(n=number, shell="echo {wildcards.i} > {output}").replace("    resources: runtime=1\n", "")
        (folder / "Snakefile").write_text(rules)
        began = time.monotonic()
        report, cpu, peak = _run(
            emulator,
            folder,
            f"az://bench/{top}",
            *("--jobs", str(number), "--azbatch-pack", "100", "--azbatch-max-nodes", "1", "--scheduler", "greedy"),
            *("--azbatch-task-slots", "2", "--max-jobs-per-timespan", "10000/1s"),
        )
        took = time.monotonic() - began
    assert _sizes(emulator, top) == {f"out/{n}.txt": len(f"{n}\n") for n in range(number)}
    requests = report["batch_requests"]
    return [
        (
            f"{number} jobs, process runner, 100 a task: wall time; driver's CPU a job, memory; requests to Batch",
            f"{took:.0f} s; {1000 * cpu / number:.0f} ms, {peak:.0f} MB; {sum(requests.values())}",
            "completes",
            "–",
        )
    ]


def _sizes(emulator: Emulator, top: str) -> dict[str, int]:
    """What a run left in storage, and how large it is."""
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient.from_connection_string(
        emulator.storage_connection_string, connection_verify=str(emulator.ca_bundle)
    )
    with service, service.get_container_client("bench") as container:
        return {blob.name.removeprefix(f"{top}/"): blob.size for blob in container.list_blobs(f"{top}/")}


def interrupt(emulator: Emulator, quick: bool) -> list[Row]:
    """Seconds from Ctrl-C to the driver's end, with 500 jobs added."""
    number = 50 if quick else 500
    with tempfile.TemporaryDirectory() as text, connected(emulator) as account:
        folder = Path(text)
        (folder / "Snakefile").write_text(MANY.format(n=number, shell="sleep 983"))
        words = command(f"az://bench/interrupt{time.time_ns()}", "--azbatch-pack", "1")
        words[words.index("--jobs") + 1] = str(number)
        environment = {**os.environ, **emulator.environment()}
        with subprocess.Popen(
            [*words, "--max-jobs-per-timespan", "1000/1s"],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as running:
            while not _added(account, number):
                time.sleep(0.2)
            began = time.monotonic()
            running.send_signal(signal.SIGINT)
            running.wait()
            took = time.monotonic() - began
    return [(f"Ctrl-C to exit, {number} jobs on Batch, s", f"{took:.1f}", "< 3", "53 for 200")]


def _added(account: Any, number: int) -> bool:
    for job in account.list_jobs():
        if str(job["id"]).startswith("snakemake-"):
            counts = account.task_counts(str(job["id"]))
            return int(counts["active"]) + int(counts["running"]) == number
    return False
