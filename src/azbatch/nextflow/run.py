"""Nextflow as a child process: started, interrupted with care, and reported on."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from azbatch.errors import AzbatchError, ConfigurationError
from azbatch.nextflow import strict

EXECUTABLE = "AZBATCH_NEXTFLOW"
PATIENCE = 60.0  # seconds that Nextflow gets to end its tasks after Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a run ended: the exit code of Nextflow, and its tasks by status (COMPLETED, CACHED, FAILED, ABORTED)."""

    code: int
    tasks: dict[str, int] = field(default_factory=dict)

    def sentence(self) -> str:
        counts = ", ".join(f"{number} {name.lower()}" for name, number in sorted(self.tasks.items())) or "no task ran"
        return f"Nextflow ended with exit code {self.code}: {counts}."


def executable() -> str:
    """Nextflow's program. Raises AzbatchError where there is none."""
    wanted = os.environ.get(EXECUTABLE) or "nextflow"
    found = shutil.which(wanted)
    if found is None:
        raise AzbatchError(
            f"'{wanted}' is not on PATH: prepare this machine with `azbatch headnode script`, or set {EXECUTABLE}."
        )
    return found


def check(pipeline: Path, config: Path) -> None:
    """What would end a run at once. Raises ConfigurationError with all faults, AzbatchError without Nextflow."""
    faults = []
    for path, judge in ((pipeline, strict.check_script), (config, strict.check_config)):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            faults.append(f"{path} cannot be read: write it with NextflowHelper().create_nextflow_scripts().")
            continue
        faults += [f"{path}, line {fault.line}: {fault.sentence}." for fault in judge(text)]
    if faults:
        raise ConfigurationError(faults)
    executable()


def run(
    pipeline: str,
    config: str,
    arguments: Sequence[str] = (),
    *,
    folder: Path,
    said: Callable[[str], None],
    patience: float = PATIENCE,
) -> Report:
    """Run Nextflow to its end; its own output is the progress. Its trace is kept in `.nextflow-trace.tsv`.

    On Ctrl-C it is asked to end, waited for, and ended by force at a second Ctrl-C or after `patience` seconds.
    """
    trace = folder / ".nextflow-trace.tsv"
    trace.unlink(missing_ok=True)
    command = [executable(), "run", pipeline, "-c", config, "-with-trace", trace.name, *arguments]
    # In a session of its own, a Ctrl-C of the terminal reaches it through us only, once.
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)  # noqa: S603  # the user's own command
    try:
        code = process.wait()
    except BaseException:
        _end(process, said, patience)
        raise
    return Report(code=code, tasks=_counted(trace))


def _end(process: subprocess.Popen[bytes], said: Callable[[str], None], patience: float) -> None:
    said("Waiting for Nextflow to end its tasks (Ctrl-C again to stop waiting).")
    for number, seconds in ((signal.SIGINT, patience), (signal.SIGTERM, 10.0), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            continue
        return


def _counted(trace: Path) -> dict[str, int]:
    try:
        with trace.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream, delimiter="\t")
            return dict(Counter(row["status"] for row in rows if row.get("status")))
    except OSError:
        return {}
