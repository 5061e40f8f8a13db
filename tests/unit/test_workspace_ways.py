"""A way out and the storage's private endpoint: design, choices that are remembered, plan, words, template, doctor."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from azbatch.errors import ConfigurationError
from azbatch.workspace import compare, cost, design, doctor_ways, ledger, plan, preflight, residents, template, words
from azbatch.workspace.apply import ready
from azbatch.workspace.model import Difference, Facts, Machine, Ownership, Plan, Verb
from azbatch.workspace.names import BLOB_ZONE, Names
from tests.unit.test_workspace import GROUP, HEAD, STORAGE, SUBSCRIPTION, applied, facts

NAMES = Names(SUBSCRIPTION, "lab")
WAY = {"ip", "ng", "wo"}
ENDPOINT = {"ps", "zb", "l3", "g3"}


def asked(start: Facts, **options: Any) -> Facts:
    return replace(start, options=replace(start.options, **options))


def planned(start: Facts) -> Plan:
    wanted = design.design(start)
    return plan.plan(start, wanted, plan.former(start, wanted, design.every(start)))


def codes(made: Plan, *verbs: Verb) -> set[str]:
    return {one.wanted.code for one in made.changes if one.verb in verbs}


def with_subnets(start: Facts) -> Facts:
    """Facts as gathered: each subnet of the Batch network stands for itself too."""
    network = start.found[NAMES.network.lower()] or {}
    named = {f"{NAMES.network}/subnets/{one['name']}".lower(): one for one in network["properties"]["subnets"]}
    part = start.found.get(NAMES.nodes_subnet.lower()) or {}
    merged = {id: compare.merged({"properties": part.get("properties") or {}}, one) for id, one in named.items()}
    return replace(start, found={**start.found, **merged})


def enabled(**options: Any) -> Facts:
    return with_subnets(applied(asked(facts(), **options)))


@pytest.mark.parametrize(
    ("options", "more"),
    [({"way_out": "nat-gateway"}, WAY), ({"storage_private_endpoint": True}, ENDPOINT)],
    ids=["way out", "endpoint"],
)
def test_an_option_is_made_kept_and_taken_back(options: dict[str, Any], more: set[str]) -> None:
    """Asked for once, it stays without being asked for; asked away, it goes, and what it stood for comes back."""
    plain = {one.code for one in design.design(facts())}
    first = asked(facts(), **options)
    assert {one.code for one in design.design(first)} - plain == more
    there = enabled(**options)
    silent = asked(there, way_out=None, storage_private_endpoint=None)
    assert planned(there).empty
    assert planned(silent).empty
    away = asked(there, way_out="none", storage_private_endpoint=False)
    assert codes(planned(away), Verb.REMOVE) == more
    assert codes(planned(away), Verb.CREATE) == set()
    # Once it is gone the ledger forgets it, so that it is not taken for chosen.
    gone = replace(away, found={**applied(away).found, **{i.lower(): None for i in _ids(more, first)}})
    assert set(ledger.tidied(gone, design.design(gone))) & more == set()


def _ids(wanted: set[str], start: Facts) -> list[str]:
    return [one.id for one in design.design(start) if one.code in wanted and one.ownership is Ownership.OWNED]


def test_a_removal_needs_no_options() -> None:
    """All that an enable of any kind made is found again without saying it: by tags and ledger."""
    there = enabled(way_out="nat-gateway", storage_private_endpoint=True)
    plainly = asked(there, way_out=None, storage_private_endpoint=None)
    removed = codes(plan.removal(plainly, design.every(plainly)), Verb.REMOVE)
    assert removed >= {one.code for one in design.design(there)}
    nobody = replace(plainly, machines=(), networks=())
    assert codes(plan.removal(nobody, design.every(nobody)), Verb.REMOVE) >= WAY | ENDPOINT


def test_what_goes_waits_for_what_comes() -> None:
    """A change of options makes before it breaks; the gateway goes after the subnet let go of it."""
    there = enabled(way_out="nat-gateway")
    made = planned(asked(there, way_out="none", storage_private_endpoint=True))
    kept = {one.wanted.id.lower() for one in made.changes if one.verb is Verb.KEEP}
    assert not {one.wanted.code for one in ready(made, kept, set())} & WAY
    done = {one.wanted.id.lower() for one in made.changes if one.verb is not Verb.REMOVE}
    order = []
    while turn := ready(made, done, set()):
        order += [one.wanted.code for one in turn]
        done |= {one.wanted.id.lower() for one in turn}
    assert [code for code in order if code in WAY] == ["wo", "ng", "ip"]


def test_with_an_endpoint_the_rules_name_no_service_tag() -> None:
    """The storage account gets no rule, the group lets nothing out of the network; the endpoint policy stays."""
    wanted = {one.code: one for one in design.design(asked(facts(), storage_private_endpoint=True))}
    assert "sr" not in wanted
    rules = wanted["sg"].body["properties"]["securityRules"]
    assert not [one for one in rules if "Storage" in one["properties"]["destinationAddressPrefix"]]
    subnet = wanted["vn"].body["properties"]["subnets"][0]
    assert subnet["properties"]["serviceEndpointPolicies"]
    assert wanted["l3"].body["properties"]["virtualNetwork"]["id"] == NAMES.network, "never the workspace's network"
    central = {one.code for one in design.design(asked(facts(), storage_private_endpoint=True, central_dns=True))}
    assert central & ENDPOINT == {"ps"}


def test_a_gateway_of_the_owner_is_not_replaced() -> None:
    """A subnet has one gateway: another one there stands in the way, and without the option it is shown, left alone."""
    there = enabled()
    theirs = {"properties": {"natGateway": {"id": f"{GROUP}/providers/Microsoft.Network/natGateways/theirs"}}}
    network = there.found[NAMES.network.lower()] or {}
    subnets = [
        compare.merged(theirs, one) if one["name"] == "default" else one for one in network["properties"]["subnets"]
    ]
    body = {**network, "properties": {**network["properties"], "subnets": subnets}}
    held = with_subnets(replace(there, found={**there.found, NAMES.network.lower(): body}))
    made = planned(held)
    assert made.empty
    assert [one.foreign for one in made.changes if one.foreign] == [("subnets/default/natGateway theirs",)]
    assert "what others' ways let out" in "\n".join(words.reach(made))
    greedy = asked(held, way_out="nat-gateway")
    wanted = design.design(greedy)
    assert [one.code for one in preflight.preflight(greedy, planned(greedy), wanted)] == ["OtherGateway"]


def test_the_plan_says_what_a_way_out_costs_and_opens() -> None:
    """Per month and per gigabyte; and what nodes reach before and after."""
    made = planned(asked(facts(), way_out="nat-gateway", storage_private_endpoint=True))
    text = "\n".join([*words.costs(made), *words.reach(made), *words.lines(made)])
    assert "1 x NAT gateway: about 32.85 USD a month" in text
    assert "1 x public address: about 3.65 USD a month" in text
    assert "3 x private endpoint" in text
    assert "0.045 USD per gigabyte through the NAT gateway" in text
    assert "what azbatch network opens on the internet, through the NAT gateway; nothing comes in" in text
    assert words.as_json(made)["cost_per_gigabyte_usd"]["through the NAT gateway"] == 0.045
    there = enabled(way_out="nat-gateway")
    away = planned(asked(there, way_out="none"))
    assert "nothing else, in or out" in "\n".join(words.reach(away)).splitlines()[1]
    assert cost.per_gigabyte(away) == []


def test_the_template_hangs_the_gateway_on_its_subnet() -> None:
    """A part of a network that the template makes belongs into it: a pipeline has nothing to do by hand for it."""
    found = template.template(planned(asked(facts(), way_out="nat-gateway")), "westeurope")
    (network,) = [one for one in found["resources"] if one["type"] == "Microsoft.Network/virtualNetworks"]
    subnet = next(one for one in network["properties"]["subnets"] if one["name"] == "default")
    assert subnet["properties"]["natGateway"] == {"id": NAMES.nat_gateway}
    assert subnet["properties"]["defaultOutboundAccess"] is False
    assert NAMES.nat_gateway in network["dependsOn"]
    assert [one["value"] for one in found["outputs"].values()] == [
        "the storage account labdata lets the nodes' subnet in"
    ]
    there = enabled(way_out="nat-gateway")
    text = json.dumps(template.template(planned(asked(there, way_out="none")), "westeurope"))
    assert NAMES.nat_gateway not in text, "what goes is not deployed"


def test_a_difference_names_resources_and_not_their_whole_ids() -> None:
    """Ids are long; the name at their end says which."""
    there = applied(facts())
    storage = {"id": STORAGE, "name": "labdata", "properties": {"networkAcls": {"virtualNetworkRules": []}}}
    network = there.found[NAMES.network.lower()] or {}
    subnets = [{**network["properties"]["subnets"][0], "properties": {}}, network["properties"]["subnets"][1]]
    body = {**network, "properties": {**network["properties"], "subnets": subnets}}
    text = "\n".join(
        words.lines(
            planned(replace(there, found={**there.found, STORAGE.lower(): storage, NAMES.network.lower(): body}))
        )
    )
    assert "virtualNetworkRules[default]: nothing -> default" in text
    assert "subnets[default].networkSecurityGroup: nothing -> z-lab-batch-nsg" in text.replace("properties.", "")
    assert "/subscriptions/" not in text


def test_a_policy_against_public_addresses_is_told_before_anything_is_made() -> None:
    """Many organisations have one; without a way out it stands in nobody's way."""
    rule = {"if": {"field": "type", "equals": "Microsoft.Network/publicIPAddresses"}, "then": {"effect": "deny"}}
    policy = {
        "id": f"{GROUP}/providers/Microsoft.Authorization/policyAssignments/p",
        "properties": {"displayName": "No public addresses"},
        "definition": {"properties": {"policyRule": rule}},
    }
    start = facts(policies=(policy,))
    assert preflight.preflight(start, planned(start), ()) == []
    wanting = asked(start, way_out="nat-gateway")
    (found,) = preflight.preflight(wanting, planned(wanting), ())
    assert found.fatal
    assert "The policy 'No public addresses' denies Microsoft.Network/publicIPAddresses" in found.sentence


# The head node


def two_machines(**changes: Any) -> Facts:
    head = facts().machines[0]
    desk = Machine(
        id=f"{GROUP}/d", name="desk", operating_system="Linux", principal_id="p-desk", subnet_id=head.subnet_id
    )
    return facts(machines=(desk, head), **changes)


def test_the_head_node_of_an_earlier_enable_is_known() -> None:
    """Whom the assignment in place names; another one named is another one, and one that is gone is asked for."""
    assert design.head_node(two_machines(head_principal="p-head")).name == "head"
    assert design.head_node(asked(two_machines(head_principal="p-head"), head_node="desk")).name == "desk"
    for principal in (None, "p-of-a-machine-that-is-gone"):
        with pytest.raises(ConfigurationError, match="Which machine is the head node"):
            design.head_node(two_machines(head_principal=principal))


def test_another_head_node_gives_back_the_identity_of_the_first() -> None:
    """What we switched on for one machine is switched off there, and another's own identity is never taken for ours."""
    start = two_machines()
    off = replace(start.machines[1], principal_id=None)
    first = applied(
        replace(
            asked(start, head_node="head"),
            machines=(start.machines[0], off),
            found={STORAGE.lower(): facts().found[STORAGE.lower()], HEAD.lower(): {"id": HEAD}},
        )
    )
    assert "hi=head" in first.ledger
    on = replace(off, principal_id="new")
    moved = with_subnets(replace(asked(first, head_node="desk"), machines=(start.machines[0], on)))
    made = planned(moved)
    assert codes(made, Verb.REMOVE) == {"hi=head"}
    assert not [code for code in ledger.to_be_written(moved, made) if code == "hi=desk"]


def test_a_principal_that_is_not_known_yet_is_said_in_words() -> None:
    """Not "nothing": whose identity it will be."""
    there = applied(facts())
    off = Machine(
        id=f"{GROUP}/providers/Microsoft.Compute/virtualMachines/desk",
        name="desk",
        operating_system="Linux",
        principal_id=None,
        subnet_id=facts().machines[0].subnet_id,
    )
    other = asked(
        replace(there, machines=(*there.machines, off), found={**there.found, off.id.lower(): {"id": off.id}}),
        head_node="desk",
    )
    text = "\n".join(words.lines(planned(other)))
    assert "-> that of desk" in text
    assert "-> nothing" not in text


def test_all_faults_of_a_configuration_are_told_at_once() -> None:
    """What Azure told while the facts were read comes with what the design finds."""
    odd = asked(
        facts(faults=("There is no container registry 'absent'.",)), head_node="nobody", address_space="8.0.0.0/22"
    )
    with pytest.raises(ConfigurationError) as caught:
        design.design(odd)
    assert [text.split()[0] for text in caught.value.faults] == ["There", "The", "The"]
    assert "nobody" in str(caught.value)
    assert "not private" in str(caught.value)


def test_the_registry_of_an_earlier_enable_is_remembered() -> None:
    """Its role stays without being asked for, and goes with none, with another registry, and at removal."""
    registry = {"id": f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/images", "name": "images"}
    there = enabled()
    given = applied(asked(replace(there, registry=registry), image_registry="images"))
    known = with_subnets(replace(asked(given, image_registry=None), registry=None, pulls_from=(registry,)))
    assert planned(known).empty
    assert codes(planned(asked(known, image_registry="none")), Verb.REMOVE) == {"a7"}
    assert "a7" in codes(plan.removal(known, design.every(known)), Verb.REMOVE)
    other = {"id": f"{registry['id']}2", "name": "images2"}
    moving = asked(replace(known, registry=other), image_registry="images2")
    changed = planned(moving)
    work = [one for one in changed.changes if one.verb is not Verb.KEEP]
    assert [one.verb for one in work] == [Verb.CREATE, Verb.REMOVE]
    assert [one.wanted.id.split("/providers/Microsoft.Auth")[0] for one in work] == [other["id"], registry["id"]]
    meanwhile, then = ledger.before(moving, changed), ledger.after(moving, design.design(moving))
    assert ledger.read_registries({"tags": meanwhile}) == (registry["id"], other["id"]), "both, until the first is gone"
    assert ledger.read_registries({"tags": then}) == (other["id"],)
    assert ledger.REGISTRIES_TAG not in ledger.after(moving, design.design(asked(known, image_registry="none")))


def test_registries_whose_ids_no_tag_holds_are_refused_before_anything_is_made() -> None:
    """Two of the longest ids do not fit into 256 characters; one does."""
    long = {"id": f"{GROUP}{'x' * 87}/providers/Microsoft.ContainerRegistry/registries/{'r' * 49}", "name": "r"}
    one, two = ({**long, "id": f"{long['id']}{number}"} for number in (1, 2))
    first = asked(replace(enabled(), registry=one), image_registry=str(one["id"]))
    held = ledger.before(first, planned(first))
    assert ledger.read_registries({"tags": held}) == (one["id"],)
    assert all(len(value) <= ledger.MOST for value in held.values())
    second = asked(replace(first, registry=two, pulls_from=(one,)), image_registry=str(two["id"]))
    with pytest.raises(ConfigurationError, match="--image-registry none first"):
        ledger.before(second, planned(second))


# What is in the way


def lock(scope: str, level: str) -> dict[str, Any]:
    return {"id": f"{scope}/providers/Microsoft.Authorization/locks/l", "name": "l", "properties": {"level": level}}


@pytest.mark.parametrize(
    ("scope", "level", "enable", "disable"),
    [
        (f"/subscriptions/{SUBSCRIPTION}", "ReadOnly", True, True),
        (GROUP, "ReadOnly", True, True),
        (GROUP, "CanNotDelete", False, True),
        (STORAGE, "ReadOnly", True, True),
        (STORAGE, "CanNotDelete", False, True),
        (NAMES.security_group, "CanNotDelete", False, True),
        (f"{NAMES.security_group}/securityRules/theirs", "CanNotDelete", False, True),
        (f"{GROUP}/providers/Microsoft.Network/virtualNetworks/lab-vnet", "CanNotDelete", False, False),
        (f"{GROUP}/providers/Microsoft.Compute/disks/d", "ReadOnly", False, False),
        (f"{GROUP}x", "ReadOnly", False, False),
    ],
)
def test_a_lock_stands_in_the_way_of_what_it_forbids(scope: str, level: str, enable: bool, disable: bool) -> None:
    """On the subscription, the group, or one resource; a lock on anything else stops nothing."""
    start = facts(locks=(lock(scope, level),))
    assert bool(preflight.preflight(start, planned(start), ())) is enable
    there = replace(enabled(), locks=start.locks)
    found = preflight.preflight(there, plan.removal(there, design.every(there)), ())
    assert [one.code for one in found] == (["Locked"] if disable else [])
    assert all(one.sentence.count("forbids that") == 1 for one in found)


def test_a_new_principal_removes_an_assignment_so_a_lock_forbids_it() -> None:
    """Azure updates no assignment: it is made anew."""
    there = enabled()
    names = [one for one in planned(there).changes if one.wanted.code == "a5"]
    update = replace(names[0], verb=Verb.UPDATE, differences=(Difference(path="p", found=1, wanted=2),))
    locked = replace(there, locks=(lock(STORAGE, "CanNotDelete"),))
    assert [one.code for one in preflight.preflight(locked, Plan(changes=(update,)), ())] == ["Locked"]


def test_what_others_put_into_the_network_is_told_before_anything_goes() -> None:
    """A foreign interface; our endpoints' own, and the nodes of pools, are none."""
    there = enabled()
    network = there.found[NAMES.network.lower()] or {}
    cards = [f"{GROUP}/providers/Microsoft.Network/networkInterfaces/{name}/ipConfigurations/c" for name in ("e", "vm")]
    scale_set = "/subscriptions/b/resourceGroups/b/providers/Microsoft.Compute/virtualMachineScaleSets/s"
    node = f"{scale_set}/virtualMachines/0/networkInterfaces/n/ipConfigurations/c"
    taken = {"ipConfigurations": [{"id": one} for one in (*cards, node)]}
    subnets = [compare.merged({"properties": taken}, network["properties"]["subnets"][0])]
    endpoint = compare.merged(
        {"properties": {"networkInterfaces": [{"id": cards[0].rpartition("/ipC")[0]}]}},
        there.found[NAMES.node_endpoint.lower()],
    )
    body = {**network, "properties": {**network["properties"], "subnets": subnets}}
    held = replace(there, found={**there.found, NAMES.network.lower(): body, NAMES.node_endpoint.lower(): endpoint})
    found = residents.residents(held, plan.removal(held, design.every(held)), [])
    assert [one.sentence.split()[3] for one in found] == ["vm"]


def test_what_others_hang_on_what_is_ours_is_told_before_anything_goes() -> None:
    """Their subnet on our gateway or group, their link on our zone; our own subnets and links are no strangers."""
    there = enabled(way_out="nat-gateway")
    theirs = {"id": f"{GROUP}/providers/Microsoft.Network/virtualNetworks/hub/subnets/s"}
    links = [{"id": one} for one in (NAMES.zone_link(NAMES.network), f"{NAMES.zone}/virtualNetworkLinks/hub")]

    def used(id: str, *users: dict[str, str], **more: Any) -> Facts:
        body = compare.merged({"properties": {"subnets": list(users), **more}}, there.found[id.lower()])
        return replace(there, found={**there.found, id.lower(): body})

    ours = {"id": NAMES.nodes_subnet}
    cases = [
        (used(NAMES.nat_gateway, ours), links[:1], []),
        (used(NAMES.nat_gateway, ours, theirs), [], ["lab-batch-nat is used by hub/s"]),
        (used(NAMES.security_group, theirs), [], ["z-lab-batch-nsg is used by hub/s"]),
        (used(NAMES.nat_address, natGateway={"id": NAMES.nat_gateway}), [], []),
        (
            used(NAMES.nat_address, natGateway={"id": f"{NAMES.nat_gateway}2"}),
            [],
            ["lab-batch-nat-ip is used by lab-b"],
        ),
        (there, links, ["The network link hub hangs on a DNS zone"]),
    ]
    for facts_, given, expected in cases:
        found = residents.residents(facts_, plan.removal(facts_, design.every(facts_)), given)
        assert [one.sentence[: len(text)] for one, text in zip(found, expected, strict=True)] == expected


# Comparing


def test_an_address_range_that_the_owner_added_stays() -> None:
    """A network may have more ranges than ours: no drift, and kept when ours is mended."""
    wanted = {"addressSpace": {"addressPrefixes": ["10.0.0.0/22"]}}
    found = {"addressSpace": {"addressPrefixes": ["10.9.0.0/24", "10.0.0.0/22"]}}
    assert list(compare.differences(wanted, found)) == []
    assert list(compare.differences(wanted, {"addressSpace": {"addressPrefixes": ["10.9.0.0/24"]}}))
    mended = compare.merged(wanted, {"addressSpace": {"addressPrefixes": ["10.9.0.0/24"]}})
    assert mended["addressSpace"]["addressPrefixes"] == ["10.0.0.0/22", "10.9.0.0/24"]
    there = enabled()
    network = there.found[NAMES.network.lower()] or {}
    ours = network["properties"]["addressSpace"]["addressPrefixes"][0]
    more = {"addressSpace": {"addressPrefixes": ["192.168.7.0/24", ours]}}
    body = {**network, "properties": {**network["properties"], **more}}
    grown = replace(there, found={**there.found, NAMES.network.lower(): body})
    assert planned(grown).empty, "the nodes' range is known among several"


# The doctor

SUBNET = {
    "id": NAMES.nodes_subnet,
    "name": "default",
    "properties": {"defaultOutboundAccess": False, "networkSecurityGroup": {"id": "g"}},
}
NAT, TABLE = {"natGateway": {"id": "/nat/N"}}, {"routeTable": {"id": "/table/T"}}
ADDRESS = {"id": "/nat/N", "properties": {"publicIpAddresses": [{"id": "ip"}]}}


def network_with(**properties: Any) -> dict[str, Any]:
    subnet = {**SUBNET, "properties": {**SUBNET["properties"], **properties}}  # type: ignore[dict-item]
    return {"id": NAMES.network, "properties": {"subnets": [subnet, {"name": "endpoints", "properties": {}}]}}


def group_with(*targets: str, name: str = "open") -> dict[str, Any]:
    rule = {
        "access": "Allow",
        "direction": "Outbound",
        "priority": 1000,
        "protocol": "Tcp",
        "destinationPortRange": "443",
    }
    rules = [
        {"name": f"{name}{n}", "properties": {**rule, "destinationAddressPrefix": t}} for n, t in enumerate(targets)
    ]
    return {"name": "z", "properties": {"securityRules": rules}}


def routed(hop: str) -> dict[str, Any]:
    return {
        "/table/t": {"properties": {"routes": [{"properties": {"addressPrefix": "0.0.0.0/0", "nextHopType": hop}}]}}
    }


@pytest.mark.parametrize(
    ("network", "group", "gateways", "tables", "expected"),
    [
        (network_with(), group_with(), {}, {}, []),
        (network_with(), group_with("192.0.2.1"), {}, {}, ["OpeningsWithoutWay"]),
        (network_with(), group_with("Storage.westeurope"), {}, {}, ["OpeningsWithoutWay"]),
        (network_with(), group_with("10.1.0.4", "VirtualNetwork"), {}, {}, []),
        (network_with(), group_with("Storage.westeurope", name="azbatch-"), {}, {}, []),
        (network_with(**NAT), group_with("192.0.2.1"), {"/nat/n": ADDRESS}, {}, []),
        (network_with(**NAT), group_with(), {"/nat/n": {"properties": {}}}, {}, ["GatewayWithoutAddress"]),
        (network_with(**NAT), group_with("192.0.2.1"), {"/nat/n": None}, {}, []),
        (network_with(**TABLE), group_with("192.0.2.1"), {}, routed("VirtualAppliance"), []),
        (network_with(**TABLE), group_with("192.0.2.1"), {}, routed("None"), ["OpeningsWithoutWay"]),
        (network_with(**NAT, **TABLE), group_with(), {"/nat/n": ADDRESS}, routed("Internet"), ["RouteBeforeGateway"]),
        (network_with(**NAT, **TABLE), group_with(), {"/nat/n": ADDRESS}, {"/table/t": None}, []),
        (network_with(defaultOutboundAccess=True), group_with("192.0.2.1"), {}, {}, []),
        (None, None, {}, {}, []),
    ],
)
def test_the_doctor_follows_the_way_out(
    network: Any, group: Any, gateways: Any, tables: Any, expected: list[str]
) -> None:
    """Openings without a way, a gateway without an address, a route that comes first; what may not be read is not
    guessed."""
    assert [one.code for one in doctor_ways.ways_out(network, group, gateways, tables)] == expected


def blob_endpoint(subnet: str = NAMES.endpoints_subnet, group: str = "blob") -> dict[str, Any]:
    connection = {"properties": {"privateLinkServiceId": STORAGE, "groupIds": [group]}}
    told = {"fqdn": "labdata.blob.core.windows.net", "ipAddresses": ["10.0.2.9"]}
    return {
        "properties": {
            "subnet": {"id": subnet},
            "privateLinkServiceConnections": [connection],
            "customDnsConfigs": [told],
        }
    }


def blob_zone(address: str = "10.0.2.9", network: str = NAMES.network) -> Any:
    link = {"properties": {"virtualNetwork": {"id": network}}}
    record = {"name": "labdata", "properties": {"aRecords": [{"ipv4Address": address}]}}
    return ({"name": BLOB_ZONE}, [link], [record])


CLOSED = {"publicNetworkAccess": "Disabled"}
RULES = {"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": [{"id": NAMES.nodes_subnet.upper()}]}}
NO_RULES = {"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": []}}
INSIDE, NOWHERE = group_with("10.0.2.0/28"), group_with()


@pytest.mark.parametrize(
    ("properties", "group", "endpoints", "zones", "expected"),
    [
        (RULES, NOWHERE, [], [], []),
        (NO_RULES, NOWHERE, [], [], ["StorageClosed"]),
        ({}, NOWHERE, [], [], []),
        (CLOSED, NOWHERE, [], [], ["StorageClosed"]),
        (CLOSED, INSIDE, [blob_endpoint()], [blob_zone()], []),
        (CLOSED, NOWHERE, [blob_endpoint()], [blob_zone()], ["GroupBlocksStorage"]),
        (CLOSED, INSIDE, [blob_endpoint()], [], ["StorageName"]),
        (CLOSED, INSIDE, [blob_endpoint()], [blob_zone(network="/elsewhere")], ["StorageName"]),
        (CLOSED, INSIDE, [blob_endpoint()], [blob_zone("10.0.2.10")], ["StorageName"]),
        (CLOSED, INSIDE, [blob_endpoint(group="file")], [blob_zone()], ["StorageClosed"]),
        (CLOSED, INSIDE, [blob_endpoint("/elsewhere/subnets/x")], [blob_zone()], ["StorageClosed"]),
    ],
)
def test_the_doctor_follows_the_storage(
    properties: Any, group: Any, endpoints: Any, zones: Any, expected: list[str]
) -> None:
    """By its rules, or by a private endpoint in the nodes' network with a record that leads to it."""
    account = {"id": STORAGE, "name": "labdata", "properties": properties}
    found = list(doctor_ways.storage(account, network_with(), group, endpoints, zones, []))
    assert [one.code for one in found] == expected
    assert list(doctor_ways.storage(None, network_with(), group, endpoints, zones, [])) == []


def test_a_change_is_shown_once() -> None:
    """No resource is wanted twice, whatever is asked for."""
    for options in ({}, {"way_out": "nat-gateway", "storage_private_endpoint": True}):
        ids = [one.id.lower() for one in design.design(asked(facts(), **options))]
        assert len(ids) == len(set(ids))
