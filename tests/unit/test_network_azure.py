"""The security group through Azure Resource Manager, and what nodes may pull."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from azbatch.azure import clients
from azbatch.azure import network as azure_network
from azbatch.azure.network import SecurityGroup
from azbatch.cli import network as cli
from azbatch.errors import AzbatchError, ConfigurationError
from azbatch.network import manage
from azbatch.network.images import pullable, registry_of
from tests.unit.test_network import DENY_ALL
from tests.unit.test_network_laws import DEFAULTS

NETWORK = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v"
GROUP = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/z-nsg"
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class Arm:
    """Azure Resource Manager for one security group and its network, in memory."""

    def __init__(self) -> None:
        self.bodies: dict[str, Any] = {
            GROUP: {
                "location": "westeurope",
                "tags": {"owner": "someone"},
                "properties": {
                    "subnets": [{"id": f"{NETWORK}/subnets/default"}],
                    "securityRules": [DENY_ALL],
                    "defaultSecurityRules": DEFAULTS,
                },
            },
            f"{NETWORK}/subnets/default": {"properties": {"addressPrefix": "10.1.1.0/24"}},
            NETWORK: {"properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}}},
        }

    def get(self, id: str, api_version: str) -> Any:
        return self.bodies.get(id)

    def put(self, id: str, api_version: str, body: Any) -> Any:
        rules = self.bodies[GROUP]["properties"]["securityRules"]
        name = id.rpartition("/")[2]
        rules[:] = [rule for rule in rules if rule["name"] != name] + [{"name": name, **body}]
        return body

    def patch(self, id: str, api_version: str, body: Any) -> Any:
        self.bodies[id]["tags"] = dict(body["tags"])
        return body

    def delete(self, id: str, api_version: str) -> bool:
        rules = self.bodies[GROUP]["properties"]["securityRules"]
        rules[:] = [rule for rule in rules if rule["name"] != id.rpartition("/")[2]]
        return True


class Person:
    user = "ann@example.org"


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Arm:
    """What the command line talks to, with names that resolve here."""
    made = Arm()
    monkeypatch.setattr(clients, "resource_manager", lambda credential: made)
    monkeypatch.setattr(clients, "person", lambda said: Person())
    monkeypatch.setattr(azure_network, "resolve", _resolve)
    monkeypatch.setenv("AZBATCH_SECURITY_GROUP_ID", GROUP)
    return made


def _resolve(host: str) -> Sequence[str]:
    return {"data.example.org": ["192.0.2.7"], "quay.io": ["192.0.2.8"]}.get(host, [])


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.command, list(arguments))


def test_the_group_knows_its_network(arm: Arm) -> None:
    """Where the nodes are comes from the subnets that the group guards; a group that is gone is told."""
    group = SecurityGroup(arm, GROUP)
    assert (group.name, group.region, group.networks, group.nodes) == (
        "z-nsg",
        "westeurope",
        ["10.1.0.0/16"],
        ["10.1.1.0/24"],
    )
    with pytest.raises(AzbatchError, match="no security group gone"):
        SecurityGroup(arm, GROUP.replace("z-nsg", "gone")).rules()


def test_from_closed_to_open_and_back(arm: Arm) -> None:
    """As a user types it: closed, with the command that opens it; open; listed, logged; closed again; the deny rule and
    the owner's tags as they were."""
    closed = _run("check", "data.example.org")
    assert closed.exit_code == 1
    assert "azbatch network allow data.example.org" in closed.output
    opened = _run("allow", "data.example.org", "--reason", "reference genome", "--for", "8h")
    assert opened.exit_code == 0, opened.output
    assert "192.0.2.7" in opened.output
    assert _run("check", "data.example.org:443").exit_code == 0
    assert _run("check", "data.example.org:444").exit_code == 1
    assert "reference genome" in _run("list").output
    assert "192.0.2.7/32\t443" in _run("reach").output
    assert _run("refresh").output == "Everything is up to date.\n"
    assert _run("deny", "data.example.org", "--reason", "done").exit_code == 0
    log = _run("log").output
    assert "ann@example.org\tallow\tdata.example.org tcp/443" in log
    assert "deny\tdata.example.org\tdone" in log
    assert arm.bodies[GROUP]["properties"]["securityRules"] == [DENY_ALL]
    assert arm.bodies[GROUP]["tags"]["owner"] == "someone"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("allow", "192.0.2.1/24", "--reason", "x"), "host bits"),
        (("allow", "192.0.2.1", "--reason", "x", "--port", "0"), "1 to 65535"),
        (("allow", "192.0.2.1", "--reason", "x", "--for", "soon"), "no time such as"),
        (("allow", "nowhere.example.org", "--reason", "x"), "does not resolve"),
        (("deny", "DenyAllOut"), "left alone"),
        (("check", "192.0.2.1", "--protocol", "any"), "one protocol"),
    ],
)
def test_mistakes_write_nothing(arm: Arm, arguments: tuple[str, ...], says: str) -> None:
    """Each is one sentence, and the group is as it was."""
    done = _run(*arguments)
    assert isinstance(done.exception, AzbatchError)
    assert says in str(done.exception)
    assert arm.bodies[GROUP]["properties"]["securityRules"] == [DENY_ALL]


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("ubuntu:24.04", "docker.io"),
        ("biocontainers/samtools:1", "docker.io"),
        ("quay.io/biocontainers/samtools:1", "quay.io"),
        ("localhost:5000/x", "localhost:5000"),
        ("mcr.microsoft.com/azurelinux/base/core:3.0", "mcr.microsoft.com"),
    ],
)
def test_where_an_image_comes_from(image: str, registry: str) -> None:
    """As Docker reads names."""
    assert registry_of(image) == registry


def test_which_images_nodes_can_pull(arm: Arm) -> None:
    """By service tag or by address; one that is closed comes with the command that opens its registry."""
    images = ["mcr.microsoft.com/x:1", "quay.io/y:1", "reg.azurecr.io/z:1"]
    group = SecurityGroup(arm, GROUP)
    before = pullable(manage.compiled(group), images, _resolve)
    assert [found.reachable for found in before.values()] == [False] * 3
    assert [str(found.remedy).split()[3] for found in before.values()] == ["mcr", "quay", "acr:reg"]
    for target in ("mcr", "acr:reg1x", "192.0.2.8"):
        asked = manage.Asked(target=target, reason="images")
        manage.allow(group, asked, who="ann", now=NOW, resolve=_resolve)
    after = pullable(manage.compiled(group), images, _resolve)
    assert [found.reachable for found in after.values()] == [True] * 3


def test_an_unknown_group_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a workspace and without the option, the option is named."""
    monkeypatch.delenv("AZBATCH_SECURITY_GROUP_ID", raising=False)
    monkeypatch.setenv("AZBATCH_ACCOUNT_URL", "https://a.westeurope.batch.azure.com")
    monkeypatch.setenv("AZBATCH_STORAGE_URL", "https://s.blob.core.windows.net")
    monkeypatch.setattr(clients, "resource_manager", lambda credential: Arm())
    done = _run("list")
    assert isinstance(done.exception, ConfigurationError)
    assert "--security-group" in str(done.exception)
