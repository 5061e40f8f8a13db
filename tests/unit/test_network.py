"""Network openings: what may be asked, how it is told, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from azbatch.errors import AzbatchError, ConfigurationError, ServiceError
from azbatch.network import change, evaluate, log, manage, rules
from azbatch.network.check import check
from azbatch.network.model import Opening, Put, TargetKind, Transport
from azbatch.network.reach import reach
from azbatch.network.targets import hosts_of, parse_ports, parse_targets, parse_transport
from tests.unit.test_network_laws import DEFAULTS, NETWORK, foreign

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
DENY_ALL = foreign("DenyAllOut", "Deny", 4096, "*")
ADDRESSES = {"good.example.org": ("192.0.2.10", "192.0.2.11"), "quay.io": ("192.0.2.20",)}


def _resolve(host: str) -> Sequence[str]:
    return ADDRESSES.get(host, ())


def _opening(target: str, *destinations: str, **changes: Any) -> Opening:
    values: dict[str, Any] = {
        "target": target,
        "destinations": destinations or (target,),
        "ports": "443",
        "transport": Transport.TCP,
        "owner": "ann",
        "reason": "images",
        "made": NOW,
        **changes,
    }
    return Opening(**values)


class Group:
    """A security group in memory that refuses what Azure refuses."""

    name, region, networks, nodes = "z-nsg", "westeurope", NETWORK, ["10.1.1.0/24"]

    def __init__(self, *held: Any) -> None:
        self.held = [*held, DENY_ALL, *DEFAULTS]
        self.notes: dict[str, str] = {"theirs": "kept"}
        self.conflicts: list[Any] = []
        self.refuse_after: int | None = None

    def rules(self) -> list[Any]:
        return list(self.held)

    def put_rule(self, name: str, properties: Any) -> None:
        if self.conflicts:
            self.held.append(self.conflicts.pop())
        if self.refuse_after is not None:
            self.refuse_after -= 1
            if self.refuse_after < 0:
                raise ServiceError("no right", code="AuthorizationFailed", status=403)
        if any(r["properties"]["priority"] == properties["priority"] and r["name"] != name for r in self.held):
            raise ServiceError("taken", code="SecurityRuleConflict", status=400)
        self.held = [rule for rule in self.held if rule["name"] != name] + [{"name": name, "properties": properties}]

    def delete_rule(self, name: str) -> None:
        self.held = [rule for rule in self.held if rule["name"] != name]

    def tags(self) -> Mapping[str, str]:
        return self.notes

    def merge_tags(self, tags: Mapping[str, str]) -> None:
        self.notes |= tags


def _allow(group: Group, target: str, **options: Any) -> list[Opening]:
    asked = manage.Asked(target=target, reason=options.pop("reason", "images"), **options)
    return manage.allow(group, asked, who="ann", now=NOW, resolve=_resolve)


@pytest.mark.parametrize(
    ("text", "kind", "opens"),
    [
        ("192.0.2.1", TargetKind.ADDRESS, "192.0.2.1"),
        ("192.0.2.0/24", TargetKind.ADDRESS, "192.0.2.0/24"),
        ("192.0.2.1/32", TargetKind.ADDRESS, "192.0.2.1"),
        ("Storage.westeurope", TargetKind.TAG, "Storage.westeurope"),
        ("acr:MyRegistry", TargetKind.PRESET, "AzureContainerRegistry.westeurope"),
        ("internet", TargetKind.PRESET, "Internet"),
        ("Data.Example.org.", TargetKind.HOST, None),
        ("quay", TargetKind.PRESET, None),
    ],
)
def test_what_can_be_opened(text: str, kind: TargetKind, opens: str | None) -> None:
    """Addresses, CIDRs, service tags, host names and presets are told apart by how they look."""
    (target,) = parse_targets(text, "westeurope")
    assert (target.kind, target.prefix or target.tag) == (kind, opens)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("192.0.2.1/24", r"has host bits set: did you mean 192\.0\.2\.0/24\?"),
        ("192.0.2.300", "no address and no CIDR"),
        ("0.0.0.0/0", "preset internet"),
        ("2001:db8::1", "IPv4 only"),
        ("Storage", r"open Storage\.westeurope instead"),
        ("dokcer-hub", "Did you mean docker-hub"),
        ("acr:x", "names no container registry"),
        ("not a host", "Presets: "),
        (f"{'a' * 63}.org", "60 characters"),
    ],
)
def test_what_cannot_be_opened(text: str, says: str) -> None:
    """Each refusal says what is wrong and what to write instead."""
    with pytest.raises(ConfigurationError, match=says):
        parse_targets(text, "westeurope")


@pytest.mark.parametrize(("text", "ports"), [("443", "443"), ("80-90", "80-90"), ("80-80", "80"), ("*", "*")])
def test_ports(text: str, ports: str) -> None:
    """A port, a range or all."""
    assert parse_ports(text) == ports


@pytest.mark.parametrize(
    ("text", "says"), [("0", "1 to 65535"), ("70000", "1 to 65535"), ("90-80", "80-90"), ("x", "*")]
)
def test_wrong_ports(text: str, says: str) -> None:
    """Out of range, backwards, or no number."""
    with pytest.raises(ConfigurationError) as raised:
        parse_ports(text)
    assert says in str(raised.value)
    with pytest.raises(ConfigurationError):
        parse_transport("sctp")


def test_all_faults_of_an_opening_come_at_once() -> None:
    """Target, port, reason and time are mended in one go, and nothing is written."""
    group = Group()
    before = group.rules()
    with pytest.raises(ConfigurationError) as raised:
        _allow(group, "192.0.2.1/24", port="0", reason=" ", lasting=timedelta(seconds=3))
    assert len(raised.value.faults) == 4
    assert group.rules() == before


def test_every_opening_has_a_priority_of_its_own() -> None:
    """The original gave each rule 501, overwriting the one before; a gap is used again."""
    group = Group()
    for target in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        _allow(group, target)
    assert [r["properties"]["priority"] for r in group.held[-3:]] == [1000, 1001, 1002]
    manage.deny(group, "192.0.2.2", who="ann", now=NOW)
    _allow(group, "192.0.2.9")
    assert group.held[-1]["properties"]["priority"] == 1001


def test_opening_the_internet_leaves_the_deny_rule() -> None:
    """The original turned its deny rule into an allow of all ports; ours opens one port beside it."""
    group = Group()
    _allow(group, "internet")
    assert DENY_ALL in group.held
    compiled = manage.compiled(group)
    tcp = [entry for entry in reach(compiled) if entry.transport is Transport.TCP]
    assert {(entry.low, entry.high) for entry in tcp} == {(443, 443)}
    assert not evaluate.decide(compiled, evaluate.Packet(transport=Transport.UDP, address="8.8.8.8", port=443)).allowed


def test_closing_removes_the_rule() -> None:
    """The original only set Deny, and filled the group; ours are gone. Presets of several rules close together."""
    group = Group()
    _allow(group, "mcr")
    assert len(rules.openings(group.held)) == 2
    assert len(manage.deny(group, "mcr", who="ann", now=NOW)) == 2
    assert group.held == [DENY_ALL, *DEFAULTS]


def test_rules_of_others_cannot_be_closed() -> None:
    """The workspace's own rules are refused by name, and an unknown name tells what is open."""
    group = Group()
    with pytest.raises(AzbatchError, match="left alone"):
        manage.deny(group, "DenyAllOut", who="ann", now=NOW)
    with pytest.raises(AzbatchError, match="open now: none"):
        manage.deny(group, "quay", who="ann", now=NOW)


def test_opening_again_renews() -> None:
    """The same target twice is one rule with the newer reason and expiry."""
    group = Group()
    _allow(group, "good.example.org", reason="first")
    _allow(group, "good.example.org", reason="second", lasting=timedelta(hours=8))
    (opening,) = rules.openings(group.held).values()
    assert (opening.reason, opening.expires) == ("second", NOW + timedelta(hours=8))
    assert opening.destinations == ADDRESSES["good.example.org"]


def test_two_users_at_the_same_moment() -> None:
    """Where another takes the priority between reading and writing, the next is tried."""
    group = Group()
    group.conflicts = [foreign("faster", "Allow", 1000, "192.0.2.77")]
    _allow(group, "192.0.2.1")
    assert [o.target for o in rules.openings(group.held).values()] == ["192.0.2.1"]


def test_nothing_half_opened() -> None:
    """Where the second rule of a preset is refused, the first is taken back."""
    group = Group()
    group.refuse_after = 1
    with pytest.raises(ServiceError):
        _allow(group, "mcr")
    assert group.held == [DENY_ALL, *DEFAULTS]


def test_a_host_that_does_not_resolve() -> None:
    """Nothing is opened for a name without an address."""
    with pytest.raises(ConfigurationError, match=r"bad\.example\.org does not resolve"):
        _allow(Group(), "bad.example.org")


def test_all_priorities_used() -> None:
    """The 501st opening is refused with what to do; a deny before ours is told, not worked round."""
    group = Group(*(foreign(f"r{n}", "Allow", n, "192.0.2.1") for n in range(rules.FIRST, rules.LAST + 1)))
    with pytest.raises(AzbatchError, match="All 500 openings are in use"):
        _allow(group, "192.0.2.1")
    with pytest.raises(AzbatchError, match="Rule 'early'"):
        _allow(Group(foreign("early", "Deny", 500, "*")), "192.0.2.1")


def test_refresh_follows_names_and_removes_what_expired() -> None:
    """Addresses are renewed, one that no longer resolves keeps its own, expired openings go."""
    group = Group()
    _allow(group, "good.example.org")
    _allow(group, "192.0.2.99", lasting=timedelta(hours=1))
    later = NOW + timedelta(hours=2)
    steps, complaints = manage.refresh(group, who="timer", now=later, resolve=lambda host: ["192.0.2.50"])
    assert (len(steps), complaints) == (2, [])
    (opening,) = rules.openings(group.held).values()
    assert opening.destinations == ("192.0.2.50",)
    steps, complaints = manage.refresh(group, who="timer", now=later, resolve=lambda host: [])
    assert (steps, complaints) == ([], ["good.example.org does not resolve; its addresses stay as they were."])


def test_a_rule_changed_by_hand_is_not_ours() -> None:
    """One whose description, access or place was edited is neither listed, renewed nor removed."""
    (step,) = change.allow([], _opening("192.0.2.1"))
    assert isinstance(step, Put)
    rule: Any = {"name": step.name, "properties": step.properties}
    for edit in ({"access": "Deny"}, {"priority": 300}, {"description": "mine now"}, {"destinationPortRange": "*"}):
        edited = {**rule, "properties": {**rule["properties"], **edit}}
        assert rules.decode(edited) is None
    with pytest.raises(AzbatchError, match="changed by hand"):
        change.allow([{**rule, "properties": {**rule["properties"], "access": "Deny"}}], _opening("192.0.2.1"))


def test_check_says_by_which_rule_and_what_would_open_it() -> None:
    """Closed with the command that opens it, open with the rule; shared networks are warned of."""
    group = Group()
    closed = check(manage.compiled(group), "quay.io", ["192.0.2.20"], 443)
    assert not closed.reachable
    assert "denied by rule 'DenyAllOut'" in closed.lines[1]
    assert closed.remedy == 'azbatch network allow quay --reason "why" --for 8h'
    _allow(group, "good.example.org")
    assert check(manage.compiled(group), "good.example.org", ["192.0.2.10"], 443).reachable
    partly = check(manage.compiled(group), "good.example.org", ["192.0.2.10", "192.0.2.99"], 443)
    assert (partly.reachable, "1 of 2" in partly.lines[0]) == (False, True)
    shared = check(manage.compiled(group), "x.example.org", ["104.16.1.1"], 8443, Transport.UDP)
    assert "Cloudflare" in shared.warnings[0]
    assert "--port 8443 --protocol udp" in str(shared.remedy)
    assert "does not resolve" in check(manage.compiled(group), "no.example.org", [], 443).lines[0]


def test_service_tags_are_told_as_such() -> None:
    """A tag whose addresses only Azure knows is listed by name, and `check` says that it cannot be sure."""
    group = Group()
    _allow(group, "Storage.westeurope")
    compiled = manage.compiled(group)
    assert [entry.where() for entry in reach(compiled) if entry.tag] == ["Storage.westeurope"]
    assert "only Azure knows" in check(compiled, "192.0.2.1", ["192.0.2.1"], 443).lines[1]


def test_rules_for_other_sources_do_not_count() -> None:
    """An allow for another subnet gives the nodes nothing."""
    rule = foreign("other", "Allow", 200, "192.0.2.1")
    rule["properties"]["sourceAddressPrefix"] = "10.1.9.0/24"
    compiled = manage.compiled(Group(rule))
    assert not check(compiled, "192.0.2.1", ["192.0.2.1"], 443).reachable


def test_the_log_is_a_ring_in_the_tags() -> None:
    """Entries say who, when, what and why; the oldest makes room; tags of others stay."""
    group = Group()
    for number in range(25):
        manage.record(
            group,
            log.Entry(when=NOW + timedelta(minutes=number), who="ann", action="allow", what=f"t{number}", why="|x"),
        )
    found = log.entries(group.notes)
    assert [entry.what for entry in found] == [f"t{number}" for number in range(5, 25)]
    assert found[0].why == "/x"
    assert group.notes["theirs"] == "kept"
    assert log.added({f"tag{n}": "" for n in range(50)}, found[0]) == {}


def test_hosts_behind_a_target() -> None:
    """Only names are resolved again, never addresses, tags or registries."""
    assert hosts_of("quay")[0] == "quay.io"
    assert hosts_of("a.example.org") == ("a.example.org",)
    assert [hosts_of(text) for text in ("192.0.2.1", "192.0.2.0/24", "Storage.westeurope", "acr:abcde")] == [()] * 4
