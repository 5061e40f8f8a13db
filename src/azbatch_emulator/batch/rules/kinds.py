"""What a property of a request body may be: kinds of values, and shapes made of them. `read` is the one checker. Pure.

A kind's `read(value, path, context)` gives the value as the service keeps it, or raises Refused with the service's
code: InvalidRequestBody for JSON of another type, InvalidPropertyValue or OutOfRangeInput for a value that the property
cannot have, MissingRequiredProperty. Numbers, booleans and times may come as strings [measured: az CLI]; null counts as
left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Protocol

from azbatch_emulator import durations
from azbatch_emulator.batch.rules.refusals import invalid, missing, out_of_range, unknown, unreadable
from azbatch_emulator.batch.times import parse_stamp, stamp

INT32 = (-(2**31), 2**31 - 1)
MAX_DEPTH = 40
NEWEST = "2025-06-01"
_WHOLE = re.compile(r"^[+-]?\d{1,19}$")


@dataclass(frozen=True, slots=True)
class Context:
    """How a body is read: `strict` refuses unknown properties; `version` is the request's api-version."""

    strict: bool = False
    version: str = NEWEST


LENIENT = Context()


class Kind(Protocol):
    """What a property may be."""

    def read(self, value: Any, path: str, context: Context) -> Any: ...


def _primitive(value: Any, path: str, edm: str) -> None:
    """Refuse objects and lists where a plain value belongs."""
    if isinstance(value, dict | list):
        node = "StartObject" if isinstance(value, dict) else "StartArray"
        wanted = "A 'PrimitiveValue' node was expected."
        raise unreadable(path, f"An unexpected '{node}' node was found when reading from the JSON reader. {wanted}")
    if value is None:
        raise unreadable(path, f"A null value was found for a property of the non-nullable type '{edm}'.")


def _other(path: str, edm: str) -> Exception:
    return unreadable(
        path,
        f"Cannot convert a primitive value to the expected type '{edm}'. See the inner exception for more details.",
    )


@dataclass(frozen=True, slots=True)
class Text:
    """A string. `longest` counts characters; `pattern` must match all of it; no answer repeats a `secret`."""

    longest: int | None = None
    pattern: re.Pattern[str] | None = None
    reason: str = ""
    shortest: int = 0
    secret: bool = False

    def read(self, value: Any, path: str, context: Context) -> str:
        if not isinstance(value, str):
            _primitive(value, path, "Edm.String")
            raise _other(path, "Edm.String")
        if self.longest is not None and len(value) > self.longest:
            raise invalid(path, self._shown(value), f"The value has more than {self.longest} characters")
        if len(value) < self.shortest:
            raise missing(path)
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise invalid(path, self._shown(value), self.reason)
        return value

    def _shown(self, value: str) -> str | None:
        return None if self.secret else value


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `low` to `high`, but for `reserved` ones (which the reason explains)."""

    low: int = INT32[0]
    high: int = INT32[1]
    reserved: tuple[range, ...] = ()
    reason: str = "The value is reserved"

    def read(self, value: Any, path: str, context: Context) -> int:
        number = self._number(value, path)
        if not self.low <= number <= self.high:
            raise out_of_range(path, number, self.low, self.high)
        if any(number in span for span in self.reserved):
            raise invalid(path, number, self.reason)
        return number

    @staticmethod
    def _number(value: Any, path: str) -> int:
        if (isinstance(value, str) and _WHOLE.match(value.strip())) or (
            isinstance(value, float) and value.is_integer()
        ):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not INT32[0] <= value <= INT32[1]:
            _primitive(value, path, "Edm.Int32")
            raise _other(path, "Edm.Int32")
        return value


@dataclass(frozen=True, slots=True)
class Boolean:
    def read(self, value: Any, path: str, context: Context) -> bool:
        if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
            return value.strip().lower() == "true"
        if not isinstance(value, bool):
            _primitive(value, path, "Edm.Boolean")
            raise _other(path, "Edm.Boolean")
        return value


@dataclass(frozen=True, slots=True)
class Duration:
    """An ISO 8601 duration from `low` to `high`, kept in its shortest form."""

    low: timedelta = timedelta(0)
    high: timedelta | None = None

    def read(self, value: Any, path: str, context: Context) -> str:
        _primitive(value, path, "Edm.Time")
        try:
            length = durations.parse(value)
        except ValueError:
            raise _other(path, "Edm.Time") from None
        if length < self.low:
            raise invalid(path, value, f"The value is not below {durations.text(self.low)}")
        if self.high is not None and length > self.high:
            raise invalid(path, value, f"The value is not above {durations.text(self.high)}")
        return durations.text(length)


@dataclass(frozen=True, slots=True)
class Time:
    """A time, kept as the service writes it."""

    def read(self, value: Any, path: str, context: Context) -> str:
        _primitive(value, path, "Edm.DateTime")
        try:
            return stamp(parse_stamp(value))
        except (ValueError, AttributeError):
            raise _other(path, "Edm.DateTime") from None


class Choice:
    """One of some words, whatever the capitals; kept as spelled here."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self._canonical = {word.lower(): word for word in words}

    def read(self, value: Any, path: str, context: Context) -> str:
        if not isinstance(value, str):
            _primitive(value, path, "Edm.String")
            raise _other(path, "Edm.String")
        word = self._canonical.get(value.lower())
        if word is None:
            raise invalid(path, value, f"The value is one of {', '.join(self.words)}")
        return word


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind; `most` and `least` bound its length, `distinct` names a property that no two items share."""

    item: Kind
    most: int | None = None
    least: int = 0
    distinct: str | None = None

    def read(self, value: Any, path: str, context: Context) -> list[Any]:
        if not isinstance(value, list):
            wanted = "A 'StartArray' node was expected."
            raise unreadable(path, f"An unexpected node was found when reading from the JSON reader. {wanted}")
        if self.most is not None and len(value) > self.most:
            raise out_of_range(path, len(value), self.least, self.most)
        if len(value) < self.least:
            raise missing(path) if not value else out_of_range(path, len(value), self.least, self.most or INT32[1])
        read = self.item.read
        items = [read(one, f"{path}[{number}]", context) for number, one in enumerate(value)]
        if self.distinct is not None:
            seen: set[str] = set()
            for number, one in enumerate(items):
                name = str(one.get(self.distinct)).lower()
                if name in seen:
                    place = f"{path}[{number}].{self.distinct}"
                    raise invalid(place, one.get(self.distinct), "The value is there more than once")
                seen.add(name)
        return items


@dataclass(frozen=True, slots=True)
class Anything:
    """JSON as it comes, nulls left out; nested so deep that a reader could not follow it is refused."""

    def read(self, value: Any, path: str, context: Context) -> Any:
        return self._tidy(value, path, 0)

    def _tidy(self, value: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise unreadable(path, "The request body is nested too deeply")
        if isinstance(value, dict):
            return {key: self._tidy(one, path, depth + 1) for key, one in value.items() if one is not None}
        if isinstance(value, list):
            return [self._tidy(one, path, depth + 1) for one in value]
        return value


@dataclass(frozen=True, slots=True)
class Words:
    """An object whose members are strings."""

    def read(self, value: Any, path: str, context: Context) -> dict[str, str]:
        read = TEXT.read
        return {
            name: read(one, f"{path}.{name}", context) for name, one in _object(value, path).items() if one is not None
        }


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        wanted = "A 'StartObject' node was expected."
        raise unreadable(path, f"An unexpected node was found when reading from the JSON reader. {wanted}")
    return value


# Refuses, by raising, a body whose properties do not go together; gets the read body, its path and the context.
Relation = Callable[[Mapping[str, Any], str, Context], None]


@dataclass(frozen=True)
class Shape:
    """An object: its type's name, its properties, what is filled in where left out, and how properties go together.

    `retired` are properties that api-versions before 2025 had; later strict requests are refused them.
    """

    name: str
    required: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)
    retired: Mapping[str, Kind] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()

    @cached_property
    def properties(self) -> Mapping[str, Kind]:
        return {**self.required, **self.optional, **self.retired}

    def read(self, value: Any, path: str, context: Context) -> dict[str, Any]:
        body: dict[str, Any] = {}
        properties, prefix = self.properties, f"{path}." if path else ""
        for name, one in _object(value, path).items():
            if one is None:
                continue
            kind = properties.get(name)
            if kind is not None and not (context.strict and name in self.retired and context.version >= "2025"):
                body[name] = kind.read(one, prefix + name, context)
            elif "odata." in name:
                continue
            elif context.strict:
                raise unknown(prefix + name, self.name)
            else:
                body[name] = ANYTHING.read(one, prefix + name, context)
        for name in self.required:
            if name not in body:
                raise missing(prefix + name)
        for relation in self.relations:
            relation(body, prefix, context)
        return body

    @cached_property
    def _filled(self) -> Mapping[str, Shape | ListOf]:
        """The properties in which something may have to be filled in."""
        return {name: kind for name, kind in self.properties.items() if _has_defaults(kind)}  # type: ignore[misc]

    def fill(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A read body with the service's defaults, at every level that is there."""
        filled = {**self.defaults, **body}
        for name, kind in self._filled.items():
            if name not in filled:
                continue
            if isinstance(kind, Shape):
                filled[name] = kind.fill(filled[name])
            elif isinstance(kind.item, Shape):
                filled[name] = [kind.item.fill(one) for one in filled[name]]
        return filled


def _has_defaults(kind: Kind) -> bool:
    if isinstance(kind, ListOf):
        return _has_defaults(kind.item)
    return isinstance(kind, Shape) and bool(kind.defaults or kind._filled)


ID = Text(
    pattern=re.compile(r"[A-Za-z0-9_-]{1,64}"),
    reason="An id has 1 to 64 letters, digits, hyphens and underscores",
    shortest=1,
)
TEXT = Text()
NAME = Text(shortest=1)
SECRET = Text(secret=True)
DISPLAY_NAME = Text(longest=1024)
INTEGER = Integer()
BOOLEAN = Boolean()
DURATION = Duration()
TIME = Time()
ANYTHING = Anything()
WORDS = Words()
