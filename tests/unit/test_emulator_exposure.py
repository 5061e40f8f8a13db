"""Who may reach the emulator: one table of what is refused, and why."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import pytest

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.exposure import decide

OWN = base64.b64encode(bytes(range(64))).decode()
AZURITES = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq" + "/K1SZFPTOtr/KBHBeksoGMGw=="
DERIVED = base64.b64encode(bytes(range(100, 164))).decode()


def written(folder: Path, text: str) -> Path:
    path = folder / "key"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("listen", "allowed", "key", "said"),
    [
        ("0.0.0.0", False, None, ["--allow-remote", "--key-file"]),
        ("0.0.0.0", True, None, ["--key-file"]),
        ("0.0.0.0", False, OWN, ["--allow-remote"]),
        ("192.0.2.7", True, AZURITES, ["known to everybody"]),
        ("192.0.2.7", True, DERIVED, ["known to everybody"]),
        ("192.0.2.7", True, "not base64!", ["not base64"]),
        ("192.0.2.7", True, base64.b64encode(b"short").decode(), ["32 random bytes"]),
        ("192.0.2.7", True, base64.b64encode(b"a" * 64).decode(), ["32 random bytes"]),
        ("192.0.2.7", True, "  \n", ["--key-file", "is empty"]),
        ("emulator.example", True, OWN, ["no IPv4 address"]),
        ("::", True, OWN, ["no IPv4 address"]),
    ],
)
def test_beyond_loopback_it_takes_a_flag_and_a_key(
    tmp_path: Path, listen: str, allowed: bool, key: str | None, said: list[str]
) -> None:
    """Everything that is missing is said at once, and no key is in what is said."""
    key_file = None if key is None else written(tmp_path, key)
    with pytest.raises(EmulatorError) as caught:
        decide(listen, allow_remote=allowed, key_file=key_file, derived=[DERIVED])
    assert all(part in str(caught.value) for part in said)
    assert key is None or not key.strip() or key not in str(caught.value)


def test_with_both_it_listens(tmp_path: Path) -> None:
    """The certificate is for the address too, unless it stands for all; the key is in no repr."""
    found = decide("192.0.2.7", allow_remote=True, key_file=written(tmp_path, OWN + "\n"), names=["emulator"])
    assert (found.remote, found.key, found.names, found.local_host) == (
        True,
        OWN,
        ("emulator", "192.0.2.7"),
        "192.0.2.7",
    )
    assert OWN not in repr(found)
    everywhere = decide("0.0.0.0", allow_remote=True, key_file=written(tmp_path, OWN))
    assert (everywhere.names, everywhere.local_host) == ((), "127.0.0.1")


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_needs_nothing(tmp_path: Path, listen: str) -> None:
    """Also with the flag, and with a key that everybody knows."""
    for allowed, key in itertools.product((False, True), (None, AZURITES)):
        found = decide(listen, allow_remote=allowed, key_file=written(tmp_path, key) if key else None)
        assert (found.remote, found.key) == (False, key)


def test_files_that_are_no_good_are_named(tmp_path: Path) -> None:
    """A missing key and a short token are told together."""
    (tmp_path / "token").write_text("short")
    with pytest.raises(EmulatorError, match=r"--key-file .*missing cannot be read .*32 characters"):
        decide(key_file=tmp_path / "missing", token_file=tmp_path / "token")
