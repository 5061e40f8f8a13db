"""Choosing an image for nodes from the service's own list. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from azbatch.errors import ConfigurationError

Json = dict[str, Any]


def name_of(image: Json) -> str:
    """`publisher:offer:sku`."""
    reference = image["imageReference"]
    return f"{reference['publisher']}:{reference['offer']}:{reference['sku']}"


def choose(images: Sequence[Json], wanted: str | None, *, containers: bool, now: datetime) -> Json:
    """The entry of list-supported-images to use: `publisher:offer:sku[:version]`, or by default the newest verified
    Ubuntu that is still supported (one that runs containers, where they are wanted).

    Raises ConfigurationError, with near names, where there is none.
    """
    linux = [image for image in images if image.get("osType") == "linux"]
    if wanted is not None:
        return _named(linux, wanted)
    usable = [
        image
        for image in linux
        if image.get("verificationType") == "verified"
        and "ubuntu" in image["imageReference"]["offer"]
        and not _ended(image, now)
        and (not containers or "DockerCompatible" in image.get("capabilities", ()))
    ]
    if not usable:
        raise ConfigurationError(
            ["The Batch account offers no supported Ubuntu image; name one with publisher:offer:sku."]
        )
    return max(usable, key=lambda image: (_release(image), "DockerCompatible" in image.get("capabilities", ())))


def _named(images: Sequence[Json], wanted: str) -> Json:
    parts = wanted.split(":")
    names = {name_of(image).lower(): image for image in images}
    found = names.get(":".join(parts[:3]).lower())
    if found is None or not 3 <= len(parts) <= 4:
        near = difflib.get_close_matches(wanted.lower(), names, n=3, cutoff=0.3)
        hint = f" Near it: {', '.join(name_of(names[other]) for other in near)}." if near else ""
        raise ConfigurationError([f"'{wanted}' is no supported image (publisher:offer:sku).{hint}"])
    if len(parts) == 3:
        return found
    return {**found, "imageReference": {**found["imageReference"], "version": parts[3]}}


def _ended(image: Json, now: datetime) -> bool:
    end = image.get("batchSupportEndOfLife")
    return end is not None and datetime.fromisoformat(str(end).replace("Z", "+00:00")) <= now


def _release(image: Json) -> tuple[int, ...]:
    """The release in the node agent's name: `batch.node.ubuntu 24.04` -> (24, 4)."""
    return tuple(int(part) for part in re.findall(r"\d+", str(image["nodeAgentSKUId"])))
