"""A plan in words and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azbatch.workspace import cost
from azbatch.workspace.model import Change, Finding, Plan, Verb

MARK = {Verb.CREATE: "+", Verb.UPDATE: "~", Verb.KEEP: " ", Verb.REMOVE: "-"}


def lines(plan: Plan, *, kept: bool = False) -> Iterator[str]:
    """A sentence per change; what differs and what others added below it."""
    for change in plan.changes:
        if change.verb is Verb.KEEP and not kept and not change.foreign:
            continue
        yield f"  {MARK[change.verb]} {change.wanted.sentence}  [{change.wanted.id.rsplit('/', 1)[1]}]"
        for one in change.differences:
            yield f"      {one.path}: {_brief(one.found)} -> {_brief(one.wanted)}"
        for name in change.foreign:
            yield f"      not ours, left alone: {name}"


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        if "$reference" in value:
            return f"that of {value['$reference'].rsplit('/', 1)[1]}"
        return str(value.get("name") or value.get("id") or "...")
    return "nothing" if value is None else str(value)


def summary(plan: Plan) -> str:
    counts = {verb: sum(1 for one in plan.changes if one.verb is verb) for verb in Verb}
    told = [f"{counts[verb]} to {verb.value}" for verb in (Verb.CREATE, Verb.UPDATE, Verb.REMOVE) if counts[verb]]
    return ", ".join(told) or "nothing to change"


def rights(plan: Plan) -> Iterator[str]:
    """Who gets which rights on what."""
    for change in plan.changes:
        if "/roleAssignments/" in change.wanted.id and change.verb is Verb.CREATE:
            yield f"  {change.wanted.sentence}"


def reach(plan: Plan) -> Iterator[str]:
    """What nodes reach before and after."""
    made = {one.wanted.code for one in plan.changes if one.verb is Verb.CREATE}
    yield "  before: there are no nodes" if "vn" in made else "  before: as after"
    yield "  after:  Batch's node management and the workspace's storage, by private ways; nothing else, in or out"


def costs(plan: Plan) -> Iterator[str]:
    """What it costs by standing there."""
    total = 0.0
    for what, number, dollars in cost.per_month(plan):
        total += dollars
        yield f"  {number} x {what}: about {dollars:.2f} USD a month"
    yield f"  together about {total:.2f} USD a month (list prices of {cost.AS_OF}); nodes cost while they run"


def findings(found: Sequence[Finding]) -> Iterator[str]:
    for one in found:
        yield f"  {'!' if one.fatal else '?'} {one.sentence} {one.remedy}"


def as_json(plan: Plan, found: Sequence[Finding] = ()) -> dict[str, Any]:
    return {
        "empty": plan.empty,
        "changes": [_change(one) for one in plan.changes],
        "findings": [
            {
                "code": one.code,
                "subject": one.subject,
                "sentence": one.sentence,
                "remedy": one.remedy,
                "fatal": one.fatal,
            }
            for one in found
        ],
        "cost_per_month_usd": round(sum(dollars for *_, dollars in cost.per_month(plan)), 2),
    }


def _change(one: Change) -> dict[str, Any]:
    return {
        "verb": one.verb.value,
        "id": one.wanted.id,
        "ownership": one.wanted.ownership.value,
        "sentence": one.wanted.sentence,
        "depends_on": list(one.wanted.depends_on),
        "differences": [{"path": each.path, "found": each.found, "wanted": each.wanted} for each in one.differences],
        "foreign": list(one.foreign),
    }
