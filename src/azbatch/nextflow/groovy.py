"""Values as Groovy text. Pure."""

from __future__ import annotations

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def quoted(text: str) -> str:
    """A single-quoted string: nothing in it is expanded, not even $."""
    return "'" + "".join(_ESCAPES.get(c, c if c.isprintable() else _code(c)) for c in text) + "'"


def _code(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def unquoted(text: str) -> str:
    """The value of a single-quoted string. Raises ValueError for anything else."""
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise ValueError(f"{text} is no single-quoted string")
    back = {value[1]: key for key, value in _ESCAPES.items()}
    units: list[bytes] = []
    body, at = text[1:-1], 0
    while at < len(body):
        if body[at] == "'":
            raise ValueError(f"{text} ends early")
        if body[at] != "\\":
            units.append(body[at].encode("utf-16-be", "surrogatepass"))
            at += 1
        elif body[at + 1 : at + 2] == "u":
            units.append(bytes.fromhex(body[at + 2 : at + 6]))
            at += 6
        elif body[at + 1 : at + 2] in back:
            units.append(back[body[at + 1]].encode("utf-16-be"))
            at += 2
        else:
            raise ValueError(f"{text} has an unknown escape")
    return b"".join(units).decode("utf-16-be", "surrogatepass")
