"""Snakemake for one job on a node: `python -m snakemake_executor_plugin_azbatch.job ARGUMENTS`.

The process lives a few seconds and spends most of them importing: the garbage collector would look through all of
that again and again, and once more at the end, which is a quarter of the time [measured].
"""

from __future__ import annotations

import atexit
import gc
import runpy

ALLOCATIONS = 50_000  # before a collection; Python's default is 700


def main() -> None:
    gc.set_threshold(ALLOCATIONS, 20, 20)
    atexit.register(gc.freeze)
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
