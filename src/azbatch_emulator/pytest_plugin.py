"""Fixtures for tests against the emulator, in any project; see docs/emulator-ci.md.

`batch_emulator` is what most tests want: a running emulator, empty at the test's begin. Emulators live as long as the
session, one for each set of options that tests ask for. Imports nothing heavy: pytest loads this in every project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azbatch_emulator.launcher import Emulator
    from azbatch_emulator.testing import BatchClock, BatchFaults

MARKER = "batch_emulator"
# What asking for a fixture means for the options of the emulator.
IMPLIED: Mapping[str, Mapping[str, Any]] = {
    "batch_blob_connection_string": {"storage": True},
    "batch_blob_url": {"storage": True},
    "batch_clock": {"virtual_time": True},
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(**options): arguments of azbatch_emulator.Emulator for this test, as runner='instant', "
        "storage=True, virtual_time=True, profile='chaos'",
    )


@pytest.fixture(scope="session")
def azbatch_emulator() -> Iterator[Emulator]:
    """A running `Emulator` with storage and real processes, in a temporary state folder, shared and never reset."""
    from azbatch_emulator.launcher import Emulator

    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def batch_emulator_options() -> dict[str, Any]:
    """Arguments of `azbatch_emulator.Emulator` for all tests: override it in your conftest.py. Without storage."""
    return {}


@pytest.fixture(scope="session")
def _batch_emulators() -> Iterator[Callable[[Mapping[str, Any]], Emulator]]:
    """The emulator for a set of options, started by the first test that wants it."""
    with ExitStack() as stack:
        running: dict[str, Emulator] = {}

        def emulator_for(options: Mapping[str, Any]) -> Emulator:
            from azbatch_emulator.launcher import Emulator

            name = repr(sorted(options.items()))
            if name not in running:
                running[name] = stack.enter_context(Emulator(**options))
            return running[name]

        yield emulator_for


@pytest.fixture
def batch_emulator(
    request: pytest.FixtureRequest,
    batch_emulator_options: dict[str, Any],
    _batch_emulators: Callable[[Mapping[str, Any]], Emulator],
) -> Emulator:
    """A running emulator without pools, jobs, blobs and faults; options by the marker `batch_emulator`."""
    options: dict[str, Any] = {"storage": False, **batch_emulator_options}
    for name in request.fixturenames:
        options |= IMPLIED.get(name, {})
    for marker in reversed(list(request.node.iter_markers(MARKER))):  # the closest one has the last word
        options |= marker.kwargs
    emulator = _batch_emulators(options)
    emulator.control("reset", storage=bool(options["storage"]))
    if options.get("virtual_time"):
        emulator.control("clock", pause=False)
    return emulator


@pytest.fixture
def batch_endpoint(batch_emulator: Emulator) -> str:
    """The Batch account's address, `http://127.0.0.1:PORT`; `batch_emulator.https_url` is the other."""
    return batch_emulator.http_url


@pytest.fixture
def batch_shared_key(batch_emulator: Emulator) -> tuple[str, str]:
    """Name and key (base64) of the Batch account: `AzureNamedKeyCredential(*batch_shared_key)`."""
    return batch_emulator.account, batch_emulator.account_key


@pytest.fixture
def batch_environment(batch_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets, for this test, the variables with which DefaultAzureCredential and our tools find the emulator."""
    variables = batch_emulator.environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def batch_ca_bundle(batch_emulator: Emulator) -> str:
    """A PEM file to trust, for `connection_verify` and `verify`: the https and blob addresses have its certificate."""
    return str(batch_emulator.ca_bundle)


@pytest.fixture
def batch_blob_url(batch_emulator: Emulator) -> str:
    """The storage account's address, `https://127.0.0.1:PORT/ACCOUNT`. Needs Node.js, or `azbatch[node]`."""
    return batch_emulator.blob_url


@pytest.fixture
def batch_blob_connection_string(batch_emulator: Emulator) -> str:
    """The storage account's connection string. Needs Node.js, or `azbatch[node]`."""
    return batch_emulator.storage_connection_string


@pytest.fixture
def batch_faults(batch_emulator: Emulator) -> BatchFaults:
    """What goes wrong: refused, slow and reset requests, broken and preempted nodes; forgotten in the next test."""
    from azbatch_emulator.testing import BatchFaults

    return BatchFaults(batch_emulator)


@pytest.fixture
def batch_clock(batch_emulator: Emulator) -> BatchClock:
    """The service's time, virtual: it jumps to what is due next, and can be paused and advanced."""
    from azbatch_emulator.testing import BatchClock

    return BatchClock(batch_emulator)
