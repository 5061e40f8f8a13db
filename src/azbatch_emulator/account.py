"""The emulated Batch account: its name, its key, its tenant."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Account:
    """`key` is base64 text and never shown."""

    name: str
    key: str = field(repr=False)
    tenant: str = "00000000-0000-4000-8000-000000000000"
    subscription: str = "00000000-0000-4000-8000-000000000001"
    resource_group: str = "emulator"
    location: str = "emulated"
    storage: str = ""  # name of its auto-storage account; "" for none
