"""Azure Batch on loopback: data plane, identity and Blob storage, for trying and testing without Azure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azbatch_emulator.launcher import Emulator, EmulatorError

__all__ = ["Emulator", "EmulatorError"]


def __getattr__(name: str) -> Any:
    """Imported when first used: the pytest plugin costs nothing to those who do not use it."""
    if name in __all__:
        from azbatch_emulator import launcher

        return getattr(launcher, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
