"""Takes secrets out of what is recorded: by the names of properties, by shape, and those that are known. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

REMOVED = "REMOVED"
_WORDS = r"password|passwd|secret|(?<!skip)(?<!continuation)token|credential|connectionstring|(?:[a-z]+[_-]?)key\d?|sas"
_NAME = re.compile(rf"(?:{_WORDS})s?$", re.IGNORECASE)
_NO_SECRET = frozenset({"publickey", "sshpublickey", "partitionkey", "rowkey"})
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(sig=)[^&\s'\"]+"), rf"\1{REMOVED}"),
    (re.compile(rf"(?i)\b([\w-]*(?:{_WORDS})s?\s?=\s?)[^\s&;'\"]+"), rf"\1{REMOVED}"),
    (re.compile(r"(?i)(--?[\w-]*(?:password|secret|token|[a-z]key) )[^\s'\"]+"), rf"\1{REMOVED}"),
    (re.compile(r"(?i)\b((?:bearer|basic|sharedkey) )[\w.:+/=~-]{8,}"), rf"\1{REMOVED}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), REMOVED),
    (re.compile(r"[A-Za-z0-9+/]{86}=="), REMOVED),  # a key of an account
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), REMOVED),
)
_SECRET_ANSWERS = re.compile(r"(?i)/(list[a-z]*(keys|sas|credentials|secrets)|regenerate[a-z]*)(/|\?|$)")


def is_secret(name: str) -> bool:
    """Whether a property or variable of that name holds a secret."""
    return bool(_NAME.search(name)) and name.lower() not in _NO_SECRET


def redactor(known: Collection[str] = ()) -> Callable[[Any], Any]:
    """Takes secrets out of JSON or text; `known` ones wherever they stand."""
    literal = sorted((secret for secret in known if secret), key=len, reverse=True)

    def text(value: str) -> str:
        for secret in literal:
            value = value.replace(secret, REMOVED)
        for shape, instead in _SHAPES:
            value = shape.sub(instead, value)
        return value

    def redact(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, list):
            return [redact(one) for one in value]
        if not isinstance(value, dict):
            return value
        named = is_secret(str(value.get("name") or value.get("key") or ""))
        return {
            name: REMOVED
            if isinstance(inner, str | int | float) and (is_secret(name) or (named and name == "value"))
            else redact(inner)
            for name, inner in value.items()
        }

    return redact


def answers_secrets(target: str) -> bool:
    """Whether all that a request is answered is secret, as keys of an account."""
    return bool(_SECRET_ANSWERS.search(target))
