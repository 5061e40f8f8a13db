"""Requests made at random from our own route table and rules: each is answered as the service answers.

`AZBATCH_FUZZ_EXAMPLES` asks for a longer run than the usual; the counts of what was answered are printed (`-s`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azbatch_emulator.batch.odata import STARTS, Type
from azbatch_emulator.batch.queries import NOTHING, QUERIES
from azbatch_emulator.batch.routes import OPERATIONS, RETIRED
from azbatch_emulator.batch.rules import BODIES
from azbatch_emulator.batch.service import MAX_BODY, VERSIONS
from azbatch_emulator.launcher import Emulator
from tests.contract.raw import RawClient, quiet_log
from tests.contract.sdk import MACHINE, Token, pool
from tests.unit.bodies import JSON, valid
from tests.unit.bodies import spoiled as with_a_fault

EXAMPLES = int(os.environ.get("AZBATCH_FUZZ_EXAMPLES", "60"))
VERSION = "api-version=2025-06-01"
JSON_TYPE = ("Content-Type", "application/json; odata=minimalmetadata")
IDS = st.sampled_from(["fuzz", "FUZZ", "t1", "no", "a b", "..", "%", "é", "K", "\x00", "x" * 70, "{}", "(", "files"])
ODD = st.text(max_size=12)
TARGETS = [(str(one[0]), str(one[1]), str(one[2])) for one in (*OPERATIONS, *RETIRED)]


@pytest.fixture(scope="module", params=[False, True], ids=["lenient", "strict"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Of few cores, so that no pool becomes large."""
    with Emulator(runner="instant", storage=False, speed=600, strict=request.param) as running:
        running.control("quota", dedicated_cores=16, spot_cores=16)
        yield running


@pytest.fixture(scope="module")
def token(emulator: Emulator) -> str:
    return str(Token(emulator).get_token("https://batch.core.windows.net//.default").token)


@pytest.fixture(scope="module")
def client(emulator: Emulator, token: str) -> Iterator[RawClient]:
    made = RawClient(emulator.http_url)
    with quiet_log():
        yield made
    print(f"\n{sum(made.counts.values())} requests answered:")
    for (status, code), count in sorted(made.counts.items()):
        print(f"  {count:6} {status} {code}")
    made.close()


@pytest.fixture(scope="module")
def helper(emulator: Emulator) -> Iterator[RawClient]:
    """What it asks is not counted."""
    made = RawClient(emulator.http_url)
    yield made
    made.close()


def _furnish(client: RawClient, token: str) -> str:
    """A pool, a job, a task and a schedule of a known name, if an earlier request has not left them; a node's id."""
    headers = [JSON_TYPE, ("Authorization", f"Bearer {token}")]

    def post(path: str, body: dict[str, Any]) -> str:
        answer = client.send("POST", f"{path}?{VERSION}", headers, json.dumps(body).encode())
        assert answer.status in {201, 409}
        return answer.code

    machine = {**MACHINE, "extensions": [{"name": "fuzz", "publisher": "x", "type": "y"}]}
    post("/pools", pool("fuzz", virtualMachineConfiguration=machine))
    post("/jobs", {"id": "fuzz", "poolInfo": {"poolId": "fuzz"}, "usesTaskDependencies": True})
    if post("/jobs/fuzz/tasks", {"id": "fuzz", "commandLine": "x"}) == "JobCompleted":
        client.send("DELETE", f"/jobs/fuzz?{VERSION}", headers)
    job = {"poolInfo": {"poolId": "fuzz"}}
    schedule = {"id": "fuzz", "schedule": {"recurrenceInterval": "PT1H"}, "jobSpecification": job}
    if post("/jobschedules", schedule) == "JobScheduleExists":
        client.send("POST", f"/jobschedules/fuzz/enable?{VERSION}", headers)
    listed = client.send("GET", f"/pools/fuzz/nodes?{VERSION}", headers)
    nodes = json.loads(listed.body).get("value") or [{"id": "none"}]
    return str(nodes[0]["id"])


def _literal(kind: Type) -> st.SearchStrategy[str]:
    return {
        Type.TEXT: st.sampled_from(["'fuzz'", "'active'", "'it''s'"]),
        Type.NUMBER: st.sampled_from(["0", "-1.5", "3L"]),
        Type.TIME: st.sampled_from(["datetime'2026-01-01T00:00:00Z'", "2026-01-01T00:00:00.1234567Z"]),
        Type.BOOLEAN: st.sampled_from(["true", "false"]),
    }[kind]


@st.composite
def _filters(draw: st.DrawFn, operation: str) -> str:
    fields = QUERIES[operation].filter or {} if operation in QUERIES else {}
    if not fields or draw(st.integers(0, 3)) == 0:
        return draw(st.text(alphabet="()' ,andoreqnttid0123-TZ:", max_size=60))
    parts = []
    for name in draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=4)):
        sign, value = draw(st.sampled_from(sorted(fields[name].signs))), draw(_literal(fields[name].type))
        part = f"startswith({name},{value})" if sign == STARTS else f"{name} {sign} {value}"
        parts.append(draw(st.sampled_from([part, f"not ({part})", f"({part}"])))
    return draw(st.sampled_from([" and ", " or "])).join(parts)


@st.composite
def _queries(draw: st.DrawFn, operation: str) -> str:
    odd = st.sampled_from([*sorted(VERSIONS), "2099-01-01", "2025-06-01\n", "yesterday", ""])
    pairs = [("api-version", draw(odd) if not draw(st.integers(0, 9)) else "2025-06-01")]
    if not draw(st.integers(0, 30)):
        pairs = []
    takes = QUERIES.get(operation, NOTHING)
    if draw(st.booleans()):
        if takes.filter and draw(st.booleans()):
            pairs.append(("$filter", draw(_filters(operation))))
        if takes.select and draw(st.booleans()):
            pairs.append(("$select", ",".join(draw(st.lists(st.sampled_from(sorted(takes.select)), max_size=3)))))
        if takes.expand and draw(st.booleans()):
            pairs.append(("$expand", "stats"))
        if takes.pages and draw(st.booleans()):
            pairs.append(("maxresults", draw(st.sampled_from(["1", "2", "1000"]))))
    choices: list[st.SearchStrategy[tuple[str, str]]] = [
        st.tuples(st.just("$filter"), _filters(operation)),
        st.tuples(
            st.sampled_from(["$select", "$SELECT"]), st.sampled_from(["id", "id,state", "*", "nothing", ",", ""])
        ),
        st.tuples(st.just("$expand"), st.sampled_from(["stats", "stats,", "nodes", ""])),
        st.tuples(st.just("maxresults"), st.sampled_from(["1", "2", "1000", "0", "-1", "1e3", "9" * 40])),
        st.tuples(st.just("$skiptoken"), st.sampled_from(["n!1", "s!a", "n!x", "", "n!" + "9" * 40, "s!é\udcff"])),
        st.tuples(st.sampled_from(["timeOut", "timeout"]), st.sampled_from(["30", "0", "soon", "9" * 30])),
        st.tuples(st.sampled_from(["recursive", "force"]), st.sampled_from(["true", "False", "?"])),
        st.tuples(
            st.sampled_from(["startTime", "endtime"]),
            st.sampled_from(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "soon"]),
        ),
        st.tuples(st.just("api-version"), st.just("2024-02-01.19.0")),
        st.tuples(ODD, ODD),
    ]
    if not draw(st.integers(0, 3)):
        pairs += draw(st.lists(st.one_of(choices), max_size=2))
    return "&".join(f"{quote(n, errors='surrogatepass')}={quote(v, errors='surrogatepass')}" for n, v in pairs)


_HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just("Content-Type"), st.sampled_from(["text/plain", "application/json; charset=x", "\xff", ""])),
        st.tuples(st.sampled_from(["If-Match", "If-None-Match"]), st.sampled_from(["*", "0x8D", '"a", *', "", "\xe9"])),
        st.tuples(
            st.sampled_from(["If-Modified-Since", "If-Unmodified-Since", "ocp-date", "Date"]),
            st.sampled_from(
                ["Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "now", "", "1", "99 99 99"]
            ),
        ),
        st.tuples(
            st.sampled_from(["ocp-range", "Range"]), st.sampled_from(["bytes=0-1", "bytes=-", "bytes=" + "9" * 5000])
        ),
        st.tuples(
            st.sampled_from(["client-request-id", "return-client-request-id"]),
            st.sampled_from(["true", "\xe9\xff", ""]),
        ),
    ),
    max_size=2,
)


@st.composite
def _credentials(draw: st.DrawFn, token: str) -> list[tuple[str, str]]:
    """A good token nearly always; else none, several, or one that is off by something."""
    good = ("Authorization", f"Bearer {token}")
    if draw(st.integers(0, 9)):
        return [good]
    bad = st.sampled_from(
        [
            "Bearer",
            f"Bearer {token[:-3]}",
            f"Bearer {token.upper()}",
            f"bearer  {token} x",
            "Bearer a.b.c",
            "SharedKey",
            "SharedKey emulator:",
            "SharedKey emulator:AAAA",
            "SharedKey other:AAAA",
            "SharedKeyLite emulator:x",
            "Basic \xe9\xff",
        ]
    )
    return draw(st.sampled_from([[], [good, good], [("Authorization", draw(bad))]]))


@st.composite
def _bodies(draw: st.DrawFn, operation: str) -> bytes:
    kind = draw(st.integers(0, 9))
    if kind == 0 or operation not in BODIES:
        raw = st.sampled_from(
            [
                b"",
                b"{",
                b"[" * 50_000,
                b'{"a":' * 3_000,
                b'{"id": "\xff\xfe"}',
                b'\xef\xbb\xbf{"id": "x"}',
                b'{"id": "\\ud800"}',
                b'{"priority": NaN}',
                b'{"priority": 1e999}',
                b'{"priority": ' + b"9" * 5000 + b"}",
                b" " * (MAX_BODY + 1),
                "{}".encode("utf-16"),
            ]
        )
        return draw(raw | st.binary(max_size=40))
    body = draw(valid(BODIES[operation]))
    if operation == "CreateTaskCollection":
        body = {"value": draw(st.lists(valid(BODIES["CreateTask"]), max_size=3))}
    if kind < 5:
        body = with_a_fault(body, draw(st.integers(0, 2**32)), draw(JSON))
    return json.dumps(body).encode()


@st.composite
def _requests(draw: st.DrawFn, token: str, node: str) -> tuple[str, str, list[tuple[str, str]], bytes]:
    method, template, operation = draw(st.sampled_from(TARGETS))
    path = ""
    for part in template.strip("/").split("/"):
        known = draw(st.integers(0, 5))
        good = node if part == "{nodeId}" else "fuzz"
        name = part if "{" not in part else good if known else draw(IDS | ODD)
        path += "/" + quote(name, safe=draw(st.sampled_from(["", "()/"])), errors="surrogatepass")
    if not draw(st.integers(0, 30)):
        path, method = (
            draw(st.text(alphabet="/%.\\ab2efF", max_size=20)),
            draw(st.sampled_from(["GET", "PUT", "TRACE"])),
        )
        path = "/" + path
    headers = [*draw(_credentials(token)), *([JSON_TYPE] if draw(st.integers(0, 9)) else []), *draw(_HEADERS)]
    return method, f"{path}?{draw(_queries(operation))}", headers, draw(_bodies(operation))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_answer_is_the_services(client: RawClient, helper: RawClient, token: str, data: st.DataObject) -> None:
    """Whatever is asked: one of the service's codes with its status and body, no 500, no traceback in the log."""
    node = _furnish(helper, token)
    for request in data.draw(st.lists(_requests(token, node), min_size=1, max_size=6)):
        client.send(*request)


def test_strangers_by_mode(emulator: Emulator, helper: RawClient, token: str) -> None:
    """Lenient, an unknown property is kept and an unknown api-version served; strict, both are refused."""
    headers = [JSON_TYPE, ("Authorization", f"Bearer {token}")]
    strict = bool(emulator.control("status")["strict"])
    body = json.dumps(pool("strange", colour="red", targetDedicatedNodes=0)).encode()
    made = helper.send("POST", f"/pools?{VERSION}", headers, body)
    served = helper.send("GET", "/pools?api-version=2099-01-01", headers)
    if strict:
        assert (made.code, served.code) == ("InvalidRequestBody", "UnsupportedRequestVersion")
    else:
        assert (made.status, served.status) == (201, 200)
        assert json.loads(helper.send("GET", f"/pools/strange?{VERSION}", headers).body)["colour"] == "red"


def test_the_emulator_lives_on(client: RawClient, token: str) -> None:
    """After all that, pools are made and lists are answered."""
    headers = [JSON_TYPE, ("Authorization", f"Bearer {token}")]
    assert client.send("POST", f"/pools?{VERSION}", headers, json.dumps(pool("after")).encode()).status == 201
    for path in ("/pools", "/jobs", "/jobschedules", "/nodecounts"):
        assert client.send("GET", f"{path}?{VERSION}", headers).status == 200
