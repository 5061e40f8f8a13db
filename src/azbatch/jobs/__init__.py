"""Jobs and tasks: bulk submission, incremental monitoring, why a task failed."""

from azbatch.jobs.judge import Blame, blame
from azbatch.jobs.monitor import Finished, Monitor
from azbatch.jobs.outcome import Outcome, explain
from azbatch.jobs.packed import InPack, ended_in_pack
from azbatch.jobs.ports import JobPort
from azbatch.jobs.spec import JobSpec, TaskSpec
from azbatch.jobs.submit import submit

__all__ = [
    "Blame",
    "Finished",
    "InPack",
    "JobPort",
    "JobSpec",
    "Monitor",
    "Outcome",
    "TaskSpec",
    "blame",
    "ended_in_pack",
    "explain",
    "submit",
]
