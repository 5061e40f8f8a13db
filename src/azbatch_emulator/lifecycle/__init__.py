"""The lifecycles of the service's resources, as tables; `python -m azbatch_emulator.lifecycle` draws them."""

from azbatch_emulator.lifecycle.job import JOB
from azbatch_emulator.lifecycle.job_schedule import JOB_SCHEDULE
from azbatch_emulator.lifecycle.node import NODE
from azbatch_emulator.lifecycle.pool import ALLOCATION, POOL
from azbatch_emulator.lifecycle.task import TASK

TABLES = (POOL, ALLOCATION, NODE, JOB, TASK, JOB_SCHEDULE)


def page() -> str:
    """The text of docs/lifecycles.md."""
    head = "# Lifecycles\n\nDrawn from `azbatch_emulator/lifecycle/` by `python -m azbatch_emulator.lifecycle`.\n"
    return head + "".join(f"\n## {table.name.capitalize()}\n\n```mermaid\n{table.mermaid()}\n```\n" for table in TABLES)
