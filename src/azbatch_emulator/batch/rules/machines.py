"""The machines of a pool: image, disks, containers, extensions, security. Source: as for pools."""

from __future__ import annotations

from azbatch_emulator.batch.rules.common import (
    IDENTITY_REFERENCE,
    REGISTRY,
)
from azbatch_emulator.batch.rules.kinds import (
    ANYTHING,
    BOOLEAN,
    NAME,
    TEXT,
    Choice,
    Integer,
    ListOf,
    Shape,
)
from azbatch_emulator.batch.rules.relations import (
    at_least_one,
    at_most_one,
    needs,
    together,
)

CACHING = Choice("none", "readonly", "readwrite")

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
