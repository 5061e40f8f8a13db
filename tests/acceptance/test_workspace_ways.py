"""A way out, the storage by private endpoint, what owners add, and what goes wrong: proven on the emulated ARM."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.network import NetworkManagementClient
from click.testing import CliRunner, Result

from azbatch.azure import credentials
from azbatch.azure.arm import ArmClient
from azbatch.azure.network import SecurityGroup
from azbatch.cli import cli
from azbatch.errors import AzbatchError, ConfigurationError, ServiceError
from azbatch.network import way_out
from azbatch.workspace import design, manage, parts
from azbatch.workspace.examine import examine
from azbatch.workspace.model import Verb
from azbatch_emulator import Emulator
from tests.acceptance.test_workspace import (
    BATCH,
    NETWORK,
    NOW,
    Place,
    _dying,
    _hole,
    _storage,
    _trust,
    credential,
    emulator,
    make,
    quiet,
)
from tests.contract.sdk import MACHINE, Token

pytestmark = pytest.mark.acceptance
__all__ = ["emulator"]  # a fixture
ALL = {"way_out": "nat-gateway", "storage_private_endpoint": True}
LOCKS = "2020-05-01"


def choosing(place: Place, **options: Any) -> Place:
    return replace(place, options=replace(place.options, **options))


def verbs(looked: manage.Looked) -> set[tuple[str, str]]:
    return {(one.verb.value, one.wanted.code) for one in looked.plan.changes if one.verb is not Verb.KEEP}


def findings(place: Place) -> list[str]:
    return [one.code for one in examine(place.arm, place.options, NOW, {})]


@pytest.fixture
def place(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A fresh workspace; whatever a test left in the tenant is gone after it."""
    yield make(emulator, f"w{zlib.crc32(request.node.name.encode()):08x}")
    emulator.control("reset")


@pytest.fixture
def network(place: Place) -> Iterator[Any]:
    """Microsoft's own client, as the owner."""
    with NetworkManagementClient(
        Token(place.emulator),
        place.subscription,
        base_url=place.emulator.https_url,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(place.emulator.ca_bundle),
        polling_interval=0,
    ) as client:
        yield client


def run(place: Place, *arguments: str, head: bool = True) -> Result:
    """A command of `azbatch workspace`; its error, if any, is `exception`."""
    common = ["--subscription-id", place.subscription, "--workspace", place.name]
    return CliRunner().invoke(
        cli, ["workspace", *arguments, *common, *(["--head-node", f"{place.name}-head"] if head else [])]
    )


def test_options_are_made_remembered_and_taken_away(place: Place) -> None:
    """Asked for once, status and enable know of it; asked away it goes; disable finds all without options, and ARM is
    as before, by a full dump."""
    before = place.dump()
    chosen = choosing(place, **ALL)
    chosen.enable()
    place.arm.requests.clear()
    looked = place.look()
    assert looked.plan.empty, verbs(looked)
    assert looked.findings == ()
    assert sum(place.arm.requests.values()) <= 45
    assert findings(place) == []
    plain = choosing(place, way_out="none", storage_private_endpoint=False).enable()
    assert {"ip", "ng", "wo", "ps", "zb", "l3", "g3"}.isdisjoint(place.look().facts.ledger)
    names = design.names_of(plain.facts)
    assert place.arm.get(names.nat_gateway, NETWORK) is None
    assert place.arm.get(names.storage_endpoint, NETWORK) is None
    assert place.look().plan.empty
    assert findings(place) == []
    chosen.enable()
    place.disable()
    assert place.dump() == before


def test_killed_at_any_write_of_a_change_it_converges(place: Place) -> None:
    """The options put on and taken off again by a client that dies after every write in turn; removal too."""
    before = place.dump()
    on, off = choosing(place, **ALL), choosing(place, way_out="none", storage_private_endpoint=False)
    place.enable()
    enabled, writes, alive = place.dump(), 1, True
    while alive:
        alive = _dying(on, writes, Place.enable)
        on.enable()
        alive |= _dying(off, writes, Place.enable)
        again = off.look()
        off.enable() if not again.plan.empty or again.untidy else None
        assert place.dump() == enabled, f"after deaths at write {writes}"
        writes += 1
    assert writes > 8
    # From nothing to everything and back, dying again and again on the way.
    place.disable()
    assert place.dump() == before
    while _dying(on, 9, Place.enable):
        pass
    assert place.look().plan.empty
    while _dying(place, 9, Place.disable):
        pass
    assert place.dump() == before


def test_drift_of_the_options_is_found_and_mended(place: Place) -> None:
    """The gateway without its address, the subnet without its gateway, the endpoint and the zone's parts deleted."""
    looked = choosing(place, **ALL).enable()
    names = design.names_of(looked.facts)
    subnet = dict(place.arm.get(names.nodes_subnet, NETWORK) or {})
    place.arm.put(
        names.nodes_subnet,
        NETWORK,
        {"properties": {name: value for name, value in subnet["properties"].items() if name != "natGateway"}},
    )
    gateway = dict(place.arm.get(names.nat_gateway, NETWORK) or {})
    place.arm.put(names.nat_gateway, NETWORK, {**gateway, "properties": {}})
    assert "GatewayWithoutAddress" not in findings(place), "no subnet uses it"
    assert verbs(place.look()) == {("update", "wo"), ("update", "ng")}
    with pytest.raises(ConfigurationError):
        manage.enable(place.arm, choosing(place, head_node="nobody").look(), quiet)
    place.enable()
    assert place.look().plan.empty
    place.arm.put(names.nat_gateway, NETWORK, {**gateway, "properties": {}})
    assert findings(place) == ["GatewayWithoutAddress"]
    place.enable()
    for code in ("g3", "l3", "ps"):
        one = next(one for one in looked.wanted if one.code == code)
        if code == "ps":
            place.arm.delete(f"{one.id}/privateDnsZoneGroups/default", NETWORK)
        place.arm.delete(one.id, one.api_version)
        assert code in {gone for _, gone in verbs(place.look())}
        assert {"StorageName", "StorageClosed"} & set(findings(place))
        place.enable()
        assert findings(place) == []
    place.disable()


def test_nodes_reach_the_internet_by_the_gateway_only_where_it_is_opened(place: Place) -> None:
    """A pool that pulls from the internet: unusable while closed, while opened without a way, with a way while closed;
    idle with both."""
    names = design.names_of(place.enable().facts)

    def state(pool: str) -> str:
        machine = {
            "imageReference": MACHINE["imageReference"],
            "nodeAgentSkuId": MACHINE["nodeAgentSKUId"],
            "containerConfiguration": {"type": "DockerCompatible", "containerImageNames": ["quay.io/tool:1"]},
        }
        body = {
            "properties": {
                "vmSize": "Standard_D2ds_v5",
                "deploymentConfiguration": {"virtualMachineConfiguration": machine},
                "scaleSettings": {"fixedScale": {"targetDedicatedNodes": 1}},
                "networkConfiguration": {
                    "subnetId": names.nodes_subnet,
                    "publicIPAddressConfiguration": {"provision": "NoPublicIPAddresses"},
                },
            }
        }
        place.arm.put(f"{names.account}/pools/{pool}", BATCH, body)

        def nodes() -> dict[str, int]:
            told = place.emulator.control("accounts")["accounts"][names.account_name]
            return dict(next(one for one in told["pools"] if one["id"] == pool)["nodes"])

        _until(lambda: bool({"idle", "unusable"} & set(nodes())))
        found = next(iter(nodes()))
        place.arm.delete(f"{names.account}/pools/{pool}", BATCH)
        return found

    guard = SecurityGroup(place.arm, names.security_group)
    assert guard.closed_subnets == [names.nodes_subnet]
    told = way_out.sentence(guard.closed_subnets, guard.workspace)
    assert told.endswith(f"--subscription-id {place.subscription} --workspace {place.name} --way-out nat-gateway")
    assert state("closed") == "unusable"
    place.arm.put(f"{names.security_group}/securityRules/hole", NETWORK, _hole())
    assert state("opened") == "unusable"
    assert findings(place) == ["OpeningsWithoutWay"]
    choosing(place, way_out="nat-gateway").enable()
    assert findings(place) == []
    assert state("both") == "idle"
    guard = SecurityGroup(place.arm, names.security_group)
    assert guard.closed_subnets == []
    address = place.arm.get(names.nat_address, NETWORK)
    assert address is not None
    assert guard.public_addresses == [address["properties"]["ipAddress"]]
    head = SecurityGroup(place.acting(f"{place.name}-head"), names.security_group)
    assert head.public_addresses == guard.public_addresses, "the head node may read it"
    place.arm.delete(f"{names.security_group}/securityRules/hole", NETWORK)
    assert state("way") == "unusable"
    place.disable()


def _until(condition: Callable[[], bool]) -> None:
    import time

    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end


def test_blobs_by_private_endpoint_with_public_access_disabled() -> None:
    """A machine among the nodes reads and writes the workspace's blobs though the account has no public access; the
    workspace's own network, where the name leads elsewhere, is refused; without the endpoint so are the nodes."""
    from azure.storage.blob import BlobServiceClient

    kept = dict(os.environ)
    with Emulator(runner="instant", speed=20_000) as running:
        os.environ.update(running.environment())
        credentials.entra.cache_clear()
        try:
            place = choosing(make(running, "blobs"), storage_private_endpoint=True)
            names = design.names_of(place.enable().facts)
            group = names.group
            card = f"{group}/providers/Microsoft.Network/networkInterfaces/node-nic"
            there = {"name": "c", "properties": {"subnet": {"id": names.nodes_subnet}}}
            place.arm.put(card, NETWORK, {"location": "westeurope", "properties": {"ipConfigurations": [there]}})
            machine = {
                "hardwareProfile": {"vmSize": "Standard_D2ds_v5"},
                "storageProfile": {"osDisk": {"osType": "Linux"}},
                "networkProfile": {"networkInterfaces": [{"id": card}]},
            }
            node = f"{group}/providers/Microsoft.Compute/virtualMachines/node"
            place.arm.put(node, "2024-07-01", {"location": "westeurope", "properties": machine})
            place.arm.patch(_storage(place), "2023-05-01", {"properties": {"publicNetworkAccess": "Disabled"}})

            def blobs(where: str) -> BlobServiceClient:
                url = running.control("address", account=_storage(place), who=where)["url"]
                return BlobServiceClient(
                    url, credential=credential(running, "blobs-head"), retry_total=0, **_trust(place)
                )

            with blobs("node") as inside:
                container = inside.create_container("data")
                container.upload_blob("x", b"12" * 1000)
                assert container.download_blob("x").readall() == b"12" * 1000
            with blobs("blobs-head") as outside, pytest.raises(HttpResponseError, match="AuthorizationFailure"):
                outside.get_container_client("data").get_blob_client("x").download_blob()
            assert findings(place) == []
            with pytest.raises(ConfigurationError, match="interface node-nic stands in the Batch network"):
                place.disable()
            choosing(place, storage_private_endpoint=False).enable()
            assert findings(place) == ["StorageClosed"]
            with blobs("node") as inside, pytest.raises(HttpResponseError, match="AuthorizationFailure"):
                inside.get_container_client("data").get_blob_client("x").download_blob()
            place.arm.close()
        finally:
            os.environ.clear()
            os.environ.update(kept)
            credentials.entra.cache_clear()


# What owners add


def owned(client: Any, place: Place) -> dict[str, Any]:
    """What an owner has besides: a gateway, a route table."""
    at: dict[str, Any] = {"location": "westeurope"}
    address = client.public_ip_addresses.begin_create_or_update(
        place.name,
        "theirs",
        {**at, "sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}},
    ).result()
    gateway = client.nat_gateways.begin_create_or_update(
        place.name,
        "theirs",
        {**at, "sku": {"name": "Standard"}, "properties": {"publicIpAddresses": [{"id": address.id}]}},
    ).result()
    route = {"addressPrefix": "172.30.0.0/16", "nextHopType": "VirtualAppliance", "nextHopIpAddress": "10.0.0.9"}
    table = client.route_tables.begin_create_or_update(
        place.name, "theirs", {**at, "properties": {"routes": [{"name": "on-premises", "properties": route}]}}
    ).result()
    return {"natGateway": {"id": gateway.id}, "routeTable": {"id": table.id}}


def hung(client: Any, place: Place, network: str) -> dict[str, Any]:
    """What hangs on each subnet of a network, besides what it is made of, as Microsoft's client sees it."""
    return {
        one.name: {
            "natGateway": one.nat_gateway.id if one.nat_gateway else None,
            "routeTable": one.route_table.id if one.route_table else None,
            "delegations": [each.service_name for each in one.delegations or ()],
            "endpoints": sorted(each.service for each in one.service_endpoints or ()),
            "policies": one.private_endpoint_network_policies,
        }
        for one in client.subnets.list(place.name, network)
    }


def test_what_the_owner_hung_on_our_network_survives_every_repair(place: Place, network: Any) -> None:
    """A NAT gateway, a route table, a delegation, a service endpoint, a policy, a subnet and an address range of the
    owner's: shown, and as they were after enable mended what is ours."""
    looked = place.enable()
    names = design.names_of(looked.facts)
    vnet = names.network.rpartition("/")[2]
    theirs = owned(network, place)
    delegation = {"name": "d", "properties": {"serviceName": "Microsoft.Netapp/volumes"}}
    for name, more in (
        ("default", theirs),
        ("endpoints", {"routeTable": theirs["routeTable"], "privateEndpointNetworkPolicies": "Enabled"}),
    ):
        body = network.subnets.get(place.name, vnet, name).as_dict()
        services = [*(body["properties"].get("serviceEndpoints") or ()), {"service": "Microsoft.KeyVault"}]
        body["properties"] |= {**more, "serviceEndpoints": services}
        network.subnets.begin_create_or_update(place.name, vnet, name, body).result()
    whole = network.virtual_networks.get(place.name, vnet).as_dict()
    whole["properties"]["addressSpace"]["addressPrefixes"].insert(0, "192.168.77.0/24")
    whole["properties"]["subnets"].append(
        {"name": "theirs", "properties": {"addressPrefix": "192.168.77.0/26", "delegations": [delegation], **theirs}}
    )
    network.virtual_networks.begin_create_or_update(place.name, vnet, whole).result()
    kept = hung(network, place, vnet)
    assert kept["theirs"]["delegations"] == ["Microsoft.Netapp/volumes"]
    told = place.look()
    assert told.plan.empty, verbs(told)
    shown = {name for one in told.plan.changes for name in one.foreign}
    assert {"subnets/theirs", "subnets/default/natGateway theirs", "subnets/endpoints/routeTable theirs"} <= shown
    # Three kinds of repair: a member of a subnet, a tag of the network, an option put on and taken off.
    bare = network.subnets.get(place.name, vnet, "default").as_dict()
    for member in ("networkSecurityGroup", "serviceEndpointPolicies"):
        bare["properties"].pop(member)
    network.subnets.begin_create_or_update(place.name, vnet, "default", bare).result()
    assert ("update", "vn") in verbs(place.look())
    place.enable()
    assert hung(network, place, vnet) == kept
    network.virtual_networks.update_tags(place.name, vnet, {"tags": {"cost-centre": "7"}})
    place.enable()
    assert hung(network, place, vnet) == kept
    assert network.virtual_networks.get(place.name, vnet).tags["cost-centre"] == "7"
    choosing(place, storage_private_endpoint=True).enable()
    choosing(place, storage_private_endpoint=False).enable()
    assert hung(network, place, vnet) == kept
    with pytest.raises(ConfigurationError, match="has the NAT gateway theirs"):
        choosing(place, way_out="nat-gateway").enable()
    assert hung(network, place, vnet) == kept


def test_ours_on_the_subnet_leaves_their_route_table(place: Place, network: Any) -> None:
    """Our gateway put on a subnet and taken off it by replacing the subnet: what the owner has there stays."""
    names = design.names_of(place.enable().facts)
    vnet = names.network.rpartition("/")[2]
    theirs = owned(network, place)
    body = network.subnets.get(place.name, vnet, "default").as_dict()
    body["properties"]["routeTable"] = theirs["routeTable"]
    network.subnets.begin_create_or_update(place.name, vnet, "default", body).result()
    kept = hung(network, place, vnet)
    choosing(place, way_out="nat-gateway").enable()
    assert hung(network, place, vnet)["default"] == {**kept["default"], "natGateway": names.nat_gateway}
    choosing(place, way_out="none").enable()
    assert hung(network, place, vnet) == kept


def test_what_somebody_adds_in_the_middle_of_a_repair_is_not_overwritten(place: Place) -> None:
    """Between our reading of the network and our writing of it: the write names what was read, and is done again."""
    names = design.names_of(place.enable().facts)
    place.arm.put(names.network, NETWORK, {**(place.arm.get(names.network, NETWORK) or {}), "tags": {}})
    table = f"{names.group}/providers/Microsoft.Network/routeTables/late"
    place.arm.put(table, NETWORK, {"location": "westeurope", "properties": {}})

    class Late(ArmClient):
        """Hangs a route table on the subnet right before the network is written for the first time."""

        done = False

        def put(self, id: str, api_version: str, body: Any, **options: Any) -> Any:
            if id == names.network and not self.done:
                self.done = True
                subnet = dict(self.get(names.nodes_subnet, NETWORK) or {})
                properties = {**subnet["properties"], "routeTable": {"id": table}}
                super().put(names.nodes_subnet, NETWORK, {"properties": properties})
            return super().put(id, api_version, body, **options)

    late = Late(place.emulator.https_url)
    try:
        replace(place, arm=late).enable()
    finally:
        late.close()
    assert late.done
    assert place.look().plan.empty
    subnet = place.arm.get(names.nodes_subnet, NETWORK)
    assert subnet is not None
    assert subnet["properties"]["routeTable"]["id"] == table
    place.disable()


def test_a_resource_that_never_holds_still_is_an_error_and_no_loop(place: Place) -> None:
    """After some tries the service's refusal is told."""
    names = design.names_of(place.enable().facts)
    wanted = next(one for one in place.look().wanted if one.code == "vn")

    class Restless(ArmClient):
        def put(self, id: str, api_version: str, body: Any, **options: Any) -> Any:
            return super().put(id, api_version, body, **{**options, "etag": 'W/"never"'})

    restless = Restless(place.emulator.https_url)
    try:
        with pytest.raises(ServiceError, match="PreconditionFailed"):
            parts.replaced(restless, wanted, lambda present: present)
        assert restless.requests["PUT"] == parts.TRIES
    finally:
        restless.close()
    assert names
    place.disable()


# The command line, and what goes wrong


def test_the_commands_need_no_options_twice(place: Place) -> None:
    """After enable with everything, status, plan, doctor and disable need neither the head node nor an option."""
    before = place.dump()
    shown = run(place, "plan", "--way-out", "nat-gateway", "--storage-private-endpoint")
    assert shown.exit_code == 2, shown.output
    assert "NAT gateway" in shown.output
    assert "USD a month" in shown.output
    done = run(place, "enable", "--yes", "--way-out", "nat-gateway", "--storage-private-endpoint")
    assert done.exit_code == 0, done.output
    for command, words in (("status", "is as planned"), ("plan", "nothing to change"), ("doctor", "Nothing stands")):
        told = run(place, command, head=False)
        assert told.exit_code == 0, told.output
        assert words in told.output
    other = run(place, "plan", "--head-node", f"{place.name}-desk", head=False)
    assert f"-> that of {place.name}-desk" in other.output
    assert "-> nothing" not in other.output
    moved = run(place, "enable", "--yes", "--head-node", f"{place.name}-desk", "--way-out", "none", head=False)
    assert moved.exit_code == 0, moved.output
    assert "is as planned" in run(place, "status", head=False).output
    assert run(place, "disable", "--yes", head=False).exit_code == 0
    assert place.dump() == before, "also the identity of the second head node"


def test_central_dns_is_remembered_and_tells_the_storages_record(place: Place) -> None:
    """The storage's record is told with the account's; status does not ask for zones that nobody wanted."""
    done = run(place, "enable", "--yes", "--central-dns", "--storage-private-endpoint")
    assert done.exit_code == 0, done.output
    assert f"{place.storage}.privatelink.blob.core.windows.net A 10." in done.output
    assert run(place, "status").exit_code == 0
    back = run(place, "enable", "--yes", "--no-central-dns")
    assert back.exit_code == 0, back.output
    assert "Record to make" not in back.output
    assert findings(place) == []
    place.disable()


@pytest.mark.parametrize("registry", ["absent", "bad.azurecr.io"])
def test_one_fault_does_not_hide_another(place: Place, registry: str) -> None:
    """A bad registry, range and head node are told together; a doctor tells them too, a disable needs none of them."""
    bad = ("--image-registry", registry, "--head-node", "nobody", "--address-space", "10.0.0.1/22")
    for command in ("plan", "enable", "status", "doctor"):
        told = run(place, command, *bad, head=False)
        assert isinstance(told.exception, ConfigurationError)
        assert len(told.exception.faults) == 3, told.exception.faults
        for word in (registry, "no machine 'nobody'", "host bits"):
            assert word in str(told.exception)
    assert run(place, "disable", "--yes", "--image-registry", registry, head=False).exit_code == 0


def test_a_registry_is_remembered_and_its_role_goes(place: Place) -> None:
    """Enabled with a registry of another subscription, status and disable know it; the role on it goes with none, and
    with disable, also where that was killed."""
    elsewhere = place.emulator.control("workspace", name="shared", subscription="00000000-0000-4000-8000-000000000002")
    group = f"/subscriptions/{elsewhere['subscription']}/resourceGroups/shared"
    registry = f"{group}/providers/Microsoft.ContainerRegistry/registries/images"
    place.arm.put(registry, "2023-07-01", {"location": "westeurope", "sku": {"name": "Basic"}, "properties": {}})
    before = place.dump()
    enable = ("enable", "--yes", "--image-registry")
    done = run(place, *enable, registry)
    assert done.exit_code == 0, done.exception
    assert run(place, "status").exit_code == 0
    assert len([id for id in place.dump() if registry.lower() in id]) == 2
    assert run(place, *enable, "none").exit_code == 0
    assert len([id for id in place.dump() if registry.lower() in id]) == 1
    assert run(place, *enable, registry).exit_code == 0
    for writes in (1, 3, 9):
        _dying(place, writes, Place.disable)
    assert run(place, "disable", "--yes").exit_code == 0
    assert place.dump() == before


@pytest.mark.parametrize("mended", [True, False], ids=["enable first", "disable at once"])
def test_a_ledger_that_somebody_wiped_is_written_again_or_done_without(place: Place, mended: bool) -> None:
    """An organisation's policy replaces the group's tags: nothing is taken for a stranger's, options are still known,
    and disable takes all."""
    group = f"/subscriptions/{place.subscription}/resourceGroups/{place.name}"
    before = place.dump()
    own = (place.arm.get(group, "2022-09-01") or {})["tags"]
    whole = choosing(place, **ALL).enable()
    place.arm.patch(group, "2022-09-01", {"tags": own})
    looked = place.look()
    assert looked.plan.empty, verbs(looked)
    assert looked.findings == ()
    assert place.look().facts.ledger == ()
    if mended:
        names = design.names_of(looked.facts)
        place.arm.put(names.nat_gateway, NETWORK, {**(place.arm.get(names.nat_gateway, NETWORK) or {}), "tags": {}})
        with pytest.raises(ConfigurationError, match="was not made by azbatch"):
            place.enable()
        place.arm.patch(names.nat_gateway, NETWORK, {"tags": {"azbatch-workspace": place.name}})
        place.enable()
        assert set(place.look().facts.ledger) >= {one.code for one in whole.wanted if one.ownership.value == "owned"}
        place.arm.patch(group, "2022-09-01", {"tags": own})
        choosing(place, way_out="none").enable()
        assert place.arm.get(names.nat_gateway, NETWORK) is None
    place.disable()
    assert place.dump() == before


def test_the_groups_own_tags_are_read_right_before_they_are_written(place: Place) -> None:
    """A tag that the owner set while the plan was being read stays, through enable and disable."""
    group = f"/subscriptions/{place.subscription}/resourceGroups/{place.name}"
    looked = place.look()
    own = (place.arm.get(group, "2022-09-01") or {}).get("tags") or {}
    place.arm.patch(group, "2022-09-01", {"tags": {**own, "project": "x"}})
    manage.enable(place.arm, looked, quiet)
    looked = manage.look_for_removal(place.arm, place.options)
    held = (place.arm.get(group, "2022-09-01") or {})["tags"]
    assert held["project"] == "x"
    place.arm.patch(group, "2022-09-01", {"tags": {**held, "cost": "7"}})
    manage.disable(place.arm, looked, quiet, drop_pools=False)
    assert (place.arm.get(group, "2022-09-01") or {})["tags"] == {**own, "project": "x", "cost": "7"}


@pytest.mark.parametrize("where", ["subscription", "group", "storage", "network"])
def test_a_lock_is_one_sentence_and_nothing_half_done(place: Place, where: str) -> None:
    """Whatever is locked, disable tells the lock before it takes anything, and enable before it makes anything; once
    the lock is gone, the same command goes on."""
    before = place.dump()
    names = design.names_of(place.enable().facts)
    whole = place.dump()
    scopes = {
        "subscription": f"/subscriptions/{place.subscription}",
        "group": names.group,
        "storage": _storage(place),
        "network": names.network,
    }
    lock = f"{scopes[where]}/providers/Microsoft.Authorization/locks/frozen"
    for level in ("CanNotDelete", "ReadOnly"):
        place.arm.put(lock, LOCKS, {"properties": {"level": level}})
        locked = place.dump()
        told = run(place, "disable", "--yes")
        assert isinstance(told.exception, ConfigurationError), told.output
        (fault,) = told.exception.faults
        assert f"The lock 'frozen' ({level})" in fault
        assert place.dump() == locked
        assert place.look().findings == (), "nothing to do, so nothing is forbidden"
        place.arm.delete(lock, LOCKS)
    assert place.dump() == whole
    place.disable()
    place.arm.put(lock, LOCKS, {"properties": {"level": "ReadOnly"}}) if where != "network" else None
    if where != "network":
        locked = place.dump()
        with pytest.raises(ConfigurationError, match="frozen"):
            place.enable()
        assert place.dump() == locked
        place.arm.delete(lock, LOCKS)
    assert place.dump() == before


def test_a_lock_that_comes_in_the_middle_ends_in_sentences_and_is_healed(place: Place) -> None:
    """A lock set after the plan was shown: each refusal a sentence, and the same command finishes once it is gone."""
    before = place.dump()
    names = design.names_of(place.enable().facts)
    lock = f"{names.network}/providers/Microsoft.Authorization/locks/late"
    looked = manage.look_for_removal(place.arm, place.options)
    place.arm.put(lock, LOCKS, {"properties": {"level": "CanNotDelete"}})
    with pytest.raises(AzbatchError, match="ScopeLocked") as caught:
        manage.disable(place.arm, looked, quiet, drop_pools=False)
    lines = str(caught.value).splitlines()
    assert lines[-1] == "What was done stays; run the same command again to go on."
    assert "Traceback" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="The lock 'late'"):
        place.disable()
    place.arm.delete(lock, LOCKS)
    place.disable()
    assert place.dump() == before


def test_pools_are_told_before_the_question(place: Place) -> None:
    """Disable with pools asks nothing and takes nothing; with --delete-pools they go first; again it finds nothing."""
    names = design.names_of(place.look().facts)
    other = f"{names.group}/providers/Microsoft.Batch/batchAccounts/other"
    place.arm.put(other, BATCH, {"location": "westeurope", "properties": {"publicNetworkAccess": "Disabled"}})
    before = place.dump()
    place.enable()
    machine = {"imageReference": MACHINE["imageReference"], "nodeAgentSkuId": MACHINE["nodeAgentSKUId"]}
    pool = {
        "properties": {
            "vmSize": "Standard_D2ds_v5",
            "deploymentConfiguration": {"virtualMachineConfiguration": machine},
            "scaleSettings": {"fixedScale": {"targetDedicatedNodes": 1}},
            "networkConfiguration": {
                "subnetId": names.nodes_subnet,
                "publicIPAddressConfiguration": {"provision": "NoPublicIPAddresses"},
            },
        }
    }
    place.arm.put(f"{names.account}/pools/busy", BATCH, pool)
    whole = place.dump()
    refused = run(place, "disable")
    assert isinstance(refused.exception, AzbatchError)
    assert str(refused.exception).endswith("has pools (busy): delete them first, or say --delete-pools.")
    assert "Take this away?" not in refused.output
    assert place.dump() == whole
    place.arm.put(f"{other}/pools/guest", BATCH, pool)
    refused = run(place, "disable", "--yes", "--delete-pools")
    assert isinstance(refused.exception, AzbatchError)
    assert "Pools of other Batch accounts stand in the Batch network (other/guest)" in str(refused.exception)
    assert place.dump() == whole
    place.arm.delete(f"{other}/pools/guest", BATCH)
    done = run(place, "disable", "--yes", "--delete-pools")
    assert done.exit_code == 0, done.output
    assert "Deleting pool busy." in done.output
    assert place.dump() == before
    assert run(place, "disable", "--yes").exit_code == 0


def test_what_hangs_on_ours_is_told_before_a_removal(place: Place, network: Any) -> None:
    """A subnet of the owner's on our gateway, security group and endpoint policy, a hub linked to our zone: all told,
    nothing taken; without them the same command takes all."""
    before = place.dump()
    names = design.names_of(choosing(place, way_out="nat-gateway").enable().facts)
    hub = f"{names.group}/providers/Microsoft.Network/virtualNetworks/hub"
    uses = {
        "natGateway": {"id": names.nat_gateway},
        "networkSecurityGroup": {"id": names.security_group},
        "serviceEndpointPolicies": [{"id": names.storage_policy}],
        "serviceEndpoints": [{"service": "Microsoft.Storage"}],
    }
    subnet = {"name": "s", "properties": {"addressPrefix": "192.168.5.0/24", **uses}}
    space = {"addressSpace": {"addressPrefixes": ["192.168.5.0/24"]}, "subnets": [subnet]}
    network.virtual_networks.begin_create_or_update(place.name, "hub", {"location": "westeurope", "properties": space})
    link = f"{names.zone}/virtualNetworkLinks/hub"
    body = {"location": "global", "properties": {"virtualNetwork": {"id": hub}, "registrationEnabled": False}}
    place.arm.put(link, "2024-06-01", body)
    whole = place.dump()
    told = run(place, "disable", "--yes", head=False)
    assert isinstance(told.exception, ConfigurationError)
    assert len(told.exception.faults) == 4, told.exception.faults
    assert sum("is used by hub/s" in fault for fault in told.exception.faults) == 3
    assert "The network link hub hangs on a DNS zone" in told.exception.faults[-1]
    assert place.dump() == whole
    assert run(place, "status", head=False).exit_code == 0
    place.arm.delete(link, "2024-06-01")
    place.arm.delete(hub, NETWORK)
    assert run(place, "disable", "--yes", head=False).exit_code == 0
    assert place.dump() == before


def test_a_template_that_cannot_be_written_is_one_sentence(place: Place, tmp_path: Path) -> None:
    """No such folder, a folder, a full disk, a name too long, no name: told in a sentence; a file that was there stays
    as it was."""
    old = tmp_path / "old.json"
    old.write_text("mine")
    for target in (tmp_path / "no" / "t.json", Path("/dev/full"), tmp_path / ("x" * 300)):
        told = run(place, "plan", "--arm-template", str(target))
        assert isinstance(told.exception, AzbatchError), told.output
        assert "could not be written" in str(told.exception)
        assert "\n" not in str(told.exception)
    for target_ in (str(tmp_path), ""):
        told = run(place, "plan", "--arm-template", target_)
        assert told.exit_code in {1, 2}
        assert isinstance(told.exception, AzbatchError | SystemExit), told.exception
        assert "Traceback" not in told.output
    bad = run(place, "plan", "--arm-template", str(old), "--head-node", "nobody", head=False)
    assert isinstance(bad.exception, ConfigurationError)
    assert old.read_text() == "mine"
