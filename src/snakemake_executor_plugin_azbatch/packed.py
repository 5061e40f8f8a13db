"""Many short jobs in one task: `python -m snakemake_executor_plugin_azbatch.packed PACK`.

Snakemake is imported once; each job is a fork of this process with a working directory's worth of its own output, and
ends as it would alone. A line for each in the results file tells the driver how.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from azbatch.jobs.packed import RESULTS
from snakemake_executor_plugin_azbatch.work import decode

PRELOADED = (
    "snakemake.cli",
    "snakemake.workflow",
    "snakemake.persistence",
    "snakemake.report",
    "snakemake.scheduling.greedy",
    "snakemake.executors.local",
    "smart_open",
    "azbatch.azure.credentials",
    "azure.identity",
    "azure.storage.blob",
    "azure.core.pipeline.transport._requests_basic",
    "snakemake_storage_plugin_azblob.client",
)
TAIL = 4096  # bytes of a failed job's output that the driver shows


def main() -> int:
    _, common, jobs = decode(sys.argv[1])
    _prepare()
    results = Path(RESULTS)
    with results.open("a") as stream:
        for place, own in enumerate(jobs):
            began = time.monotonic()
            with tempfile.TemporaryFile() as output:
                code = _run([*common, *own], output.fileno())
                told: dict[str, object] = {"job": place, "code": code, "seconds": round(time.monotonic() - began, 3)}
                _copy(output.fileno())
                if code:
                    told["output"] = _tail(output.fileno())
            stream.write(json.dumps(told) + "\n")
            stream.flush()
    return 0


def _prepare() -> None:
    """Import what every job imports, before the first fork; a module that another version lacks is no matter."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from snakemake.cli import get_argument_parser

    # Imports all plugins.
    get_argument_parser()
    # What is imported stays: no collector should look at it, and no fork copy its pages.
    gc.freeze()


def _run(arguments: list[str], output: int) -> int:
    """One job in a process of its own: its exit code, 128 + N where signal N ended it."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os._exit(_snakemake(arguments))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _snakemake(arguments: list[str]) -> int:
    from snakemake.cli import main as snakemake

    sys.argv = ["snakemake", *arguments]
    code: object = 1
    try:
        snakemake(arguments)
        code = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - the process ends here, with the reason in the job's output
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def _copy(output: int) -> None:
    """The job's output into the task's own, so that it can be followed there."""
    os.lseek(output, 0, os.SEEK_SET)
    while chunk := os.read(output, 1 << 16):
        os.write(2, chunk)


def _tail(output: int) -> str:
    size = os.fstat(output).st_size
    return os.pread(output, TAIL, max(0, size - TAIL)).decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
