"""Carrying a plan out: parallel along its graph, resumable, one fault after another told, nothing half told."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from azbatch.errors import AzbatchError
from azbatch.workspace import ledger, parts
from azbatch.workspace.compare import cleaned, differences, merged, resolved
from azbatch.workspace.gather import RESOURCES_API
from azbatch.workspace.model import Body, Change, Facts, Ownership, Plan, Verb
from azbatch.workspace.names import Names
from azbatch.workspace.ports import Arm

THREADS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One change began, ended, or failed with `fault`."""

    change: Change
    state: str  # "begin", "done", "failed"
    fault: str = ""


Tell = Callable[[Progress], None]


def ready(plan: Plan, done: set[str], begun: set[str]) -> list[Change]:
    """The changes whose turn it is: not begun, and all that they wait for done. Pure.

    A create or update waits for what it depends on; a removal for what depends on it, and for all that is made: what is
    not wanted any more goes when its successor is there.
    """
    ids = {change.wanted.id.lower() for change in plan.changes}
    found = []
    for change in plan.changes:
        id = change.wanted.id.lower()
        if id in begun or id in done:
            continue
        if change.verb is Verb.REMOVE:
            waits = {
                other.wanted.id.lower()
                for other in plan.changes
                if other.verb in {Verb.CREATE, Verb.UPDATE} or id in {one.lower() for one in other.wanted.depends_on}
            }
        else:
            waits = {one.lower() for one in change.wanted.depends_on} & ids
        if waits <= done:
            found.append(change)
    return found


def write_ledger(arm: Arm, names: Names, memory: Mapping[str, str]) -> None:
    """The resource group's tags of the ledger: set, or taken away where there is nothing left to remember.

    A group's tags are replaced whole, so its others are read right before: they may have changed since the plan.
    """
    held = (arm.get(names.group, RESOURCES_API) or {}).get("tags") or {}
    tags = {name: value for name, value in held.items() if name not in {ledger.CODES_TAG, ledger.REGISTRIES_TAG}}
    tags |= memory
    if tags != held:
        arm.patch(names.group, RESOURCES_API, {"tags": tags})


def carry_out(arm: Arm, plan: Plan, facts: Facts, tell: Tell) -> None:
    """Do all changes, in parallel where the graph allows.

    After the first fault nothing new begins; what runs is let end. Raises AzbatchError with all faults.
    """
    held: dict[str, Body | None] = dict(facts.found)
    lock = threading.Lock()
    news: queue.Queue[tuple[Change, Body | None, Exception | None]] = queue.Queue()

    def work(change: Change) -> None:
        try:
            with lock:
                known = dict(held)
            news.put((change, _do(arm, change, known), None))
        except Exception as error:  # noqa: BLE001 - told below, with all others
            news.put((change, None, error))

    done = {one.wanted.id.lower() for one in plan.changes if one.verb is Verb.KEEP}
    begun: set[str] = set()
    faults: list[str] = []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="azbatch-apply") as threads:
        while True:
            for change in [] if faults else ready(plan, done, begun):
                begun.add(change.wanted.id.lower())
                tell(Progress(change=change, state="begin"))
                threads.submit(work, change)
            if not begun - done:
                break
            change, body, error = news.get()
            id = change.wanted.id.lower()
            if error is None:
                done.add(id)
                with lock:
                    held[id] = body
                tell(Progress(change=change, state="done"))
            else:
                begun.discard(id)
                text = str(error) if isinstance(error, AzbatchError) else f"{type(error).__name__}: {error}"
                faults.append(text)
                tell(Progress(change=change, state="failed", fault=text))
    if faults:
        raise AzbatchError("\n".join([*faults, "What was done stays; run the same command again to go on."]))


def _do(arm: Arm, change: Change, held: Mapping[str, Body | None]) -> Body | None:
    one = change.wanted
    if change.verb is Verb.REMOVE:
        if one.ownership is Ownership.PART:
            return parts.take_out(arm, one)
        arm.delete(one.id, one.api_version)
        return None
    body: Body = resolved(one.body, _with_references(arm, one.body, held))
    if one.ownership is Ownership.PART:
        return parts.put_in(arm, one, body)

    def mended(present: Body | None) -> Body | None:
        if present is None:
            return body
        if not list(differences(body, present)):
            return None
        if "/roleAssignments/" in one.id:
            # Azure changes none: whom it was for may be gone, and made anew with another principal.
            arm.delete(one.id, one.api_version)
            return body
        mending: Body = merged(body, cleaned(present))
        return mending

    return parts.replaced(arm, one, mended)


def _with_references(arm: Arm, body: Any, held: Mapping[str, Body | None]) -> Mapping[str, Body | None]:
    """What is held, with resources that the body refers to read afresh where they are not known."""
    if isinstance(body, Mapping) and "$reference" in body:
        id = str(body["$reference"])
        if resolved(body, held) is not None:
            return held
        version = "2024-07-01" if "/Microsoft.Compute/" in id else "2023-01-31"
        return {**held, id.lower(): arm.get(id, version)}
    for inner in body.values() if isinstance(body, Mapping) else body if isinstance(body, list | tuple) else ():
        held = _with_references(arm, inner, held)
    return held
