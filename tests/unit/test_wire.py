"""The wire's pure parts: OData, authentication, times, bodies, routes, errors."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator import durations
from azbatch_emulator.account import Account
from azbatch_emulator.batch import decode, times
from azbatch_emulator.batch.auth import SIGNED, authenticate
from azbatch_emulator.batch.routes import OPERATIONS, match
from azbatch_emulator.identity.tokens import Tokens
from azbatch_emulator.records import Refused

NOW = datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=UTC)
ACCOUNT = Account("MyAccount", base64.b64encode(b"k" * 32).decode())
TOKENS = Tokens.load(None, ACCOUNT.tenant)


def _signed(method: str, path: str, query: dict[str, str], headers: dict[str, str], account: str) -> dict[str, str]:
    """Headers with a SharedKey signature made by the rules of the service's documentation."""
    lines = [method, *(headers.get(name, "") for name in SIGNED)]
    lines += [f"{name}:{value}" for name, value in sorted(headers.items()) if name.startswith("ocp-")]
    lines.append(f"/{account}{path}")
    lines += [f"{name}:{value}" for name, value in sorted(query.items())]
    mac = hmac.new(base64.b64decode(ACCOUNT.key), "\n".join(lines).encode(), hashlib.sha256).digest()
    return {**headers, "authorization": f"SharedKey {account}:{base64.b64encode(mac).decode()}"}


DATE = times.http_date(NOW)


@pytest.mark.parametrize(
    ("method", "sent", "extra", "account", "names"),
    [
        ("GET", {"ocp-date": DATE}, {}, "MyAccount", {"api-version": "1", "timeOut": "30"}),
        ("GET", {"date": DATE}, {}, "myaccount", {"api-version": "1", "timeout": "30"}),
        ("POST", {"ocp-date": DATE, "content-length": "0"}, {}, "MyAccount", {"api-version": "1"}),
        ("DELETE", {"ocp-date": DATE}, {"content-length": "0"}, "MyAccount", {"api-version": "1"}),
        ("GET", {"ocp-date": DATE, "content-length": "0"}, {}, "MyAccount", {"api-version": "1"}),
        ("POST", {"ocp-date": DATE, "content-length": "12", "content-type": "application/json"}, {}, "MyAccount", {}),
    ],
    ids=["python", "java", "post-0", "delete-0-signed-not-sent", "get-0", "body"],
)
def test_each_clients_signature_passes(
    method: str, sent: dict[str, str], extra: dict[str, str], account: str, names: dict[str, str]
) -> None:
    """Clients differ in case and in how no body is signed; all of them pass, and none with another key."""
    headers = {
        **sent,
        **{"authorization": _signed(method, "/jobs", names, {**sent, **extra}, account)["authorization"]},
    }
    query = "&".join(f"{name}={value}" for name, value in names.items())
    authenticate(method, "/jobs", query.replace("timeout", "timeOut"), headers, ACCOUNT, TOKENS, NOW)
    other = Account(ACCOUNT.name, base64.b64encode(b"x" * 32).decode())
    with pytest.raises(Refused, match="AuthenticationFailed"):
        authenticate(method, "/jobs", query, headers, other, TOKENS, NOW)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingRequiredHeader"),
        ({"authorization": "Basic x"}, "AuthenticationFailed"),
        ({"authorization": "SharedKey other:x", "ocp-date": DATE}, "AuthenticationFailed"),
        ({"authorization": "SharedKey MyAccount:x"}, "MissingRequiredHeader"),
        ({"authorization": "SharedKey MyAccount:x", "ocp-date": "not a date"}, "InvalidHeaderValue"),
        (
            {"authorization": "SharedKey MyAccount:x", "ocp-date": times.http_date(NOW - timedelta(minutes=16))},
            "AuthenticationFailed",
        ),
        ({"authorization": "Bearer nonsense"}, "AuthenticationFailed"),
    ],
)
def test_who_is_refused(headers: dict[str, str], code: str) -> None:
    """No, foreign, old or malformed credentials, each with the service's code."""
    with pytest.raises(Refused) as raised:
        authenticate("GET", "/jobs", "", headers, ACCOUNT, TOKENS, NOW)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("audience", "age", "good"),
    [
        ("https://batch.core.windows.net/", timedelta(0), True),
        ("https://storage.azure.com", timedelta(0), False),
        ("https://batch.core.windows.net/", timedelta(hours=9), False),
    ],
)
def test_tokens(audience: str, age: timedelta, good: bool) -> None:
    """A token serves the audience it was made for, as long as it is in force, and with our signature only."""
    token = TOKENS.mint(audience, "me", NOW)
    assert TOKENS.valid(token, ["https://batch.core.windows.net/"], NOW + age) is good
    assert not Tokens.load(None, ACCOUNT.tenant).valid(token, [audience], NOW)


def test_times_are_written_as_the_service_does() -> None:
    """eTags are .NET ticks in hexadecimal, dates are cut to seconds, fractions have no trailing zeros."""
    assert times.etag(datetime(2022, 1, 15, tzinfo=UTC)) == f"0x{738_169 * 864_000_000_000:X}"
    assert times.http_date(NOW) == "Thu, 26 Nov 2026 12:00:00 GMT"
    assert times.stamp(NOW.replace(microsecond=120000)) == "2026-11-26T12:00:00.12Z"


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1), timezones=st.just(UTC)))
def test_stamps_come_back(when: datetime) -> None:
    """What is written is read as the same time."""
    assert times.parse_stamp(times.stamp(when)) == when


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999)))
def test_durations_come_back(length: timedelta) -> None:
    """A duration written is read as the same length."""
    assert durations.parse(durations.text(length)) == length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P1Y", timedelta(days=365)),
        ("P1M", timedelta(days=30)),
        ("PT90M", timedelta(minutes=90)),
        ("P1DT1S", timedelta(days=1, seconds=1)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    """Years and months are days [recorded]."""
    assert durations.parse(text) == length


@pytest.mark.parametrize("text", ["", "P", "PT", "5 minutes", "P1H", "PT1M1H"])
def test_what_is_no_duration(text: str) -> None:
    """Malformed durations are refused."""
    with pytest.raises(ValueError, match="duration"):
        durations.parse(text)


def test_defaults_of_a_task() -> None:
    """What is left out is answered as the service does; the job's retry count is inherited, its time limit is not."""
    job = {"constraints": {"maxTaskRetryCount": 4, "maxWallClockTime": "PT1H"}}
    body = decode.task({"id": "t", "commandLine": "x"}, job)
    assert body["constraints"] == {
        "maxWallClockTime": durations.UNLIMITED,
        "retentionTime": "P7D",
        "maxTaskRetryCount": 4,
    }
    assert body["requiredSlots"] == 1
    assert body["userIdentity"] == {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}


def test_there_are_72_operations() -> None:
    """As many as api-version 2025-06-01 has, each matched by its own method and path."""
    assert len(OPERATIONS) == len({name for _, _, name, _ in OPERATIONS}) == 72
    for method, template, name, _ in OPERATIONS:
        assert match(method, template.replace("{", "").replace("}", "")).name == name


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", "OperationNotFound"),
        ("PUT", "/pools", "UnsupportedHttpVerb"),
        ("GET", "/", "OperationNotFound"),
    ],
)
def test_what_is_no_operation(method: str, path: str, code: str) -> None:
    """Unknown paths and wrong verbs are told apart."""
    with pytest.raises(Refused) as raised:
        match(method, path)
    assert raised.value.code == code


@pytest.mark.parametrize("path", ["wd%2Fa%20b.txt", "wd/a%20b.txt"])
def test_paths_of_files(path: str) -> None:
    """Slashes in a file's path come escaped or bare."""
    assert match("GET", f"/jobs/j/tasks/t/files/{path}").path["filePath"] == "wd/a b.txt"
