"""The workspace's pure half: names, ranges, comparing, planning, the doctor."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch.errors import ConfigurationError
from azbatch.workspace import compare, design, doctor, gather, ledger, manage, plan, preflight, ranges, template, words
from azbatch.workspace.apply import ready
from azbatch.workspace.model import Change, Facts, Machine, Network, Options, Ownership, Plan, Rights, Subnet, Verb
from azbatch.workspace.names import Names

SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/lab"
VNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/lab-vnet"
HEAD = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/head"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/labdata"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def facts(**changes: Any) -> Facts:
    """A workspace with a storage account, a network, and one Linux machine with an identity."""
    subnet = Subnet(id=f"{VNET}/subnets/default", name="default", prefix="10.1.0.0/26", taken=3)
    network = Network(id=VNET, name="lab-vnet", location="westeurope", prefixes=("10.1.0.0/24",), subnets=(subnet,))
    machine = Machine(id=HEAD, name="head", operating_system="Linux", principal_id="p-head", subnet_id=subnet.id)
    storage = {"id": STORAGE, "name": "labdata", "properties": {"networkAcls": {"virtualNetworkRules": []}}}
    base = Facts(
        options=Options(subscription=SUBSCRIPTION, workspace="lab"),
        tenant="t",
        caller="me",
        location="westeurope",
        group={"id": GROUP, "name": "lab", "location": "westeurope"},
        storage_accounts=(storage,),
        networks=(network,),
        machines=(machine,),
        rights=(Rights(scope=f"/subscriptions/{SUBSCRIPTION}", actions=("*",)),),
        found={STORAGE.lower(): storage, HEAD.lower(): {"id": HEAD, "identity": {"principalId": "p-head"}}},
    )
    return replace(base, **changes)


def applied(start: Facts) -> Facts:
    """The facts after an enable: each wanted body is there, with what the service adds."""
    wanted = design.design(start)
    found = dict(start.found)
    for one in wanted:
        present = found.get(one.id.lower()) or {"id": one.id, "properties": {"principalId": "p-nodes"}}
        found[one.id.lower()] = compare.merged(compare.resolved(one.body, found), present)
    made = plan.plan(start, wanted)
    return replace(start, found=found, ledger=ledger.to_be_written(start, made))


# Names

WORKSPACES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,88}[A-Za-z0-9]", fullmatch=True)


@given(WORKSPACES, WORKSPACES)
def test_names_fit_and_never_collide(one: str, other: str) -> None:
    """Each name keeps Azure's limits, is the same each time, and differs where the workspaces do."""
    first, second = Names(SUBSCRIPTION, one), Names(SUBSCRIPTION, other)
    assert re.fullmatch(r"[a-z0-9]{3,24}", first.account_name)
    assert first.security_group.rsplit("/", 1)[1].startswith("z")
    for id in (first.network, first.security_group, first.account_endpoint, first.node_identity):
        assert len(id.rsplit("/", 1)[1]) <= 64
    assert Names(SUBSCRIPTION, one).account == first.account
    if one.lower() != other.lower():
        assert first.account_name != second.account_name
        assert first.assignment(GROUP, "a1") != second.assignment(GROUP, "a1")
        assert first.role("x") == second.role("x"), "definitions are shared"


# Ranges

PREFIXES = st.builds(
    lambda second, third: f"10.{second}.{third * 4 % 256}.0/22", st.integers(0, 255), st.integers(0, 63)
)


@given(st.text(min_size=1, max_size=20), st.lists(PREFIXES, max_size=40))
def test_a_range_overlaps_nothing_and_is_the_same_each_time(key: str, others: list[str]) -> None:
    """Also where its first choice is taken."""
    found = ranges.choose(key, others)
    assert ranges.overlapping(found, others) is None
    assert ranges.choose(key, others) == found
    assert found.subnet_of(IPv4Network("10.0.0.0/8"))
    nodes, endpoints = ranges.parts(found)
    assert not nodes.overlaps(endpoints)


def test_no_range_left_is_said() -> None:
    """Not chosen to overlap."""
    with pytest.raises(ConfigurationError, match="No address range is left"):
        ranges.choose("x", ["10.0.0.0/8"])


# Comparing

BODIES = st.recursive(
    st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.booleans(),
    lambda inner: (
        st.dictionaries(st.sampled_from(["p", "q", "r"]), inner, max_size=3)
        | st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["x", "y", "z"]), "v": inner}),
            max_size=3,
            unique_by=lambda one: one["name"],
        )
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["p", "q", "r"]), BODIES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_merging_mends_and_keeps_what_others_added(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """After a merge nothing differs; members that are not ours are as they were."""
    mended = compare.merged(wanted, found)
    assert list(compare.differences(wanted, mended)) == []
    for name, value in found.items():
        if name not in wanted:
            assert mended[name] == value


def test_a_foreign_rule_survives_and_is_shown() -> None:
    """In a list that is partly ours."""
    wanted = {"properties": {"securityRules": [{"name": "ours", "properties": {"priority": 100}}]}}
    found = {"properties": {"securityRules": [{"name": "theirs", "properties": {"priority": 7}}]}}
    assert list(compare.foreign(wanted, found)) == ["securityRules/theirs"]
    mended = compare.merged(wanted, found)
    assert [one["name"] for one in mended["properties"]["securityRules"]] == ["theirs", "ours"]
    assert compare.without(wanted, mended) == found


# Planning


def test_the_plan_of_what_was_applied_is_empty() -> None:
    """And one changed member is one update, told by its path."""
    there = applied(facts())
    wanted = design.design(there)
    assert plan.plan(there, wanted).empty
    names = design.names_of(there)
    broken = dict(there.found)
    broken[names.account.lower()] = {
        **(broken[names.account.lower()] or {}),
        "properties": {"publicNetworkAccess": "Enabled"},
    }
    made = plan.plan(replace(there, found=broken), wanted)
    (update,) = [one for one in made.changes if one.verb is Verb.UPDATE]
    assert "properties.publicNetworkAccess" in [one.path for one in update.differences]


def test_the_order_respects_what_depends_on_what() -> None:
    """In the plan, and in its removal the other way round."""
    there = applied(facts())
    for made in (plan.plan(facts(), design.design(facts())), plan.removal(there, design.design(there))):
        place = {change.wanted.id.lower(): number for number, change in enumerate(made.changes)}
        for change in made.changes:
            for needed in change.wanted.depends_on:
                if needed.lower() in place:
                    before = place[needed.lower()] < place[change.wanted.id.lower()]
                    assert before is (change.verb is not Verb.REMOVE)


@given(st.randoms(use_true_random=False))
def test_any_order_of_endings_carries_everything_out(chance: Any) -> None:
    """A change begins only when all it waits for is done; none is forgotten, none begins twice."""
    made = plan.plan(facts(), design.design(facts()))
    done: set[str] = set()
    begun: set[str] = set()
    running: list[Change] = []
    while len(done) < len(made.changes):
        for change in ready(made, done, begun):
            assert change.wanted.id.lower() not in begun
            begun.add(change.wanted.id.lower())
            running.append(change)
        assert running
        ended = running.pop(chance.randrange(len(running)))
        done.add(ended.wanted.id.lower())


def test_removal_takes_only_what_is_ours() -> None:
    """Without ledger and tags only what nobody else can have made; shared definitions stay while others use them."""
    there = applied(facts())
    wanted = design.design(there)
    untagged = {
        id: {name: value for name, value in body.items() if name != "tags"} if body else None
        for id, body in there.found.items()
    }
    stranger = replace(there, ledger=(), found=untagged)
    taken = [c.wanted for c in plan.removal(stranger, wanted).changes if c.wanted.ownership is not Ownership.SHARED]
    assert {one.code for one in taken} == {"a1", "a2", "a3", "a4", "a5", "a6", "pa", "sr"}
    other = {"properties": {"policyDefinitionId": "another", "displayName": "x"}}
    assigned = next(one.id for one in taken if one.code == "pa")
    strange = replace(stranger, found={**untagged, assigned.lower(): other})
    assert "pa" not in [c.wanted.code for c in plan.removal(strange, wanted).changes]
    assert {one.code for one in plan.strangers(stranger, wanted)} == {"NotOurs"}
    names = design.names_of(there)
    shared = replace(there, shared_users={names.policy.lower(): 1, names.role("head-node").lower(): 2})
    gone = {change.wanted.id for change in plan.removal(shared, wanted).changes}
    assert names.policy not in gone
    assert names.role("head-node") not in gone
    assert names.role("node-placement") in gone


def test_an_identity_that_was_on_before_stays_on() -> None:
    """Only what we switched on is switched off."""
    with_identity = applied(facts())
    assert not [one.code for one in design.design(with_identity) if one.code.startswith("hi")]
    machine = replace(facts().machines[0], principal_id=None)
    off = facts(
        machines=(machine,), found={STORAGE.lower(): facts().found[STORAGE.lower()], HEAD.lower(): {"id": HEAD}}
    )
    made = plan.plan(off, design.design(off))
    assert "hi=head" in ledger.to_be_written(off, made)
    on = replace(applied(off), machines=(replace(machine, principal_id="new"),))
    parts = [c.wanted for c in plan.removal(on, design.design(on)).changes if c.wanted.ownership is Ownership.PART]
    assert {one.code for one in parts} == {"sr", "hi=head"}
    removed = [c.wanted.code for c in plan.removal(on, design.every(replace(on, machines=on.machines))).changes]
    assert "hi=head" in removed, "whoever is the head node now"


def test_preflight_tells_everything_at_once() -> None:
    """A missing right, a provider, a full subnet, a taken name, a quota: all of them."""
    subnet = replace(facts().networks[0].subnets[0], taken=59)
    bad = facts(
        networks=(replace(facts().networks[0], subnets=(subnet,)),),
        rights=(Rights(scope=GROUP, actions=("*",), not_actions=("Microsoft.Authorization/*/write",)),),
        providers={"Microsoft.Batch": "NotRegistered"},
        quotas={"batchAccounts": 1, "batchAccountsUsed": 1},
        account_name_available=False,
        locks=(
            {
                "id": f"{GROUP}/providers/Microsoft.Authorization/locks/l",
                "name": "l",
                "properties": {"level": "ReadOnly"},
            },
        ),
    )
    wanted = design.design(bad)
    found = preflight.preflight(bad, plan.plan(bad, wanted), wanted)
    assert {one.code for one in found} == {
        "MissingRight",
        "ProviderNotRegistered",
        "SubnetFull",
        "AccountQuota",
        "NameTaken",
        "Locked",
    }
    assert all(one.sentence.endswith(".") and one.remedy for one in found)


@pytest.mark.parametrize(
    ("machines", "wanted", "text"),
    [
        ((), None, "no Linux machine"),
        (("a", "Windows"), "a", "runs Windows"),
        (("a", "Linux", "b", "Linux"), None, "Which machine is the head node"),
        (("a", "Linux"), "b", "no machine 'b'; there is: a"),
    ],
)
def test_the_head_node_is_never_guessed(machines: tuple[str, ...], wanted: str | None, text: str) -> None:
    """Named, or the only Linux machine."""
    found = tuple(
        Machine(id=f"{GROUP}/{name}", name=name, operating_system=system, principal_id=None)
        for name, system in zip(machines[::2], machines[1::2], strict=True)
    )
    with pytest.raises(ConfigurationError, match=text):
        design.head_node(facts(machines=found, options=replace(facts().options, head_node=wanted)))


# Words


def test_words_and_template() -> None:
    """A sentence per change, who gets which rights, what it costs; the template is JSON with references."""
    made = plan.plan(facts(), design.design(facts()))
    text = "\n".join(words.lines(made))
    assert text.count("\n  + ") + 1 >= 20
    assert "may put pools into the Batch network" in "\n".join(words.rights(made))
    assert "USD a month" in "\n".join(words.costs(made))
    found = json.loads(json.dumps(template.template(made, "westeurope")))
    types = [one["type"] for one in found["resources"]]
    assert "Microsoft.Batch/batchAccounts" in types
    assert types[0] == "Microsoft.Resources/deployments"
    assert "[reference(" in json.dumps(found)
    assert json.loads(json.dumps(words.as_json(made)))["empty"] is False
    assert Plan(changes=()).empty


def test_faults_of_options_are_told_at_once() -> None:
    """What can be told of the options alone is told together, before anything is asked of Azure."""
    odd = Options(
        subscription="sub/..", workspace="../lab", image_registry="x.azurecr.io", way_out="hole", address_space="bad"
    )
    with pytest.raises(ConfigurationError) as caught:
        gather.check(odd)
    assert [text.split("'")[1] for text in caught.value.faults] == ["sub/..", "../lab", "x.azurecr.io", "hole", "bad"]
    assert all(text.endswith(".") and "Error" not in text for text in caught.value.faults)


@pytest.mark.parametrize("text", ["fd00::/64", "127.0.0.0/16", "0.0.0.0/4", "169.254.0.0/16", "10.0.0.1/22"])
def test_an_address_space_is_private_and_of_version_4(text: str) -> None:
    """Ranges that a network cannot have are refused."""
    with pytest.raises(ConfigurationError, match=f"{text}"):
        ranges.parse(text)


@pytest.mark.parametrize("workspace", ["", "a/b", "x?y", "end.", "a" * 91])
def test_a_workspace_has_a_name_that_a_resource_group_can_have(workspace: str) -> None:
    """An empty name would address the list of all groups."""
    with pytest.raises(ConfigurationError, match="no name of a workspace"):
        gather.check(Options(subscription="00000000-0000-4000-8000-000000000001", workspace=workspace))


def test_a_missing_right_is_told_once() -> None:
    """Several resources that need the same right in the same place give one sentence."""
    start = facts(rights=())
    wanted = design.design(start)
    told = [one.sentence for one in preflight.preflight(start, plan.plan(start, wanted), wanted)]
    assert told
    assert len(told) == len(set(told))


def test_the_address_space_of_a_network_that_stands_is_not_silently_kept() -> None:
    """Another one asked for is refused; the same, or none, is fine."""
    start = applied(facts())
    has = str(design.address_space(start, design.names_of(start)))
    for asked, codes in ((None, []), (has, []), ("172.16.0.0/16", ["AddressSpaceFixed"])):
        given_ = replace(start, options=replace(start.options, address_space=asked))
        wanted = design.design(given_)
        assert [one.code for one in preflight.preflight(given_, plan.plan(given_, wanted), wanted)] == codes


def test_the_wait_for_roles_is_bounded_and_shows_progress() -> None:
    """It waits what it was told and no more, with a line per step; not at all for 0."""
    for seconds, steps in ((0, []), (10, [10]), (40, [15, 15, 10])):
        slept: list[float] = []
        said: list[str] = []
        manage.wait_for_roles(seconds, said.append, slept.append)
        assert slept == steps
        assert len(said) == len(steps)
    start = facts()
    assert manage.makes_roles(plan.plan(start, design.design(start)))
    after = applied(start)
    assert not manage.makes_roles(plan.plan(after, design.design(after)))


def test_a_removal_by_whom_may_not_see_all_is_refused() -> None:
    """What may not be read might be there: nobody says that nothing is left."""
    start = facts()
    names = design.names_of(start)
    assert preflight.unseen(start) == []
    roles = (names.role("head-node"), names.role("node-placement"))
    told = preflight.unseen(replace(start, unreadable=roles))
    assert [one.code for one in told] == ["MissingRight"], "one sentence for both"
    assert told[0].fatal
    assert "roleDefinitions/read" in told[0].sentence


# Doctor


def _healthy() -> dict[str, Any]:
    there = applied(facts())
    names = design.names_of(there)
    nodes = "guid.westeurope.service.batch.azure.com"
    account = {**(there.found[names.account.lower()] or {}), "id": names.account, "name": names.account_name}
    account["properties"] = {
        **account["properties"],
        "accountEndpoint": "a.westeurope.batch.azure.com",
        "nodeManagementEndpoint": nodes,
    }
    endpoint = {**(there.found[names.node_endpoint.lower()] or {})}
    address = str(next(iter(ranges.parts(design.address_space(there, names))[1].hosts())))
    # As on Azure once a zone group keeps the records: only the interface tells the address.
    endpoint["properties"] = {
        **endpoint["properties"],
        "customDnsConfigs": [],
        "networkInterfaces": [{"id": "/nic/n"}],
    }
    interface = {"id": "/NIC/n", "properties": {"ipConfigurations": [{"properties": {"privateIPAddress": address}}]}}
    network, group = there.found[names.network.lower()] or {}, there.found[names.security_group.lower()] or {}
    links = [{"properties": {"virtualNetwork": {"id": id}}} for id in (VNET, names.network)]
    records = [
        {"name": "a.westeurope"},
        {"name": "guid.westeurope.service", "properties": {"aRecords": [{"ipv4Address": address}]}},
    ]
    return {
        "account": account,
        "network": {**network, "id": names.network},
        "group": {**group, "name": "z"},
        "endpoints": [endpoint, there.found[names.account_endpoint.lower()]],
        "zones": [({"name": doctor.ZONE}, links, records)],
        "pools": [],
        "interfaces": [interface],
        "workspace_network": VNET,
        "images": {"ubuntu:2004": datetime(2025, 4, 23, tzinfo=UTC)},
        "quota": 100,
        "now": NOW,
    }


def _pool(**properties: Any) -> dict[str, Any]:
    names = design.names_of(facts())
    return {"name": "p", "properties": {"networkConfiguration": {"subnetId": names.nodes_subnet}, **properties}}


def _with_rule(healthy: dict[str, Any], name: str, **rule: Any) -> dict[str, Any]:
    rules = [*healthy["group"]["properties"]["securityRules"], {"name": name, "properties": rule}]
    return {**healthy, "group": {"name": "z", "properties": {"securityRules": rules}}}


def _cases() -> list[tuple[str, dict[str, Any]]]:
    good = _healthy()
    image = {"imageReference": {"offer": "ubuntu", "sku": "2004"}}
    machine = {"deploymentConfiguration": {"virtualMachineConfiguration": image}}
    containers = {"containerConfiguration": {"containerImageNames": ["x.azurecr.io/tool:1"]}}
    pulled = {"deploymentConfiguration": {"virtualMachineConfiguration": containers}}
    names = design.names_of(facts())
    subnet = {"id": names.nodes_subnet, "name": "default"}
    shared = good["network"]["properties"]["subnets"][0]
    network = {**good["network"], "properties": {**good["network"]["properties"], "subnets": [{**shared, **subnet}]}}
    zone, links, records = good["zones"][0]
    elsewhere = {"aRecords": [{"ipv4Address": "192.0.2.9"}]}
    many = {"scaleSettings": {"fixedScale": {"targetDedicatedNodes": 900}}}
    tcp = [
        {
            "name": "d",
            "properties": {
                "priority": 4000,
                "direction": "Outbound",
                "access": "Deny",
                "protocol": "Tcp",
                "destinationAddressPrefix": "*",
            },
        }
    ]
    return [
        ("NoAccount", {**good, "account": None}),
        ("MissingNodeManagementEndpoint", {**good, "endpoints": good["endpoints"][1:]}),
        ("MissingBatchAccountEndpoint", {**good, "endpoints": good["endpoints"][:1]}),
        ("MissingDns", {**good, "zones": []}),
        ("DnsNotLinked", {**good, "zones": [(zone, links[:1], records)]}),
        ("WrongRecord", {**good, "zones": [(zone, links, [records[0], {**records[1], "properties": elsewhere}])]}),
        ("MissingRecord", {**good, "zones": [(zone, links, records[:1])]}),
        ("SubnetTooSmall", {**good, "network": network, "pools": [_pool(**many)]}),
        ("PolicyBlocksRegistry", {**good, "network": network, "pools": [_pool(**pulled)]}),
        ("ImageRetired", {**good, "pools": [_pool(**machine)]}),
        ("NoCores", {**good, "quota": 0}),
        ("DenyNotForAllProtocols", {**good, "group": {"name": "z", "properties": {"securityRules": tcp}}}),
        ("OpenOutbound", {**good, "group": {"name": "z", "properties": {"securityRules": []}}}),
        ("GroupBlocksManagement", _with_rule(good, "first", **_closing)),
        ("ClassicPortsOpen", _with_rule(good, "old", **_classic)),
        ("OpeningExpired", _with_rule(good, "hub", **_expired)),
        ("PublicAccess", _with_account(good, publicNetworkAccess="Enabled")),
        ("SharedKeys", _with_account(good, allowedAuthenticationModes=["AAD", "SharedKey"])),
    ]


def _with_account(healthy: dict[str, Any], **changes: Any) -> dict[str, Any]:
    account = healthy["account"]
    return {**healthy, "account": {**account, "properties": {**account["properties"], **changes}}}


_out: dict[str, Any] = {"direction": "Outbound", "destinationPortRange": "*"}
_closing = {**_out, "priority": 90, "access": "Deny", "protocol": "*", "destinationAddressPrefix": "*"}
_classic: dict[str, Any] = {
    "priority": 200,
    "direction": "Inbound",
    "access": "Allow",
    "protocol": "Tcp",
    "destinationPortRange": "29876-29877",
}
_expired = {
    **_out,
    "priority": 600,
    "access": "Allow",
    "protocol": "Tcp",
    "destinationAddressPrefix": "192.0.2.1",
    "description": "by mira; until=2026-11-25T00:00:00+00:00",
}


def _examined(case: dict[str, Any]) -> list[str]:
    given = dict(case)
    positional = [given.pop(name) for name in ("account", "network", "group", "endpoints", "zones", "pools")]
    return [one.code for one in doctor.doctor(*positional, **given)]


def test_a_healthy_environment_has_no_findings() -> None:
    """What enable makes is what the doctor wants."""
    assert _examined(_healthy()) == []


@pytest.mark.parametrize(("code", "case"), _cases(), ids=[code for code, _ in _cases()])
def test_the_doctor_names_the_fault(code: str, case: dict[str, Any]) -> None:
    """Each fault alone gives its finding."""
    assert code in _examined(case)
