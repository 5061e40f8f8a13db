"""One request on its way through the wire: what handlers get, what they give, and lists by pages."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from azbatch_emulator import durations
from azbatch_emulator.batch.odata import Filter, bad_query, parse_filter, parse_select
from azbatch_emulator.batch.queries import NOTHING, QUERIES, Query
from azbatch_emulator.batch.rules import LENIENT, Context
from azbatch_emulator.batch.times import etag, parse_http_date
from azbatch_emulator.engine import Engine
from azbatch_emulator.records import Application, DeallocationOption, Refused
from azbatch_emulator.world import World

R = TypeVar("R")
PAGE = 1000
# Each says when the request is not to be carried out, by (last modified, time in the header).
_DATE_CONDITIONS: Mapping[str, Callable[[datetime, datetime], bool]] = {
    "if-modified-since": operator.le,
    "if-unmodified-since": operator.gt,
}


@dataclass(slots=True)
class Call:
    """`path` holds the template's parameters, `query` and `headers` have lower-case names, `body` is checked JSON."""

    engine: Engine
    url: str
    api_version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]
    now: datetime
    node_root: Path | None = None
    request_path: str = ""
    applications: Callable[[], Sequence[Application]] = tuple
    operation: str = ""
    context: Context = LENIENT

    @property
    def world(self) -> World:
        return self.engine.world

    def required(self, name: str) -> Any:
        """A property of the body. Raises Refused(MissingRequiredProperty)."""
        if self.body.get(name) is None:
            raise Refused("MissingRequiredProperty", {"PropertyName": name})
        return self.body[name]

    def option(self, name: str, default: DeallocationOption) -> DeallocationOption:
        """A choice of what happens to running tasks. Raises Refused(InvalidPropertyValue)."""
        value = str(self.body.get(name) or default).lower()
        # A job's "wait" and a node's "taskcompletion" mean the same.
        value = DeallocationOption.TASK_COMPLETION.value if value == "wait" else value
        try:
            return DeallocationOption(value)
        except ValueError:
            raise Refused("InvalidPropertyValue", {"PropertyName": name, "PropertyValue": value}) from None

    def duration(self, name: str, default: str) -> Any:
        return durations.parse(str(self.body.get(name) or default))


@dataclass(slots=True)
class Reply:
    """`modified` gives ETag and Last-Modified; `file` streams bytes `span` of a file instead of a body."""

    status: int = 200
    body: Any = None
    modified: datetime | None = None
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    span: tuple[int, int] | None = None
    head: bool = False


def check_conditions(call: Call, modified: datetime) -> None:
    """If-Match and its kin. Raises Refused(ConditionNotMet); for reads the service answers 304 instead of 412."""
    tag, headers = etag(modified), call.headers
    whole = modified.replace(microsecond=0)

    def listed(value: str) -> bool:
        return value.strip() == "*" or tag in (part.strip().strip('"') for part in value.split(","))

    if "if-match" in headers and not listed(headers["if-match"]):
        raise Refused("ConditionNotMet")
    if "if-none-match" in headers and listed(headers["if-none-match"]):
        raise Refused("ConditionNotMet")
    for name, unmet in _DATE_CONDITIONS.items():
        if name not in headers:
            continue
        try:
            when = parse_http_date(headers[name])
        except (ValueError, TypeError):
            raise Refused("InvalidHeaderValue", {"HeaderName": name, "HeaderValue": headers[name]}) from None
        if unmet(whole, when):
            raise Refused("ConditionNotMet")


def check_query(operation: str, query: Mapping[str, str], *, strict: bool) -> None:
    """Raises Refused for a parameter that the operation does not take, or a value that none has."""
    takes = QUERIES.get(operation, NOTHING)
    for name in query:
        if not (_taken(takes, name) or (not strict and not name.startswith("$") and name != "maxresults")):
            raise Refused("UnsupportedQueryParameter", {"QueryParameterName": name[:80]})
    timeout = query.get("timeout", "30")
    if not (timeout.isascii() and timeout.isdigit() and len(timeout) < 10):
        raise bad_query("timeout", timeout, "It is a number of seconds")
    for part in filter(None, query.get("$expand", "").split(",")):
        if part.strip() not in (takes.expand or ()):
            raise bad_query("$expand", query["$expand"], f"It is {', '.join(takes.expand or ())}")


def _taken(takes: Query, name: str) -> bool:
    if name in {"api-version", "timeout"}:
        return True
    if name in {"maxresults", "$skiptoken"}:
        return takes.pages
    by_name = {"$filter": takes.filter, "$select": takes.select, "$expand": takes.expand}
    return by_name[name] is not None if name in by_name else name in takes.others


def selected(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """The properties that $select names; all without it."""
    text = call.query.get("$select")
    if not text:
        return body
    return {name: body[name] for name in parse_select(text, QUERIES[call.operation].select or ()) if name in body}


def expanded(call: Call) -> bool:
    """Whether statistics are asked for."""
    return bool(call.query.get("$expand", "").strip(" ,"))


def wanted_filter(call: Call) -> Filter | None:
    """The filter of a list, by what its operation may be filtered by. Raises Refused(InvalidQueryParameterValue)."""
    text = call.query.get("$filter")
    return parse_filter(text, QUERIES[call.operation].filter or {}) if text else None


def page(
    call: Call,
    records: Iterable[R],
    encode: Callable[[R], dict[str, Any]],
    key: Callable[[R], Any],
    *,
    test: Callable[[Any], bool] | None = None,
    sort: bool = True,
) -> Reply:
    """One page of a list: filtered, in order of `key`, at most `maxresults`; the token is the last key given out.

    A token names a key, not a position, so that pages neither repeat nor skip when the list changes between them.
    Keys are all numbers or all strings; without `sort` the records come in their order.
    """
    limit = _limit(call)
    last = after(call)
    if call.query.get("$select"):
        parse_select(call.query["$select"], QUERIES[call.operation].select or ())  # refused for an empty list as well
    ordered = sorted(records, key=key) if sort else records
    chosen: list[R] = []
    more = False
    for record in ordered:
        if last is not None and _before(key(record), last, call):
            continue
        if test is not None and not test(record):
            continue
        if len(chosen) == limit:
            more = True
            break
        chosen.append(record)
    body: dict[str, Any] = {
        "odata.metadata": f"{call.url}/$metadata#list",
        "value": [selected(call, encode(record)) for record in chosen],
    }
    if more:
        body["odata.nextLink"] = _next_link(call, _token(key(chosen[-1])))
    return Reply(body=body)


def _token(key: int | str) -> str:
    """The key with a mark of its type."""
    return f"n!{key}" if isinstance(key, int) else f"s!{key}"


def after(call: Call) -> int | str | None:
    """The key that the page comes after. Raises Refused for a token that this service has not made."""
    token = call.query.get("$skiptoken")
    if token is None:
        return None
    mark, _, key = token.partition("!")
    if mark == "n" and key.isascii() and key.isdigit() and len(key) < 20:
        return int(key)
    if mark == "s":
        return key
    raise bad_query("$skiptoken", token, "It is not a token of this service")


def _before(key: int | str, after: int | str, call: Call) -> bool:
    if isinstance(key, int) is not isinstance(after, int):
        raise bad_query("$skiptoken", call.query["$skiptoken"], "It is a token of another list")
    return key <= after  # type: ignore[operator]


def _limit(call: Call) -> int:
    text = call.query.get("maxresults")
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= PAGE):
        raise bad_query("maxresults", text, f"It is between 1 and {PAGE}")
    return int(text)


def _next_link(call: Call, token: str) -> str:
    kept = [(name, value) for name, value in call.query.items() if name not in {"$skiptoken", "timeout"}]
    query = "&".join(
        f"{quote(name, safe='$-')}={quote(value, safe='', errors='surrogateescape')}"
        for name, value in (*kept, ("$skiptoken", token))
    )
    return f"{call.url}{call.request_path}?{query}"
