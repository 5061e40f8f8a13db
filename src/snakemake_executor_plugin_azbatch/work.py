"""Jobs as Batch tasks: one each, or several of a kind packed into one. Pure."""

from __future__ import annotations

import base64
import json
import math
import shlex
import zlib
from collections.abc import Container as Places
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from azbatch.jobs import TaskSpec
from snakemake_executor_plugin_azbatch import identity, plan
from snakemake_executor_plugin_azbatch.plan import SOURCES

MOST_PACKED = 100
SHORT = 10.0  # minutes of declared runtime up to which jobs are packed unasked
PACK_MINUTES = 30.0  # of declared runtime that one pack takes at most
MOST_LETTERS = 60_000  # of a pack's command; an argument on Linux has at most 131,072


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One job (or group) with what its task needs. `info` is Snakemake's own record of it.

    `interpreter` precedes `common` and `own`, the options that jobs of the rule share and those of this job.
    """

    info: Any
    rule: str
    label: str
    interpreter: tuple[str, ...]
    common: tuple[str, ...]
    own: tuple[str, ...]
    slots: int
    image: str | None = None
    minutes: float = 0.0
    packable: bool = True
    lost: int = 0  # tasks of it that ended for a reason of the service's

    @property
    def base(self) -> str:
        return identity.base(self.rule, (*self.common, *self.own))

    @property
    def kind(self) -> tuple[object, ...]:
        """Jobs with the same can be packed together."""
        return self.rule, self.interpreter, self.common, self.slots, self.image


@dataclass(slots=True)
class Work:
    """A task on its lane, with the jobs in it by their place in the pack."""

    id: str
    lane: Any
    members: dict[int, Member] = field(default_factory=dict)
    pack: bool = False

    def take(self, places: Places[int] | None = None) -> dict[int, Member]:
        """The members at these places, or all: they are about to be reported, each once."""
        taken = {place: one for place, one in self.members.items() if places is None or place in places}
        for place in taken:
            del self.members[place]
        return taken


def pack_size(minutes: float, remaining: int, slots: int, most: int) -> int:
    """How many jobs of a kind go into one task.

    `minutes` is their declared runtime (0: none), `remaining` how many of the kind the workflow still has, `slots` how
    many run at a time, `most` the setting: 0 decides by itself, 1 never packs. All slots stay busy in either case.
    """
    if most == 1 or remaining < 2:
        return 1
    if most == 0 and not 0 < minutes <= SHORT:
        return 1
    fair = math.ceil(remaining / (2 * max(1, slots)))
    allowed = int(PACK_MINUTES // minutes) if minutes > 0 else MOST_PACKED
    return max(1, min(fair, allowed, most or MOST_PACKED, MOST_PACKED))


def packs(members: Iterable[Member], size: int) -> list[list[Member]]:
    """Groups of at most `size` members, in order, each small enough for a command line."""
    found: list[list[Member]] = []
    letters = 0
    for member in members:
        length = sum(len(token) + 4 for token in member.own)
        if not found or len(found[-1]) == size or letters + length > MOST_LETTERS:
            found.append([])
            letters = 0
        found[-1].append(member)
        letters += length
    return found


def encode(members: Sequence[Member]) -> str:
    """A pack's jobs as one word: the shared options, and each job's own."""
    told = {"common": members[0].common, "jobs": [member.own for member in members], "rule": members[0].rule}
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(told).encode(), 9)).decode()


def decode(word: str) -> tuple[str, list[str], list[list[str]]]:
    """(rule, common, own of each) of `encode`. Raises ValueError for any other word."""
    try:
        told = json.loads(zlib.decompress(base64.urlsafe_b64decode(word)))
        return str(told["rule"]), list(told["common"]), [list(own) for own in told["jobs"]]
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ValueError(f"no pack: {error}") from None


def pack_base(members: Sequence[Member]) -> str:
    """The base of a pack's id."""
    return identity.base(members[0].rule, ["--pack", *(member.base for member in members)])


def bases_in(task_id: str, command: str) -> list[str]:
    """The bases of the jobs in a task of an earlier driver, by their place; empty for a foreign task."""
    known = identity.parse(task_id)
    if known is None:
        return []
    if PACK_MODULE not in command:
        return [known[0]]
    try:
        rule, common, jobs = decode(_last_word(command))
    except ValueError:
        return []
    return [identity.base(rule, (*common, *own)) for own in jobs]


PACK_MODULE = "snakemake_executor_plugin_azbatch.packed"
JOB_MODULE = "snakemake_executor_plugin_azbatch.job"


def task(
    members: Sequence[Member], task_id: str, *, pack: bool, precommand: str, retries: int, retention: str, scratch: bool
) -> TaskSpec:
    """The task of one member, or of a pack of them; `precommand` is shell text that runs before Snakemake."""
    first = members[0]
    if pack:
        words = [*first.interpreter, "-m", PACK_MODULE, encode(members)]
        label = f"{first.rule}: {len(members)} jobs"
    else:
        words = [*first.interpreter, "-m", JOB_MODULE, *first.common, *first.own]
        label = first.label
    before = f"{precommand} && " if precommand else ""
    script = f'set -e; cp -R "$AZ_BATCH_JOB_PREP_WORKING_DIR/{SOURCES}/." .; {before}{shlex.join(words)}'
    return TaskSpec(
        id=task_id,
        command=shlex.join(["/bin/bash", "-c", script]),
        slots=first.slots,
        retries=retries,
        retention=retention,
        display_name=label,
        container=plan.container(first.image, scratch=scratch),
    )


def _last_word(command: str) -> str:
    return shlex.split(shlex.split(command)[-1])[-1]
