"""What an enable remembers in tags of the resource group, written before anything is made and taken away last. Pure.

Codes of what cannot carry a tag of its own, and the registries on which the nodes have a role: those may be in another
subscription, where nobody would look for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from azbatch.errors import ConfigurationError
from azbatch.workspace.model import Body, Change, Facts, Ownership, Plan, Verb, Wanted

CODES_TAG, REGISTRIES_TAG = "azbatch-ledger", "azbatch-registries"
MOST = 256  # characters of a tag's value
_REGISTRY = "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ContainerRegistry/registries/{}"


def read_codes(group: Body) -> tuple[str, ...]:
    """The codes in the resource group's ledger tag."""
    text = str((group.get("tags") or {}).get(CODES_TAG, ""))
    return tuple(code for code in text.split(",") if code)


def read_registries(group: Body) -> tuple[str, ...]:
    """Ids of the registries; the one chosen last comes last."""
    text = str((group.get("tags") or {}).get(REGISTRIES_TAG, ""))
    parts = [one.split("/") for one in text.split(",") if one]
    return tuple(_REGISTRY.format(*three) for three in parts if len(three) == 3)


def before(facts: Facts, plan: Plan) -> dict[str, str]:
    """The tags while the plan is carried out: all that was remembered, and all that will be made."""
    made = [one.wanted for one in plan.changes if one.verb is not Verb.REMOVE]
    known = [str(one["id"]) for one in facts.pulls_from]
    chosen = [id for id in _registries(made) if id.lower() not in {one.lower() for one in known[-1:]}]
    kept = [id for id in known if id.lower() not in {one.lower() for one in chosen}]
    return _tags(to_be_written(facts, plan), [*kept, *chosen])


def after(facts: Facts, wanted: Sequence[Wanted]) -> dict[str, str]:
    """The tags when nothing is left to do: without what is neither wanted nor there any more."""
    return _tags(tidied(facts, wanted), _registries(wanted))


def to_be_written(facts: Facts, made: Plan) -> tuple[str, ...]:
    """The codes the ledger must hold before the plan is carried out: all it held, and all that will be made.

    What our tags say is ours comes in too, so that a ledger that somebody wiped is whole again.
    """
    return tuple(sorted({*facts.ledger, *(one.wanted.code for one in made.changes if _is_new(one))}))


def _is_new(change: Change) -> bool:
    if change.wanted.ownership is Ownership.OWNED:
        return change.verb is not Verb.REMOVE
    return change.verb is Verb.CREATE or (change.verb is Verb.UPDATE and change.wanted.ownership is Ownership.PART)


def tidied(facts: Facts, wanted: Iterable[Wanted]) -> tuple[str, ...]:
    """The ledger's codes that are still wanted; for when nothing is left to do."""
    codes = {one.code for one in wanted}
    return tuple(sorted(code for code in facts.ledger if code in codes))


def _registries(wanted: Iterable[Wanted]) -> list[str]:
    return [one.id.partition("/providers/Microsoft.Authorization/")[0] for one in wanted if one.code == "a7"]


def _tags(codes: Sequence[str], registries: Sequence[str]) -> dict[str, str]:
    short = ",".join("/".join(id.split("/")[2::2][:2] + id.split("/")[-1:]) for id in registries)
    if len(short) > MOST:
        raise ConfigurationError(
            ["The ids of both image registries are too long to be remembered: say --image-registry none first."]
        )
    found: Mapping[str, str] = {CODES_TAG: ",".join(codes), REGISTRIES_TAG: short}
    return {name: value for name, value in found.items() if value}
