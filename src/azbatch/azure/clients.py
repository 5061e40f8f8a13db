"""Azure's own clients, signed in, for users who want more than azbatch offers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from azbatch.azure import credentials
from azbatch.errors import AzbatchError

if TYPE_CHECKING:
    # Named so that others can have the types without importing the SDKs.
    from azure.batch import BatchClient as BatchClient
    from azure.core.credentials import TokenCredential as TokenCredential
    from azure.storage.blob import BlobClient as BlobClient
    from azure.storage.blob import BlobServiceClient as BlobServiceClient
    from azure.storage.blob import ContainerClient as ContainerClient


def batch(url: str) -> BatchClient:
    """azure-batch's client of an account, with this machine's identity."""
    from azure.batch import BatchClient

    return BatchClient(url, credentials.entra())


def blobs(url: str) -> BlobServiceClient:
    """azure-storage-blob's client of an account, with this machine's identity."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient(url, credential=credentials.entra())


def machine() -> TokenCredential:
    """The machine's identity."""
    return credentials.entra()


def person(said: Callable[[str], None]) -> TokenCredential:
    """The person who works here, signed in by device code on first need."""
    from azbatch.azure.device_code import DeviceCode

    return DeviceCode(said=said)


def resource_manager(credential: TokenCredential) -> Any:
    """`azbatch.azure.arm`'s client. Raises AzbatchError where this installation has none."""
    try:
        arm = importlib.import_module("azbatch.azure.arm")
    except ModuleNotFoundError:
        raise AzbatchError("This installation of azbatch cannot ask Azure Resource Manager: install it anew.") from None
    return arm.ArmClient(credential=credential)
