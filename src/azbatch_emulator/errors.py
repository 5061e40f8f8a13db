"""The emulator's own errors: one sentence with what happened, to which thing, and what to do next."""

from __future__ import annotations


class EmulatorError(Exception):
    """The emulator, or a part of it, cannot be started or reached; the text is for the user."""
