"""Azurite, the emulator of Blob storage, run as a child process."""
