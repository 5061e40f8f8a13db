"""Who may reach the emulator: this machine only, unless somebody says otherwise and brings a key of their own.

Pure but for reading the two files. On loopback identity costs nothing (the metadata service hands tokens to whoever
asks, as on a machine of Azure); beyond it only a key, or a client's own secret, opens anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azbatch_emulator.errors import EmulatorError

LOOPBACK = "127.0.0.1"
LEAST_KEY, LEAST_VARIETY = 32, 16  # bytes of a key, and different ones among them
LEAST_TOKEN = 32  # characters
# Azurite's published key, by its hash: scanners for secrets need not find it here.
_PUBLISHED = frozenset({"0011cc25eb4320717494d2703e8cba85743e71b500283c21c8b88147992f9059"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Where it listens (IPv4), by which other names it is reached, and what the user brought to guard it (or None)."""

    address: str = LOOPBACK
    names: tuple[str, ...] = ()
    key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def remote(self) -> bool:
        """Whether other machines can reach it."""
        return not ipaddress.IPv4Address(self.address).is_loopback

    @property
    def local_host(self) -> str:
        """The host by which processes of this machine reach what listens at `address`."""
        return LOOPBACK if ipaddress.IPv4Address(self.address).is_unspecified else self.address


def decide(
    listen: str = LOOPBACK,
    *,
    allow_remote: bool = False,
    names: Sequence[str] = (),
    key_file: Path | None = None,
    token_file: Path | None = None,
    derived: Collection[str] = (),
) -> Exposure:
    """What the options mean together. `derived` are keys that anybody can compute, besides the published ones.

    Raises EmulatorError, which names everything wrong with them at once.
    """
    wrong: list[str] = []
    address = LOOPBACK if listen == "localhost" else listen
    try:
        remote = not ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        raise EmulatorError(
            f"--listen {listen} is no IPv4 address; use 127.0.0.1, an address of this machine, or 0.0.0.0 for all."
        ) from None
    key = _read(key_file, "--key-file", wrong)
    token = _read(token_file, "--token-file", wrong)
    if remote and not allow_remote:
        wrong.append("add --allow-remote to let other machines in")
    if remote and key_file is None:
        wrong.append("add --key-file FILE, a key of your own (make one with: openssl rand -base64 64 | tr -d '\\n')")
    if key is not None:
        wrong += _key_faults(key, remote, derived)
    if token is not None and len(token) < LEAST_TOKEN:
        wrong.append(f"the token in --token-file needs at least {LEAST_TOKEN} characters")
    if wrong:
        where = f"The emulator would listen on {address}, beyond loopback" if remote else "The emulator cannot start"
        raise EmulatorError(f"{where}: {'; '.join(wrong)}.")
    extra = (address,) if address != LOOPBACK and not ipaddress.IPv4Address(address).is_unspecified else ()
    return Exposure(address=address, names=(*names, *extra), key=key, token=token)


def _read(path: Path | None, option: str, wrong: list[str]) -> str | None:
    if path is None:
        return None
    try:
        text = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        wrong.append(f"{option} {path} cannot be read ({reason})")
        return None
    if not text:
        wrong.append(f"{option} {path} is empty")
        return None
    return text


def _key_faults(key: str, remote: bool, derived: Collection[str]) -> list[str]:
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return ["the key in --key-file is not base64"]
    if remote and (hashlib.sha256(key.encode()).hexdigest() in _PUBLISHED or key in derived):
        return ["the key in --key-file is known to everybody; beyond loopback it must be one of your own"]
    if len(raw) < LEAST_KEY or len(set(raw)) < LEAST_VARIETY:
        return [f"the key in --key-file needs at least {LEAST_KEY} random bytes"]
    return []
