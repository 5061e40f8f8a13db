"""Bodies of pools. Source: REST 2025-06-01, Pools - Create Pool; docstrings of azure-batch 15.1 and 14.2."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
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
    REGISTRY,
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
    Context,
    Duration,
    Integer,
    Kind,
    ListOf,
    Shape,
    Text,
)
from azbatch_emulator.batch.rules.refusals import invalid, out_of_range
from azbatch_emulator.batch.rules.relations import (
    at_least_one,
    at_most_one,
    exactly_one,
    needs,
    not_above,
    together,
)

MAX_NODES = 100_000
MAX_SLOTS = 256
MAX_REMOVED = 100  # nodes a removenodes may name
MAX_NAT_POOLS = 5
MAX_NAT_RULES = 25  # over all endpoints of a pool
LEAST_FRONTEND_PORTS = 40
NODES = Integer(low=0, high=MAX_NODES)
RESIZE_TIMEOUT = Duration(low=timedelta(minutes=5), high=timedelta(hours=168))
AUTOSCALE_INTERVAL = Duration(low=timedelta(minutes=5), high=timedelta(hours=168))
CACHING = Choice("none", "readonly", "readwrite")
MODE = Choice("default", "classic", "simplified")


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address, a subnet, a service tag, or `*`."""

    def read(self, value: Any, path: str, context: Context) -> str:
        text = TEXT.read(value, path, context)
        if text == "*" or re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*", text):
            return text
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise invalid(path, text, "The value is an IP address, an IP subnet, a tag, or *") from None
        return text


@dataclass(frozen=True, slots=True)
class PortRanges:
    """`*`, ports and ranges of ports, none of which overlap."""

    def read(self, value: Any, path: str, context: Context) -> list[str]:
        texts: list[str] = ListOf(TEXT).read(value, path, context)
        spans: list[tuple[int, int]] = []
        for text in texts:
            found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
            first, last = (0, 65535) if text == "*" else (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
            if not first <= last <= 65535:
                raise invalid(path, text, "The value is *, a port, or a range of ports from 0 to 65535")
            if any(first <= end and start <= last for start, end in spans):
                raise invalid(path, text, "Port ranges may not overlap")
            spans.append((first, last))
        return texts


NAT_RULE = Shape(
    "NetworkSecurityGroupRule",
    required={
        "priority": Integer(low=150, high=4096),
        "access": Choice("allow", "deny"),
        "sourceAddressPrefix": Address(),
    },
    optional={"sourcePortRanges": PortRanges()},
    defaults={"sourcePortRanges": ["*"]},
)
_FRONTEND = Integer(low=1, high=65534, reserved=(range(50000, 55001),), reason="Ports from 50000 to 55000 are reserved")


def _ports(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    """One endpoint: reserved ports differ by version, and its range of ports is wide enough."""
    if context.version < "2025" and body["backendPort"] in {22, 3389}:
        raise invalid(f"{prefix}backendPort", body["backendPort"], "Ports 22, 3389, 29876 and 29877 are reserved")
    if body["frontendPortRangeEnd"] - body["frontendPortRangeStart"] + 1 < LEAST_FRONTEND_PORTS:
        reason = f"A range contains at least {LEAST_FRONTEND_PORTS} ports"
        raise invalid(f"{prefix}frontendPortRangeEnd", body["frontendPortRangeEnd"], reason)


NAT_POOL = Shape(
    "InboundNATPool",
    required={
        "name": Text(
            longest=77,
            pattern=re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"),
            reason="A name starts with a letter or digit, ends with one or _, and contains these, periods and hyphens",
        ),
        "protocol": Choice("tcp", "udp"),
        "backendPort": Integer(
            low=1, high=65535, reserved=(range(29876, 29878),), reason="Ports 29876 and 29877 are reserved"
        ),
        "frontendPortRangeStart": _FRONTEND,
        "frontendPortRangeEnd": _FRONTEND,
    },
    optional={"networkSecurityGroupRules": ListOf(NAT_RULE)},
    relations=(_ports,),
)


def _endpoints(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    """All endpoints of a pool: no range overlaps another, no priority is there twice, no more rules than allowed."""
    spans: list[tuple[int, int]] = []
    priorities: set[int] = set()
    count = 0
    for number, one in enumerate(body["inboundNATPools"]):
        place = f"{prefix}inboundNATPools[{number}]"
        start, end = one["frontendPortRangeStart"], one["frontendPortRangeEnd"]
        if any(start <= last and first <= end for first, last in spans):
            raise invalid(f"{place}.frontendPortRangeStart", start, "Ranges of a pool may not overlap")
        if start <= 50000 and end >= 55000:
            raise invalid(f"{place}.frontendPortRangeStart", start, "Ports from 50000 to 55000 are reserved")
        spans.append((start, end))
        for rule in one.get("networkSecurityGroupRules") or ():
            count += 1
            if rule["priority"] in priorities:
                raise invalid(f"{place}.priority", rule["priority"], "Priorities within a pool must be unique")
            priorities.add(rule["priority"])
    if count > MAX_NAT_RULES:
        raise out_of_range(f"{prefix}networkSecurityGroupRules", count, 0, MAX_NAT_RULES)


def _distinct_backends(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    ports = [one["backendPort"] for one in body["inboundNATPools"]]
    for number, port in enumerate(ports):
        if port in ports[:number]:
            place = f"{prefix}inboundNATPools[{number}].backendPort"
            raise invalid(place, port, "The backend port must be unique within a pool")


def _no_endpoints_without_addresses(body: Mapping[str, Any], prefix: str, context: Context) -> None:
    addresses = body.get("publicIPAddressConfiguration") or {}
    if addresses.get("provision") == "nopublicipaddresses" and "endpointConfiguration" in body:
        reason = "It cannot be specified where the pool has no public IP addresses"
        raise invalid(f"{prefix}endpointConfiguration", None, reason)
    if "ipAddressIds" in addresses and addresses.get("provision") != "usermanaged":
        reason = "It can be specified only where the pool's addresses are usermanaged"
        raise invalid(f"{prefix}publicIPAddressConfiguration.ipAddressIds", None, reason)


ENDPOINTS = Shape(
    "PoolEndpointConfiguration",
    required={"inboundNATPools": ListOf(NAT_POOL, most=MAX_NAT_POOLS, distinct="name")},
    relations=(_distinct_backends, _endpoints),
)
NETWORK = Shape(
    "NetworkConfiguration",
    optional={
        "subnetId": TEXT,
        "dynamicVNetAssignmentScope": Choice("none", "job"),
        "endpointConfiguration": ENDPOINTS,
        "publicIPAddressConfiguration": Shape(
            "PublicIPAddressConfiguration",
            optional={
                "provision": Choice("batchmanaged", "usermanaged", "nopublicipaddresses"),
                "ipFamilies": ListOf(Choice("IPv4", "IPv6"), most=2),
                "ipAddressIds": ListOf(NAME),
                "ipTags": ListOf(Shape("IPTag", optional={"ipTagType": TEXT, "tag": TEXT})),
            },
        ),
        "enableAcceleratedNetworking": BOOLEAN,
    },
    relations=(_no_endpoints_without_addresses,),
)

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

_MANAGED_DISK = Shape(
    "ManagedDisk",
    optional={
        "diskEncryptionSet": Shape("DiskEncryptionSetParameters", optional={"id": TEXT}),
        "storageAccountType": Choice("standard_lrs", "premium_lrs", "standardssd_lrs"),
        "securityProfile": Shape(
            "VMDiskSecurityProfile",
            optional={"securityEncryptionType": Choice("DiskWithVMGuestState", "NonPersistedTPM", "VMGuestStateOnly")},
        ),
    },
)
_HOST_ENDPOINT = Shape(
    "HostEndpointSettings",
    optional={"inVMAccessControlProfileReferenceId": TEXT, "mode": Choice("Audit", "Enforce")},
)
IMAGE = Shape(
    "ImageReference",
    optional={
        "publisher": NAME,
        "offer": NAME,
        "sku": NAME,
        "version": TEXT,
        "virtualMachineImageId": NAME,
        "exactVersion": TEXT,
        "sharedGalleryImageId": NAME,
        "communityGalleryImageId": NAME,
    },
    relations=(
        at_most_one("publisher", "virtualMachineImageId", "sharedGalleryImageId", "communityGalleryImageId"),
        at_least_one("publisher", "virtualMachineImageId", "sharedGalleryImageId", "communityGalleryImageId"),
        together("publisher", "offer", "sku"),
    ),
)
MACHINE = Shape(
    "VirtualMachineConfiguration",
    required={"imageReference": IMAGE, "nodeAgentSKUId": NAME},
    optional={
        "windowsConfiguration": Shape("WindowsConfiguration", optional={"enableAutomaticUpdates": BOOLEAN}),
        "dataDisks": ListOf(
            Shape(
                "DataDisk",
                required={"lun": Integer(low=0, high=63), "diskSizeGB": Integer(low=1)},
                optional={"caching": CACHING, "managedDisk": _MANAGED_DISK},
                retired={"storageAccountType": Choice("standard_lrs", "premium_lrs", "standardssd_lrs")},
            ),
            distinct="lun",
        ),
        "licenseType": Choice("Windows_Server", "Windows_Client"),
        "containerConfiguration": Shape(
            "ContainerConfiguration",
            required={"type": Choice("dockerCompatible", "criCompatible")},
            optional={"containerImageNames": ListOf(NAME), "containerRegistries": ListOf(REGISTRY)},
        ),
        "diskEncryptionConfiguration": Shape(
            "DiskEncryptionConfiguration",
            optional={
                "customerManagedKey": Shape(
                    "DiskCustomerManagedKey",
                    optional={
                        "identityReference": IDENTITY_REFERENCE,
                        "keyUrl": TEXT,
                        "rotationToLatestKeyVersionEnabled": BOOLEAN,
                    },
                ),
                "targets": ListOf(Choice("osdisk", "temporarydisk")),
            },
        ),
        "nodePlacementConfiguration": Shape(
            "NodePlacementConfiguration", optional={"policy": Choice("regional", "zonal")}
        ),
        "extensions": ListOf(
            Shape(
                "VMExtension",
                required={"name": NAME, "publisher": NAME, "type": NAME},
                optional={
                    "typeHandlerVersion": TEXT,
                    "autoUpgradeMinorVersion": BOOLEAN,
                    "enableAutomaticUpgrade": BOOLEAN,
                    "settings": ANYTHING,
                    "protectedSettings": ANYTHING,
                    "provisionAfterExtensions": ListOf(NAME),
                },
            ),
            distinct="name",
        ),
        "osDisk": Shape(
            "OSDisk",
            optional={
                "ephemeralOSDiskSettings": Shape("DiffDiskSettings", optional={"placement": Choice("cachedisk")}),
                "caching": CACHING,
                "diskSizeGB": Integer(low=1),
                "managedDisk": _MANAGED_DISK,
                "writeAcceleratorEnabled": BOOLEAN,
            },
        ),
        "securityProfile": Shape(
            "SecurityProfile",
            optional={
                "encryptionAtHost": BOOLEAN,
                "proxyAgentSettings": Shape(
                    "ProxyAgentSettings",
                    optional={"enabled": BOOLEAN, "imds": _HOST_ENDPOINT, "wireServer": _HOST_ENDPOINT},
                ),
                "securityType": Choice("trustedLaunch", "confidentialvm"),
                "uefiSettings": Shape("UefiSettings", optional={"secureBootEnabled": BOOLEAN, "vTpmEnabled": BOOLEAN}),
            },
            # The security type must be set to enable the UEFI settings.
            relations=(needs("uefiSettings", "securityType"),),
        ),
        "serviceArtifactReference": Shape("ServiceArtifactReference", required={"id": NAME}),
    },
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
