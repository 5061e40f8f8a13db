"""prepare.sh as text, from its template, the pins, the lock of Python packages and azbatch's own wheel. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from collections.abc import Mapping
from importlib.resources import files

from azbatch.errors import ConfigurationError
from azbatch.headnode.pins import Pin, complete

_WHEEL = re.compile(r"^azbatch-[A-Za-z0-9.+!]+-py3-none-any\.whl$")


def template() -> str:
    return files("azbatch.headnode").joinpath("prepare.sh.in").read_text(encoding="utf-8")


def requirements() -> str:
    """The hash-pinned lock of what azbatch needs with Snakemake, as it comes with azbatch."""
    return files("azbatch.headnode").joinpath("requirements.txt").read_text(encoding="utf-8")


def render(
    pins: Mapping[str, Pin], *, version: str, lock: str, wheel_name: str = "", wheel: bytes | None = None
) -> str:
    """The script. azbatch itself is carried inside (`wheel`), else the pins name it.

    Raises ConfigurationError with all faults: pins without checksum, packages without hash, no azbatch.
    """
    faults: list[str] = []
    try:
        complete(pins)
    except ConfigurationError as error:
        faults += error.faults
    loose = [line.split()[0] for line in _packages(lock) if "--hash=sha256:" not in line]
    if loose:
        faults.append(f"Packages without a hash in the lock: {', '.join(loose)}.")
    if wheel is None and "azbatch" not in pins:
        faults.append("azbatch's own wheel is needed: give --wheel FILE, or a pin named azbatch.")
    name = wheel_name if wheel is not None else f"azbatch-{version}-py3-none-any.whl"
    if not _WHEEL.match(name):
        faults.append(f"'{name}' is no wheel of azbatch (azbatch-VERSION-py3-none-any.whl).")
    if faults:
        raise ConfigurationError(faults)
    digest = hashlib.sha256(wheel).hexdigest() if wheel is not None else str(pins["azbatch"].sha256)
    state = f"{digest} {hashlib.sha256(lock.encode()).hexdigest()}"
    values = {
        "VERSION": version,
        "PINS": "\n".join(
            f"SHA256[{pin.name}]={pin.sha256} ADDRESS[{pin.name}]='{pin.url}' VERSION[{pin.name}]='{pin.version}'"
            for pin in sorted(pins.values(), key=lambda pin: pin.name)
        ),
        "REQUIREMENTS": lock.strip("\n"),
        "WHEEL": "\n".join(textwrap.wrap(base64.b64encode(wheel).decode(), 120)) if wheel is not None else "",
        "WHEEL_EMBEDDED": "yes" if wheel is not None else "",
        "WHEEL_NAME": name,
        "WHEEL_SHA256": digest,
        "AZBATCH_STATE": state,
        "VENV_ID": hashlib.sha256(f"{state} {pins['python'].sha256}".encode()).hexdigest()[:12],
    }
    # One pass, so that nothing in a value is taken for a place.
    return re.sub(r"@([A-Z0-9_]+)@", lambda match: values[match[1]], template())


def _packages(lock: str) -> list[str]:
    """The entries of a requirements file, continued lines joined."""
    joined = lock.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
