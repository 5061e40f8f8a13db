"""Queries of the form `az://container/path`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEME = "az://"
_CONTAINER = re.compile(r"^[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){2,62}$")
LONGEST_NAME = 1024


@dataclass(frozen=True, slots=True)
class Location:
    """A container and the name of a blob in it (or of a virtual directory); names have no leading or trailing slash."""

    container: str
    name: str

    @property
    def suffix(self) -> str:
        """Path relative to a local prefix, unique for the location."""
        return f"{self.container}/{self.name}"


def parse(query: str) -> Location:
    """The location of a query. What follows the container is a name as it is: nothing is decoded."""
    container, _, name = query.removeprefix(SCHEME).partition("/")
    return Location(container, name.strip("/"))


def fault(query: str) -> str | None:
    """What is wrong with a query; None where nothing is. Wildcards in braces are allowed anywhere but the scheme."""
    if not query.startswith(SCHEME):
        return f"it must start with {SCHEME}"
    location = parse(query)
    if not location.container:
        return "it names no container"
    if "{" not in location.container and not _CONTAINER.match(location.container):
        return (
            f"'{location.container}' is no container name: 3 to 63 lower-case letters, digits and single hyphens, "
            "beginning and ending with a letter or digit"
        )
    if not location.name:
        return "it names no blob: a path must follow the container"
    if len(location.name) > LONGEST_NAME:
        return f"the blob name is longer than {LONGEST_NAME} characters"
    if any(part in {"", ".", ".."} for part in location.name.split("/")):
        return "the path has an empty part, '.' or '..'"
    return None


def inventory_parent(location: Location) -> tuple[str, str]:
    """(container, prefix) whose listing answers for the location: its first directory, or the container's top level.

    A run's data lies below one such directory, so one listing answers for the whole run.
    """
    first, slash, _ = location.name.partition("/")
    return location.container, f"{first}/" if slash else ""
