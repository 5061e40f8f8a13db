"""What the head node is made of: each download with its version, address and SHA-256.

The file that comes with azbatch may lack checksums (null), since those are facts of the vendors' files: `fill` takes
them where there is internet, and a person compares them with what the vendors publish. Without one, no installation.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from azbatch.errors import ConfigurationError

NEEDED = ("azcopy", "java", "nextflow", "nf-azure", "python")
_NAME = re.compile(r"^[a-z][a-z0-9-]*$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_PLAIN = re.compile(r"^[A-Za-z0-9.+_-]+$")
_URL = re.compile(r"^https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9._~%+/-]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One download; `sha256` None is not known yet."""

    name: str
    version: str
    url: str
    sha256: str | None = None


def load(path: Path | None = None) -> dict[str, Pin]:
    """The pins of a file, by default the one that comes with azbatch. Raises ConfigurationError with all faults."""
    source = path or files("azbatch.headnode").joinpath("pins.json")
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError([f"{source} cannot be read as pins: {error}."]) from None
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ConfigurationError([f"{source} are no pins: a table of name, version, url, sha256 is needed."])
    pins = {
        str(name): Pin(
            name=str(name),
            version=str(entry.get("version", "")),
            url=str(entry.get("url", "")),
            sha256=entry.get("sha256"),
        )
        for name, entry in found.items()
    }
    faults = [fault for pin in pins.values() for fault in _faults(pin)]
    faults += [f"{source} has no pin for {name}." for name in NEEDED if name not in pins]
    if faults:
        raise ConfigurationError(faults)
    return pins


def _faults(pin: Pin) -> Iterable[str]:
    if not _NAME.match(pin.name):
        yield f"'{pin.name}' is no name of a pin."
    if not _PLAIN.match(pin.version):
        yield f"{pin.name}: '{pin.version}' is no version."
    if not _URL.match(pin.url):
        yield f"{pin.name}: '{pin.url}' is no plain https address."
    if pin.sha256 is not None and not _SHA256.match(str(pin.sha256)):
        yield f"{pin.name}: '{pin.sha256}' is no SHA-256 (64 hexadecimal digits, lower case)."


def complete(pins: Mapping[str, Pin]) -> None:
    """Raises ConfigurationError where a checksum is missing."""
    missing = [pin.name for pin in pins.values() if pin.sha256 is None]
    if missing:
        told = (
            f"Not pinned by a SHA-256 yet: {', '.join(missing)}. On a machine with internet run `azbatch headnode pins "
            "--output pins.json`, compare with what the vendors publish, and give the file with --pins."
        )
        raise ConfigurationError([told])


def fill(pins: Mapping[str, Pin], download: Callable[[str], Iterable[bytes]]) -> dict[str, Pin]:
    """The pins with missing checksums taken from the files themselves, and known ones checked.

    Raises ConfigurationError naming each file that is not what its pin says.
    """
    filled: dict[str, Pin] = {}
    faults: list[str] = []
    for name, pin in pins.items():
        digest = hashlib.sha256()
        for block in download(pin.url):
            digest.update(block)
        found = digest.hexdigest()
        if pin.sha256 is not None and pin.sha256 != found:
            faults.append(
                f"{name} {pin.version} is not what was pinned: {found} instead of {pin.sha256}; do not use it."
            )
        filled[name] = replace(pin, sha256=found)
    if faults:
        raise ConfigurationError(faults)
    return filled


def text(pins: Mapping[str, Pin]) -> str:
    """The pins as their file."""
    table = {pin.name: {"version": pin.version, "url": pin.url, "sha256": pin.sha256} for pin in pins.values()}
    return json.dumps(table, indent=2, sort_keys=True) + "\n"
