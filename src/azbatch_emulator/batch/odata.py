"""OData: $filter as a tree and as a predicate over records, $select as names. Pure.

Grammar: or := and { "or" and };  and := not { "and" not };  not := "not" not | "(" or ")" | comparison;
comparison := operand sign operand | starts [ ("eq" | "ne") boolean ] | property, one operand a property and one a
literal; starts := "startswith(" property "," string ")"; a bare property is a boolean one.
Literals: 'text' with '' for a quote, numbers, true, false, null, datetime'…', datetimeoffset'…', bare ISO 8601 times.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NoReturn

from azbatch_emulator.batch.times import parse_stamp
from azbatch_emulator.records import Refused

Getter = Callable[[Any], Any]
Predicate = Callable[[Any], bool]

_TOKENS = re.compile(
    r"\s*(?:(?P<datetime>(?i:datetime(?:offset)?)'[^']*')|(?P<string>'(?:[^']|'')*')"
    r"|(?P<stamp>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?)"
    r"|(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[LlMmDdFf]?(?![A-Za-z0-9_]))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_/]*)|(?P<punctuation>[(),]))"
)
MAX_DEPTH = 50


class Type(Enum):
    """The type of a property or literal, by its name in OData."""

    TEXT = "Edm.String"
    NUMBER = "Edm.Int32"
    TIME = "Edm.DateTime"
    BOOLEAN = "Edm.Boolean"


_COMPARE: Mapping[str, tuple[Callable[[Any, Any], bool], str, str]] = {
    # sign: (operator, the sign with its operands exchanged, name)
    "eq": (operator.eq, "eq", "Equal"),
    "ne": (operator.ne, "ne", "NotEqual"),
    "lt": (operator.lt, "gt", "LessThan"),
    "le": (operator.le, "ge", "LessThanOrEqual"),
    "gt": (operator.gt, "lt", "GreaterThan"),
    "ge": (operator.ge, "le", "GreaterThanOrEqual"),
}
EQUALITY = frozenset({"eq", "ne"})
ORDER = frozenset(_COMPARE)
STARTS = "startswith"


@dataclass(frozen=True, slots=True)
class Field:
    """A property that an operation filters by: how to get it, its type, the signs it takes, and its words if few."""

    get: Getter
    type: Type = Type.TEXT
    signs: Collection[str] = ORDER
    words: frozenset[str] | None = None


Fields = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`name sign literal`; the sign may be startswith."""

    name: str
    sign: str
    literal: Any


@dataclass(frozen=True, slots=True)
class Not:
    inner: Tree


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Tree, ...]


Tree = Comparison | Not | All | AnyOf


@dataclass(frozen=True, slots=True)
class Filter:
    """`test` is the predicate; `required` the comparisons that every match meets, for index look-ups."""

    tree: Tree
    test: Predicate
    required: tuple[tuple[str, str, Any], ...] = ()


def bad_query(name: str, value: str, reason: str) -> Refused:
    """The refusal of a query parameter's value."""
    return Refused(
        "InvalidQueryParameterValue",
        {"QueryParameterName": name, "QueryParameterValue": value[:2000], "Reason": reason},
    )


def parse_filter(text: str, fields: Fields) -> Filter:
    """A filter over records whose filterable properties are `fields`. Raises Refused(InvalidQueryParameterValue)."""
    tree = _Parser(text, {name.lower(): name for name in fields}, fields).parse()
    return Filter(tree, _compiled(tree, fields), _required(tree))


def _required(tree: Tree) -> tuple[tuple[str, str, Any], ...]:
    if isinstance(tree, Comparison):
        return ((tree.name, tree.sign, tree.literal),)
    if isinstance(tree, All):
        return tuple(one for part in tree.parts for one in _required(part))
    return ()


class _Parser:
    def __init__(self, text: str, names: Mapping[str, str], fields: Fields) -> None:
        self._text, self._names, self._fields = text, names, fields
        self._tokens = self._split(text)
        self._position = 0
        self._depth = 0

    def _split(self, text: str) -> list[tuple[str, str, int]]:
        tokens, position, end = [], 0, len(text.rstrip())
        while position < end:
            found = _TOKENS.match(text, position)
            if found is None or found.end() > end:
                raise self._error(position, "this is not understood")
            kind = str(found.lastgroup)
            tokens.append((kind, found.group(kind), found.start(kind)))
            position = found.end()
        return tokens

    def _error(self, position: int, reason: str) -> Refused:
        return bad_query("$filter", self._text, f"Syntax error at position {position} in the filter: {reason}.")

    def _fail(self, reason: str) -> NoReturn:
        """Refuse the filter at the token taken last."""
        taken = self._tokens[: self._position][-1:]
        raise self._error(taken[0][2] if taken else 0, reason)

    def _peek(self) -> tuple[str, str]:
        if self._position < len(self._tokens):
            kind, text, _ = self._tokens[self._position]
            return kind, text
        return "end", ""

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
            self._fail(f"'{mark}' is expected")

    def parse(self) -> Tree:
        if not self._tokens:
            raise self._error(0, "the filter is empty")
        result = self._or()
        if self._peek()[0] != "end":
            _, text = self._take()
            self._fail(f"'{text}' is not expected")
        return result

    def _or(self) -> Tree:
        parts = [self._and()]
        while self._word("or"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _and(self) -> Tree:
        parts = [self._not()]
        while self._word("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _not(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail("the filter is nested too deeply")
        try:
            if self._word("not"):
                return Not(self._not())
            if self._peek() == ("punctuation", "("):
                self._take()
                inside = self._or()
                self._expect(")")
                return inside
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Tree:
        kind, text = self._take()
        if (kind, text) == ("name", STARTS):
            return self._starts()
        if kind == "name" and text not in {"true", "false", "null"}:
            name = self._property(text)
            if self._fields[name].type is Type.BOOLEAN and self._peek()[1] not in _COMPARE:
                return self._checked(name, "eq", True)
            sign = self._sign()
            return self._checked(name, sign, self._literal(*self._take()))
        literal, sign = self._literal(kind, text), self._sign()
        kind, text = self._take()
        if kind != "name":
            self._fail("a property is expected on one side")
        return self._checked(self._property(text), _COMPARE[sign][1], literal)

    def _starts(self) -> Tree:
        self._expect("(")
        kind, text = self._take()
        if kind != "name":
            self._fail("a property is expected")
        name = self._property(text)
        self._expect(",")
        prefix = self._literal(*self._take())
        if not isinstance(prefix, str):
            self._fail(f"{STARTS} takes a string")
        self._expect(")")
        tree: Tree = self._checked(name, STARTS, prefix)
        if self._peek()[1] in EQUALITY:
            _, sign = self._take()
            wanted = self._literal(*self._take())
            if not isinstance(wanted, bool):
                self._fail(f"{STARTS} is compared with true or false")
            return tree if wanted is (sign == "eq") else Not(tree)
        return tree

    def _sign(self) -> str:
        kind, sign = self._take()
        if kind != "name" or sign not in _COMPARE:
            self._fail(f"'{sign}' is not an operator")
        return sign

    def _property(self, text: str) -> str:
        name = self._names.get(text.lower())
        if name is None:
            self._fail(f"'{text}' is not a property to filter by")
        return name

    def _checked(self, name: str, sign: str, literal: Any) -> Comparison:
        """The comparison, if the property takes its sign and is of the literal's type."""
        field = self._fields[name]
        if sign not in field.signs:
            self._fail(f"'{sign}' cannot be used with '{name}', only {', '.join(sorted(field.signs))}")
        if literal is None:
            if sign not in EQUALITY:
                self._fail("null is compared with eq or ne")
            return Comparison(name, sign, None)
        found = _type_of(literal)
        if found is not field.type:
            kind = _COMPARE[sign][2] if sign in _COMPARE else sign
            self._fail(
                "A binary operator with incompatible types was detected. Found operand types "
                f"'{field.type.value}' and '{found.value}' for operator kind '{kind}'"
            )
        if field.words is not None and literal.lower() not in field.words:
            self._fail(f"'{literal}' is not one of {', '.join(sorted(field.words))}")
        return Comparison(name, sign, literal)

    def _literal(self, kind: str, text: str) -> Any:
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind in {"datetime", "stamp"}:
            try:
                return parse_stamp(text[text.index("'") + 1 : -1] if kind == "datetime" else text)
            except ValueError:
                self._fail(f"{text[:60]} is not a time")
        if kind == "number":
            return float(text.rstrip("LlMmDdFf"))
        if (kind, text) in {("name", "true"), ("name", "false")}:
            return text == "true"
        if (kind, text) != ("name", "null"):
            self._fail(f"'{text}' is not a value" if kind != "end" else "a value is expected at the end")
        return None


def _type_of(literal: Any) -> Type:
    if isinstance(literal, bool):
        return Type.BOOLEAN
    if isinstance(literal, datetime):
        return Type.TIME
    return Type.TEXT if isinstance(literal, str) else Type.NUMBER


def _compiled(tree: Tree, fields: Fields) -> Predicate:
    if isinstance(tree, Comparison):
        return _comparing(fields[tree.name].get, tree.sign, tree.literal)
    if isinstance(tree, Not):
        inner = _compiled(tree.inner, fields)
        return lambda record: not inner(record)
    tests = [_compiled(part, fields) for part in tree.parts]
    if isinstance(tree, All):
        return lambda record: all(test(record) for test in tests)
    return lambda record: any(test(record) for test in tests)


def _comparing(get: Getter, sign: str, literal: Any) -> Predicate:
    """A property that is not there differs from every value, and is in no order with any."""
    if isinstance(literal, str):
        folded = literal.lower()
        if sign == STARTS:
            return lambda record: (value := get(record)) is not None and str(value).lower().startswith(folded)
        same, other = _COMPARE[sign][0], sign == "ne"
        return lambda record: other if (value := get(record)) is None else same(str(value).lower(), folded)
    if literal is None:
        wanted = sign == "eq"
        return lambda record: (get(record) is None) is wanted
    compare, differs = _COMPARE[sign][0], sign == "ne"
    return lambda record: differs if (value := get(record)) is None else compare(value, literal)


def parse_select(text: str, known: Collection[str]) -> Sequence[str]:
    """The top-level names of a $select, such as `id,state,executionInfo/exitCode`. Raises Refused for one unknown."""
    canonical = {name.lower(): name for name in known}
    names: dict[str, None] = {}
    for part in text.split(","):
        name = part.strip().split("/")[0]
        if name == "*":
            return tuple(known)
        if name.lower() not in canonical:
            raise bad_query("$select", text, f"'{name[:80]}' is not a property of what is listed")
        names[canonical[name.lower()]] = None
    return tuple(names)
