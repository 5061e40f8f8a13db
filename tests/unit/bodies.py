"""Bodies made from the rules of the emulator itself: whole ones, and ones with something wrong in them."""

from __future__ import annotations

import copy
import random
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from azbatch_emulator import durations
from azbatch_emulator.batch.rules import BODIES, kinds, machines, networks

WORDS = st.text(alphabet="abcXYZ019-_", min_size=1, max_size=12)
IMAGE = {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404"}
MACHINE = {"imageReference": IMAGE, "nodeAgentSKUId": "batch.node.ubuntu 24.04"}
NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
JSON = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8) | WORDS, inner, max_size=3)
    ),
    max_leaves=8,
)


def made(kind: kinds.Kind, chance: random.Random) -> Any:
    """A value that the kind takes; relations between properties may still refuse it."""
    match kind:
        case kinds.Text(longest=longest):
            return "".join(chance.choices("abcXYZ019-_", k=chance.randint(1, 12)))[:longest]
        case kinds.Integer(low=low, high=high):
            edges = [low, high, chance.randint(low, high), min(max(low, 1), high)]
            return chance.choice([n for n in edges if not any(n in span for span in kind.reserved)])
        case kinds.Boolean():
            return chance.random() < 0.5
        case kinds.Duration(low=low, high=high):
            if high is None and chance.random() < 0.2:
                return durations.UNLIMITED
            return durations.text(low + (((high or timedelta(days=400)) - low) * chance.choice([0, 0.5, 1])))
        case kinds.Time():
            return chance.choice(["2026-11-26T12:00:00Z", "2027-01-01T00:00:00.25Z", "0001-01-01T00:00:00Z"])
        case kinds.Choice():
            return chance.choice(kind.words)
        case kinds.ListOf(item=item, most=most, least=least):
            return [made(item, chance) for _ in range(chance.randint(least, min(2, most or 2)))]
        case kinds.Shape():
            return _shape(kind, chance)
        case kinds.Words():
            return {"a": "b"} if chance.random() < 0.5 else {}
        case networks.Address():
            return chance.choice(["*", "10.0.0.1", "10.0.0.0/8", "VirtualNetwork"])
        case networks.PortRanges():
            return chance.choice([["*"], ["22", "80-90"]])
    return chance.choice(["x", 1, {"a": [1, {"b": True}]}, []])


def _shape(shape: kinds.Shape, chance: random.Random) -> dict[str, Any]:
    if shape is machines.MACHINE:
        return dict(MACHINE)
    some = chance.sample(sorted(shape.optional), k=min(len(shape.optional), chance.randint(0, 3)))
    chosen = {**shape.required, **{name: shape.optional[name] for name in some}}
    return {name: made(kind, chance) for name, kind in chosen.items()}


def valid(kind: kinds.Kind) -> st.SearchStrategy[Any]:
    """Values that the kind takes."""
    return st.integers(0, 2**32).map(lambda seed: made(kind, random.Random(seed)))


def spoiled(body: Any, seed: int, bad: Any) -> Any:
    """The body with one place of it, at any depth, replaced by `bad`, removed, or joined by a stranger."""
    chance = random.Random(seed)
    body = copy.deepcopy(body)
    place = body
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key: Any = chance.choice(keys)
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.3:
            action = chance.randrange(3)
            if action == 0:
                place[key] = bad
            elif action == 1:
                del place[key]
            elif isinstance(place, dict):
                place[chance.choice(["stranger", "networkConfiguration", "id", "startTask", "value"])] = bad
            break
        place = inner
    return body


REQUESTS = st.sampled_from(sorted(BODIES)).flatmap(lambda name: st.tuples(st.just(name), valid(BODIES[name])))
