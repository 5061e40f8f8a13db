"""Who opened what, when and why: a ring of entries in the security group's tags. Pure.

A resource has at most 50 tags of 256 characters; other tags are their owners'. Azure's activity log keeps every write
for 90 days besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

TAG = "azbatch-network-log-"
MOST_ENTRIES, MOST_TAGS, MOST_VALUE = 20, 50, 256
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`action` is allow, deny, expire or refresh."""

    when: datetime
    who: str
    action: str
    what: str
    why: str = ""


def entries(tags: Mapping[str, str]) -> list[Entry]:
    """The log, oldest first; tags that are not entries are passed over."""
    found = []
    for name, value in tags.items():
        fields = value.split("|", 4)
        if not name.startswith(TAG) or len(fields) != 5:
            continue
        try:
            when = datetime.strptime(fields[0], _TIME).replace(tzinfo=UTC)
        except ValueError:
            continue
        found.append((when, name, Entry(when=when, who=fields[1], action=fields[2], what=fields[3], why=fields[4])))
    return [entry for _, _, entry in sorted(found, key=lambda item: item[:2])]


def added(tags: Mapping[str, str], entry: Entry) -> dict[str, str]:
    """The one tag to write for a new entry: a free place of the ring, else the oldest entry's.

    Empty where others' tags leave no room.
    """
    ours = {name: value for name, value in tags.items() if name.startswith(TAG)}
    room = min(MOST_ENTRIES, MOST_TAGS - (len(tags) - len(ours)))
    if room <= 0:
        return {}
    places = [f"{TAG}{number:02d}" for number in range(room)]
    free = [place for place in places if place not in ours]
    place = free[0] if free else min(places, key=lambda name: ours[name])
    clean = [" ".join(text.replace("|", "/").split()) for text in (entry.who, entry.action, entry.what, entry.why)]
    value = "|".join((entry.when.astimezone(UTC).strftime(_TIME), *clean))
    return {place: value[:MOST_VALUE]}
