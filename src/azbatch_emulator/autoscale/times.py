"""Points in time and lengths of time, in ticks of 100 ns as the service counts them; their text forms. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from azbatch_emulator.autoscale.errors import Unfit

SECOND = 10_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_LONGEST = 2**63 - 1
_LAST = 3_155_378_975_999_999_999  # the end of the year 9999


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A timeinterval. `ticks` may be negative."""

    ticks: int

    @classmethod
    def of(cls, ticks: float) -> Self:
        """Rounded to whole ticks. Raises Unfit beyond 64 bits and for what is no number."""
        if not -_LONGEST <= ticks <= _LONGEST:
            raise Unfit("The time interval is out of range")
        return cls(round(ticks))

    @classmethod
    def from_timedelta(cls, length: timedelta) -> Self:
        return cls(length // timedelta(microseconds=1) * 10)

    def __str__(self) -> str:
        """`[-][d.]hh:mm:ss[.fffffff]`, as .NET writes a TimeSpan."""
        days, rest = divmod(abs(self.ticks), DAY)
        hours, rest = divmod(rest, HOUR)
        minutes, rest = divmod(rest, MINUTE)
        seconds, ticks = divmod(rest, SECOND)
        sign, day, fraction = "-" * (self.ticks < 0), f"{days}." if days else "", f".{ticks:07d}" if ticks else ""
        return f"{sign}{day}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A timestamp in UTC: `ticks` since the first instant of the year 1."""

    ticks: int

    @classmethod
    def of(cls, ticks: int) -> Self:
        """Raises Unfit outside the years 1 to 9999."""
        if not 0 <= ticks <= _LAST:
            raise Unfit("The timestamp is out of range")
        return cls(ticks)

    @classmethod
    def from_datetime(cls, when: datetime) -> Self:
        return cls((when - _EPOCH) // timedelta(microseconds=1) * 10)

    def to_datetime(self) -> datetime:
        """Cut to microseconds."""
        return _EPOCH + timedelta(microseconds=self.ticks // 10)

    def __str__(self) -> str:
        """To the millisecond, as the documentation shows results."""
        return f"{self.to_datetime().replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


CONSTANTS: Mapping[str, Interval] = {
    "TimeInterval_Zero": Interval(0),
    "TimeInterval_100ns": Interval(1),
    "TimeInterval_Microsecond": Interval(10),
    "TimeInterval_Millisecond": Interval(10_000),
    "TimeInterval_Second": Interval(SECOND),
    "TimeInterval_Minute": Interval(MINUTE),
    "TimeInterval_Hour": Interval(HOUR),
    "TimeInterval_Day": Interval(DAY),
    "TimeInterval_Week": Interval(7 * DAY),
    "TimeInterval_Year": Interval(365 * DAY),
}
ATTRIBUTES: Mapping[str, Callable[[Timestamp], float]] = {
    "year": lambda t: float(t.to_datetime().year),
    "month": lambda t: float(t.to_datetime().month),
    "day": lambda t: float(t.to_datetime().day),
    # Monday is 1 [documented]; Sunday is 0, as in .NET's DayOfWeek.
    "weekday": lambda t: float(t.to_datetime().isoweekday() % 7),
    "hour": lambda t: float(t.to_datetime().hour),
    "minute": lambda t: float(t.to_datetime().minute),
    "second": lambda t: float(t.to_datetime().second),
}

_W3C = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,7}))?)?(?P<zone>Z|[+-][0-9]{2}:[0-9]{2}))?)?)?"
)
_RFC1123 = re.compile(
    r"(?:(?P<weekday>[A-Z][a-z]{2}), )?(?P<day>[0-9]{1,2}) (?P<name>[A-Z][a-z]{2}) (?P<year>[0-9]{4}) "
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))? (?P<zone>GMT|UT|[+-][0-9]{4})"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def parse_time(text: str) -> Timestamp:
    """A time as W3C-DTF (`2026`, `2026-01-02`, `2026-01-02T03:04:05.6Z`, at most seven decimals) or as RFC 1123
    (`Fri, 02 Jan 2026 03:04:05 GMT`). Raises Unfit. Source: "Create an autoscale formula", time()."""
    found = _W3C.fullmatch(text) or _RFC1123.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        part = {name: value for name, value in found.groupdict().items() if value is not None}
        month = _MONTHS.index(part["name"]) + 1 if "name" in part else int(part.get("month", 1))
        hour, minute, second = (int(part.get(name, 0)) for name in ("hour", "minute", "second"))
        when = datetime(int(part["year"]), month, int(part.get("day", 1)), hour, minute, second, tzinfo=UTC)
        if "weekday" in part and _WEEKDAYS.index(part["weekday"]) != when.weekday():
            raise ValueError
        offset = _offset(part.get("zone", "Z"))
    except ValueError:
        raise Unfit(f'Invalid date and time: "{text}"') from None
    return Timestamp.of(Timestamp.from_datetime(when).ticks + int(part.get("fraction", "0").ljust(7, "0")) - offset)


def _offset(zone: str) -> int:
    """Ticks by which a zone is ahead of UTC. Raises ValueError."""
    if zone in {"Z", "GMT", "UT"}:
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 14 or minutes > 59:
        raise ValueError
    return (-1 if zone[0] == "-" else 1) * (hours * HOUR + minutes * MINUTE)
