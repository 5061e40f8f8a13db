"""Who is asking: SharedKey as every client signs it, or a bearer token of our own token endpoint."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from azbatch_emulator.account import Account
from azbatch_emulator.batch.times import parse_http_date
from azbatch_emulator.identity.tokens import Tokens
from azbatch_emulator.records import Refused

SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
AUDIENCES = ("https://batch.core.windows.net/", "https://batch.core.windows.net")
SKEW = timedelta(minutes=15)


def _failed(reason: str) -> Refused:
    return Refused("AuthenticationFailed", {"AuthenticationErrorDetail": reason})


def authenticate(
    method: str,
    raw_path: str,
    query: str,
    headers: Mapping[str, str],
    account: Account,
    tokens: Tokens,
    now: datetime,
) -> str | None:
    """The object id of a token's principal, None for a shared key; or Refused: MissingRequiredHeader without
    Authorization, else AuthenticationFailed.

    `headers` has lower-case names. Source: "Authenticate requests to the Azure Batch service".
    """
    authorization = headers.get("authorization")
    if not authorization:
        raise Refused("MissingRequiredHeader", {"HeaderName": "Authorization"})
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        subject = tokens.subject(value.strip(), AUDIENCES, now)
        if subject is None:
            raise _failed("The bearer token is not valid for this account: it is malformed, expired or foreign.")
        return subject
    if scheme != "SharedKey":
        raise _failed(f"The authentication scheme {scheme[:40]} is not supported.")
    name, _, signature = value.partition(":")
    if name.lower() != account.name.lower():
        raise _failed("The account named in the Authorization header is not this account.")
    _check_date(headers, now)
    given = signature.strip().encode()
    key = base64.b64decode(account.key)
    for candidate in strings_to_sign(method, raw_path, query, headers, name):
        expected = base64.b64encode(hmac.new(key, candidate.encode(), hashlib.sha256).digest())
        if hmac.compare_digest(expected, given):
            return None
    raise _failed("The MAC signature found in the HTTP request is not the same as any computed signature.")


def _check_date(headers: Mapping[str, str], now: datetime) -> None:
    text = headers.get("ocp-date") or headers.get("date")
    if text is None:
        raise Refused("MissingRequiredHeader", {"HeaderName": "ocp-date"})
    try:
        age = abs(now - parse_http_date(text))
    except (ValueError, TypeError):
        raise Refused("InvalidHeaderValue", {"HeaderName": "ocp-date", "HeaderValue": text}) from None
    if age > SKEW:
        raise _failed("The Date header in the request is more than 15 minutes off the server's clock.")


def strings_to_sign(method: str, raw_path: str, query: str, headers: Mapping[str, str], account: str) -> Iterator[str]:
    """What clients may have signed, the likeliest first: they differ in case and in how no body is written."""
    parameters = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if value]
    ocp = sorted((name, value) for name, value in headers.items() if name.startswith("ocp-") and value)
    names: Sequence[bool] = (False, True)
    for lower_query, length, account_name in itertools.product(
        names, _lengths(headers), dict.fromkeys((account, account.lower()))
    ):
        values = {**headers, "content-length": length}
        lines = [method, *(values.get(name, "") for name in SIGNED)]
        lines += [f"{name}:{value}" for name, value in ocp]
        lines.append(f"/{account_name}{raw_path}")
        seen: dict[str, str] = {}
        for name, value in parameters:
            seen.setdefault(name.lower() if lower_query else name, value)
        lines += [f"{name}:{value}" for name, value in sorted(seen.items())]
        yield "\n".join(lines)


def _lengths(headers: Mapping[str, str]) -> Sequence[str]:
    length = headers.get("content-length", "")
    return (length,) if length not in {"", "0"} else ("", "0")
