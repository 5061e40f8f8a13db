"""A plan in words and as JSON. Pure."""

from __future__ import annotations

import re
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
            path = re.sub(r"\[/[^\]]*/", "[", one.path)
            yield f"      {path}: {_brief(one.found)} -> {_brief(one.wanted)}"
        for name in change.foreign:
            yield f"      not ours, left alone: {name}"


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        if "$reference" in value:
            return f"that of {value['$reference'].rsplit('/', 1)[1]}"
        return _last(str(value.get("name") or value.get("id") or value.get("type") or "..."))
    return "nothing" if value is None else _last(str(value))


def _last(text: str) -> str:
    """The name at the end of a resource id; other texts as they are."""
    return text.rpartition("/")[2] if text.startswith("/subscriptions/") else text


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
    verbs = {one.wanted.code: one.verb for one in plan.changes}
    way, foreign = verbs.get("wo"), [name for one in plan.changes for name in one.foreign if "/default/" in name]
    closed, through = "nothing else, in or out", "what azbatch network opens on the internet, through the NAT gateway"
    if "vn" in verbs and verbs["vn"] is Verb.CREATE:
        yield "  before: there are no nodes"
    elif way in {Verb.CREATE, Verb.UPDATE}:
        yield f"  before: the same, but {closed}, whatever is opened"
    elif way is Verb.REMOVE:
        yield f"  before: the same, and {through}"
    else:
        yield "  before: as after"
    rest = f"besides {through}; nothing comes in" if way not in {None, Verb.REMOVE} else closed
    if foreign and way in {None, Verb.REMOVE}:
        rest = f"besides what others' ways let out ({', '.join(foreign)})"
    yield f"  after:  Batch's node management and the workspace's storage, by private ways; {rest}"


def costs(plan: Plan) -> Iterator[str]:
    """What it costs by standing there."""
    total = 0.0
    for what, number, dollars in cost.per_month(plan):
        total += dollars
        yield f"  {number} x {what}: about {dollars:.2f} USD a month"
    for what, dollars in cost.per_gigabyte(plan):
        yield f"  and about {dollars:.3f} USD per gigabyte {what}"
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
        "cost_per_gigabyte_usd": dict(cost.per_gigabyte(plan)),
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
