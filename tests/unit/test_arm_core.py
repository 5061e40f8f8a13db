"""The emulated ARM without HTTP: ids, rights, policies, packets, providers' rules, operations."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.arm import addresses, packets, policy, rbac
from azbatch_emulator.arm.core import Arm
from azbatch_emulator.arm.ids import ResourceId, parse
from azbatch_emulator.arm.records import Answer, ArmRefused, Principal, PrincipalKind, Request
from azbatch_emulator.arm.registry import PROVIDERS
from azbatch_emulator.arm.roles import BUILT_IN, BY_NAME, Permissions

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SUBSCRIPTION = "/subscriptions/s1"
GROUP = f"{SUBSCRIPTION}/resourceGroups/g1"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
VNET = f"{NETWORK}/virtualNetworks/v"
AT = {"location": "westeurope"}


class Tenant:
    """An ARM with a subscription, a group and an owner; time moves by hand."""

    def __init__(self, speed: float = 1e9) -> None:
        numbers = itertools.count(1)
        self.arm = Arm(PROVIDERS, new_id=lambda: f"00000000-0000-4000-8000-{next(numbers):012d}", speed=speed)
        self.now = NOW
        self.owner = Principal(object_id="owner", name="owner", kind=PrincipalKind.USER)
        self.arm.make(SUBSCRIPTION, {}, NOW)
        self.arm.make(GROUP, AT, NOW)
        self.give("owner", "Owner", SUBSCRIPTION)

    def give(self, who: str, role: str, scope: str) -> None:
        definition = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{BY_NAME[role]}"
        body = {"properties": {"principalId": who, "roleDefinitionId": definition}}
        id = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{who}-{role}"
        self.arm.put(id, body, NOW - timedelta(days=1))

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, who: Principal | None = None, **query: str
    ) -> Answer:
        request = Request(
            method=method,
            path=path,
            query={"api-version": "2024-01-01", **query},
            body=body,
            headers={},
            caller=who or self.owner,
            base="https://arm",
        )
        return self.arm.handle(request, self.now)

    def refused(self, method: str, path: str, body: dict[str, Any] | None = None, who: Principal | None = None) -> str:
        with pytest.raises(ArmRefused) as raised:
            self.ask(method, path, body, who)
        return raised.value.code

    def network(self) -> None:
        subnet = {"name": "default", "properties": {"addressPrefix": "10.0.0.0/28"}}
        body = {**AT, "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [subnet]}}
        self.ask("PUT", VNET, body)


# Ids

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True).filter(lambda text: text.lower() != "providers")


@given(NAMES, NAMES, st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=3), NAMES)
def test_an_id_is_read_as_it_is_written(subscription: str, group: str, pairs: list[tuple[str, str]], name: str) -> None:
    """parse and text undo each other, for nested resources and extensions of them; ids ignore case."""
    inner = "/".join(f"{kind}/{one}" for kind, one in pairs)
    text = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.X/{inner}"
    assert parse(text).text == text
    assert parse(text.upper()).key == text.lower()
    extension = parse(text).extension("Microsoft.Authorization", "locks", name)
    assert parse(extension.text) == extension
    assert extension.lies_in(text)
    assert extension.resource_group == group


@pytest.mark.parametrize(
    "text", ["", "/", "/x", "/subscriptions", "/subscriptions//resourceGroups/g", "/subscriptions/s/providers/N/t"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """A malformed address is told, not guessed at."""
    with pytest.raises(ArmRefused):
        parse(text)


# Rights


@pytest.mark.parametrize(
    ("role", "action", "may"),
    [
        ("Owner", "Microsoft.Authorization/roleAssignments/write", True),
        ("Contributor", "Microsoft.Authorization/roleAssignments/write", False),
        ("Contributor", "Microsoft.Network/networkSecurityGroups/securityRules/write", True),
        ("Reader", "Microsoft.Batch/batchAccounts/listKeys/action", False),
        ("Reader", "Microsoft.Batch/batchAccounts/read", True),
        ("Managed Identity Operator", "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action", True),
        ("Managed Identity Operator", "Microsoft.ManagedIdentity/userAssignedIdentities/write", False),
        ("Network Contributor", "microsoft.network/VIRTUALNETWORKS/subnets/join/action", True),
    ],
)
def test_built_in_roles(role: str, action: str, may: bool) -> None:
    """What Azure's own roles allow, wildcards and exceptions included."""
    assert rbac.allows(BUILT_IN[BY_NAME[role]][1], action) is may


@given(
    st.lists(st.sampled_from(["a/b/read", "a/*", "*/read", "*", "a/*/action"]), max_size=3),
    st.lists(st.sampled_from(["a/b/read", "a/*"]), max_size=2),
)
def test_an_exception_never_gives_a_right(actions: list[str], exceptions: list[str]) -> None:
    """notActions only take away."""
    with_exceptions = Permissions(actions=tuple(actions), not_actions=tuple(exceptions))
    without = Permissions(actions=tuple(actions))
    for action in ("a/b/read", "a/b/c/action", "x/read"):
        assert not rbac.allows(with_exceptions, action) or rbac.allows(without, action)


def test_an_assignment_takes_time_and_holds_below_its_scope() -> None:
    """In force after the propagation delay, also a little after its removal; elsewhere never."""
    tenant = Tenant(speed=1.0)
    mira = Principal(object_id="mira", name="mira", kind=PrincipalKind.USER)
    role = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{BY_NAME['Reader']}"
    id = f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/1"
    tenant.ask("PUT", id, {"properties": {"principalId": "mira", "roleDefinitionId": role}})
    assert tenant.refused("GET", GROUP, who=mira) == "AuthorizationFailed"
    tenant.now += tenant.arm.propagation
    assert tenant.ask("GET", GROUP, who=mira).status == 200
    assert tenant.refused("GET", SUBSCRIPTION, who=mira) == "AuthorizationFailed"
    tenant.ask("DELETE", id)
    assert tenant.ask("GET", GROUP, who=mira).status == 200
    tenant.now += tenant.arm.propagation
    assert tenant.refused("GET", GROUP, who=mira) == "AuthorizationFailed"


def test_a_linked_resource_needs_a_right_of_its_own() -> None:
    """Whoever may write an interface but not join the subnet is told so."""
    tenant = Tenant()
    tenant.network()
    mira = Principal(object_id="mira", name="mira", kind=PrincipalKind.USER)
    tenant.give("mira", "Contributor", f"{NETWORK}/networkInterfaces/n")
    configuration = {"name": "one", "properties": {"subnet": {"id": f"{VNET}/subnets/default"}}}
    body = {**AT, "properties": {"ipConfigurations": [configuration]}}
    assert tenant.refused("PUT", f"{NETWORK}/networkInterfaces/n", body, mira) == "LinkedAuthorizationFailed"
    assert tenant.ask("PUT", f"{NETWORK}/networkInterfaces/n", body).status == 201


# Policies

ACCOUNT = parse(f"{GROUP}/providers/Microsoft.Batch/batchAccounts/a")


@pytest.mark.parametrize(
    ("condition", "true"),
    [
        ({"field": "type", "equals": "microsoft.batch/BATCHACCOUNTS"}, True),
        ({"field": "Microsoft.Batch/batchAccounts/publicNetworkAccess", "notEquals": "Disabled"}, True),
        ({"field": "Microsoft.Storage/storageAccounts/x", "exists": "true"}, False),
        ({"field": "location", "in": ["northeurope", "westeurope"]}, True),
        ({"field": "tags.cost", "like": "4*"}, True),
        ({"field": "tags['cost']", "equals": "42"}, True),
        ({"field": "Microsoft.Batch/batchAccounts/list[*].v", "equals": "x"}, False),
        ({"field": "Microsoft.Batch/batchAccounts/list[*].v", "in": ["x", "y"]}, True),
        ({"not": {"anyOf": [{"field": "name", "equals": "b"}, {"field": "name", "contains": "z"}]}}, True),
        ({"allOf": [{"field": "name", "equals": "a"}, {"field": "kind", "exists": False}]}, True),
    ],
)
def test_policy_conditions(condition: dict[str, Any], true: bool) -> None:
    """Fields, aliases and operators of the rule language."""
    body = {
        "location": "westeurope",
        "tags": {"cost": "42"},
        "properties": {"publicNetworkAccess": "Enabled", "list": [{"v": "x"}, {"v": "y"}]},
    }
    assert policy.holds(condition, ACCOUNT, body, {}) is true


def test_an_unknown_operator_is_refused_when_defined() -> None:
    """A policy that cannot be evaluated is not stored."""
    tenant = Tenant()
    rule = {"if": {"field": "type", "resembles": "x"}, "then": {"effect": "deny"}}
    id = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/policyDefinitions/p"
    assert tenant.refused("PUT", id, {"properties": {"policyRule": rule}}) == "InvalidPolicyRule"


# Packets


def _rule(priority: int, **what: str) -> dict[str, Any]:
    return {
        "priority": priority,
        "direction": "Outbound",
        "access": what.get("access", "Allow"),
        "protocol": what.get("protocol", "*"),
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": what.get("to", "*"),
        "destinationPortRange": what.get("port", "*"),
    }


@given(
    st.permutations(range(6)),
    st.sampled_from(["Tcp", "Udp", "Icmp"]),
    st.sampled_from(["10.0.0.9", "198.18.0.1", "203.0.113.5"]),
    st.sampled_from([443, 53]),
)
def test_the_first_rule_by_priority_decides(order: list[int], protocol: str, address: str, port: int) -> None:
    """Whatever the order of making, the answer is that of the matching rule with the lowest priority."""
    rules = [
        _rule(100, protocol="Tcp", to="10.0.0.0/24", port="443"),
        _rule(110, access="Deny", to="10.0.0.0/24"),
        _rule(120, protocol="Udp", port="50-60"),
        _rule(130, access="Deny", protocol="Tcp", to="Internet"),
        _rule(140, to="203.0.113.5"),
        _rule(4096, access="Deny"),
    ]
    tenant = Tenant()
    tenant.ask("PUT", f"{NETWORK}/networkSecurityGroups/n", {**AT})
    for number in order:
        tenant.ask("PUT", f"{NETWORK}/networkSecurityGroups/n/securityRules/r{number}", {"properties": rules[number]})
    packet = packets.Packet(
        direction="Outbound",
        protocol=protocol,
        source=IPv4Address("10.0.0.4"),
        destination=IPv4Address(address),
        port=port,
    )
    inside = [IPv4Network("10.0.0.0/16")]
    found = packets.judge(packet, f"{NETWORK}/networkSecurityGroups/n", inside, tenant.arm.store)
    public = address != "10.0.0.9"
    matching = [
        (protocol == "Tcp" and not public and port == 443, "r0"),
        (not public, "r1"),
        (protocol == "Udp" and port == 53, "r2"),
        (protocol == "Tcp" and public, "r3"),
        (address == "203.0.113.5", "r4"),
        (True, "r5"),
    ]
    expected = next(name for holds, name in matching if holds)
    assert found.rule == expected
    assert found.passes is (expected in {"r0", "r2", "r4"})


# Providers' rules


def test_addresses_are_never_given_twice_and_run_out() -> None:
    """A /28 has eleven addresses; the twelfth interface is refused, and one given back is used again."""
    tenant = Tenant()
    tenant.network()

    def card(name: str) -> dict[str, Any]:
        configuration = {"name": "one", "properties": {"subnet": {"id": f"{VNET}/subnets/default"}}}
        answer = tenant.ask(
            "PUT", f"{NETWORK}/networkInterfaces/{name}", {**AT, "properties": {"ipConfigurations": [configuration]}}
        )
        assert answer.body is not None
        found: dict[str, Any] = answer.body["properties"]["ipConfigurations"][0]["properties"]
        return found

    given_out = [card(f"n{number}")["privateIPAddress"] for number in range(11)]
    assert len(set(given_out)) == 11
    assert given_out[0] == "10.0.0.4"
    with pytest.raises(ArmRefused, match="full"):
        card("more")
    tenant.ask("DELETE", f"{NETWORK}/networkInterfaces/n3")
    assert card("again")["privateIPAddress"] == given_out[3]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (f"{GROUP}/providers/Microsoft.Nothing/x/y", AT, "InvalidResourceNamespace"),
        (f"{NETWORK}/nothings/y", AT, "InvalidResourceType"),
        (
            f"{SUBSCRIPTION}/resourceGroups/none/providers/Microsoft.Network/networkSecurityGroups/n",
            AT,
            "ResourceGroupNotFound",
        ),
        (
            f"{NETWORK}/virtualNetworks/none/subnets/s",
            {"properties": {"addressPrefix": "10.0.0.0/24"}},
            "ParentResourceNotFound",
        ),
        ("/subscriptions/none/resourceGroups/g", AT, "SubscriptionNotFound"),
        (f"{VNET}/subnets/two", {"properties": {"addressPrefix": "10.0.0.0/27"}}, "NetcfgSubnetRangesOverlap"),
        (f"{VNET}/subnets/two", {"properties": {"addressPrefix": "10.1.0.0/24"}}, "NetcfgInvalidSubnet"),
        (f"{VNET}/subnets/two", {"properties": {"addressPrefix": "10.0.1.1/24"}}, "InvalidCIDRNotation"),
        (f"{GROUP}/providers/Microsoft.Batch/batchAccounts/No_Name", AT, "AccountNameInvalid"),
        (f"{NETWORK}/privateDnsZones/z", AT, "LocationNotAvailableForResourceType"),
    ],
)
def test_refusals(path: str, body: dict[str, Any], code: str) -> None:
    """Each with the provider's own code, and nothing stored."""
    tenant = Tenant()
    tenant.network()
    before = tenant.arm.store.dump()
    assert tenant.refused("PUT", path, body) == code
    assert tenant.arm.store.dump() == before


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 99},
        {"protocol": "Smoke"},
        {"direction": "Up"},
        {"destinationAddressPrefix": "Nowhere"},
        {"destinationPortRange": "9-1"},
    ],
)
def test_rules_that_no_security_group_takes(change: dict[str, Any]) -> None:
    """Priorities, protocols, prefixes and ports are checked."""
    tenant = Tenant()
    tenant.ask("PUT", f"{NETWORK}/networkSecurityGroups/n", {**AT})
    rule = {"properties": {**_rule(100), **change}}
    tenant.refused("PUT", f"{NETWORK}/networkSecurityGroups/n/securityRules/r", rule)
    tenant.ask("PUT", f"{NETWORK}/networkSecurityGroups/n/securityRules/r", {"properties": _rule(100)})
    assert (
        tenant.refused("PUT", f"{NETWORK}/networkSecurityGroups/n/securityRules/s", {"properties": _rule(100)})
        == "SecurityRuleConflict"
    )


def test_what_is_in_use_stays() -> None:
    """Subnet, security group and zone are refused while something hangs on them."""
    tenant = Tenant()
    tenant.ask("PUT", f"{NETWORK}/networkSecurityGroups/n", {**AT})
    tenant.network()
    tenant.ask(
        "PUT",
        f"{VNET}/subnets/default",
        {
            "properties": {
                "addressPrefix": "10.0.0.0/28",
                "networkSecurityGroup": {"id": f"{NETWORK}/networkSecurityGroups/n"},
            }
        },
    )
    configuration = {"name": "one", "properties": {"subnet": {"id": f"{VNET}/subnets/default"}}}
    tenant.ask("PUT", f"{NETWORK}/networkInterfaces/c", {**AT, "properties": {"ipConfigurations": [configuration]}})
    tenant.ask("PUT", f"{NETWORK}/privateDnsZones/z.example", {"location": "global"})
    tenant.ask(
        "PUT",
        f"{NETWORK}/privateDnsZones/z.example/virtualNetworkLinks/l",
        {"location": "global", "properties": {"virtualNetwork": {"id": VNET}}},
    )
    assert tenant.refused("DELETE", f"{NETWORK}/networkSecurityGroups/n") == "InUseNetworkSecurityGroupCannotBeDeleted"
    assert tenant.refused("DELETE", f"{VNET}/subnets/default") == "InUseSubnetCannotBeDeleted"
    assert tenant.refused("DELETE", VNET) == "InUseSubnetCannotBeDeleted"
    assert tenant.refused("DELETE", f"{NETWORK}/privateDnsZones/z.example") == "CannotDeleteResource"


def test_a_long_operation_and_the_conflict_it_causes() -> None:
    """201 with Azure-AsyncOperation, InProgress until due; meanwhile others are told to wait."""
    tenant = Tenant(speed=1.0)
    answer = tenant.ask("PUT", f"{NETWORK}/networkSecurityGroups/n", {**AT})
    assert answer.status == 201
    assert answer.body is not None
    assert answer.body["properties"]["provisioningState"] == "Creating"
    poll = answer.headers["Azure-AsyncOperation"].removeprefix("https://arm").partition("?")[0]
    first = tenant.ask("GET", poll)
    assert first.body == {"status": "InProgress"}
    assert tenant.refused("PUT", f"{NETWORK}/networkSecurityGroups/n", {**AT}) == "AnotherOperationInProgress"
    tenant.now += timedelta(seconds=5)
    assert tenant.ask("GET", poll).body == {"status": "Succeeded"}
    gone = tenant.ask("DELETE", f"{NETWORK}/networkSecurityGroups/n")
    assert gone.status == 202
    place = gone.headers["Location"].removeprefix("https://arm").partition("?")[0]
    assert tenant.ask("GET", place).status == 202
    tenant.now += timedelta(seconds=15)
    assert tenant.ask("GET", place).status == 204
    assert tenant.refused("GET", f"{NETWORK}/networkSecurityGroups/n") == "ResourceNotFound"


def test_a_lock_holds_all_below() -> None:
    """CanNotDelete keeps what lies in the group; ReadOnly its writes too."""
    tenant = Tenant()
    tenant.network()
    lock = f"{GROUP}/providers/Microsoft.Authorization/locks/l"
    tenant.ask("PUT", lock, {"properties": {"level": "CanNotDelete"}})
    assert tenant.refused("DELETE", VNET) == "ScopeLocked"
    assert tenant.refused("DELETE", GROUP) == "ScopeLocked"
    tenant.ask("PUT", lock, {"properties": {"level": "ReadOnly"}})
    assert tenant.refused("PUT", f"{NETWORK}/networkSecurityGroups/n", {**AT}) == "ScopeLocked"
    tenant.ask("DELETE", lock)
    assert tenant.ask("DELETE", GROUP).status in {200, 202}


def test_tags_of_a_region_lie_in_the_whole() -> None:
    """Storage.westeurope is part of Storage; a blob name resolves into its region's prefix."""
    for tag in addresses.TAGS:
        whole, part = addresses.prefix_of(tag), addresses.prefix_of(f"{tag}.westeurope")
        assert whole is not None
        assert part is not None
        assert part.subnet_of(whole)
    regional = addresses.prefix_of("Storage.westeurope")
    assert regional is not None
    assert addresses.public_address("x.blob.core.windows.net", "westeurope") in regional


@given(st.lists(st.sampled_from(["put", "delete"]), max_size=8))
def test_making_and_removing_leaves_nothing(steps: list[str]) -> None:
    """However often an endpoint with its records is made and removed, what is left is what was there."""
    tenant = Tenant()
    tenant.network()
    account = f"{GROUP}/providers/Microsoft.Batch/batchAccounts/acc"
    tenant.ask("PUT", account, {**AT})
    zone = f"{NETWORK}/privateDnsZones/privatelink.batch.azure.com"
    tenant.ask("PUT", zone, {"location": "global"})
    before = tenant.arm.store.dump()
    endpoint = f"{NETWORK}/privateEndpoints/pe"
    connection = {"name": "b", "properties": {"privateLinkServiceId": account, "groupIds": ["batchAccount"]}}
    body = {
        **AT,
        "properties": {"subnet": {"id": f"{VNET}/subnets/default"}, "privateLinkServiceConnections": [connection]},
    }
    configuration = {"name": "z", "properties": {"privateDnsZoneId": zone}}
    for step in [*steps, "delete"]:
        if step == "put":
            tenant.ask("PUT", endpoint, body)
            tenant.now += timedelta(seconds=1)
            tenant.ask(
                "PUT",
                f"{endpoint}/privateDnsZoneGroups/default",
                {"properties": {"privateDnsZoneConfigs": [configuration]}},
            )
            tenant.now += timedelta(seconds=1)
            assert tenant.arm.store.get(f"{zone}/A/acc.westeurope") is not None
        else:
            tenant.ask("DELETE", endpoint)
            tenant.now += timedelta(seconds=1)
    tenant.arm.settle(tenant.now)
    assert tenant.arm.store.dump() == before


def test_ids_are_values() -> None:
    """Two ids of one text are equal and hash alike, so that they can be keys."""
    assert parse(VNET) == parse(VNET)
    assert len({parse(VNET), parse(VNET)}) == 1
    assert isinstance(parse(VNET), ResourceId)


# Machines


def test_a_machine_can_be_stopped_and_started() -> None:
    """The power state is told by the instance view alone, survives updates, and changes by 202, then done."""
    tenant = Tenant(speed=1)
    machine = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/m"
    body = {**AT, "properties": {"hardwareProfile": {"vmSize": "Standard_B1s"}}}

    def settle() -> None:
        tenant.now += timedelta(minutes=2)
        tenant.arm.settle(tenant.now)

    def power() -> str:
        return str((tenant.ask("GET", f"{machine}/instanceView").body or {})["statuses"][-1]["code"])

    tenant.ask("PUT", machine, body)
    settle()
    assert power() == "PowerState/running"
    for word, code in (("powerOff", "stopped"), ("deallocate", "deallocated")):
        begun = tenant.ask("POST", f"{machine}/{word}")
        assert begun.status == 202
        assert "Azure-AsyncOperation" in begun.headers
        settle()
        assert power() == f"PowerState/{code}"
    tenant.ask("PUT", machine, {**body, "tags": {"a": "b"}})
    settle()
    assert power() == "PowerState/deallocated"
    assert "powerState" not in (tenant.ask("GET", machine).body or {})
    tenant.ask("POST", f"{machine}/start")
    settle()
    assert power() == "PowerState/running"
    reader = Principal(object_id="r", name="r", kind=PrincipalKind.USER)
    tenant.give("r", "Reader", GROUP)
    assert tenant.refused("POST", f"{machine}/deallocate", who=reader) == "AuthorizationFailed"
