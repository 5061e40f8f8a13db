"""$filter, $select and pages: laws against Python's own evaluation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.batch.call import Call, check_query, page
from azbatch_emulator.batch.odata import (
    EQUALITY,
    ORDER,
    STARTS,
    All,
    AnyOf,
    Comparison,
    Field,
    Not,
    Tree,
    Type,
    parse_filter,
    parse_select,
)
from azbatch_emulator.batch.queries import QUERIES
from azbatch_emulator.batch.routes import OPERATIONS, RETIRED
from azbatch_emulator.batch.times import stamp
from azbatch_emulator.records import Refused, TaskState

NOW = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)
FIELDS: dict[str, Field] = {
    "id": Field(lambda r: r.id, Type.TEXT, ORDER | {STARTS}),
    "state": Field(lambda r: r.state, Type.TEXT, EQUALITY, frozenset(TaskState)),
    "executionInfo/exitCode": Field(lambda r: r.code, Type.NUMBER),
    "stateTransitionTime": Field(lambda r: r.since, Type.TIME),
    "enableAutoScale": Field(lambda r: r.auto, Type.BOOLEAN, EQUALITY),
}


def _record(**changes: Any) -> Any:
    return SimpleNamespace(**{"id": "task-1", "state": "completed", "code": 3, "since": NOW, "auto": True, **changes})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("state eq 'completed'", True),
        ("State eq 'COMPLETED'", True),
        ("state ne 'active'", True),
        ("'completed' eq state", True),
        ("4 gt executionInfo/exitCode", True),
        ("executionInfo/exitCode ge 3 and executionInfo/exitCode lt 4", True),
        ("executionInfo/exitCode eq 3.0", True),
        ("executionInfo/exitCode eq 3L", True),
        ("executionInfo/exitCode gt -1e0", True),
        ("not (executionInfo/exitCode eq 3)", False),
        ("not not executionInfo/exitCode eq 3", True),
        ("executionInfo/exitCode ne null", True),
        ("null eq executionInfo/exitCode", False),
        ("state eq 'active' or startswith(id, 'task')", True),
        ("startswith(id, 'TASK') eq true", True),
        ("startswith(id, 'task') ne true", False),
        ("enableAutoScale", True),
        ("enableAutoScale eq false", False),
        ("(enableAutoScale) and state ne 'active'", True),
        ("stateTransitionTime gt DateTime'2026-11-26T11:59:59.9999999Z'", True),
        ("stateTransitionTime lt datetime'2026-11-26T12:00:00Z'", False),
        ("stateTransitionTime ge datetimeoffset'2026-11-26T13:00:00+01:00'", True),
        ("stateTransitionTime ge 2026-11-26T12:00:00Z", True),
        ("id eq 'it''s'", False),
    ],
)
def test_filters(text: str, matches: bool) -> None:
    """The grammar's forms select as OData says."""
    assert parse_filter(text, FIELDS).test(_record()) is matches


@pytest.mark.parametrize(
    "text",
    [
        "",
        "state",
        "state eq",
        "state EQ 'completed'",
        "state eq 'completed' extra",
        "state eq 'finished'",
        "state gt 'active'",
        "state eq 3",
        "startswith(state, 'a')",
        "startswith(id, 3)",
        "startswith(id 'x')",
        "startswith(id, 'x') eq 'x'",
        "nothing eq 1",
        "1 eq 1",
        "'a' eq 'a'",
        "executionInfo/exitCode eq '3'",
        "executionInfo/exitCode lt null",
        "executionInfo/exitCode eq 3x",
        "stateTransitionTime gt datetime'yesterday'",
        "stateTransitionTime gt datetime'0001-01-01T00:00:00+23:59'",
        "stateTransitionTime gt '2026-11-26T12:00:00Z'",
        "(state eq 'active'",
        "state eq 'active",
        "(" * 100 + "state eq 'active'" + ")" * 100,
        "not " * 100 + "state eq 'active'",
    ],
)
def test_what_is_no_filter(text: str) -> None:
    """What does not parse, or does not fit the property, is refused with the service's code, the place and the text."""
    with pytest.raises(Refused) as raised:
        parse_filter(text, FIELDS)
    assert raised.value.code == "InvalidQueryParameterValue"
    assert raised.value.values["QueryParameterName"] == "$filter"
    assert "position" in raised.value.values["Reason"]


_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    sign: cast("Callable[[Any, Any], bool]", getattr(operator, sign)) for sign in ORDER
}
_IDS = st.sampled_from(["task-1", "TASK-2", "a", "it's", ""])
_TIMES = st.integers(-2, 2).map(lambda hours: NOW + timedelta(hours=hours))
_LITERALS: dict[str, st.SearchStrategy[Any]] = {
    "id": _IDS,
    "state": st.sampled_from([str(state) for state in TaskState]),
    "executionInfo/exitCode": st.integers(-3, 6).map(float),
    "stateTransitionTime": _TIMES,
    "enableAutoScale": st.booleans(),
}


def _comparisons(name: str) -> st.SearchStrategy[Tree]:
    field = FIELDS[name]
    signed = st.builds(Comparison, st.just(name), st.sampled_from(sorted(field.signs)), _LITERALS[name])
    return st.one_of(signed, st.builds(Comparison, st.just(name), st.sampled_from(sorted(EQUALITY)), st.none()))


_TREES: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(sorted(FIELDS)).flatmap(_comparisons),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
_RECORDS = st.builds(
    _record,
    id=_IDS,
    state=st.sampled_from(["active", "completed"]),
    code=st.none() | st.integers(-3, 6),
    since=_TIMES,
    auto=st.booleans(),
)


def _text(tree: Tree) -> str:
    """The filter that says the tree, fully parenthesised."""
    match tree:
        case Not(inner):
            return f"not ({_text(inner)})"
        case All(parts):
            return " and ".join(f"({_text(part)})" for part in parts)
        case AnyOf(parts):
            return " or ".join(f"({_text(part)})" for part in parts)
        case Comparison(name, sign, literal):
            said = _said(literal)
            return f"startswith({name},{said})" if sign == STARTS else f"{name} {sign} {said}"


def _said(literal: Any) -> str:
    if literal is None or isinstance(literal, bool):
        return {None: "null", True: "true", False: "false"}[literal]
    if isinstance(literal, datetime):
        return f"datetime'{stamp(literal)}'"
    if isinstance(literal, float):
        return f"{literal:g}"
    return "'" + str(literal).replace("'", "''") + "'"


def _oracle(tree: Tree, record: Any) -> bool:
    match tree:
        case Not(inner):
            return not _oracle(inner, record)
        case All(parts):
            return all(_oracle(part, record) for part in parts)
        case AnyOf(parts):
            return any(_oracle(part, record) for part in parts)
        case Comparison(name, sign, literal):
            value = FIELDS[name].get(record)
            if value is None or literal is None:
                return (value is literal) if sign == "eq" else sign == "ne" and value is not literal
            if isinstance(literal, str):
                value, literal = value.lower(), literal.lower()
            return value.startswith(literal) if sign == STARTS else _SIGNS[sign](value, literal)


@given(_TREES, _RECORDS)
def test_a_filter_selects_as_python_does(tree: Tree, record: Any) -> None:
    """Parsed again, a tree is itself; its predicate is what Python evaluates; what is required is met by each match."""
    found = parse_filter(_text(tree), FIELDS)
    assert found.tree == tree
    assert found.test(record) is _oracle(tree, record)
    if found.test(record):
        assert all(_oracle(Comparison(*one), record) for one in found.required)


@given(st.text(max_size=300) | st.text(alphabet="()' ,ntadoreqstateid0123456789-TZ:.", max_size=300))
def test_any_filter_is_understood_or_refused(text: str) -> None:
    """Nothing but a filter or the service's refusal comes out, in the time that Hypothesis grants (200 ms)."""
    try:
        parse_filter(text, FIELDS).test(_record())
    except Refused as refusal:
        assert refusal.code == "InvalidQueryParameterValue"


@pytest.mark.parametrize("text", ["(" * 60_000, "'" * 60_001, "not " * 15_000, "id eq 'a' or " * 4000 + "id eq 'b'"])
def test_long_filters_take_no_time(text: str) -> None:
    """What fills a whole request line is read, or refused, at once."""
    try:
        assert parse_filter(text, FIELDS).test(_record(id="b"))
    except Refused as refusal:
        assert refusal.code == "InvalidQueryParameterValue"


def test_selects() -> None:
    """Names are taken whatever their capitals and depth, once each, spelled as the service does; others are refused."""
    known = frozenset({"id", "state", "executionInfo"})
    assert parse_select("ID, executionInfo/exitCode,id,executionInfo/startTime", known) == ("id", "executionInfo")
    assert set(parse_select("*", known)) == known
    for text in ("id,nothing", "id,,state", "id state", "$id"):
        with pytest.raises(Refused, match="InvalidQueryParameterValue"):
            parse_select(text, known)


def test_the_table_of_queries_names_operations() -> None:
    """Each row belongs to an operation, and each list of records may be asked for by pages."""
    names = {name for _, _, name, *_ in (*OPERATIONS, *RETIRED)}
    assert set(QUERIES) <= names
    assert {name for name in names if str(name).startswith("List")} == {
        n for n, query in QUERIES.items() if query.pages
    }


@pytest.mark.parametrize(
    ("operation", "query", "strict", "code"),
    [
        ("ListPools", {"$expand": "stats", "$select": "id"}, True, None),
        ("ListPools", {"$expand": "nodes"}, False, "InvalidQueryParameterValue"),
        ("GetNode", {"$expand": "stats"}, False, "UnsupportedQueryParameter"),
        ("ListSupportedImages", {"$select": "osType"}, False, "UnsupportedQueryParameter"),
        ("GetPool", {"$filter": "id eq 'x'"}, False, "UnsupportedQueryParameter"),
        ("GetPool", {"maxresults": "5"}, False, "UnsupportedQueryParameter"),
        ("GetPool", {"colour": "red"}, False, None),
        ("GetPool", {"colour": "red"}, True, "UnsupportedQueryParameter"),
        ("GetPool", {"timeout": "soon"}, False, "InvalidQueryParameterValue"),
        ("DeleteTaskFile", {"recursive": "true", "timeout": "30"}, True, None),
    ],
)
def test_parameters(operation: str, query: dict[str, str], strict: bool, code: str | None) -> None:
    """An operation takes the parameters of its row; unknown ones that are none of OData's only strictness refuses."""
    if code is None:
        check_query(operation, query, strict=strict)
    else:
        with pytest.raises(Refused, match=code):
            check_query(operation, query, strict=strict)


def _call(query: dict[str, str]) -> Call:
    return Call(cast("Any", None), "http://e", "2025-06-01", {}, query, {}, {}, NOW, operation="ListTasks")


def _token(link: str) -> str:
    from urllib.parse import parse_qs, urlsplit

    return parse_qs(urlsplit(link).query)["$skiptoken"][0]


@given(
    st.sampled_from([int, lambda n: f"id-{n:03d}/é ü%&"]),
    st.sets(st.integers(0, 60), min_size=1),
    st.lists(st.tuples(st.sets(st.integers(0, 60), max_size=8), st.sets(st.integers(0, 60), max_size=8))),
    st.integers(1, 7),
)
def test_pages_hold_while_the_list_changes(
    key: Callable[[int], int | str], begin: set[int], changes: list[tuple[set[int], set[int]]], limit: int
) -> None:
    """With items added and removed between pages: what was there throughout comes once, and nothing comes twice."""
    there, throughout, seen = set(begin), set(begin), []
    query, left = {"maxresults": str(limit)}, iter(changes)
    while True:
        body = page(_call(query), there, lambda item: {"id": item}, key).body
        seen += [one["id"] for one in body["value"]]
        if "odata.nextLink" not in body:
            break
        query["$skiptoken"] = _token(body["odata.nextLink"])
        added, removed = next(left, (set(), set()))
        there = (there | added) - removed
        throughout &= there
    assert len(seen) == len(set(seen))
    assert throughout <= set(seen)


@pytest.mark.parametrize("token", ["", "nonsense", "n!x", "n!-1", "n!" + "9" * 30, "s!a"])
def test_foreign_tokens(token: str) -> None:
    """A token that this list has not made is refused."""
    with pytest.raises(Refused, match="InvalidQueryParameterValue"):
        page(_call({"$skiptoken": token}), [1, 2], lambda item: {"id": item}, int)


@pytest.mark.parametrize("text", ["0", "1001", "-1", "many", "", "9" * 5000, "1.5", "²"])
def test_maxresults(text: str) -> None:
    """A page has 1 to 1000 items."""
    with pytest.raises(Refused, match="InvalidQueryParameterValue"):
        page(_call({"maxresults": text}), [1, 2], lambda item: {"id": item}, int)
