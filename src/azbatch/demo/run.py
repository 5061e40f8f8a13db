"""Runs the demonstration: inputs made and uploaded, Snakemake run unchanged, results fetched and reported."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from azbatch.demo import report, simulate
from azbatch.errors import AzbatchError, ConfigurationError

SEED = 20261126
LENGTH = 40_000
VARIANTS = 60
CONTAINER = "demo"
RECALL_BOUND = PRECISION_BOUND = 0.95
RESULTS = ("results/calls.vcf.gz", "results/picture.png", "results/summary.json")
MARK = ".azbatch-demo"  # in a working directory of ours, which a next run may remove
_STEPS = re.compile(r"^(\d+) of (\d+) steps \((\d+)%\) done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: files of the user's (`reads`, `reference`), or `samples` made from `seed`."""

    output: Path
    reads: tuple[Path, Path] | None = None
    reference: Path | None = None
    samples: int = 3
    seed: int = SEED
    jobs: int = 100
    nodes: int = 2

    def check(self) -> None:
        """Raises ConfigurationError with all faults."""
        faults = []
        if (self.reads is None) != (self.reference is None):
            faults.append("--reads and --reference go together: give both, or neither for made data.")
        for path in (*(self.reads or ()), *([self.reference] if self.reference else [])):
            if not path.is_file():
                faults.append(f"There is no file {path}.")
        if not 1 <= self.samples <= 12:
            faults.append(f"--samples is between 1 and 12, not {self.samples}.")
        if self.jobs < 1:
            faults.append(f"--jobs is at least 1, not {self.jobs}.")
        work = self.output / "work"
        if work.exists() and not (work / MARK).is_file():
            faults.append(f"{work} is not a demonstration's and would be replaced: choose another --output.")
        if faults:
            raise ConfigurationError(faults)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ok` is false where the bounds of recall and precision were missed."""

    ok: bool
    text: str
    summary: dict[str, Any]
    where: report.Ran
    picture: Path
    page: Path


def prepare(plan: Plan) -> dict[str, Any]:
    """Lay the working directory out (Snakefile, config.json, input/): the workflow's configuration."""
    work = plan.output / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "input").mkdir(parents=True)
    (work / MARK).touch()
    with resources.as_file(resources.files("azbatch.demo") / "workflow" / "Snakefile") as snakefile:
        shutil.copyfile(snakefile, work / "Snakefile")
    config = _own(plan, work) if plan.reads else _made(plan, work)
    (work / "config.json").write_text(json.dumps(config, indent=2))
    return config


def _own(plan: Plan, work: Path) -> dict[str, Any]:
    assert plan.reads is not None
    assert plan.reference is not None
    name = re.sub(r"[^A-Za-z0-9.-]+|_?1$", "", plan.reads[0].name.split(".")[0]) or "sample"
    # Names of our own: both reads may be called alike in two directories, or have names a shell would take apart.
    copies = ["input/reads_1.fq", "input/reads_2.fq", "input/reference.fa"]
    for path, copy in zip((*plan.reads, plan.reference), copies, strict=True):
        shutil.copyfile(path, work / copy)
    sequence, length = _first_sequence(plan.reference)
    return {
        "samples": {name: copies[:2]},
        "reference": copies[2],
        "truth": None,
        "chunks": 4,
        "regions": _regions(sequence, length, 2),
    }


def _first_sequence(fasta: Path) -> tuple[str, int]:
    """Name and length of the first sequence. Raises AzbatchError for what is no FASTA file."""
    name, length = "", 0
    with fasta.open(errors="replace") as lines:
        for line in lines:
            if line.startswith(">"):
                if name:
                    break
                name = line[1:].split()[0] if line[1:].split() else ""
            else:
                length += len(line.strip())
    if not name or not length:
        raise AzbatchError(f"{fasta} is no FASTA file: it has no named sequence.")
    return name, length


def _regions(sequence: str, length: int, number: int) -> list[str]:
    size = -(-length // number)
    return [f"{sequence}:{start + 1}-{min(start + size, length)}" for start in range(0, length, size)]


def _made(plan: Plan, work: Path) -> dict[str, Any]:
    rng = random.Random(plan.seed)  # noqa: S311 - reproducible data, no secret
    name = "demo"
    sequence = simulate.reference(LENGTH, rng)
    variants = simulate.plant(sequence, plan.samples, VARIANTS, rng)
    names = [f"sample{number + 1}" for number in range(plan.samples)]
    files = {"reference.fa": simulate.fasta(name, sequence), "truth.vcf": simulate.vcf(name, LENGTH, variants, names)}
    for number, sample in enumerate(names):
        copies = [simulate.haplotype(sequence, variants, number, copy) for copy in (0, 1)]
        pairs = list(simulate.read_pairs(copies, simulate.Reads(), rng))
        files[f"{sample}_1.fq"], files[f"{sample}_2.fq"] = simulate.fastq(sample, pairs)
    for path, content in files.items():
        (work / "input" / path).write_text(content)
    return {
        "samples": {sample: [f"input/{sample}_1.fq", f"input/{sample}_2.fq"] for sample in names},
        "reference": "input/reference.fa",
        "truth": "input/truth.vcf",
        "chunks": 1,
        "regions": _regions(name, LENGTH, 2),
    }


def run(plan: Plan, say: Callable[[str], None], requests: Callable[[], Mapping[str, int]] = dict) -> Outcome:
    """Run it all against the account and storage that the environment names. Raises AzbatchError."""
    from azbatch.azure.blob import BlobAccount

    plan.check()
    plan.output.mkdir(parents=True, exist_ok=True)
    say("Preparing the input data …")
    prepare(plan)
    work = plan.output / "work"
    prefix = time.strftime("%Y%m%d-%H%M%S")
    blobs = BlobAccount()
    _upload(blobs, work, prefix)
    say("Running the workflow on Azure Batch …")
    before, started = requests(), time.monotonic()
    _snakemake(plan, work, prefix, say)
    seconds = time.monotonic() - started
    after = requests()
    for path in RESULTS:
        target = plan.output / Path(path).name
        blobs.download(CONTAINER, f"{prefix}/{path}", target)
    made = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
    return _concluded(plan, report.ran(json.loads((work / "report.json").read_text()), seconds, made))


def _upload(blobs: Any, work: Path, prefix: str) -> None:
    blobs.ensure_container(CONTAINER)
    with ThreadPoolExecutor(4) as threads:
        jobs = [
            threads.submit(blobs.upload, CONTAINER, f"{prefix}/input/{path.name}", path)
            for path in sorted((work / "input").iterdir())
        ]
        for job in jobs:
            job.result()


def _snakemake(plan: Plan, work: Path, prefix: str, say: Callable[[str], None]) -> None:
    """Snakemake as a user would run it; its lines go to snakemake.log, its progress is said. Raises AzbatchError."""
    command = [
        sys.executable,
        *("-m", "snakemake", "--executor", "azbatch", "--jobs", str(plan.jobs)),
        *("--default-storage-provider", "azblob", "--default-storage-prefix", f"az://{CONTAINER}/{prefix}"),
        *("--azbatch-max-nodes", str(plan.nodes), "--azbatch-report", "report.json"),
        *("--max-jobs-per-timespan", "1000/1s", "--nocolor"),
    ]
    log = plan.output / "snakemake.log"
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    assert process.stdout is not None
    try:
        with log.open("w") as kept:
            for line in process.stdout:
                kept.write(line)
                progress = _progress(line)
                if progress:
                    say(progress)
        status = process.wait()
    except BaseException:
        # Ctrl-C reaches Snakemake too, as it is in our process group; it needs a moment to take everything away.
        if process.poll() is None and not _same_group(process.pid):
            process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        raise
    if status != 0:
        tail = "\n".join(log.read_text().splitlines()[-25:])
        raise AzbatchError(f"The workflow failed (exit code {status}); see {log}, which ends with:\n{tail}")


def _same_group(pid: int) -> bool:
    return os.getpgid(pid) == os.getpgrp()


def _progress(line: str) -> str | None:
    found = _STEPS.match(line)
    if found:
        return f"  {found[1]} of {found[2]} steps done"
    if line.startswith(("rule ", "Pool '")):
        return f"  {line.strip().rstrip(':')}"
    return None


def _concluded(plan: Plan, where: report.Ran) -> Outcome:
    picture, page = plan.output / "picture.png", plan.output / "summary.html"
    summary = json.loads((plan.output / "summary.json").read_text())
    origin = "Reads of your own." if plan.reads else f"Data made with seed {plan.seed}."
    page.write_text(report.page(summary, where, picture.read_bytes(), origin))
    total = summary.get("score")
    ok = total is None or (total["recall"] >= RECALL_BOUND and total["precision"] >= PRECISION_BOUND)
    return Outcome(ok, report.text(summary, where, str(picture), str(page)), summary, where, picture, page)
