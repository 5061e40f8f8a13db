"""How many cores a VM size has, read from its name: `Standard_D4ds_v5` has 4. Good enough for slots and quotas."""

from __future__ import annotations

import re

_NAME = re.compile(r"^(?:standard|basic)_[a-z]+(\d+)", re.IGNORECASE)


def cores_of(vm_size: str) -> int:
    """vCPUs of a size; 1 where the name tells none (never 0)."""
    found = _NAME.match(vm_size)
    return max(1, int(found.group(1))) if found else 1
