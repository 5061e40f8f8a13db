"""Tokens of the formula language: one table of rules, tried in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from azbatch_emulator.autoscale.errors import SYNTAX, FormulaError

RULES: tuple[tuple[str, str], ...] = (
    ("space", r"[ \t\r\n]+"),
    ("comment", r"//[^\n]*"),
    ("number", r"(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?"),
    ("string", r'"(?:[^"\\\n]|\\.)*"'),
    ("name", r"\$?[A-Za-z_][A-Za-z0-9_]*"),
    ("operator", r"&&|\|\||==|!=|<=|>=|[-+*/<>!?:=();,.\[\]]"),
)
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in RULES))


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is a rule's name, or "end"; `line` and `column` count from 1."""

    kind: str
    text: str
    line: int
    column: int


def tokenize(text: str) -> Iterator[Token]:
    """The tokens of `text` without blanks and comments, closed by an "end" token. Raises FormulaError."""
    line, start, position = 1, 0, 0
    while position < len(text):
        found = _PATTERN.match(text, position)
        if found is None:
            raise FormulaError(f"Invalid character: {text[position]}", line, position - start + 1, SYNTAX)
        kind, lexeme = str(found.lastgroup), found.group()
        if kind not in {"space", "comment"}:
            yield Token(kind, lexeme, line, position - start + 1)
        breaks = lexeme.count("\n")
        if breaks:
            line += breaks
            start = position + lexeme.rindex("\n") + 1
        position = found.end()
    yield Token("end", "", line, position - start + 1)
