"""The proxy that leads Azure's blob names to the emulator: what it understands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.forward_proxy import target

OURS = {"mine.blob.core.windows.net": ("127.0.0.1", 1000)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("CONNECT mine.blob.core.windows.net:443 HTTP/1.1", ("127.0.0.1", 1000)),
        ("CONNECT Mine.Blob.Core.Windows.Net:443 HTTP/1.1", ("127.0.0.1", 1000)),
        ("CONNECT other.blob.core.windows.net:443 HTTP/1.1", ("other.blob.core.windows.net", 443)),
        ("CONNECT [::1]:8443 HTTP/1.1", ("::1", 8443)),
        ("GET http://mine.blob.core.windows.net/ HTTP/1.1", None),
        ("CONNECT mine.blob.core.windows.net HTTP/1.1", None),
        ("CONNECT :443 HTTP/1.1", None),
        ("CONNECT a:0 HTTP/1.1", None),
        ("CONNECT a:65536 HTTP/1.1", None),
        ("CONNECT a:x HTTP/1.1", None),
        ("", None),
    ],
)
def test_where_a_request_leads(line: str, expected: tuple[str, int] | None) -> None:
    """Ours to the storage, others as asked, and what is no CONNECT to a host and port nowhere."""
    assert target(f"{line}\r\nHost: x\r\n\r\n".encode(), OURS) == expected


@given(st.binary(max_size=200))
def test_noise_leads_nowhere_or_to_a_place(head: bytes) -> None:
    """Whatever bytes come, the answer is a place or none, never an error."""
    found = target(head, OURS)
    assert found is None or (found[0] and 0 < found[1] < 65536)
