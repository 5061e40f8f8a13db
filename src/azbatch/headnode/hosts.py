"""Names and addresses in a hosts file, each once, without touching the lines of others. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MARK = "# azbatch"


def merged(text: str, addresses: Mapping[str, str]) -> str:
    """The file with `addresses` (name -> address) as lines of ours at its end; ours of before are replaced.

    Other lines stay, but for a name of ours in them, which would win over our line: it is taken out of its line.
    """
    wanted = {name.lower(): address for name, address in addresses.items()}
    kept: list[str] = []
    for line in text.splitlines():
        body, hash_, comment = line.partition("#")
        if line.rstrip().endswith(MARK):
            continue
        words = body.split()
        if words and any(word.lower() in wanted for word in words[1:]):
            words = [words[0], *(word for word in words[1:] if word.lower() not in wanted)]
            if len(words) == 1:
                continue
            line = " ".join(words) + (f" {hash_}{comment}" if hash_ else "")
        kept.append(line)
    ours = [f"{address} {name} {MARK}" for name, address in sorted(wanted.items())]
    return "\n".join([*kept, *ours]) + "\n"
