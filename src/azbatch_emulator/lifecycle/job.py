"""Job. Source: REST, Jobs - Get Job (BatchJobState, terminationReason)."""

from __future__ import annotations

from enum import StrEnum

from azbatch_emulator.lifecycle.table import Table, each
from azbatch_emulator.records import JobState as J


class JobHappening(StrEnum):
    DISABLE = "disable"
    DISABLED = "tasks stopped"
    ENABLE = "enable"
    TERMINATE = "terminate"
    TERMINATED = "tasks ended and released"
    DELETE = "delete"


H = JobHappening
JOB = Table(
    "job",
    J.ACTIVE,
    {
        **each((J.ACTIVE, J.ENABLING), H.DISABLE, J.DISABLING),
        (J.DISABLING, H.DISABLED): J.DISABLED,
        **each((J.DISABLED, J.DISABLING), H.ENABLE, J.ACTIVE),
        **each((J.ACTIVE, J.DISABLING, J.DISABLED, J.ENABLING), H.TERMINATE, J.TERMINATING),
        (J.TERMINATING, H.TERMINATED): J.COMPLETED,
        **each((J.ACTIVE, J.DISABLING, J.DISABLED, J.ENABLING, J.TERMINATING, J.COMPLETED), H.DELETE, J.DELETING),
    },
)

# States the service passes through by itself; previousState skips them [recorded].
TRANSITIONAL = frozenset({J.DISABLING, J.ENABLING, J.TERMINATING, J.DELETING})
