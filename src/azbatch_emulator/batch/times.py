"""Times and eTags as the service writes them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_EPOCH = datetime(1, 1, 1, tzinfo=UTC)


def stamp(when: datetime) -> str:
    """`2022-01-15T04:04:20.123456Z`, trailing zeros left out."""
    text = when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds").rstrip("0").rstrip(".")
    return text + "Z"


def etag(modified: datetime) -> str:
    """The eTag is lastModified as .NET ticks (100 ns) in upper-case hexadecimal, unquoted [recorded]."""
    passed = modified - _EPOCH
    ticks = (passed.days * 86400 + passed.seconds) * 10_000_000 + passed.microseconds * 10
    return f"0x{ticks:X}"


def http_date(when: datetime) -> str:
    """An HTTP date; parts of a second are cut off."""
    return format_datetime(when.astimezone(UTC).replace(microsecond=0), usegmt=True)


def parse_http_date(text: str) -> datetime:
    """Raises ValueError."""
    try:
        return _utc(parsedate_to_datetime(text))
    except (TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"{text[:40]!r} is not a date") from error


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def parse_stamp(text: str) -> datetime:
    """An ISO 8601 time with up to seven fractional digits. Raises ValueError."""
    text = text.strip()
    if text.endswith(("Z", "z")):
        text = text[:-1] + "+00:00"
    head, dot, tail = text.partition(".")
    if dot:
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        text = f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}"
    try:
        return _utc(datetime.fromisoformat(text))
    except OverflowError as error:
        raise ValueError(f"{text[:40]!r} is not a time of the calendar") from error
