"""The images that pools may use, as data. Source: REST, Accounts - List Supported Images (an excerpt of its answer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# (publisher, offer, sku, node agent, osType, verification, batchSupportEndOfLife, capabilities)
_IMAGES: Sequence[tuple[str, str, str, str, str, str, str | None, tuple[str, ...]]] = (
    (
        "microsoft-dsvm",
        "ubuntu-hpc",
        "2404",
        "batch.node.ubuntu 24.04",
        "linux",
        "verified",
        None,
        ("DockerCompatible", "NvidiaTeslaDriverInstalled", "NvidiaGridDriverInstalled"),
    ),
    (
        "microsoft-dsvm",
        "ubuntu-hpc",
        "2204",
        "batch.node.ubuntu 22.04",
        "linux",
        "verified",
        "2027-06-30T00:00:00Z",
        ("DockerCompatible", "NvidiaTeslaDriverInstalled", "NvidiaGridDriverInstalled"),
    ),
    ("canonical", "ubuntu-24_04-lts", "server", "batch.node.ubuntu 24.04", "linux", "verified", None, ()),
    (
        "canonical",
        "0001-com-ubuntu-server-jammy",
        "22_04-lts",
        "batch.node.ubuntu 22.04",
        "linux",
        "verified",
        "2027-06-30T00:00:00Z",
        (),
    ),
    ("debian", "debian-12", "12", "batch.node.debian 12", "linux", "unverified", None, ()),
    ("almalinux", "almalinux-x86_64", "9-gen2", "batch.node.el 9", "linux", "verified", None, ()),
    (
        "microsoftwindowsserver",
        "windowsserver",
        "2022-datacenter",
        "batch.node.windows amd64",
        "windows",
        "verified",
        None,
        (),
    ),
)


def supported_images() -> list[dict[str, Any]]:
    """The images in wire form."""
    found = []
    for publisher, offer, sku, agent, system, verification, end, capabilities in _IMAGES:
        image: dict[str, Any] = {
            "nodeAgentSKUId": agent,
            "imageReference": {"publisher": publisher, "offer": offer, "sku": sku, "version": "latest"},
            "osType": system,
            "capabilities": list(capabilities),
            "verificationType": verification,
        }
        if end is not None:
            image["batchSupportEndOfLife"] = end
        found.append(image)
    return found


def is_supported(reference: Mapping[str, Any], agent: str) -> bool:
    """Whether a marketplace image goes with a node agent; an image of the user's own (by id) goes with any agent."""
    if any(
        reference.get(name) for name in ("virtualMachineImageId", "sharedGalleryImageId", "communityGalleryImageId")
    ):
        return any(agent == row[3] for row in _IMAGES)
    wanted = tuple(str(reference.get(name, "")).lower() for name in ("publisher", "offer", "sku"))
    return any(wanted == row[:3] and agent == row[3] for row in _IMAGES)
