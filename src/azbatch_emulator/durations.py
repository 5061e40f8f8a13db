"""ISO 8601 durations as the service reads and writes them. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

UNLIMITED = "P10675199DT2H48M5.4775807S"  # what the service returns for "no limit" [recorded]
_UNLIMITED_DAYS = 100_000
_PATTERN = re.compile(
    r"^(?P<sign>-)?P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$"
)


def parse(text: str) -> timedelta:
    """A duration such as `PT15M` or `P7D`; a year has 365 days, a month 30. Raises ValueError."""
    found = _PATTERN.match(text) if isinstance(text, str) else None
    if found is None or text.rstrip("T") in {"P", "-P"} or text.endswith("T"):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    part = {name: float(value) for name, value in found.groupdict().items() if value and name != "sign"}
    days = part.get("years", 0) * 365 + part.get("months", 0) * 30 + part.get("weeks", 0) * 7 + part.get("days", 0)
    try:
        length = timedelta(
            days=days,
            hours=part.get("hours", 0),
            minutes=part.get("minutes", 0),
            seconds=part.get("seconds", 0),
        )
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    return -length if found["sign"] else length


def limit(text: str | None) -> timedelta | None:
    """A time limit; None where there is none, as the service writes it or by absence."""
    if text is None:
        return None
    length = parse(text)
    return None if length.days >= _UNLIMITED_DAYS else length


def text(length: timedelta) -> str:
    """The shortest form: `PT15M`, `P7D`, `PT0S`."""
    if length.days >= _UNLIMITED_DAYS:
        return UNLIMITED
    seconds = length.total_seconds()
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    date = f"{int(days)}D" if days else ""
    time = (f"{int(hours)}H" if hours else "") + (f"{int(minutes)}M" if minutes else "")
    time += f"{rest:.7f}".rstrip("0").rstrip(".") + "S" if rest else ""
    if not date and not time:
        return "PT0S"
    return f"{sign}P{date}" + (f"T{time}" if time else "")
