"""Jobs and tasks: bulk submission, incremental monitoring, why a task failed."""

from azbatch.jobs.monitor import Finished, Monitor
from azbatch.jobs.outcome import Outcome, explain
from azbatch.jobs.ports import JobPort
from azbatch.jobs.spec import JobSpec, TaskSpec
from azbatch.jobs.submit import submit

__all__ = ["Finished", "JobPort", "JobSpec", "Monitor", "Outcome", "TaskSpec", "explain", "submit"]
