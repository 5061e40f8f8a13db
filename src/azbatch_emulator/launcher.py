"""Starts and stops the emulator: in this process, or as a daemon."""
