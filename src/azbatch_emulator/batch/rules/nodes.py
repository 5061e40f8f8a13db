"""Bodies of requests to compute nodes. Source: REST 2025-06-01, Nodes."""

from __future__ import annotations

from azbatch_emulator.batch.rules.common import DEALLOCATION, IDENTITY_REFERENCE
from azbatch_emulator.batch.rules.kinds import BOOLEAN, NAME, SECRET, TEXT, TIME, Choice, Shape, Text
from azbatch_emulator.batch.rules.relations import not_above

REBOOT = Shape("NodeReboot", optional={"nodeRebootOption": DEALLOCATION})
REIMAGE = Shape("NodeReimage", optional={"nodeReimageOption": DEALLOCATION})
DEALLOCATE = Shape("NodeDeallocate", optional={"nodeDeallocateOption": DEALLOCATION})
DISABLE_SCHEDULING = Shape(
    "NodeDisableScheduling",
    optional={"nodeDisableSchedulingOption": Choice("requeue", "terminate", "taskcompletion")},
)
NODE_USER = Shape(
    "ComputeNodeUser",
    required={"name": NAME},
    optional={"isAdmin": BOOLEAN, "expiryTime": TIME, "password": SECRET, "sshPublicKey": TEXT},
)
NODE_USER_UPDATE = Shape("NodeUpdateUser", optional={"password": SECRET, "expiryTime": TIME, "sshPublicKey": TEXT})
UPLOAD_LOGS = Shape(
    "UploadBatchServiceLogsConfiguration",
    required={"containerUrl": Text(shortest=1, secret=True), "startTime": TIME},
    optional={"endTime": TIME, "identityReference": IDENTITY_REFERENCE},
    relations=(not_above("startTime", "endTime"),),
)
