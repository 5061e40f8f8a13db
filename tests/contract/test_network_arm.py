"""Openings on the emulated Azure Resource Manager: rights, sign-in by device code, and the rules that result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azbatch.network import evaluate
from azbatch.network.reach import reach
from azbatch_emulator.launcher import Emulator
from tests.unit.test_network_laws import DEFAULTS, NETWORK, TRANSPORTS, Group, actions, foreign

packets = pytest.importorskip("azbatch_emulator.arm.packets", reason="the emulator has no Azure Resource Manager yet")
arm = pytest.importorskip("azbatch.azure.arm", reason="there is no client of Azure Resource Manager yet")
VERSION = "2024-05-01"


class Site:
    """A network with a closed security group, and two people: one who may change it and one who may not."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator, self.folder = emulator, folder
        name = f"net{uuid.uuid4().hex[:6]}"
        emulator.control("workspace", name=name)
        self.client = arm.ArmClient()
        subscription = next(iter(self.client.list("/subscriptions", "2022-12-01")))["subscriptionId"]
        self.scope = f"/subscriptions/{subscription}/resourceGroups/{name}"
        network = f"{self.scope}/providers/Microsoft.Network"
        self.group = f"{network}/networkSecurityGroups/z-batch"
        closed = dict(foreign("deny-out", "Deny", 4096, "*"))
        self.client.put(
            self.group,
            VERSION,
            {"location": "westeurope", "tags": {"o": "x"}, "properties": {"securityRules": [closed]}},
        )
        self.client.put(
            f"{network}/virtualNetworks/batch",
            VERSION,
            {
                "location": "westeurope",
                "properties": {
                    "addressSpace": {"addressPrefixes": ["10.200.0.0/24"]},
                    "subnets": [
                        {
                            "name": "default",
                            "properties": {
                                "addressPrefix": "10.200.0.0/25",
                                "networkSecurityGroup": {"id": self.group},
                            },
                        }
                    ],
                },
            },
        )
        self.may, self.may_not = f"ann-{name}", f"bob-{name}"
        emulator.control("person", name=self.may, role="Network Contributor", scope=self.scope)
        emulator.control("person", name=self.may_not, role="Reader", scope=self.scope)

    def run(
        self, *arguments: str, sign_in: str | None = None, refuse: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`azbatch network ...`; a device code that it shows meanwhile is approved by `sign_in`, or refused."""
        process = subprocess.Popen(
            [sys.executable, "-c", "from azbatch.cli import main; main()", "network", *arguments],
            env={
                **os.environ,
                **self.emulator.environment(),
                "AZBATCH_SECURITY_GROUP_ID": self.group,
                "XDG_STATE_HOME": str(self.folder / "state"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            deadline = time.monotonic() + 60
            while (sign_in or refuse) and process.poll() is None:
                assert time.monotonic() < deadline
                for code in self.emulator.control("sign-ins")["waiting"]:
                    self.emulator.control("sign-in", user_code=code["user_code"], who=sign_in)
                    sign_in, refuse = None, False
            said, told = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, said, told)

    def rules(self) -> list[str]:
        body = self.client.get(self.group, VERSION)
        return [rule["name"] for rule in body["properties"]["securityRules"]]


@pytest.fixture
def site(azbatch_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    from azbatch.azure import credentials

    for name, value in azbatch_emulator.environment().items():
        monkeypatch.setenv(name, value)
    credentials.entra.cache_clear()
    made = Site(azbatch_emulator, tmp_path)
    yield made
    # The client has no close of its own, and a connection left open is a warning when the emulator stops.
    made.client._connected()._pipeline._transport.session.close()
    credentials.entra().close()
    credentials.entra.cache_clear()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_from_sign_in_to_open_and_closed(site: Site) -> None:
    """A refused sign-in and missing rights change nothing; then the rule exists, the second call needs no sign-in, and
    the group's own rule and tags are as they were."""
    declined = site.run("allow", "192.0.2.7", "--reason", "data", refuse=True)
    assert (declined.returncode, "was refused: nothing was changed" in declined.stderr) == (1, True), declined.stderr
    without = site.run("allow", "192.0.2.7", "--reason", "data", sign_in=site.may_not)
    assert without.returncode == 1
    assert "AuthorizationFailed" in without.stderr
    assert "Network Contributor" in without.stderr
    assert site.rules() == ["deny-out"]
    assert site.run("sign-out").stdout == "Signed out.\n"
    assert not (site.folder / "state/azbatch/tokens.json").exists()
    opened = site.run("allow", "192.0.2.7", "--reason", "data", "--for", "8h", sign_in=site.may)
    assert opened.returncode == 0, opened.stderr
    assert "enter the code" in opened.stderr
    again = site.run("allow", "mcr", "--reason", "images")
    assert again.returncode == 0, again.stderr
    assert "enter the code" not in again.stderr
    assert len(site.rules()) == 4
    assert site.run("check", "192.0.2.7").returncode == 0
    assert site.run("check", "192.0.2.8").returncode == 1
    assert "MicrosoftContainerRegistry\t443" in site.run("reach").stdout
    assert "allow" in site.run("log").stdout
    for target in ("mcr", "192.0.2.7"):
        closed = site.run("deny", target)
        assert closed.returncode == 0, closed.stderr
    assert site.rules() == ["deny-out"]
    assert site.client.get(site.group, VERSION)["tags"]["o"] == "x"


def test_the_workspace_is_found_by_its_tags(site: Site) -> None:
    """The workspace's storage, and the group with our tag; the workspace's own group, without it, is not taken."""
    from azbatch.headnode.discover import discover

    body = site.client.get(site.group, VERSION)
    site.client.patch(site.group, VERSION, {"tags": {**body["tags"], "azbatch-workspace": "x"}})
    account = f"{site.scope}/providers/Microsoft.Batch/batchAccounts/b{uuid.uuid4().hex[:8]}"
    site.client.put(
        account, "2024-07-01", {"location": "westeurope", "tags": {"azbatch-workspace": "x"}, "properties": {}}
    )
    _, _, subscription, _, group = site.scope.split("/")
    compute = {"subscriptionId": subscription, "resourceGroupName": group, "location": "westeurope"}
    found = discover({}, lambda: compute, lambda: site.client)
    assert found.security_group_id.lower() == site.group.lower()
    assert found.subnet_id.endswith("/virtualNetworks/batch/subnets/default")
    assert found.account_url.startswith("https://")
    assert found.storage_name


@settings(deadline=None)
@given(st.lists(actions, max_size=10), st.booleans(), st.data())
def test_reach_is_what_the_emulated_group_enforces(sequence: Any, closed: bool, data: st.DataObject) -> None:
    """Of any packet, `reach` says what the emulator's own evaluation does with it."""
    group = Group([*([foreign("deny-all", "Deny", 4000, "*")] if closed else []), *DEFAULTS])
    for action in sequence:
        group.do(action)
    custom = [rule for rule in group.rules if rule["properties"]["priority"] < 65000]
    found = reach(evaluate.compiled(group.rules, evaluate.default_tags(NETWORK)))
    resources: Any = SimpleNamespace(
        of_type=lambda kind, parent: [
            SimpleNamespace(id=SimpleNamespace(name=rule["name"]), properties=rule["properties"]) for rule in custom
        ]
    )
    for _ in range(5):
        transport = data.draw(st.sampled_from(TRANSPORTS))
        address = data.draw(
            st.sampled_from(["192.0.2.1", "203.0.113.9", "198.51.100.7", "10.1.0.5", "10.9.9.9", "8.8.8.8"])
        )
        port = 0 if transport == "Icmp" else data.draw(st.sampled_from([22, 80, 85, 90, 443, 500, 501]))
        packet = packets.Packet(
            direction="Outbound",
            protocol=str(transport),
            source=IPv4Address("10.1.0.9"),
            destination=IPv4Address(address),
            port=port,
        )
        verdict = packets.judge(packet, "group", [IPv4Network(prefix) for prefix in NETWORK], resources)
        hits = [entry.rule for entry in found if entry.transport is transport and entry.covers(address, port)]
        assert hits == ([verdict.rule] if verdict.passes else [])
