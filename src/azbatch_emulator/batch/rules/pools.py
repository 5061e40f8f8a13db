"""Bodies of pools. Source: REST 2025-06-01, Pools - Create Pool; docstrings of azure-batch 15.1 and 14.2."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from azbatch_emulator.batch.rules.common import (
    AUTO_USER,
    CERTIFICATES,
    COMMAND_OR_NONE,
    CONTAINER,
    DEALLOCATION,
    ENVIRONMENT,
    IDENTITY_REFERENCE,
    METADATA,
    PACKAGES,
    RESOURCE_FILES,
    RETRIES,
    RUNNABLE,
    USER,
)
from azbatch_emulator.batch.rules.kinds import (
    ANYTHING,
    BOOLEAN,
    DISPLAY_NAME,
    DURATION,
    ID,
    INTEGER,
    NAME,
    SECRET,
    TEXT,
    WORDS,
    Choice,
    Duration,
    Integer,
    Kind,
    ListOf,
    Shape,
    Text,
)
from azbatch_emulator.batch.rules.machines import MACHINE
from azbatch_emulator.batch.rules.networks import NETWORK
from azbatch_emulator.batch.rules.relations import (
    at_least_one,
    exactly_one,
    not_above,
    together,
)

MAX_NODES = 100_000
MAX_SLOTS = 256
MAX_REMOVED = 100  # nodes a removenodes may name
NODES = Integer(low=0, high=MAX_NODES)
RESIZE_TIMEOUT = Duration(low=timedelta(minutes=5), high=timedelta(hours=168))
AUTOSCALE_INTERVAL = Duration(low=timedelta(minutes=5), high=timedelta(hours=168))
MODE = Choice("default", "classic", "simplified")


START_TASK = Shape(
    "StartTask",
    required={"commandLine": COMMAND_OR_NONE},
    optional={
        "containerSettings": CONTAINER,
        "resourceFiles": RESOURCE_FILES,
        "environmentSettings": ENVIRONMENT,
        "userIdentity": USER,
        "maxTaskRetryCount": RETRIES,
        "waitForSuccess": BOOLEAN,
    },
    defaults={"userIdentity": AUTO_USER, "maxTaskRetryCount": 0, "waitForSuccess": True},
    relations=(RUNNABLE,),
)

ACCOUNTS = ListOf(
    Shape(
        "UserAccount",
        required={"name": Text(longest=20, shortest=1), "password": SECRET},
        optional={
            "elevationLevel": Choice("nonadmin", "admin"),
            "linuxUserConfiguration": Shape(
                "LinuxUserConfiguration",
                optional={"uid": INTEGER, "gid": INTEGER, "sshPrivateKey": SECRET},
                relations=(together("uid", "gid"),),
            ),
            "windowsUserConfiguration": Shape(
                "WindowsUserConfiguration", optional={"loginMode": Choice("batch", "interactive")}
            ),
        },
        defaults={"elevationLevel": "nonadmin"},
    ),
    distinct="name",
)
_MOUNTED = {"relativeMountPath": NAME}
_MOUNT_OPTIONS = {"mountOptions": TEXT}
MOUNTS = ListOf(
    Shape(
        "MountConfiguration",
        optional={
            "azureBlobFileSystemConfiguration": Shape(
                "AzureBlobFileSystemConfiguration",
                required={"accountName": NAME, "containerName": NAME, **_MOUNTED},
                optional={
                    "accountKey": SECRET,
                    "sasKey": SECRET,
                    "blobfuseOptions": TEXT,
                    "identityReference": IDENTITY_REFERENCE,
                },
                relations=(exactly_one("accountKey", "sasKey", "identityReference"),),
            ),
            "nfsMountConfiguration": Shape(
                "NFSMountConfiguration", required={"source": NAME, **_MOUNTED}, optional=_MOUNT_OPTIONS
            ),
            "cifsMountConfiguration": Shape(
                "CIFSMountConfiguration",
                required={"username": NAME, "source": NAME, "password": SECRET, **_MOUNTED},
                optional=_MOUNT_OPTIONS,
            ),
            "azureFileShareConfiguration": Shape(
                "AzureFileShareConfiguration",
                required={"accountName": NAME, "accountKey": SECRET, "azureFileUrl": NAME, **_MOUNTED},
                optional=_MOUNT_OPTIONS,
            ),
        },
        relations=(
            exactly_one(
                "azureBlobFileSystemConfiguration",
                "nfsMountConfiguration",
                "cifsMountConfiguration",
                "azureFileShareConfiguration",
            ),
        ),
    )
)
SCHEDULING = Shape(
    "TaskSchedulingPolicy",
    required={"nodeFillType": Choice("Spread", "Pack")},
    optional={"jobDefaultOrder": Choice("none", "creationtime")},
)
UPGRADE = Shape(
    "UpgradePolicy",
    required={"mode": Choice("automatic", "manual", "rolling")},
    optional={
        "automaticOSUpgradePolicy": Shape(
            "AutomaticOSUpgradePolicy",
            optional={
                "disableAutomaticRollback": BOOLEAN,
                "enableAutomaticOSUpgrade": BOOLEAN,
                "useRollingUpgradePolicy": BOOLEAN,
                "osRollingUpgradeDeferral": BOOLEAN,
            },
        ),
        "rollingUpgradePolicy": Shape(
            "RollingUpgradePolicy",
            optional={
                "enableCrossZoneUpgrade": BOOLEAN,
                "maxBatchInstancePercent": Integer(low=5, high=100),
                "maxUnhealthyInstancePercent": Integer(low=5, high=100),
                "maxUnhealthyUpgradedInstancePercent": Integer(low=0, high=100),
                "pauseTimeBetweenBatches": DURATION,
                "prioritizeUnhealthyInstances": BOOLEAN,
                "rollbackFailedInstancesOnPolicyBreach": BOOLEAN,
            },
            relations=(not_above("maxBatchInstancePercent", "maxUnhealthyInstancePercent"),),
        ),
    },
)

_SPECIFICATION: Mapping[str, Kind] = {
    "displayName": DISPLAY_NAME,
    "resizeTimeout": RESIZE_TIMEOUT,
    "targetDedicatedNodes": NODES,
    "targetLowPriorityNodes": NODES,
    "enableAutoScale": BOOLEAN,
    "autoScaleFormula": TEXT,
    "autoScaleEvaluationInterval": AUTOSCALE_INTERVAL,
    "enableInterNodeCommunication": BOOLEAN,
    "networkConfiguration": NETWORK,
    "startTask": START_TASK,
    "applicationPackageReferences": PACKAGES,
    "taskSlotsPerNode": Integer(low=1, high=MAX_SLOTS),
    "taskSchedulingPolicy": SCHEDULING,
    "userAccounts": ACCOUNTS,
    "metadata": METADATA,
    "mountConfiguration": MOUNTS,
    "upgradePolicy": UPGRADE,
}
_RETIRED: Mapping[str, Kind] = {
    "certificateReferences": CERTIFICATES,
    "targetNodeCommunicationMode": MODE,
    "cloudServiceConfiguration": ANYTHING,
    "applicationLicenses": ListOf(NAME),
    "resourceTags": WORDS,
}
_DEFAULTS: Mapping[str, Any] = {
    "taskSlotsPerNode": 1,
    "enableInterNodeCommunication": False,
    "enableAutoScale": False,
    "taskSchedulingPolicy": {"nodeFillType": "Spread"},
}
POOL = Shape(
    "Pool",
    required={"id": ID, "vmSize": NAME, "virtualMachineConfiguration": MACHINE},
    optional=_SPECIFICATION,
    retired=_RETIRED,
    defaults=_DEFAULTS,
)
POOL_SPECIFICATION = Shape(
    "PoolSpecification",
    required={"vmSize": NAME, "virtualMachineConfiguration": MACHINE},
    optional=_SPECIFICATION,
    retired=_RETIRED,
    defaults=_DEFAULTS,
)
POOL_UPDATE = Shape(
    "PoolPatch",
    optional={
        "displayName": DISPLAY_NAME,
        "vmSize": NAME,
        "enableInterNodeCommunication": BOOLEAN,
        "startTask": START_TASK,
        "applicationPackageReferences": PACKAGES,
        "metadata": METADATA,
        "virtualMachineConfiguration": MACHINE,
        "taskSlotsPerNode": Integer(low=1, high=MAX_SLOTS),
        "taskSchedulingPolicy": SCHEDULING,
        "networkConfiguration": NETWORK,
        "userAccounts": ACCOUNTS,
        "mountConfiguration": MOUNTS,
        "upgradePolicy": UPGRADE,
    },
    retired=_RETIRED,
)
# Lists that the docs require are not asked for: no recorded answer says that the service insists.
POOL_PROPERTIES = Shape(
    "PoolUpdateProperties",
    optional={"startTask": START_TASK, "applicationPackageReferences": PACKAGES, "metadata": METADATA},
    retired={"certificateReferences": CERTIFICATES, "targetNodeCommunicationMode": MODE},
)
RESIZE = Shape(
    "PoolResize",
    optional={
        "targetDedicatedNodes": NODES,
        "targetLowPriorityNodes": NODES,
        "resizeTimeout": RESIZE_TIMEOUT,
        "nodeDeallocationOption": DEALLOCATION,
    },
    relations=(at_least_one("targetDedicatedNodes", "targetLowPriorityNodes"),),
)
REMOVE_NODES = Shape(
    "NodeRemove",
    required={"nodeList": ListOf(NAME, most=MAX_REMOVED, least=1)},
    optional={"resizeTimeout": RESIZE_TIMEOUT, "nodeDeallocationOption": DEALLOCATION},
)
ENABLE_AUTOSCALE = Shape(
    "AutoScale", optional={"autoScaleFormula": TEXT, "autoScaleEvaluationInterval": AUTOSCALE_INTERVAL}
)
EVALUATE_AUTOSCALE = Shape("AutoScaleEvaluation", required={"autoScaleFormula": TEXT})
