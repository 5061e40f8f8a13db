"""The head node's pins, script, place and check."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from azbatch.cli.headnode import command
from azbatch.errors import ConfigurationError, ServiceError
from azbatch.headnode import check, download, hosts, pins, rights, script
from azbatch.headnode.discover import Workspace, discover
from azbatch.headnode.hosts import merged

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def _pin(name: str, sha256: str | None = "a" * 64, **changes: str) -> pins.Pin:
    values: dict[str, Any] = {"version": "1.0", "url": f"https://x.example/{name}", **changes}
    return pins.Pin(name=name, sha256=sha256, **values)


FULL = {name: _pin(name) for name in pins.NEEDED}
LOCK = "a==1 \\\n    --hash=sha256:00\n"


def test_the_pins_that_come_with_azbatch() -> None:
    """All that is needed is named, with addresses that hold the version; what is unknown is null, never made up."""
    found = pins.load()
    assert set(pins.NEEDED) <= set(found)
    for pin in found.values():
        assert pin.version.split("+")[0] in pin.url
        assert pin.sha256 is None or len(pin.sha256) == 64


def test_nothing_is_made_of_an_unpinned_download() -> None:
    """The script is refused while a checksum is missing; all faults at once, with the command that helps."""
    with pytest.raises(ConfigurationError) as raised:
        script.render({**FULL, "java": _pin("java", None)}, version="1", lock="a==1\n", wheel_name="x", wheel=b"")
    told = str(raised.value)
    assert len(raised.value.faults) == 3
    assert "java" in told
    assert "azbatch headnode pins" in told
    with pytest.raises(ConfigurationError, match="--wheel FILE"):
        script.render(FULL, version="1", lock=LOCK)


def test_the_lock_of_a_head_node_is_whole() -> None:
    """Every package that azbatch names is in the lock, with a hash."""
    lock = script.requirements()
    text = script.render(FULL, version="1", lock=lock, wheel_name="azbatch-1-py3-none-any.whl", wheel=b"PK")
    assert lock.strip() in text
    for name in ("azure-batch", "azure-identity", "msal", "snakemake", "click"):
        assert f"\n{name}==" in f"\n{lock}"


def test_checksums_are_taken_and_compared() -> None:
    """What is missing is filled from the file itself; what is known is compared, a difference refused by name."""
    files = {f"https://x.example/{name}": [name.encode(), b"!"] for name in pins.NEEDED}
    digest = hashlib.sha256(b"java!").hexdigest()
    empty = {name: _pin(name, None) for name in pins.NEEDED}
    filled = pins.fill(empty, lambda url: files[url])
    assert filled["java"].sha256 == digest
    pins.complete(filled)
    with pytest.raises(ConfigurationError, match=r"azcopy 1\.0 is not what was pinned"):
        pins.fill({**filled, "azcopy": _pin("azcopy")}, lambda url: files[url])


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://x.example/a"},
        {"url": "https://x.example/a'b"},
        {"url": "https://x.example/$(id)"},
        {"sha256": "A" * 64},
        {"version": "1; rm"},
    ],
)
def test_odd_pins_are_refused(tmp_path: Path, change: dict[str, str]) -> None:
    """Nothing of a pins file reaches the script as anything but a plain value."""
    table = {name: {"version": "1", "url": "https://x.example/a", "sha256": "a" * 64} for name in pins.NEEDED}
    table["java"] |= change
    path = tmp_path / "pins.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ConfigurationError, match="java"):
        pins.load(path)
    path.write_text("{}")
    with pytest.raises(ConfigurationError) as raised:
        pins.load(path)
    assert len(raised.value.faults) == len(pins.NEEDED)
    path.write_text("[")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        pins.load(path)


def test_the_command_prints_the_script(tmp_path: Path) -> None:
    """With full pins and a wheel the script comes out; without, the refusal names what is missing."""
    path, wheel = tmp_path / "pins.json", tmp_path / "azbatch-1.0-py3-none-any.whl"
    path.write_text(pins.text(FULL))
    wheel.write_bytes(b"PK")
    assert pins.load(path) == FULL
    done = CliRunner().invoke(command, ["script", "--pins", str(path), "--wheel", str(wheel)])
    assert done.exit_code == 0
    assert done.output.startswith("#!/usr/bin/env bash")
    assert "@" + "PINS@" not in done.output
    refused = CliRunner().invoke(command, ["script"])
    assert isinstance(refused.exception, ConfigurationError)
    assert isinstance(CliRunner().invoke(command, ["script", "--wheel", "no"]).exception, ConfigurationError)


def test_a_mirror_has_the_hosts_as_folders() -> None:
    """The same addresses as the script's, and https only."""
    assert download.mirrored("https://a.example/b", "https://m.example/x/") == "https://m.example/x/a.example/b"
    assert download.mirrored("https://a.example/b", None) == "https://a.example/b"
    with pytest.raises(ConfigurationError):
        download.mirrored("https://a.example/b", "http://m.example")


# Names


HOST = st.sampled_from(["a.example", "b.example", "c.example"])
LINES = st.lists(
    st.one_of(
        st.just("127.0.0.1 localhost"),
        st.just("# a comment about a.example"),
        st.builds(
            lambda a, hosts: f"{a} {' '.join(hosts)}", st.just("10.9.9.9"), st.lists(HOST, min_size=1, max_size=3)
        ),
    )
)


@given(LINES, st.dictionaries(HOST, st.sampled_from(["10.0.0.4", "10.0.0.5"])), st.booleans())
def test_the_hosts_file(lines: list[str], addresses: dict[str, str], newline: bool) -> None:
    """Each name has exactly our address, names of others keep theirs, twice is once, and no line runs into another
    (the original joined them)."""
    before = "\n".join(lines) + ("\n" if newline else "")
    after = merged(before, addresses)
    assert merged(after, addresses) == after

    def known(text: str) -> list[tuple[str, str]]:
        rows = [line.partition("#")[0].split() for line in text.splitlines()]
        return [(name, row[0]) for row in rows if row for name in row[1:]]

    for name in ("a.example", "b.example", "c.example", "localhost"):
        found = [address for host, address in known(after) if host == name]
        expected = [addresses[name]] if name in addresses else [a for h, a in known(before) if h == name]
        assert found == expected
    assert after.count("# a comment") == before.count("# a comment")
    assert merged(merged("", addresses), {}).strip() == ""


def _endpoint(name: str, group: str, **addresses: str) -> dict[str, Any]:
    configs = [{"fqdn": f"{host}.westeurope.batch.azure.com", "ipAddresses": [ip]} for host, ip in addresses.items()]
    links = [{"properties": {"groupIds": [group]}}]
    return {"name": name, "properties": {"customDnsConfigs": configs, "privateLinkServiceConnections": links}}


def test_private_addresses_are_looked_up() -> None:
    """The account's endpoint, not the one that nodes are managed by; two addresses of a name are named, and not chosen
    between (the original took the first endpoint there was)."""
    ours, nodes = _endpoint("pe", "batchAccount", acc="10.0.0.4"), _endpoint("pn", "nodeManagement", guid="10.1.0.4")
    assert hosts.looked_up([ours, nodes]) == {"acc.westeurope.batch.azure.com": "10.0.0.4"}
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.4 of pe, 10\.0\.0\.9 of other"):
        hosts.looked_up([ours, _endpoint("other", "batchAccount", acc="10.0.0.9")])


# Where it is


class Arm:
    """A resource group in memory."""

    def __init__(self, *resources: dict[str, Any]) -> None:
        self.resources = {entry["id"]: entry for entry in resources}

    def get(self, id: str, api_version: str) -> Any:
        return self.resources.get(id)

    def list(self, path: str, api_version: str) -> Any:
        return [entry for entry in self.resources.values() if entry["id"].startswith(path.removesuffix("/resources"))]


GROUP = "/subscriptions/sub/resourceGroups/ws"


def _resource(kind: str, name: str, properties: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{GROUP}/providers/{kind}/{name}",
        "type": kind,
        "tags": {"azbatch-workspace": "ws"},
        "location": "westeurope",
        "properties": properties or {},
        **more,
    }


ACCOUNT = _resource("Microsoft.Batch/batchAccounts", "ba", {"accountEndpoint": "ba.westeurope.batch.azure.com"})
STORAGE = _resource(
    "Microsoft.Storage/storageAccounts",
    "st",
    {"primaryEndpoints": {"blob": "https://st.blob.core.windows.net/"}},
    tags={},
)
NSG = _resource("Microsoft.Network/networkSecurityGroups", "z-nsg", {"subnets": [{"id": f"{GROUP}/s"}]})
COMPUTE = {"subscriptionId": "sub", "resourceGroupName": "ws", "location": "westeurope"}


def _discover(arm: Arm | None, environment: dict[str, str] | None = None, compute: Any = COMPUTE) -> Workspace:
    return discover(environment or {}, lambda: compute, lambda: arm)


def test_a_head_node_finds_its_workspace() -> None:
    """Metadata tell the group, tags the account; the workspace's other security groups are not ours."""
    others = _resource("Microsoft.Network/networkSecurityGroups", "a-nsg", tags={})
    found = _discover(Arm(ACCOUNT, STORAGE, NSG, others))
    assert found.account_url == "https://ba.westeurope.batch.azure.com"
    assert (found.account_name, found.storage_name) == ("ba", "st")
    assert found.security_group_id == NSG["id"]
    assert found.subnet_id == f"{GROUP}/s"


def test_never_the_first_one_found() -> None:
    """Two accounts made for the workspace are named, and a choice is asked for; the original took the first."""
    two = {**ACCOUNT, "id": ACCOUNT["id"] + "2"}
    with pytest.raises(
        ConfigurationError, match=r"has 2 of Batch accounts made for it \(ba, ba2\): say which with AZBATCH_ACCOUNT_URL"
    ):
        _discover(Arm(ACCOUNT, two, STORAGE))
    with pytest.raises(ConfigurationError, match="AZBATCH_STORAGE_URL"):
        _discover(Arm(ACCOUNT, STORAGE, {**STORAGE, "id": STORAGE["id"] + "2"}))


def test_what_is_not_known_is_said() -> None:
    """On no virtual machine both accounts are asked for; the environment is enough, and wins."""
    with pytest.raises(ConfigurationError) as raised:
        _discover(None, compute=None)
    assert len(raised.value.faults) == 2
    given = {
        "AZBATCH_ACCOUNT_URL": "https://mine.northeurope.batch.azure.com/",
        "AZBATCH_STORAGE_URL": "https://127.0.0.1:10000/emulatorstorage",
    }
    found = _discover(Arm(ACCOUNT, STORAGE), given)
    assert (found.account_name, found.region, found.storage_name) == ("mine", "northeurope", "emulatorstorage")
    assert (found.account_id, found.subnet_id) == ("", ""), "another account than the workspace's"


def test_what_the_environment_leaves_open_is_looked_up() -> None:
    """An account known by its URL or id is the workspace's with its subnet and identity; of two, the one meant."""
    node = _resource("Microsoft.ManagedIdentity/userAssignedIdentities", "nodes")
    two = {**ACCOUNT, "id": ACCOUNT["id"] + "2", "properties": {"accountEndpoint": "ba2.westeurope.batch.azure.com"}}
    arm = Arm(ACCOUNT, two, STORAGE, NSG, node)
    url = {"AZBATCH_ACCOUNT_URL": "https://ba2.westeurope.batch.azure.com", "AZBATCH_STORAGE_URL": "https://x.example"}
    found = _discover(arm, url)
    assert (found.account_id, found.node_identity_id, found.subnet_id) == (two["id"], node["id"], f"{GROUP}/s")
    id = {"AZBATCH_ACCOUNT_URL": "https://127.0.0.1:1", "AZBATCH_ACCOUNT_ID": ACCOUNT["id"].upper()}
    found = _discover(arm, id)
    assert (found.account_url, found.storage_url) == ("https://127.0.0.1:1", "https://st.blob.core.windows.net")
    assert found.subnet_id == f"{GROUP}/s"


def test_a_place_that_is_known_needs_no_rights() -> None:
    """Where both accounts are given, a machine that may not read the workspace goes on without the rest."""

    class Closed(Arm):
        def list(self, path: str, api_version: str) -> Any:
            raise ServiceError("no rights", code="AuthorizationFailed", status=403)

    given = {"AZBATCH_ACCOUNT_URL": "https://ba.westeurope.batch.azure.com", "AZBATCH_STORAGE_URL": "https://x.example"}
    assert _discover(Closed(), given).account_name == "ba"
    with pytest.raises(ServiceError, match="no rights"):
        _discover(Closed())


# The check


@pytest.mark.parametrize(
    ("item", "ok"),
    [
        (check.judge_name("n", "h", ["10.0.0.4"]), True),
        (check.judge_name("n", "h", ["20.1.2.3"]), False),
        (check.judge_name("n", "h", []), False),
        (check.judge_clock("Thu, 26 Nov 2026 12:00:10 GMT", NOW), True),
        (check.judge_clock("Thu, 26 Nov 2026 12:00:10 GMT", NOW + timedelta(minutes=9)), False),
        (check.judge_clock(None, NOW), False),
        (check.judge_clock("Thu, 26 Nov 2026 12:00:10 -0000", NOW), True),
        (check.judge_disk(100), False),
        (check.judge_disk(5000), True),
        (check.judge_program("java", None), False),
        (check.judge_program("java", 'openjdk version "21.0.6" 2025-01-21'), True),
        (check.judge_plugin([]), False),
        (check.judge_plugin(["nf-azure-1.23.0", "nf-wave-1.0.0"]), True),
        (check.judge_plugin(["nf-azure-1.23.0", "nf-azure-1.24.0"]), False),
    ],
)
def test_each_line_is_ok_or_says_what_to_do(item: check.Item, ok: bool) -> None:
    """A fault always has a remedy."""
    assert item.ok is ok
    assert item.ok or item.remedy
    assert item.found


def test_versions_are_read() -> None:
    """As the programs print them."""
    assert check.judge_program("java", 'openjdk version "21.0.6" 2025-01-21').found == "21.0.6"
    assert check.judge_program("azcopy", "azcopy version 10.28.0").found == "10.28.0"


READER = {"actions": ["*/read"], "notActions": []}
CONTRIBUTOR = {"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]}
OPERATOR = {"actions": ["Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action"]}
BATCH = {"actions": ["Microsoft.Batch/batchAccounts/pools/*"], "notActions": []}


@pytest.mark.parametrize(
    ("permissions", "action", "expected"),
    [
        ([READER], "Microsoft.Batch/batchAccounts/pools/read", True),
        ([READER], "Microsoft.Batch/batchAccounts/pools/write", False),
        ([READER, BATCH], "microsoft.batch/batchaccounts/pools/WRITE", True),
        ([CONTRIBUTOR], "Microsoft.Authorization/roleAssignments/write", False),
        ([CONTRIBUTOR], "Microsoft.Network/networkSecurityGroups/securityRules/write", True),
        ([OPERATOR], "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", True),
        ([OPERATOR], "Microsoft.ManagedIdentity/userAssignedIdentities/write", False),
        ([], "Microsoft.Batch/batchAccounts/read", False),
    ],
)
def test_what_roles_allow(permissions: Any, action: str, expected: bool) -> None:
    """Wildcards in any capitals; what a role takes away it does not allow."""
    assert rights.allows(permissions, action) is expected


def test_rights_that_are_missing_or_too_many() -> None:
    """A head node that cannot make pools is told what it lacks; one that could open the network, that it could."""

    class Held(Arm):
        def list(self, path: str, api_version: str) -> Any:
            return [CONTRIBUTOR] if "networkSecurityGroups" in path else [READER]

    place = Workspace(
        account_url="u", account_name="a", storage_url="s", storage_name="s",
        account_id="/a/batchAccounts/a", security_group_id="/a/networkSecurityGroups/n", subnet_id="/a/subnets/s",
    )  # fmt: skip
    item = check.judge_rights(*rights.look(Held(), place))
    assert not item.ok
    assert "may not make pools nor put nodes into the subnet; may open the network" in item.found
    assert check.judge_rights([], []).ok
