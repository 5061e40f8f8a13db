"""Bodies of tasks. Source: REST 2025-06-01, Tasks - Create Task; docstrings of azure-batch 15.1 and 14.2."""

from __future__ import annotations

from azbatch_emulator.batch.rules.common import (
    AUTO_USER,
    COMMAND,
    COMMAND_OR_NONE,
    CONTAINER,
    ENVIRONMENT,
    OUTPUT_FILES,
    PACKAGES,
    RESOURCE_FILES,
    RUNNABLE,
    TASK_CONSTRAINTS,
    TOKEN_SETTINGS,
    USER,
)
from azbatch_emulator.batch.rules.kinds import (
    ANYTHING,
    DISPLAY_NAME,
    ID,
    INTEGER,
    NAME,
    Choice,
    Integer,
    ListOf,
    Shape,
)
from azbatch_emulator.batch.rules.relations import not_above

MAX_TASKS = 100  # in one collection
MAX_DEPENDENCIES = 64_000  # characters of all ids together
SLOTS = Integer(low=1, high=256)
EXIT_OPTIONS = Shape(
    "ExitOptions",
    optional={
        "jobAction": Choice("none", "disable", "terminate"),
        "dependencyAction": Choice("satisfy", "block"),
    },
)
EXIT_CONDITIONS = Shape(
    "ExitConditions",
    optional={
        "exitCodes": ListOf(
            Shape("ExitCodeMapping", required={"code": INTEGER, "exitOptions": EXIT_OPTIONS}), distinct="code"
        ),
        "exitCodeRanges": ListOf(
            Shape(
                "ExitCodeRangeMapping",
                required={"start": INTEGER, "end": INTEGER, "exitOptions": EXIT_OPTIONS},
                relations=(not_above("start", "end"),),
            )
        ),
        "preProcessingError": EXIT_OPTIONS,
        "fileUploadError": EXIT_OPTIONS,
        "default": EXIT_OPTIONS,
    },
)
DEPENDENCIES = Shape(
    "TaskDependencies",
    optional={
        "taskIds": ListOf(ID),
        "taskIdRanges": ListOf(
            Shape(
                "TaskIdRange",
                required={"start": INTEGER, "end": INTEGER},
                relations=(not_above("start", "end"),),
            )
        ),
    },
)
MULTI_INSTANCE = Shape(
    "MultiInstanceSettings",
    required={"coordinationCommandLine": COMMAND},
    optional={"numberOfInstances": Integer(low=1), "commonResourceFiles": RESOURCE_FILES},
    defaults={"numberOfInstances": 1},
)
TASK = Shape(
    "Task",
    required={"id": ID, "commandLine": COMMAND_OR_NONE},
    optional={
        "displayName": DISPLAY_NAME,
        "exitConditions": EXIT_CONDITIONS,
        "containerSettings": CONTAINER,
        "resourceFiles": RESOURCE_FILES,
        "outputFiles": OUTPUT_FILES,
        "environmentSettings": ENVIRONMENT,
        "affinityInfo": Shape("AffinityInformation", required={"affinityId": NAME}),
        "constraints": TASK_CONSTRAINTS,
        "requiredSlots": SLOTS,
        "userIdentity": USER,
        "multiInstanceSettings": MULTI_INSTANCE,
        "dependsOn": DEPENDENCIES,
        "applicationPackageReferences": PACKAGES,
    },
    retired={"authenticationTokenSettings": TOKEN_SETTINGS},
    defaults={"userIdentity": AUTO_USER, "requiredSlots": 1},
    relations=(RUNNABLE,),
)
# Each task of a collection is read by itself, so that one that is refused leaves the others in.
TASKS = Shape("TaskAddCollection", required={"value": ListOf(ANYTHING, most=MAX_TASKS)})
TASK_UPDATE = Shape("TaskUpdate", optional=TASK.properties)
