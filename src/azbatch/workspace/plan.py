"""The plan: wanted against found, and its reverse for removal. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from azbatch.workspace.compare import differences, foreign, resolved
from azbatch.workspace.design import TAG
from azbatch.workspace.model import Body, Change, Facts, Finding, Ownership, Plan, Verb, Wanted

_REMEDIES = {
    "zb": "Say --central-dns and make the storage's record in that zone, or leave --storage-private-endpoint out.",
}


def plan(facts: Facts, wanted: Sequence[Wanted], former: Sequence[Wanted] = ()) -> Plan:
    """What to create, change and keep, in an order that works; then what to take away of what is `former`."""
    ours = {one.id.lower() for one in (*wanted, *former)}
    made = tuple(_change(facts, one, ours) for one in ordered(wanted))
    return Plan(changes=(*made, *removal(facts, former).changes))


def former(facts: Facts, wanted: Sequence[Wanted], every: Iterable[Wanted]) -> list[Wanted]:
    """Of `every` thing an enable may have made: what the ledger tells of, or is found to be ours, and the design has no
    more.
    """
    kept = {(one.code, one.id.lower()) for one in wanted}
    return [
        one
        for one in every
        if (one.code, one.id.lower()) not in kept
        and (one.code in facts.ledger or (facts.found.get(one.id.lower()) is not None and is_ours(facts, one)))
    ]


def _change(facts: Facts, one: Wanted, ours: Collection[str]) -> Change:
    found = facts.found.get(one.id.lower())
    if found is None:
        return Change(verb=Verb.CREATE, wanted=one)
    body = resolved(one.body, facts.found, keep=True)
    differs = tuple(differences(body, found))
    others = tuple(foreign(body, found, ours)) if one.ownership is Ownership.OWNED else ()
    return Change(verb=Verb.UPDATE if differs else Verb.KEEP, wanted=one, differences=differs, foreign=others)


def ordered(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Each after all that it depends on."""
    left, done, order = list(wanted), set[str](), list[Wanted]()
    ids = {one.id.lower() for one in wanted}
    while left:
        ready = [one for one in left if all(id.lower() in done or id.lower() not in ids for id in one.depends_on)]
        assert ready, "the design has a circle"
        order += ready
        done |= {one.id.lower() for one in ready}
        left = [one for one in left if one not in ready]
    return order


def is_ours(facts: Facts, one: Wanted) -> bool:
    """By the ledger, by our tag on the resource itself, or because nobody else can have made it."""
    found = facts.found.get(one.id.lower()) or {}
    return one.code in facts.ledger or TAG in (found.get("tags") or {}) or _only_ours(facts, one, found)


def _only_ours(facts: Facts, one: Wanted, found: Body) -> bool:
    """An assignment under a GUID that only we compute; what is nested in a resource with our tag; our policy's
    assignment, and parts that name a resource of ours, where they are as we write them.
    """
    above = facts.found.get("/".join(one.id.lower().split("/")[:-2])) or {}
    if "/roleAssignments/" in one.id or TAG in (above.get("tags") or {}):
        return True
    return one.code in {"pa", "sr", "wo"} and not list(differences(resolved(one.body, facts.found), found))


def strangers(facts: Facts, wanted: Iterable[Wanted]) -> list[Finding]:
    """Resources that stand where ours should be and are not ours."""
    return [
        Finding(
            code="NotOurs",
            subject=one.id,
            sentence=f"{one.id.rsplit('/', 1)[-1]} exists already and was not made by azbatch.",
            remedy=_REMEDIES.get(one.code, "Rename or remove it, then run the command again."),
        )
        for one in wanted
        if one.ownership is Ownership.OWNED and facts.found.get(one.id.lower()) is not None and not is_ours(facts, one)
    ]


def removal(facts: Facts, wanted: Sequence[Wanted]) -> Plan:
    """What to take away, what depends on something before it. Only what the ledger or our tags say is ours.

    A shared definition goes with its last user; of a part only the part.
    """
    changes = []
    for one in reversed(ordered(wanted)):
        found = facts.found.get(one.id.lower())
        if found is None:
            continue
        if one.ownership is Ownership.SHARED:
            if facts.shared_users.get(one.id.lower(), 0) == 0:
                changes.append(Change(verb=Verb.REMOVE, wanted=one))
        elif one.ownership is Ownership.PART:
            if is_ours(facts, one) and not list(differences(resolved(one.body, facts.found), found)):
                changes.append(Change(verb=Verb.REMOVE, wanted=one))
        elif is_ours(facts, one):
            changes.append(Change(verb=Verb.REMOVE, wanted=one))
    return Plan(changes=tuple(changes))
