"""Azurite, Microsoft's emulator of Blob storage: installed once, run as a child process."""

from azbatch_emulator.azurite.supervisor import AzuriteProcess

__all__ = ["AzuriteProcess"]
