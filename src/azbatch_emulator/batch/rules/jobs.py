"""Bodies of jobs and job schedules. Source: REST 2025-06-01, Jobs - Create Job, Job Schedules - Create Job Schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from azbatch_emulator.batch.rules.common import (
    AUTO_USER,
    COMMAND_OR_NONE,
    CONTAINER,
    ENVIRONMENT,
    JOB_CONSTRAINTS,
    METADATA,
    OUTPUT_FILES,
    PACKAGES,
    RESOURCE_FILES,
    RUNNABLE,
    TASK_CONSTRAINTS,
    TOKEN_SETTINGS,
    USER,
)
from azbatch_emulator.batch.rules.kinds import (
    BOOLEAN,
    DISPLAY_NAME,
    DURATION,
    ID,
    NAME,
    TEXT,
    TIME,
    Choice,
    Duration,
    Integer,
    Kind,
    Shape,
    Text,
)
from azbatch_emulator.batch.rules.pools import POOL_SPECIFICATION
from azbatch_emulator.batch.rules.relations import exactly_one, needs, not_above
from azbatch_emulator.batch.rules.tasks import SLOTS

MINUTE = timedelta(minutes=1)
_RUN: Mapping[str, Kind] = {
    "containerSettings": CONTAINER,
    "resourceFiles": RESOURCE_FILES,
    "environmentSettings": ENVIRONMENT,
    "userIdentity": USER,
}
JOB_MANAGER = Shape(
    "JobManagerTask",
    required={"id": ID, "commandLine": COMMAND_OR_NONE},
    optional={
        **_RUN,
        "displayName": DISPLAY_NAME,
        "outputFiles": OUTPUT_FILES,
        "constraints": TASK_CONSTRAINTS,
        "requiredSlots": SLOTS,
        "killJobOnCompletion": BOOLEAN,
        "runExclusive": BOOLEAN,
        "applicationPackageReferences": PACKAGES,
        "allowLowPriorityNode": BOOLEAN,
    },
    retired={"authenticationTokenSettings": TOKEN_SETTINGS},
    defaults={
        "userIdentity": AUTO_USER,
        "requiredSlots": 1,
        "killJobOnCompletion": True,
        "runExclusive": True,
        "allowLowPriorityNode": True,
    },
    relations=(RUNNABLE,),
)
JOB_PREPARATION = Shape(
    "JobPreparationTask",
    required={"commandLine": COMMAND_OR_NONE},
    optional={
        **_RUN,
        "id": ID,
        "constraints": TASK_CONSTRAINTS,
        "waitForSuccess": BOOLEAN,
        "rerunOnNodeRebootAfterSuccess": BOOLEAN,
    },
    defaults={
        "id": "jobpreparation",
        "userIdentity": AUTO_USER,
        "waitForSuccess": True,
        "rerunOnNodeRebootAfterSuccess": True,
    },
    relations=(RUNNABLE,),
)
# A release task may run for 15 minutes at most.
JOB_RELEASE = Shape(
    "JobReleaseTask",
    required={"commandLine": COMMAND_OR_NONE},
    optional={
        **_RUN,
        "id": ID,
        "maxWallClockTime": Duration(high=timedelta(minutes=15)),
        "retentionTime": DURATION,
    },
    defaults={"id": "jobrelease", "userIdentity": AUTO_USER},
    relations=(RUNNABLE,),
)
POOL_INFO = Shape(
    "PoolInformation",
    optional={
        "poolId": ID,
        "autoPoolSpecification": Shape(
            "AutoPoolSpecification",
            required={"poolLifetimeOption": Choice("jobschedule", "job")},
            optional={
                "autoPoolIdPrefix": Text(longest=20),
                "keepAlive": BOOLEAN,
                "pool": POOL_SPECIFICATION,
            },
            defaults={"keepAlive": False},
        ),
    },
    relations=(exactly_one("poolId", "autoPoolSpecification"),),
)
# -1: without limit; 0 is no limit that one may set.
PARALLEL = Integer(low=-1, reserved=(range(1),), reason="The value is -1 or greater than 0")
_CHANGEABLE: Mapping[str, Kind] = {
    "priority": Integer(low=-1000, high=1000),
    "allowTaskPreemption": BOOLEAN,
    "maxParallelTasks": PARALLEL,
    "constraints": JOB_CONSTRAINTS,
    "onAllTasksComplete": Choice("noaction", "terminatejob"),
    "networkConfiguration": Shape(
        "JobNetworkConfiguration", required={"subnetId": NAME}, optional={"skipWithdrawFromVNet": BOOLEAN}
    ),
    "metadata": METADATA,
}
_SPECIFICATION: Mapping[str, Kind] = {
    **_CHANGEABLE,
    "displayName": DISPLAY_NAME,
    "usesTaskDependencies": BOOLEAN,
    "jobManagerTask": JOB_MANAGER,
    "jobPreparationTask": JOB_PREPARATION,
    "jobReleaseTask": JOB_RELEASE,
    "commonEnvironmentSettings": ENVIRONMENT,
    "onTaskFailure": Choice("noaction", "performexitoptionsjobaction"),
}
_DEFAULTS: Mapping[str, Any] = {
    "priority": 0,
    "usesTaskDependencies": False,
    "onAllTasksComplete": "noaction",
    "onTaskFailure": "noaction",
    "allowTaskPreemption": False,
    "maxParallelTasks": -1,
}
_RELEASE_NEEDS_PREPARATION = (needs("jobReleaseTask", "jobPreparationTask"),)
JOB = Shape(
    "Job",
    required={"id": ID, "poolInfo": POOL_INFO},
    optional=_SPECIFICATION,
    defaults=_DEFAULTS,
    relations=_RELEASE_NEEDS_PREPARATION,
)
JOB_SPECIFICATION = Shape(
    "JobSpecification",
    required={"poolInfo": POOL_INFO},
    optional=_SPECIFICATION,
    defaults=_DEFAULTS,
    relations=_RELEASE_NEEDS_PREPARATION,
)
JOB_UPDATE = Shape("JobPatch", optional={**_CHANGEABLE, "poolInfo": POOL_INFO})
# A client that sends back the whole job it read is served.
JOB_REPLACEMENT = Shape("JobUpdate", required={"poolInfo": POOL_INFO}, optional={**_SPECIFICATION, "id": ID})
JOB_DISABLE = Shape("JobDisable", required={"disableTasks": Choice("requeue", "terminate", "wait")})
JOB_TERMINATE = Shape("JobTerminate", optional={"terminateReason": TEXT})

SCHEDULE = Shape(
    "Schedule",
    optional={
        "doNotRunUntil": TIME,
        "doNotRunAfter": TIME,
        "startWindow": Duration(low=MINUTE),
        "recurrenceInterval": Duration(low=MINUTE),
    },
    relations=(not_above("doNotRunUntil", "doNotRunAfter"),),
)
JOB_SCHEDULE = Shape(
    "JobSchedule",
    required={"id": ID, "schedule": SCHEDULE, "jobSpecification": JOB_SPECIFICATION},
    optional={"displayName": DISPLAY_NAME, "metadata": METADATA},
)
JOB_SCHEDULE_UPDATE = Shape(
    "JobSchedulePatch",
    optional={"schedule": SCHEDULE, "jobSpecification": JOB_SPECIFICATION, "metadata": METADATA},
)
JOB_SCHEDULE_REPLACEMENT = Shape(
    "JobScheduleUpdate",
    required={"schedule": SCHEDULE, "jobSpecification": JOB_SPECIFICATION},
    optional={"id": ID, "displayName": DISPLAY_NAME, "metadata": METADATA},
)
