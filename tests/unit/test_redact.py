"""No secret reaches a recording."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.recording.redact import REMOVED, answers_secrets, is_secret, redactor

KEY = "A" * 86 + "=="


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"password": "x"}, {"password": REMOVED}),
        ({"accountKey": "x", "sasUrl": "https://a/b?sv=1&sig=abc%3D&se=2"}, None),
        ({"name": "DB_PASSWORD", "value": "x"}, {"name": "DB_PASSWORD", "value": REMOVED}),
        ({"name": "PATH", "value": "/bin"}, {"name": "PATH", "value": "/bin"}),
        ({"key": "PropertyName", "value": "id"}, {"key": "PropertyName", "value": "id"}),
        ("https://a/c?sv=1&sig=abc%3D&se=2", f"https://a/c?sv=1&sig={REMOVED}&se=2"),
        ("/jobs?$skiptoken=abc&api-version=1", "/jobs?$skiptoken=abc&api-version=1"),
        ("AccountName=a;AccountKey=abc==;X=1", f"AccountName=a;AccountKey={REMOVED};X=1"),
        (f"echo {KEY}", f"echo {REMOVED}"),
        ("tool --password hunter2 -v", f"tool --password {REMOVED} -v"),
        ("API_TOKEN=abc run", f"API_TOKEN={REMOVED} run"),
        ("Bearer abcdefgh.ijk", f"Bearer {REMOVED}"),
        ("x eyJhbGciOi.eyJzdWIi.c2ln y", f"x {REMOVED} y"),
        ("https://user:pass@host/x", f"https://{REMOVED}@host/x"),
        ([1, None, True, {"publicKey": "ssh-rsa"}], [1, None, True, {"publicKey": "ssh-rsa"}]),
        ("my-own-secret here", f"{REMOVED} here"),
    ],
)
def test_what_is_removed(value: Any, left: Any) -> None:
    """Secrets by name, by shape and those known go; all else stays."""
    found = redactor(["my-own-secret"])(value)
    if left is not None:
        assert found == left
    assert "abc%3D" not in json.dumps(found)


@pytest.mark.parametrize("name", ["password", "adminPassword", "ACCESS_KEY", "storageKey1", "clientSecret", "sasToken"])
def test_names_of_secrets(name: str) -> None:
    """Usual names of secrets, in each way of writing."""
    assert is_secret(name)


@pytest.mark.parametrize("name", ["key", "monkey business", "publicKey", "skiptoken", "id", "tokenizer"])
def test_names_that_are_no_secrets(name: str) -> None:
    """What merely looks like it."""
    assert not is_secret(name)


@pytest.mark.parametrize("path", ["/x/listKeys", "/x/regenerateKeys", "/x/listAccountSas", "/x/listCredentials?a=1"])
def test_answers_that_are_all_secret(path: str) -> None:
    """Resource Manager's actions that hand out secrets."""
    assert answers_secrets(path)
    assert not answers_secrets("/subscriptions/listing")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.text(alphabet="abcdefgh", min_size=12, max_size=12))
def test_a_known_secret_is_nowhere(value: Any, secret: str) -> None:
    """Wherever a known secret stands as or in a value, it is removed; doing it twice changes nothing more."""
    redact = redactor([secret])
    found = redact({"a": value, "b": [secret, f"x{secret}y", {"c": secret}]})
    assert secret not in json.dumps(found)
    assert redact(found) == found
