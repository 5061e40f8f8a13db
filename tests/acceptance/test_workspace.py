"""The private Batch workspace, proven on the emulated ARM over real HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential
from click.testing import CliRunner

from azbatch.azure import credentials
from azbatch.azure.arm import ArmClient
from azbatch.cli import cli
from azbatch.errors import AzbatchError, ConfigurationError, ServiceError
from azbatch.workspace import design, manage, records
from azbatch.workspace.model import Options, Verb
from azbatch_emulator import Emulator
from tests.contract.sdk import MACHINE

pytestmark = pytest.mark.acceptance
NETWORK, BATCH = "2024-05-01", "2024-07-01"
NOW = datetime(2026, 11, 27, tzinfo=UTC)


def quiet(_news: object) -> None:
    """No progress."""


@dataclass
class Place:
    """One workspace of an emulator, seen as its owner."""

    emulator: Emulator
    name: str
    subscription: str
    storage: str
    options: Options
    arm: ArmClient

    def look(self) -> manage.Looked:
        return manage.look(self.arm, self.options)

    def enable(self) -> manage.Looked:
        return manage.enable(self.arm, self.look(), quiet)

    def disable(self, **options: bool) -> manage.Looked:
        looked = manage.look_for_removal(self.arm, self.options)
        return manage.disable(self.arm, looked, quiet, drop_pools=options.get("drop_pools", False))

    def dump(self) -> Mapping[str, Any]:
        return self.emulator.control("dump")

    def acting(self, who: str) -> ArmClient:
        """ARM as a person or machine."""
        return client(self.emulator.https_url, credential(self.emulator, who))


CLIENTS: list[ArmClient] = []
OWNERS: dict[str, ArmClient] = {}  # one for all workspaces of an emulator, by its address


def client(url: str, who: Any = None) -> ArmClient:
    """A client that the fixture closes."""
    CLIENTS.append(ArmClient(url, who))
    return CLIENTS[-1]


def credential(emulator: Emulator, who: str) -> ManagedIdentityCredential:
    """What a process on that machine, or of that person, signs in with; msal reads the address at each first use."""
    host = emulator.environment(who)["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
    before = os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST")
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = host
    try:
        found = ManagedIdentityCredential()
        found.get_token("https://management.azure.com/.default")
        found.get_token("https://batch.core.windows.net//.default")
        found.get_token("https://storage.azure.com/.default")
        return found
    finally:
        if before is not None:
            os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = before


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator without delays worth waiting for."""
    kept = dict(os.environ)
    with Emulator(storage=False, runner="instant", speed=20_000) as running:
        os.environ.update(running.environment())
        credentials.entra.cache_clear()
        yield running
        OWNERS.clear()
        while CLIENTS:
            CLIENTS.pop().close()
    os.environ.clear()
    os.environ.update(kept)
    credentials.entra.cache_clear()


@pytest.fixture
def place(emulator: Emulator, request: pytest.FixtureRequest) -> Place:
    """A fresh workspace in the emulator's subscription."""
    return make(emulator, f"w{zlib.crc32(request.node.name.encode()):08x}")


def make(emulator: Emulator, name: str) -> Place:
    made = emulator.control("workspace", name=name)
    options = Options(subscription=made["subscription"], workspace=name, head_node=f"{name}-head")
    owner = OWNERS.get(emulator.https_url) or OWNERS.setdefault(emulator.https_url, client(emulator.https_url))
    return Place(emulator, name, made["subscription"], made["storage_account"], options, owner)


def test_enable_is_whole_and_disable_leaves_nothing(place: Place) -> None:
    """After enable the plan is empty, in few requests; after disable ARM is as it was before, by a full dump."""
    before = place.dump()
    assert {one.verb for one in place.look().plan.changes} <= {Verb.CREATE, Verb.UPDATE}
    place.enable()
    place.arm.requests.clear()
    looked = place.look()
    assert looked.plan.empty
    assert looked.findings == ()
    assert sum(place.arm.requests.values()) <= 40
    place.disable()
    assert place.dump() == before
    assert place.disable().plan.changes == (), "twice is fine"


def test_records_of_central_dns_are_told_once_they_are_known(place: Place) -> None:
    """No zone of ours; the records to make have the addresses of the endpoints, right after enable too."""
    common = ["--subscription-id", place.subscription, "--workspace", place.name, "--head-node", f"{place.name}-head"]
    done = CliRunner().invoke(cli, ["workspace", "enable", "--yes", "--central-dns", *common])
    assert done.exit_code == 0, done.output
    looked = manage.look(place.arm, replace(place.options, central_dns=True))
    told_of = records.dns_records(looked.facts)
    assert len(told_of) == 2
    for one in told_of:
        told = f"Record to make: {one['name']}.{one['zone']} A {one['address']}"
        assert done.output.count(told) == 1
    place.disable()


def test_an_endpoint_with_a_zone_group_tells_no_dns_of_its_own(place: Place) -> None:
    """As on Azure: `customDnsConfigs` is empty once a zone group keeps the records, and full again without it."""
    names = design.names_of(place.enable().facts)
    group = f"{names.node_endpoint}/privateDnsZoneGroups/default"
    shown = place.arm.get(names.node_endpoint, NETWORK)
    assert shown is not None
    assert shown["properties"]["customDnsConfigs"] == []
    place.arm.delete(group, NETWORK)
    shown = place.arm.get(names.node_endpoint, NETWORK)
    assert shown is not None
    assert len(shown["properties"]["customDnsConfigs"]) == 1
    place.enable()
    assert place.look().plan.empty
    place.disable()


class Killed(AzbatchError):
    """Stands for the death of the process: nothing is sent any more."""


class Mortal(ArmClient):
    """Dies right after its n-th write was sent. It lives on another's connections: handshakes took most of the time."""

    def __init__(self, other: ArmClient, writes: int) -> None:
        super().__init__(other.url)
        self._client = other._connected()
        self.left = writes

    def _send(self, method: str, address: str, *args: Any, **options: Any) -> Any:
        if self.left <= 0:
            raise Killed("dead")
        if method in {"PUT", "PATCH", "DELETE"}:
            self.left -= 1
        return super()._send(method, address, *args, **options)


def _dying(place: Place, writes: int, work: Callable[[Place], object]) -> bool:
    """Whether the work was cut off by death after that many writes."""
    mortal = replace(place, arm=Mortal(place.arm, writes))
    try:
        work(mortal)
    except AzbatchError:
        return True
    return False


@pytest.mark.timeout(300)
def test_killed_after_each_write_it_converges(place: Place) -> None:
    """One write a life: each run of the same command goes on from where the last one died, until all is done.

    So it begins from every state that a death can leave; in the end nothing is left of the workspace.
    """
    before = place.dump()
    for work in (Place.enable, Place.disable):
        lives = 1
        while _dying(place, 1, work):
            lives += 1
        assert lives > 20
        work(place)  # which looks again, and fails if anything is left to do
    assert place.dump() == before


DYING = """
import os, signal, sys, threading
from azbatch.azure.arm import ArmClient
from azbatch.cli import main

left, lock, send = int(sys.argv.pop(1)), threading.Lock(), ArmClient._send

def mortal(self, method, *args, **options):
    global left
    answer = send(self, method, *args, **options)
    with lock:
        left -= method in {"PUT", "PATCH", "DELETE"}
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return answer

ArmClient._send = mortal
main()
"""


@pytest.mark.parametrize("writes", [1, 11, 19])
def test_sigkill_of_the_command_at_a_write_is_mended_by_running_it_again(place: Place, writes: int) -> None:
    """The real command, ended by a real SIGKILL once ARM has taken its n-th write; run again, it converges."""
    common = ["--subscription-id", place.subscription, "--workspace", place.name, "--head-node", f"{place.name}-head"]
    before = place.dump()

    def run(verb: str, *script: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", *script, "workspace", verb, "--yes", *common]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    for verb in ("enable", "disable"):
        killed = run(verb, DYING, str(writes))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert place.dump() != before
        again = run(verb, "from azbatch.cli import main; main()")
        assert again.returncode == 0, again.stderr
        if verb == "enable":
            assert place.look().plan.empty
    assert place.dump() == before


def test_ctrl_c_is_one_sentence_and_the_command_goes_on_later(place: Place) -> None:
    """Interrupted at its first change, enable says how to go on, in one sentence; it does go on."""
    common = ["--subscription-id", place.subscription, "--workspace", place.name, "--head-node", f"{place.name}-head"]
    command = [sys.executable, "-c", "from azbatch.cli import main; main()", "workspace", "enable", "--yes", *common]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Where the suite runs in the background of a shell, Ctrl-C is ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert "done" in first
    assert running.returncode == 1, rest
    assert "Traceback" not in rest
    assert "azbatch: Interrupted: what was done stays; run the same command again to go on." in rest
    place.enable()
    place.disable()


def test_the_head_node_may_do_what_it_must_and_no_more(place: Place) -> None:
    """Pools and jobs in the subnet, yes; the security group, keys, another workspace, the outside: no."""
    looked = place.enable()
    names = design.names_of(looked.facts)
    other = make(place.emulator, f"{place.name}x")
    head = place.acting(f"{place.name}-head")
    pool = {
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {names.node_identity: {}}},
        "properties": {
            "vmSize": "Standard_D2ds_v5",
            "deploymentConfiguration": {
                "virtualMachineConfiguration": {
                    "imageReference": MACHINE["imageReference"],
                    "nodeAgentSkuId": MACHINE["nodeAgentSKUId"],
                }
            },
            "scaleSettings": {"fixedScale": {"targetDedicatedNodes": 1}},
            "networkConfiguration": {
                "subnetId": names.nodes_subnet,
                "publicIPAddressConfiguration": {"provision": "NoPublicIPAddresses"},
            },
        },
    }
    assert head.put(f"{names.account}/pools/ours", BATCH, pool)["name"] == "ours"
    url = place.emulator.control("address", account=names.account, who=f"{place.name}-head")["url"]
    with BatchClient(
        endpoint=url, credential=credential(place.emulator, f"{place.name}-head"), **_trust(place)
    ) as client:
        _until(lambda: [node.state for node in client.list_nodes("ours")] == ["idle"])
        client.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="ours")))
        client.create_task("j", m.BatchTaskCreateOptions(id="t", command_line="true"))
        _until(lambda: client.get_task("j", "t").state == "completed")
    assert head.delete(f"{names.account}/pools/ours", BATCH)
    public = {**pool, "properties": {**pool["properties"], "networkConfiguration": {"subnetId": names.nodes_subnet}}}
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: head.put(f"{names.security_group}/securityRules/hole", NETWORK, _hole()), "AuthorizationFailed"),
        (lambda: head.post(f"{names.account}/listKeys", BATCH), "AuthorizationFailed"),
        (lambda: head.post(f"{_storage(place)}/listKeys", "2023-05-01"), "AuthorizationFailed"),
        (lambda: head.get(_storage(other), "2023-05-01"), "AuthorizationFailed"),
        (lambda: head.put(f"{names.account}/pools/open", BATCH, public), "RequestDisallowedByPolicy"),
        (
            lambda: head.put(
                f"{names.group}/providers/Microsoft.Batch/batchAccounts/another", BATCH, {"location": "westeurope"}
            ),
            "AuthorizationFailed",
        ),
        (lambda: place.arm.post(f"{names.account}/listKeys", BATCH), "SharedKeyNotAllowed"),
    ]
    for action, code in refused:
        with pytest.raises(ServiceError) as raised:
            action()
        assert raised.value.code == code
    outside = place.emulator.control("address", account=names.account, who="")["url"]
    with (
        BatchClient(endpoint=outside, credential=credential(place.emulator, "owner"), **_trust(place)) as client,
        pytest.raises(HttpResponseError, match="PublicNetworkAccessDisabled"),
    ):
        list(client.list_pools())
    desk = f"{place.name}-researcher"
    place.disable()
    assert desk


def _own_range(place: Place) -> str:
    network = f"/subscriptions/{place.subscription}/resourceGroups/{place.name}/providers/Microsoft.Network"
    body = place.arm.get(f"{network}/virtualNetworks/{place.name}-vnet", NETWORK)
    assert body is not None
    return str(body["properties"]["addressSpace"]["addressPrefixes"][0])


def _trust(place: Place) -> dict[str, Any]:
    return {"connection_verify": str(place.emulator.ca_bundle)}


def _storage(place: Place) -> str:
    group = f"/subscriptions/{place.subscription}/resourceGroups/{place.name}"
    return f"{group}/providers/Microsoft.Storage/storageAccounts/{place.storage}"


def _hole(priority: int = 600) -> dict[str, Any]:
    return {
        "properties": {
            "priority": priority,
            "direction": "Outbound",
            "access": "Allow",
            "protocol": "*",
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefix": "Internet",
            "destinationPortRange": "*",
        }
    }


def _until(condition: Callable[[], bool]) -> None:
    import time

    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end


def test_blobs_of_the_workspace_and_no_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The head node reads and writes the workspace's blobs; another account, another person, the internet: refused."""
    from azure.storage.blob import BlobServiceClient

    kept = dict(os.environ)
    with Emulator(runner="instant", speed=20_000) as running:
        os.environ.update(running.environment())
        credentials.entra.cache_clear()
        try:
            place, other = make(running, "lab"), make(running, "else")
            place.enable()
            place.arm.close()
            trust: dict[str, Any] = {"connection_verify": str(running.ca_bundle), "retry_total": 0}

            def blobs(storage: str, where: str, who: str) -> BlobServiceClient:
                url = running.control("address", account=storage, who=where)["url"]
                return BlobServiceClient(url, credential=credential(running, who), **trust)

            with blobs(_storage(place), "lab-head", "lab-head") as ours:
                container = ours.create_container("data")
                container.upload_blob("x", b"12" * 300_000)
                assert container.download_blob("x").readall() == b"12" * 300_000
            refusals = [
                (_storage(other), "lab-head", "lab-head", "AuthorizationFailure"),
                (_storage(other), "else-head", "lab-head", "AuthorizationPermissionMismatch"),
                (_storage(place), "", "lab-head", "AuthorizationFailure"),
                (_storage(place), "lab-desk", "lab-researcher", "AuthorizationPermissionMismatch"),
            ]
            for storage, where, who, code in refusals:
                with blobs(storage, where, who) as client_of_blobs, pytest.raises(HttpResponseError, match=code):
                    client_of_blobs.get_container_client("data").get_blob_client("x").download_blob()
            other.arm.close()
        finally:
            os.environ.clear()
            os.environ.update(kept)
            credentials.entra.cache_clear()


def test_two_workspaces_of_a_subscription(place: Place) -> None:
    """The second gets its policy too; disabling one leaves the other whole, and the definitions they share."""
    before = place.dump()
    other = make(place.emulator, f"{place.name}y")
    with_other = place.dump()
    place.enable()
    names = design.names_of(other.enable().facts)
    assert other.arm.get(names.policy_assignment, "2023-04-01") is not None
    place.disable()
    assert other.look().plan.empty
    assert other.arm.get(names.policy, "2023-04-01") is not None
    other.disable()
    assert place.dump() == with_other
    assert set(before) <= set(with_other)


def test_drift_is_found_and_mended(place: Place) -> None:
    """Each of our resources deleted by hand is found by a look and mended by enable; foreign rules survive."""
    looked = place.enable()
    names = design.names_of(looked.facts)
    place.arm.put(f"{names.security_group}/securityRules/theirs", NETWORK, _hole())
    rule = {
        "properties": {"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "192.0.2.7", "action": "Allow"}]}}
    }
    storage = place.arm.get(_storage(place), "2023-05-01")
    assert storage is not None
    kept = storage["properties"]["networkAcls"]["virtualNetworkRules"]
    rule["properties"]["networkAcls"]["virtualNetworkRules"] = kept
    place.arm.patch(_storage(place), "2023-05-01", rule)
    found = place.look()
    assert found.plan.empty
    assert [one.foreign for one in found.plan.changes if one.foreign] == [("securityRules/theirs",)]
    deleted, in_use = [], []
    for one in looked.wanted:
        if one.code == "sr":
            body = {"properties": {"networkAcls": {**rule["properties"]["networkAcls"], "virtualNetworkRules": []}}}
            place.arm.patch(one.id, one.api_version, body)
        else:
            try:
                place.arm.delete(one.id, one.api_version)
            except ServiceError:  # something hangs on it: changed below instead
                in_use.append(one.code)
                continue
        drift = [c.wanted.code for c in place.look().plan.changes if c.verb is not Verb.KEEP]
        assert one.code in drift, f"{one.code} is gone, and the plan says {drift}"
        place.enable()
        deleted.append(one.code)
    assert set(in_use) == {"sg", "sp", "vn", "ac", "zo", "r1", "r2", "pd"}
    assert {"sr", "pe", "pn", "g1", "g2", "l1", "l2", "id", "pa", "a1", "a2", "a3", "a4", "a5", "a6"} <= set(deleted)
    changed = {
        names.account: (BATCH, {"properties": {"allowedAuthenticationModes": ["AAD", "SharedKey"]}}),
        names.network: (NETWORK, None),
        names.security_group: (NETWORK, None),
        names.storage_policy: (NETWORK, None),
        names.zone: ("2024-06-01", None),
    }
    for id, (version, change) in changed.items():
        body = dict(place.arm.get(id, version) or {})
        if change is None:
            body["tags"] = {}
            place.arm.put(id, version, body)
        else:
            place.arm.patch(id, version, change)
        drifted = [c for c in place.look().plan.changes if c.verb is Verb.UPDATE]
        assert [c.wanted.id.lower() for c in drifted] == [id.lower()]
        place.enable()
        assert place.look().plan.empty
    group = place.arm.get(f"{names.security_group}/securityRules/theirs", NETWORK)
    assert group is not None
    storage = place.arm.get(_storage(place), "2023-05-01")
    assert storage is not None
    assert storage["properties"]["networkAcls"]["ipRules"] == [{"value": "192.0.2.7", "action": "Allow"}]
    place.disable()


def test_apply_is_as_long_as_the_longest_chain() -> None:
    """With the service's delays (at a tenth), apply takes at most 1.2 times the longest chain, not the sum."""
    import time

    with Emulator(storage=False, runner="instant", speed=10) as slow:
        kept = dict(os.environ)
        os.environ.update(slow.environment())
        credentials.entra.cache_clear()
        try:
            place = make(slow, "slow")
            looked = place.look()
            began = time.monotonic()
            manage.enable(place.arm, looked, quiet)
            took = time.monotonic() - began
        finally:
            place.arm.close()
            os.environ.clear()
            os.environ.update(kept)
            credentials.entra.cache_clear()
    # account 30 s, endpoint 40 s, record 10 s: 80 s of the service's time; the sum of all is above 300 s
    assert took <= 1.2 * 8.0 + 2.0, took


def test_bad_input_is_one_sentence_before_anything_is_made(place: Place) -> None:
    """Each fault is named with what to do; nothing is written."""
    before = place.dump()
    cases = [
        (replace(place.options, subscription="00000000-0000-4000-8000-00000000dead"), "no subscription .*dead"),
        (replace(place.options, workspace="nowhere"), "no workspace .*nowhere"),
        (replace(place.options, head_node="nobody"), rf"no machine 'nobody'; there is: {place.name}-head"),
        (replace(place.options, head_node=None), "Which machine is the head node"),
        (replace(place.options, address_space="10.0.0.1/22"), "host bits"),
        (replace(place.options, address_space="10.9.0.0/28"), "too small"),
        (replace(place.options, address_space="8.0.0.0/22"), "not private"),
        (replace(place.options, address_space=_own_range(place)), "overlaps"),
        (replace(place.options, image_registry="absent"), "no container registry 'absent'"),
    ]
    for options, text in cases:
        with pytest.raises(ConfigurationError, match=text):
            manage.look(place.arm, options)
    researcher = replace(place, arm=place.acting(f"{place.name}-researcher"))
    looked = researcher.look()
    missing = [one.sentence for one in looked.fatal if one.code == "MissingRight"]
    assert any("Microsoft.Authorization/roleAssignments/write" in text for text in missing)
    assert any("Microsoft.Authorization/policyDefinitions/write" in text for text in missing)
    with pytest.raises(ConfigurationError):
        manage.enable(researcher.arm, looked, quiet)
    assert place.dump() == before


def test_the_organisation_and_locks_are_asked_first(place: Place) -> None:
    """A policy that denies one of our resources, and a lock, are told before anything is made."""
    scope = f"/subscriptions/{place.subscription}"
    group = f"{scope}/resourceGroups/{place.name}"
    definition = f"{scope}/providers/Microsoft.Authorization/policyDefinitions/no-endpoints-{place.name}"
    rule = {"if": {"field": "type", "equals": "Microsoft.Network/privateEndpoints"}, "then": {"effect": "deny"}}
    place.arm.put(definition, "2023-04-01", {"properties": {"policyRule": rule, "displayName": "No endpoints"}})
    assignment = f"{group}/providers/Microsoft.Authorization/policyAssignments/no-endpoints"
    place.arm.put(
        assignment, "2023-04-01", {"properties": {"policyDefinitionId": definition, "displayName": "No endpoints"}}
    )
    lock = f"{group}/providers/Microsoft.Authorization/locks/frozen"
    place.arm.put(lock, "2020-05-01", {"properties": {"level": "ReadOnly"}})
    codes = {one.code for one in place.look().fatal}
    assert codes == {"DeniedByPolicy", "Locked"}
    with pytest.raises(ConfigurationError, match="No endpoints"):
        place.enable()
    for id in (lock, assignment, definition):
        place.arm.delete(id, "2020-05-01")


def test_the_originals_design_is_diagnosed(place: Place) -> None:
    """Only batchAccount, no DNS, TCP-only denies, classic ports: the doctor names each, and nodes go unusable."""
    group = f"/subscriptions/{place.subscription}/resourceGroups/{place.name}"
    at = {"location": "westeurope"}
    network = f"{group}/providers/Microsoft.Network"
    deny = {**_hole(4000)["properties"], "access": "Deny", "protocol": "Tcp"}
    classic = {
        **_hole(500)["properties"],
        "direction": "Inbound",
        "protocol": "Tcp",
        "sourceAddressPrefix": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "29876-29877",
    }
    rules = [{"name": "deny", "properties": deny}, {"name": "classic", "properties": classic}]
    place.arm.put(f"{network}/networkSecurityGroups/z", NETWORK, {**at, "properties": {"securityRules": rules}})
    subnet = {
        "name": "default",
        "properties": {
            "addressPrefix": "10.200.0.0/24",
            "networkSecurityGroup": {"id": f"{network}/networkSecurityGroups/z"},
        },
    }
    place.arm.put(
        f"{network}/virtualNetworks/batch",
        NETWORK,
        {**at, "properties": {"addressSpace": {"addressPrefixes": ["10.200.0.0/24"]}, "subnets": [subnet]}},
    )
    account = f"{group}/providers/Microsoft.Batch/batchAccounts/orig{place.name}"
    place.arm.put(account, BATCH, {**at, "properties": {"publicNetworkAccess": "Disabled"}})
    endpoint = {
        **at,
        "properties": {
            "subnet": {"id": f"{network}/virtualNetworks/{place.name}-vnet/subnets/default"},
            "privateLinkServiceConnections": [
                {"name": "b", "properties": {"privateLinkServiceId": account, "groupIds": ["batchAccount"]}}
            ],
        },
    }
    place.arm.put(f"{network}/privateEndpoints/only", NETWORK, endpoint)
    pool = {
        "properties": {
            "vmSize": "Standard_D2ds_v5",
            "deploymentConfiguration": {
                "virtualMachineConfiguration": {
                    "imageReference": MACHINE["imageReference"],
                    "nodeAgentSkuId": MACHINE["nodeAgentSKUId"],
                }
            },
            "scaleSettings": {"fixedScale": {"targetDedicatedNodes": 1}},
            "networkConfiguration": {"subnetId": f"{network}/virtualNetworks/batch/subnets/default"},
        }
    }
    place.arm.put(f"{account}/pools/p", BATCH, pool)
    runner = CliRunner()
    arguments = [
        "workspace",
        "doctor",
        "--subscription-id",
        place.subscription,
        "--workspace",
        place.name,
        "--head-node",
        f"{place.name}-head",
        "--json",
    ]
    told = runner.invoke(cli, arguments)
    assert told.exit_code == 2, told.output
    for code in (
        "MissingNodeManagementEndpoint",
        "MissingDns",
        "DenyNotForAllProtocols",
        "ClassicPortsOpen",
        "SharedKeys",
    ):
        assert f'"{code}"' in told.output
    found = place.arm.get(f"{account}/pools/p", BATCH)
    assert found is not None
    counts = place.emulator.control("accounts")["accounts"][f"orig{place.name}"]
    assert counts["pools"][0]["nodes"] == {"unusable": 1}
    place.arm.delete(f"{account}/pools/p", BATCH)
    place.arm.delete(f"{network}/privateEndpoints/only", NETWORK)
    place.arm.delete(account, BATCH)


def test_the_command_line(place: Place, tmp_path: Any) -> None:
    """plan, enable, status, doctor, disable: exit codes, words and JSON, and a template."""
    runner = CliRunner()
    common = ["--subscription-id", place.subscription, "--workspace", place.name, "--head-node", f"{place.name}-head"]

    def run(*arguments: str, code: int = 0) -> str:
        done = runner.invoke(cli, ["workspace", *arguments, *common])
        assert done.exit_code == code, done.output
        return str(done.output)

    refused = runner.invoke(cli, ["workspace", "plan", "--arm-template", str(tmp_path / "no" / "t.json"), *common])
    assert isinstance(refused.exception, AzbatchError)
    assert "could not be written" in str(refused.exception)
    shown = run("plan", "--arm-template", str(tmp_path / "t.json"), code=2)
    assert "a Batch account" in shown
    assert "may put pools into the Batch network" in shown
    assert "USD a month" in shown
    assert '"Microsoft.Batch/batchAccounts"' in (tmp_path / "t.json").read_text()
    assert "is not on" in run("status", code=2)
    enabled = run("enable", "--yes", "--wait-for-roles", "0.01")
    assert "Azure Batch is on" in enabled
    assert "Waiting for the roles" in enabled
    assert "Waiting for the roles" not in run("enable", "--yes"), "no role is new"
    assert "is as planned" in run("status")
    assert "Nothing stands in a node's way" in run("doctor")
    assert '"empty": true' in run("plan", "--json")
    assert "Nothing of azbatch is left" in run("disable", "--yes")
