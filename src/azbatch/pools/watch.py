"""What a pool's present state means: ready, waiting or failed, and why, in sentences. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
USABLE = frozenset({"idle", "running"})

# resize error code -> what it means and what to do
RESIZE_REMEDIES: Mapping[str, str] = {
    "AccountCoreQuotaReached": "the core quota is used up (it is often 0 on new accounts): ask Azure for more "
    "cores, choose a smaller size, or delete idle pools",
    "AccountLowPriorityCoreQuotaReached": "the spot core quota is used up: ask for more, or use dedicated nodes",
    "AccountVMSeriesCoreQuotaReached": "the quota of this VM family is used up: ask for more, or choose another family",
    "AllocationFailed": "Azure has no capacity for this size now: try later, another size or another region",
    "AllocationTimedOut": "Azure did not give the nodes in time: try later, another size or another region",
    "ResizeStopped": "the resize was stopped: resize again",
    "InvalidSubnet": "the subnet must be in the account's region and subscription and have free addresses",
}
# Errors with which nodes may still come.
_PASSING = frozenset({"ResizeStopped"})


class Verdict(StrEnum):
    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Assessment:
    """`lines` say what is the matter; the first is a summary. Zero usable nodes are never ready."""

    verdict: Verdict
    lines: tuple[str, ...]
    usable: int = 0


def assess(pool: Json, nodes: Sequence[Json]) -> Assessment:
    """Judge a pool (as Pools - Get answers) with its nodes (as Nodes - List answers)."""
    states = Counter(str(node.get("state")) for node in nodes)
    usable = sum(states[state] for state in USABLE)
    name = pool.get("id")
    if pool.get("state") == "deleting":
        return Assessment(Verdict.FAILED, (f"Pool '{name}' is being deleted.",), usable)
    problems = [*_resize_problems(pool), *_scale_problems(pool), *_node_problems(nodes)]
    summary = f"Pool '{name}': {_counted(states) or 'no nodes yet'}."
    if usable:
        return Assessment(Verdict.READY, (summary, *problems), usable)
    hopeless = _resize_failed(pool) and not nodes
    broken = bool(nodes) and all(node.get("state") in {"unusable", "starttaskfailed"} for node in nodes)
    verdict = Verdict.FAILED if hopeless or broken else Verdict.WAITING
    return Assessment(verdict, (summary, *problems), usable)


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items()))


def _resize_failed(pool: Json) -> bool:
    errors = pool.get("resizeErrors") or []
    return pool.get("allocationState") == "steady" and any(error.get("code") not in _PASSING for error in errors)


def _resize_problems(pool: Json) -> list[str]:
    found = []
    for error in pool.get("resizeErrors") or ():
        code = str(error.get("code"))
        found.append(f"Resize error {code}: {RESIZE_REMEDIES.get(code, str(error.get('message')))}.")
    return found


def _scale_problems(pool: Json) -> list[str]:
    error = (pool.get("autoScaleRun") or {}).get("error")
    if not error:
        return []
    details = "; ".join(str(item.get("value")) for item in error.get("values") or ())
    return [f"The autoscale formula failed ({error.get('code')}): {details or error.get('message')}."]


def _node_problems(nodes: Sequence[Json]) -> list[str]:
    found = []
    for node in nodes:
        name = str(node.get("id"))
        if node.get("state") == "starttaskfailed":
            info = node.get("startTaskInfo") or {}
            found.append(
                f"Node {name}: the start task failed with exit code {info.get('exitCode')}; see its startup/stderr.txt."
            )
        elif node.get("state") == "unusable":
            errors = "; ".join(f"{e.get('code')}: {e.get('message')}" for e in node.get("errors") or ())
            found.append(f"Node {name} is unusable: {errors or 'the service gives no reason'}.")
    return found
