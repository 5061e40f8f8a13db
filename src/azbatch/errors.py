"""The errors a user meets: one sentence with what happened, to which thing, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence


class AzbatchError(Exception):
    """Base of all errors of azbatch; its text is shown to the user as it is."""


class ConfigurationError(AzbatchError):
    """All faults of a configuration at once."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ServiceError(AzbatchError):
    """The Batch or Blob service refused a request; `code` is the service's error code."""

    def __init__(self, message: str, *, code: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
