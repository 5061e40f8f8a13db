"""From tokens to a tree. The docstrings of the parsing functions are the grammar."""

from __future__ import annotations

from dataclasses import dataclass

from azbatch_emulator.autoscale.errors import SYNTAX, TOO_LONG, FormulaError
from azbatch_emulator.autoscale.tokens import Token, tokenize

MAX_CHARACTERS = 8 * 1024
MAX_STATEMENTS = 100
MAX_DEPTH = 50  # some fourteen frames of Python's stack each


@dataclass(frozen=True, slots=True)
class Number:
    at: Token
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    at: Token
    value: str


@dataclass(frozen=True, slots=True)
class Name:
    at: Token
    name: str


@dataclass(frozen=True, slots=True)
class Vector:
    at: Token
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Arguments:
    """`at` is the opening parenthesis: the service tells a call's faults there [recorded]."""

    at: Token
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    at: Token
    function: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Member:
    """`owner.name` (attribute; `arguments` None) or `owner.name(...)` (method)."""

    at: Token
    owner: Node
    name: str
    arguments: Arguments | None


@dataclass(frozen=True, slots=True)
class Unary:
    at: Token
    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators of one precedence, left to right: kept flat, so that a long sum is no deep tree."""

    first: Node
    rest: tuple[tuple[Token, Node], ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """`a ? b : c ? d : e` as two branches (the "?", condition, outcome) and what is left: long tables are not deep."""

    branches: tuple[tuple[Token, Node, Node], ...]
    otherwise: Node


Node = Number | Text | Name | Vector | Call | Member | Unary | Chain | Conditional


@dataclass(frozen=True, slots=True)
class Assignment:
    target: Token
    value: Node


@dataclass(frozen=True, slots=True)
class Bare:
    """A statement that assigns nothing, such as `stop();`."""

    value: Node


Statement = Assignment | Bare


@dataclass(frozen=True, slots=True)
class Formula:
    statements: tuple[Statement, ...]


_LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))


def parse(text: str) -> Formula:
    """The tree of a formula.

    Raises FormulaError: AutoScalingFormulaTooLong over 8,192 characters, AutoScalingFormulaSyntaxError otherwise.
    Source: "Create an autoscale formula"; the SDK's error code strings.
    """
    if len(text) > MAX_CHARACTERS:
        raise FormulaError(f"The formula is longer than {MAX_CHARACTERS} characters", 1, 1, TOO_LONG)
    return _Parser(list(tokenize(text))).formula()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._next
        if token.kind != "end":
            self._position += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind == "operator" and self._next.text in texts

    def _expect(self, text: str) -> Token:
        if not self._is(text):
            raise self._fault(f"Expected '{text}'")
        return self._take()

    def _fault(self, message: str) -> FormulaError:
        token = self._next
        found = "end of formula" if token.kind == "end" else f"'{token.text}'"
        return FormulaError(f"{message}, found {found}", token.line, token.column, SYNTAX)

    def formula(self) -> Formula:
        """formula := { [ statement ] ";" } [ statement ]"""
        statements: list[Statement] = []
        while self._next.kind != "end":
            if self._is(";"):
                self._take()
                continue
            if len(statements) == MAX_STATEMENTS:
                raise self._fault(f"A formula has at most {MAX_STATEMENTS} statements")
            statements.append(self.statement())
            if self._next.kind != "end":
                self._expect(";")
        return Formula(tuple(statements))

    def statement(self) -> Statement:
        """statement := name "=" expression | expression"""
        following = self._tokens[min(self._position + 1, len(self._tokens) - 1)]
        if self._next.kind == "name" and (following.kind, following.text) == ("operator", "="):
            target = self._take()
            self._take()
            return Assignment(target, self.expression())
        return Bare(self.expression())

    def expression(self) -> Node:
        """expression := { chain of "||" "?" expression ":" } chain of "||" """
        self._deeper()
        branches: list[tuple[Token, Node, Node]] = []
        node = self.chain(0)
        while self._is("?"):
            at = self._take()
            branches.append((at, node, self.expression()))
            self._expect(":")
            node = self.chain(0)
        self._depth -= 1
        return Conditional(tuple(branches), node) if branches else node

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault("The expression is nested too deeply")

    def chain(self, level: int) -> Node:
        """chain(level) := chain(level + 1) { operator of level  chain(level + 1) }; above "*" and "/" is unary"""
        if level == len(_LEVELS):
            return self.unary()
        first = self.chain(level + 1)
        rest: list[tuple[Token, Node]] = []
        while self._is(*_LEVELS[level]):
            operator = self._take()
            rest.append((operator, self.chain(level + 1)))
        return Chain(first, tuple(rest)) if rest else first

    def unary(self) -> Node:
        """unary := ( "-" | "!" ) unary | postfix"""
        if not self._is("-", "!"):
            return self.postfix()
        self._deeper()
        at = self._take()
        operand = Unary(at, at.text, self.unary())
        self._depth -= 1
        return operand

    def postfix(self) -> Node:
        """postfix := primary { "." name [ arguments ] }"""
        node = self.primary()
        depth = self._depth
        while self._is("."):
            # Each hop deepens the tree as a parenthesis does.
            self._deeper()
            self._take()
            if self._next.kind != "name":
                raise self._fault("Expected a name")
            name = self._take()
            node = Member(name, node, name.text, self.arguments() if self._is("(") else None)
        self._depth = depth
        return node

    def arguments(self) -> Arguments:
        """arguments := "(" [ expression { "," expression } ] ")" """
        return Arguments(self._next, self._list("(", ")"))

    def _list(self, opening: str, closing: str) -> tuple[Node, ...]:
        self._expect(opening)
        items: list[Node] = []
        while not self._is(closing):
            if items:
                self._expect(",")
            items.append(self.expression())
        self._take()
        return tuple(items)

    def primary(self) -> Node:
        """primary := number | string | name [ arguments ] | "(" expression ")" | "[" expressions "]" """
        token = self._next
        if token.kind == "number":
            return Number(self._take(), float(token.text))
        if token.kind == "string":
            return Text(self._take(), token.text[1:-1].replace('\\"', '"').replace("\\\\", "\\"))
        if token.kind == "name":
            self._take()
            return Call(token, token.text, self.arguments()) if self._is("(") else Name(token, token.text)
        if self._is("["):
            return Vector(token, self._list("[", "]"))
        if self._is("("):
            self._take()
            inner = self.expression()
            self._expect(")")
            return inner
        raise self._fault("Expected an expression")
