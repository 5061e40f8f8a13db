"""Autoscale on the wire: bodies as recorded of the service, and what it refuses. The clock stands still."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from azbatch_emulator.launcher import Emulator
from tests.contract.sdk import Token, pool

FORMULA = "$TargetDedicatedNodes=2"


class Account:
    """Raw calls by token; the SDKs would retry a 503."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.session = requests.Session()
        token = Token(emulator).get_token("https://batch.core.windows.net//.default").token
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.session.headers["Content-Type"] = "application/json; odata=minimalmetadata"

    def call(self, method: str, path: str, body: Any = None) -> requests.Response:
        address = f"{self.emulator.http_url}{path}?api-version=2024-07-01.20.0"
        return self.session.request(method, address, json=body, timeout=20)


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with Emulator(runner="instant", storage=False, virtual_time=True) as emulator:
        emulator.control("clock", pause=True)
        yield Account(emulator)


@pytest.fixture
def made(account: Account, request: pytest.FixtureRequest) -> str:
    """The path of a new pool that scales to two nodes."""
    name = f"pool-{abs(hash(request.node.name))}"
    body = pool(name, enableAutoScale=True, autoScaleFormula=FORMULA, autoScaleEvaluationInterval="PT6M")
    del body["targetDedicatedNodes"]
    assert account.call("POST", "/pools", body).status_code == 201
    account.emulator.control("clock", advance=60)
    return f"/pools/{name}"


def test_evaluation_as_recorded(account: Account, made: str) -> None:
    """A formula's results, and a bad one's error beside the present targets, both with 200."""
    good = account.call("POST", f"{made}/evaluateautoscale", {"autoScaleFormula": "$TargetDedicatedNodes=3"})
    assert good.status_code == 200
    assert good.headers["DataServiceId"].endswith(f"{made}/evaluateautoscale")
    assert "ETag" not in good.headers
    assert set(good.json()) == {"odata.metadata", "timestamp", "results"}
    assert good.json()["results"] == (
        "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    )
    bad = account.call("POST", f"{made}/evaluateautoscale", {"autoScaleFormula": "$something_useless"})
    assert (bad.status_code, bad.json()["results"], bad.json()["error"]) == (
        200,
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue",
        {
            "code": "AutoScalingFormulaEvaluationError",
            "message": "The specified auto-scaling formula has evaluation error",
            "values": [{"name": "Message", "value": "Line 1, Col 1: Undefined symbol: $something_useless"}],
        },
    )


def test_a_pool_tells_of_its_last_run(account: Account, made: str) -> None:
    """The run and its error stand on the pool; its targets are those of the last run that went well."""
    answer = account.call("POST", f"{made}/enableautoscale", {"autoScaleFormula": "x = $CPUPercent.GetSample(time())"})
    assert answer.status_code == 200
    assert answer.headers["DataServiceId"].endswith(f"{made}/enableautoscale")
    account.emulator.control("clock", advance=1)
    found = account.call("GET", made).json()
    assert (found["enableAutoScale"], found["autoScaleEvaluationInterval"]) == (True, "PT6M")
    assert (found["targetDedicatedNodes"], found["resizeTimeout"]) == (2, "PT15M")
    assert found["autoScaleRun"]["timestamp"] == found["lastModified"]
    assert found["autoScaleRun"]["error"] == {
        "code": "InsufficientSampleData",
        "message": "Autoscale evaluation failed due to insufficient sample data",
        "values": [
            {
                "name": "Message",
                "value": "Line 1, Col 26: Insufficient data from data set: $CPUPercent wanted 70%, received 0%",
            }
        ],
    }


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({}, "MissingRequiredProperty", "autoScaleFormula"),
        ({"autoScaleFormula": "a = ;"}, "AutoScalingFormulaSyntaxError", "Line 1, Col 5: "),
        ({"autoScaleFormula": "//" + "x" * 8191}, "AutoScalingFormulaTooLong", "exceeds lengths limit"),
        ({"autoScaleFormula": "a=1;" * 101}, "AutoScalingFormulaSyntaxError", "at most 100 statements"),
        ({"autoScaleEvaluationInterval": "PT4M59S"}, "InvalidPropertyValue", "PT5M"),
        ({"autoScaleEvaluationInterval": "P7DT1S"}, "InvalidPropertyValue", "P7D"),
        ({"autoScaleEvaluationInterval": "often"}, "InvalidRequestBody", "Edm.Time"),
    ],
)
def test_what_enabling_refuses(account: Account, made: str, body: dict[str, Any], code: str, said: str) -> None:
    """A bad formula or interval is a 400 with its reason, changes nothing, and does not count for the pause."""
    answer = account.call("POST", f"{made}/enableautoscale", body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert said in answer.text
    assert account.call("GET", made).json()["autoScaleFormula"] == FORMULA
    longest = account.call("POST", f"{made}/enableautoscale", {"autoScaleEvaluationInterval": "PT168H"})
    assert longest.status_code == 200


def test_enabling_too_often(account: Account, made: str) -> None:
    """Thirty seconds between two requests of a pool, else 503."""
    statuses = []
    for wait in (0, 29.9, 0.2):
        account.emulator.control("clock", advance=wait)
        statuses.append(account.call("POST", f"{made}/enableautoscale", {"autoScaleFormula": FORMULA}))
    assert [answer.status_code for answer in statuses] == [200, 503, 200]
    assert statuses[1].json()["code"] == "TooManyEnableAutoScaleRequests"


def test_a_pool_without_it_has_nothing_to_evaluate(account: Account, made: str) -> None:
    """Disabled, a formula can neither be evaluated nor its interval changed."""
    gone = account.call("POST", f"{made}/disableautoscale")
    assert (gone.status_code, gone.headers["DataServiceId"].endswith(f"{made}/disableautoscale")) == (200, True)
    evaluated = account.call("POST", f"{made}/evaluateautoscale", {"autoScaleFormula": FORMULA})
    assert (evaluated.status_code, evaluated.json()["code"]) == (409, "OperationInvalidForCurrentState")
    changed = account.call("POST", f"{made}/enableautoscale", {"autoScaleEvaluationInterval": "PT5M"})
    assert (changed.status_code, changed.json()["code"]) == (400, "MissingRequiredProperty")
