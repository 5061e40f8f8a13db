"""Job schedule. Source: REST, Job Schedules - Get Job Schedule (BatchJobScheduleState)."""

from __future__ import annotations

from enum import StrEnum

from azbatch_emulator.lifecycle.table import Table, each
from azbatch_emulator.records import JobScheduleState as S


class JobScheduleHappening(StrEnum):
    DISABLE = "disable"
    ENABLE = "enable"
    TERMINATE = "terminate"
    ENDED = "last job ended, no other due"
    DELETE = "delete"


H = JobScheduleHappening
JOB_SCHEDULE = Table(
    "job schedule",
    S.ACTIVE,
    {
        **each((S.ACTIVE, S.DISABLED), H.DISABLE, S.DISABLED),
        **each((S.ACTIVE, S.DISABLED), H.ENABLE, S.ACTIVE),
        **each((S.ACTIVE, S.DISABLED), H.TERMINATE, S.TERMINATING),
        **each((S.ACTIVE, S.TERMINATING), H.ENDED, S.COMPLETED),
        **each((S.ACTIVE, S.DISABLED, S.TERMINATING, S.COMPLETED), H.DELETE, S.DELETING),
    },
)
