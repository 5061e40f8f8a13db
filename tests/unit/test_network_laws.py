"""Laws of network openings: whatever is opened, closed, expired and renewed, the group stays in order."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from azbatch.errors import AzbatchError
from azbatch.network import change, evaluate, rules
from azbatch.network.model import Opening, Transport
from azbatch.network.reach import reach

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
NETWORK = ["10.1.0.0/16"]
HOSTS = ("a.example.org", "b.example.org")
TRANSPORTS = (Transport.TCP, Transport.UDP, Transport.ICMP)


def foreign(name: str, access: str, priority: int, destination: Any, ports: str = "*", protocol: str = "*") -> Any:
    """A rule that somebody else made."""
    many = isinstance(destination, list)
    return {
        "name": name,
        "properties": {
            "access": access,
            "priority": priority,
            "direction": "Outbound",
            "protocol": protocol,
            "sourceAddressPrefix": "*",
            "sourcePortRange": "*",
            "destinationAddressPrefixes" if many else "destinationAddressPrefix": destination,
            "destinationPortRange": ports,
        },
    }


DEFAULTS = [
    foreign("AllowVnetOutBound", "Allow", 65000, "VirtualNetwork"),
    foreign("AllowInternetOutBound", "Allow", 65001, "Internet"),
    foreign("DenyAllOutBound", "Deny", 65500, "*"),
]
addresses = st.sampled_from(["192.0.2.1", "192.0.2.0/24", "198.51.100.7", "198.51.100.0/25", "10.1.0.5", "10.0.0.0/8"])
ports = st.sampled_from(["443", "80", "80-90", "85-500", "*"])
others = st.lists(
    st.tuples(
        st.sampled_from(["Allow", "Deny"]),
        st.sampled_from([150, 900, 1001, 1250, 2000, 3000]),
        st.one_of(addresses, st.lists(addresses, min_size=2, max_size=3), st.just("VirtualNetwork")),
        ports,
        st.sampled_from(["Tcp", "Udp", "Icmp", "*"]),
    ),
    max_size=5,
    unique_by=lambda rule: rule[1],
)
actions = st.one_of(
    st.tuples(
        st.just("allow"),
        st.one_of(addresses, st.sampled_from(HOSTS), st.just("Internet")),
        ports,
        st.sampled_from(list(Transport)),
        st.one_of(st.none(), st.integers(1, 600)),
    ),
    st.tuples(st.just("deny"), st.one_of(addresses, st.sampled_from(HOSTS), st.just("Internet"))),
    st.tuples(st.just("expire"), st.integers(0, 300)),
    st.tuples(st.just("refresh"), st.integers(1, 9)),
)


def matches(rule: Any, transport: Transport, address: str, port: int) -> bool:
    """Whether a rule matches a packet, written from Azure's description and sharing nothing with the product."""
    properties = rule["properties"]
    if properties["protocol"] not in {"*", str(transport)}:
        return False
    text = properties["destinationPortRange"]
    low, high = (0, 65535) if text == "*" else (int(text.split("-")[0]), int(text.split("-")[-1]))
    if not low <= port <= high:
        return False
    wanted = properties.get("destinationAddressPrefixes") or [properties["destinationAddressPrefix"]]
    inside = ipaddress.ip_address(address) in ipaddress.ip_network(NETWORK[0])
    public = not inside and not address.startswith("10.")
    for prefix in wanted:
        if prefix == "*" or (prefix == "VirtualNetwork" and inside) or (prefix == "Internet" and public):
            return True
        if prefix[0].isdigit() and ipaddress.ip_address(address) in ipaddress.ip_network(prefix):
            return True
    return False


def reference(held: list[Any], transport: Transport, address: str, port: int) -> tuple[bool, str | None]:
    for rule in sorted(held, key=lambda rule: rule["properties"]["priority"]):
        if matches(rule, transport, address, port):
            return rule["properties"]["access"] == "Allow", rule["name"]
    return False, None


@dataclass
class Group:
    """A security group on which steps are done."""

    rules: list[Any]
    now: datetime = NOW
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def do(self, action: tuple[Any, ...]) -> None:
        try:
            self.rules = change.apply(self.rules, self._steps(*action))
        except AzbatchError:
            return  # nothing there to close; the group is as it was

    def _steps(self, verb: str, *arguments: Any) -> Any:
        if verb == "allow":
            target, port, transport, minutes = arguments
            return change.allow(
                self.rules,
                Opening(
                    target=target,
                    destinations=("203.0.113.9",) if target in HOSTS else (target,),
                    ports=port,
                    transport=transport,
                    owner="someone@example.org",
                    reason="because",
                    made=self.now,
                    expires=self.now + timedelta(minutes=minutes) if minutes else None,
                ),
            )
        if verb == "deny":
            return change.deny(self.rules, *arguments)
        if verb == "expire":
            self.now += timedelta(minutes=arguments[0])
            return change.expire(self.rules, self.now)
        last = arguments[0]
        return change.refresh(self.rules, lambda host: [f"203.0.113.{last}", f"192.0.2.{last}"], self.now)[0]


@settings(deadline=None)
@given(others, st.booleans(), st.lists(actions, max_size=12), st.data())
def test_any_sequence_leaves_the_group_in_order(
    made_by_others: Any, closed: bool, sequence: Any, data: st.DataObject
) -> None:
    """Priorities stay unique and ours, rules of others as they were, and `reach` and `decide` say of any packet what
    the group does with it."""
    theirs = [
        foreign(f"theirs-{priority}", access, priority, destination, port, protocol)
        for access, priority, destination, port, protocol in made_by_others
    ]
    if closed:
        theirs.append(foreign("deny-all", "Deny", 4000, "*"))
    group = Group([*theirs, *DEFAULTS])
    for action in sequence:
        group.do(action)
        priorities = [rule["properties"]["priority"] for rule in group.rules]
        assert len(set(priorities)) == len(priorities)
        assert [rule for rule in group.rules if not rule["name"].startswith(rules.PREFIX)] == [*theirs, *DEFAULTS]
    ours = [rule for rule in group.rules if rule["name"].startswith(rules.PREFIX)]
    assert all(rules.decode(rule) is not None for rule in ours)
    assert all(rules.FIRST <= rule["properties"]["priority"] <= rules.LAST for rule in ours)
    compiled = evaluate.compiled(group.rules, evaluate.default_tags(NETWORK))
    found = reach(compiled)
    for _ in range(6):
        transport = data.draw(st.sampled_from(TRANSPORTS))
        address = data.draw(
            st.sampled_from(["192.0.2.1", "192.0.2.9", "198.51.100.7", "10.1.0.5", "10.9.9.9", "8.8.8.8"])
        )
        port = 0 if transport is Transport.ICMP else data.draw(st.sampled_from([0, 22, 80, 85, 90, 443, 500, 501]))
        allowed, rule = reference(group.rules, transport, address, port)
        decision = evaluate.decide(compiled, evaluate.Packet(transport=transport, address=address, port=port))
        assert (decision.allowed, decision.rule) == (allowed, rule)
        hits = [entry.rule for entry in found if entry.transport is transport and entry.covers(address, port)]
        assert hits == ([rule] if allowed else [])


@given(
    st.text(max_size=200),
    st.text(max_size=60),
    st.one_of(st.none(), st.integers(1, 10**5)),
    ports,
    st.sampled_from(list(Transport)),
    st.sampled_from(["quay", "192.0.2.0/24", "Storage.westeurope", "acr:myregistry", "a" * 56 + ".org"]),
)
def test_a_rule_keeps_its_opening(
    reason: str, owner: str, minutes: int | None, port: str, transport: Transport, target: str
) -> None:
    """Whatever the reason and owner, a rule is within Azure's limits and gives the opening back."""
    expires = NOW + timedelta(minutes=minutes) if minutes else None
    opening = Opening(
        target=target,
        destinations=("192.0.2.0/24",),
        ports=port,
        transport=transport,
        owner=owner,
        reason=reason,
        made=NOW,
        expires=expires,
    )
    name = rules.name_of(target, transport, port)
    properties = rules.encode(opening, rules.FIRST)
    assert len(name) <= 80
    assert name[-1].isalnum()
    assert len(properties["description"]) <= 140
    back = rules.decode({"name": name, "properties": properties})
    assert back is not None
    assert (back.target, back.destinations, back.ports, back.transport) == (target, ("192.0.2.0/24",), port, transport)
    assert (back.made, back.expires) == (NOW, expires)
