"""OData: $filter as a predicate over records, $select as a set of names. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azbatch_emulator.batch.times import parse_stamp
from azbatch_emulator.records import Refused

Getter = Callable[[Any], Any]
Predicate = Callable[[Any], bool]

_TOKENS = re.compile(
    r"\s*(?:(?P<datetime>(?:datetime|DateTime)'[^']*')|(?P<string>'(?:[^']|'')*')|(?P<stamp>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_/]*)|(?P<punctuation>[(),]))"
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Filter:
    """`test` is the predicate; `required` the comparisons that every match meets, for index look-ups."""

    test: Predicate
    required: tuple[tuple[str, str, Any], ...] = ()


def _bad(value: str, reason: str) -> Refused:
    return Refused(
        "InvalidQueryParameterValue",
        {"QueryParameterName": "$filter", "QueryParameterValue": value, "Reason": reason},
    )


def parse_filter(text: str, fields: Mapping[str, Getter]) -> Filter:
    """A filter over records whose filterable properties are `fields`.

    Raises Refused(InvalidQueryParameterValue). Grammar:
    or := and { "or" and };  and := not { "and" not };  not := "not" not | "(" or ")" | comparison;
    comparison := property operator literal | "startswith(" property "," string ")".
    """
    return _Parser(text, {name.lower(): (name, getter) for name, getter in fields.items()}).parse()


class _Parser:
    def __init__(self, text: str, fields: Mapping[str, tuple[str, Getter]]) -> None:
        self._text = text
        self._fields = fields
        self._tokens = self._split(text)
        self._position = 0
        self._depth = 0

    @staticmethod
    def _split(text: str) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while position < len(text.rstrip()):
            found = _TOKENS.match(text, position)
            if found is None:
                raise _bad(text, f"The filter is not understood at position {position + 1}")
            tokens.append((str(found.lastgroup), found.group(str(found.lastgroup))))
            position = found.end()
        return tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position] if self._position < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._position += 1
        return token

    def _word(self, word: str) -> bool:
        if self._peek() == ("name", word):
            self._position += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if self._take() != ("punctuation", mark):
            raise _bad(self._text, f"'{mark}' is missing")

    def parse(self) -> Filter:
        if not self._tokens:
            raise _bad(self._text, "The filter is empty")
        result = self._or()
        if self._peek()[0] != "end":
            raise _bad(self._text, f"'{self._peek()[1]}' is not expected here")
        return result

    def _or(self) -> Filter:
        parts = [self._and()]
        while self._word("or"):
            parts.append(self._and())
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts]
        return Filter(lambda record: any(test(record) for test in tests))

    def _and(self) -> Filter:
        parts = [self._not()]
        while self._word("and"):
            parts.append(self._not())
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts]
        return Filter(
            lambda record: all(test(record) for test in tests),
            tuple(comparison for part in parts for comparison in part.required),
        )

    def _not(self) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _bad(self._text, "The filter is nested too deeply")
        try:
            if self._word("not"):
                inner = self._not().test
                return Filter(lambda record: not inner(record))
            if self._peek() == ("punctuation", "("):
                self._take()
                inside = self._or()
                self._expect(")")
                return inside
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Filter:
        kind, name = self._take()
        if kind != "name":
            raise _bad(self._text, "A property name is missing")
        if name == "startswith":
            return self._startswith()
        canonical, getter = self._field(name)
        kind, sign = self._take()
        compare = _COMPARE.get(sign) if kind == "name" else None
        if compare is None:
            raise _bad(self._text, f"'{sign}' is not an operator")
        literal = self._literal()
        return Filter(_comparing(getter, compare, sign, literal), ((canonical, sign, literal),))

    def _startswith(self) -> Filter:
        self._expect("(")
        _, name = self._take()
        _, getter = self._field(name)
        self._expect(",")
        prefix = self._literal()
        self._expect(")")
        if not isinstance(prefix, str):
            raise _bad(self._text, "startswith takes a string")
        return Filter(lambda record: str(getter(record) or "").startswith(prefix))

    def _field(self, name: str) -> tuple[str, Getter]:
        try:
            return self._fields[name.lower()]
        except KeyError:
            raise _bad(self._text, f"'{name}' is not a property to filter by") from None

    def _literal(self) -> Any:
        kind, text = self._take()
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind in {"datetime", "stamp"}:
            try:
                return parse_stamp(text[text.index("'") + 1 : -1] if kind == "datetime" else text)
            except ValueError:
                raise _bad(self._text, f"{text} is not a time") from None
        if kind == "number":
            return float(text)
        if (kind, text) in {("name", "true"), ("name", "false")}:
            return text == "true"
        if (kind, text) == ("name", "null"):
            return None
        raise _bad(self._text, f"'{text}' is not a value")


def _comparing(getter: Getter, compare: Callable[[Any, Any], bool], sign: str, literal: Any) -> Predicate:
    if isinstance(literal, str):
        folded = literal.lower()

        def text(record: Any) -> bool:
            value = getter(record)
            if isinstance(value, datetime):
                return compare(value, _as_time(literal))
            return value is not None and compare(str(value).lower(), folded)

        return text
    if literal is None or isinstance(literal, bool):
        return lambda record: compare(getter(record), literal) if sign in {"eq", "ne"} else False

    def typed(record: Any) -> bool:
        value = getter(record)
        if value is None:
            return sign == "ne"
        if isinstance(value, datetime) is not isinstance(literal, datetime):
            return False
        try:
            return compare(value, literal)
        except TypeError:
            return False

    return typed


def _as_time(text: str) -> datetime:
    try:
        return parse_stamp(text)
    except ValueError:
        raise _bad(text, f"'{text}' is not a time") from None


def parse_select(text: str) -> Sequence[str]:
    """The top-level names of a $select, such as `id,state,executionInfo/exitCode`."""
    return tuple(dict.fromkeys(part.strip().split("/")[0] for part in text.split(",") if part.strip()))
