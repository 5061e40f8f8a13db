"""What the helper's methods return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """A pool now: `verdict` is ready, waiting or failed; `nodes` maps node ids to states; `lines` say why.

    A pool without usable nodes is never ready.
    """

    pool_state: str
    allocation_state: str
    verdict: str
    nodes: dict[str, str]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRule:
    """An opening of the nodes' network. `expires` None is until it is deleted."""

    name: str
    target: str
    destinations: tuple[str, ...]
    port: str
    protocol: str
    owner: str
    description: str
    expires: datetime | None
