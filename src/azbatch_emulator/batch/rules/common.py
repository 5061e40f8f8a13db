"""Bodies that several operations share: metadata, users, files, containers, constraints. Source: REST 2025-06-01."""

from __future__ import annotations

import re

from azbatch_emulator.batch.rules.kinds import (
    BOOLEAN,
    DURATION,
    NAME,
    SECRET,
    TEXT,
    Choice,
    Integer,
    ListOf,
    Shape,
    Text,
)
from azbatch_emulator.batch.rules.relations import blank_only_with, exactly_one, needs

COMMAND = Text(shortest=1, pattern=re.compile(r"(?s).*\S.*"), reason="The command line is empty")
COMMAND_OR_NONE = Text()
RUNNABLE = blank_only_with("commandLine", "containerSettings")
RETRIES = Integer(low=-1)  # -1: without limit
DEALLOCATION = Choice("requeue", "terminate", "taskcompletion", "retaineddata")

METADATA = ListOf(Shape("MetadataItem", required={"name": TEXT, "value": TEXT}))
ENVIRONMENT = ListOf(Shape("EnvironmentSetting", required={"name": NAME}, optional={"value": TEXT}))
IDENTITY_REFERENCE = Shape("ComputeNodeIdentityReference", optional={"resourceId": TEXT})
# A package is one of the account's applications; whether it exists is asked where that is known.
PACKAGES = ListOf(
    Shape("ApplicationPackageReference", required={"applicationId": NAME}, optional={"version": TEXT}), most=10
)
CERTIFICATES = ListOf(
    Shape(
        "CertificateReference",
        required={"thumbprint": TEXT, "thumbprintAlgorithm": TEXT},
        optional={
            "storeLocation": Choice("currentuser", "localmachine"),
            "storeName": TEXT,
            "visibility": ListOf(Choice("starttask", "task", "remoteuser")),
        },
    )
)

RESOURCE_FILE = Shape(
    "ResourceFile",
    optional={
        "autoStorageContainerName": NAME,
        "storageContainerUrl": Text(shortest=1, secret=True),
        "httpUrl": Text(shortest=1, secret=True),
        "blobPrefix": TEXT,
        "filePath": TEXT,
        "fileMode": TEXT,
        "identityReference": IDENTITY_REFERENCE,
    },
    relations=(
        exactly_one("httpUrl", "storageContainerUrl", "autoStorageContainerName"),
        needs("httpUrl", "filePath"),
    ),
)
RESOURCE_FILES = ListOf(RESOURCE_FILE)

_OUTPUT_CONTAINER = Shape(
    "OutputFileBlobContainerDestination",
    required={"containerUrl": Text(shortest=1, secret=True)},
    optional={
        "path": TEXT,
        "identityReference": IDENTITY_REFERENCE,
        "uploadHeaders": ListOf(Shape("HttpHeader", required={"name": NAME}, optional={"value": TEXT})),
    },
)
OUTPUT_FILES = ListOf(
    Shape(
        "OutputFile",
        required={
            "filePattern": NAME,
            "destination": Shape("OutputFileDestination", required={"container": _OUTPUT_CONTAINER}),
            "uploadOptions": Shape(
                "OutputFileUploadOptions",
                required={"uploadCondition": Choice("tasksuccess", "taskfailure", "taskcompletion")},
            ),
        },
    )
)

REGISTRY = Shape(
    "ContainerRegistry",
    optional={
        "username": TEXT,
        "password": SECRET,
        "registryServer": TEXT,
        "identityReference": IDENTITY_REFERENCE,
    },
)
CONTAINER = Shape(
    "TaskContainerSettings",
    required={"imageName": NAME},
    optional={
        "containerRunOptions": TEXT,
        "registry": REGISTRY,
        "workingDirectory": Choice("taskWorkingDirectory", "containerImageDefault"),
        "containerHostBatchBindMounts": ListOf(
            Shape(
                "ContainerHostBatchBindMountEntry",
                optional={
                    "source": Choice("Shared", "Startup", "VfsMounts", "Task", "JobPrep", "Applications"),
                    "isReadOnly": BOOLEAN,
                },
            )
        ),
    },
)

USER = Shape(
    "UserIdentity",
    optional={
        "username": NAME,
        "autoUser": Shape(
            "AutoUserSpecification",
            optional={"scope": Choice("task", "pool"), "elevationLevel": Choice("nonadmin", "admin")},
            defaults={"scope": "pool", "elevationLevel": "nonadmin"},
        ),
    },
    relations=(exactly_one("autoUser", "username"),),
)
AUTO_USER = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}

JOB_CONSTRAINTS = Shape("JobConstraints", optional={"maxWallClockTime": DURATION, "maxTaskRetryCount": RETRIES})
TASK_CONSTRAINTS = Shape(
    "TaskConstraints",
    optional={"maxWallClockTime": DURATION, "retentionTime": DURATION, "maxTaskRetryCount": RETRIES},
)
TOKEN_SETTINGS = Shape("AuthenticationTokenSettings", optional={"access": ListOf(Choice("job"))})
