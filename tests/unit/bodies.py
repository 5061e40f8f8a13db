"""Bodies made from the rules of the emulator itself: whole ones, and ones with something wrong in them."""

from __future__ import annotations

import copy
import random
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from azbatch_emulator import durations
from azbatch_emulator.batch.rules import BODIES, kinds, pools

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


def valid(kind: kinds.Kind) -> st.SearchStrategy[Any]:
    """Values that the kind takes; relations between properties may still refuse them."""
    match kind:
        case kinds.Text(longest=longest):
            return WORDS.map(lambda text: text[:longest])
        case kinds.Integer(low=low, high=high):
            return st.integers(low, high).filter(lambda n: not any(n in span for span in kind.reserved))
        case kinds.Boolean():
            return st.booleans()
        case kinds.Duration(low=low, high=high):
            return st.timedeltas(low, high or timedelta(days=400)).map(durations.text)
        case kinds.Time():
            return st.sampled_from(["2026-11-26T12:00:00Z", "2027-01-01T00:00:00.25Z"])
        case kinds.Choice():
            return st.sampled_from(kind.words)
        case kinds.ListOf(item=item, most=most, least=least):
            return st.lists(valid(item), min_size=least, max_size=min(2, most or 2))
        case kinds.Shape():
            return _shape(kind)
        case kinds.Words():
            return st.dictionaries(WORDS, WORDS, max_size=2)
        case pools.Address():
            return st.sampled_from(["*", "10.0.0.1", "10.0.0.0/8", "VirtualNetwork"])
        case pools.PortRanges():
            return st.sampled_from([["*"], ["22", "80-90"]])
    return JSON.filter(lambda value: value is not None)


def _shape(shape: kinds.Shape) -> st.SearchStrategy[dict[str, Any]]:
    if shape is pools.MACHINE:
        return st.just(MACHINE)
    required = {name: valid(kind) for name, kind in shape.required.items()}

    def some(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({**required, **{name: valid(shape.optional[name]) for name in names}})

    if not shape.optional:
        return st.fixed_dictionaries(required)
    return st.lists(st.sampled_from(sorted(shape.optional)), max_size=3, unique=True).flatmap(some)


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
                place["stranger"] = bad
            break
        place = inner
    return body


REQUESTS = st.sampled_from(sorted(BODIES)).flatmap(lambda name: st.tuples(st.just(name), valid(BODIES[name])))
