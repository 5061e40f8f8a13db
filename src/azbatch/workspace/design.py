"""The private Batch environment of a workspace, as resources. Pure: the same facts give the same design.

Source: "Use private endpoints with Azure Batch accounts"; "Simplified compute node communication"; "Create a pool
without public IP addresses"; "Virtual network service endpoint policies for Azure Storage".
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

from azbatch.errors import ConfigurationError
from azbatch.workspace import access, ranges, ways
from azbatch.workspace.choices import chosen, switched_on
from azbatch.workspace.model import Body, Facts, Machine, Network, Ownership, Subnet, Wanted, reference
from azbatch.workspace.names import ZONE, Names

NETWORK_API, BATCH_API, DNS_API, STORAGE_API = "2024-05-01", "2024-07-01", "2024-06-01", "2023-05-01"
TAG, VERSION_TAG, VERSION = "azbatch-workspace", "azbatch-version", "1"
OPENINGS = range(500, 4000)  # priorities that belong to the owner's openings
DENY_PRIORITY = 4096


def names_of(facts: Facts) -> Names:
    return Names(facts.options.subscription, str(facts.group.get("name") or facts.options.workspace))


def tags(names: Names) -> dict[str, str]:
    """What every resource of ours carries."""
    return {TAG: names.workspace, VERSION_TAG: VERSION}


def head_node(facts: Facts) -> Machine:
    """The machine named, the one an earlier enable was told of, or the only Linux one.

    Raises ConfigurationError with the names there are.
    """
    wanted = facts.options.head_node
    linux = [one for one in facts.machines if one.operating_system.lower() == "linux"]
    workspace = facts.options.workspace
    if wanted is not None:
        found = next((one for one in facts.machines if one.name.lower() == wanted.lower()), None)
        if found is None:
            there = ", ".join(one.name for one in facts.machines) or "none"
            raise ConfigurationError([f"The workspace {workspace} has no machine '{wanted}'; there is: {there}."])
        if found not in linux:
            raise ConfigurationError(
                [f"The machine {found.name} runs Windows; a head node runs Linux: name another with --head-node."]
            )
        return found
    chosen_before = [one for one in linux if one.principal_id and one.principal_id == facts.head_principal]
    if chosen_before:
        return chosen_before[0]
    if not linux:
        raise ConfigurationError([f"The workspace {workspace} has no Linux machine for a head node: make one first."])
    if len(linux) > 1:
        raise ConfigurationError(
            [f"Which machine is the head node? Say it with --head-node: {', '.join(one.name for one in linux)}."]
        )
    return linux[0]


def storage_account(facts: Facts) -> Body:
    """The workspace's one storage account. Raises ConfigurationError where there is none, or several."""
    ours = [one for one in facts.storage_accounts if TAG not in (one.get("tags") or {})]
    if len(ours) == 1:
        return ours[0]
    there = ", ".join(str(one.get("name")) for one in ours) or "none"
    raise ConfigurationError(
        [f"The workspace {facts.options.workspace} should have one storage account; there is: {there}."]
    )


def workspace_subnet(facts: Facts, head: Machine) -> tuple[Network, Subnet]:
    """The network and subnet that the head node stands in. Raises ConfigurationError."""
    for network in facts.networks:
        for subnet in network.subnets:
            if head.subnet_id and subnet.id.lower() == head.subnet_id.lower():
                return network, subnet
    raise ConfigurationError(
        [f"The subnet of the machine {head.name} was not found in the workspace {facts.options.workspace}."]
    )


def address_space(facts: Facts, names: Names) -> IPv4Network:
    """Of the Batch network: what it has, what was asked for, or one that overlaps nothing.

    Raises ConfigurationError.
    """
    found = facts.found.get(names.network.lower())
    if found is not None:
        return _space_of(found)
    others = [prefix for one in facts.networks for prefix in (*one.prefixes, *one.peer_prefixes)]
    if facts.options.address_space is None:
        return ranges.choose(names.group, others)
    space = ranges.parse(facts.options.address_space)
    clash = ranges.overlapping(space, others)
    if clash is not None:
        raise ConfigurationError(
            [f"The address space {space} overlaps {clash} of the workspace's networks: choose another."]
        )
    return space


def _space_of(network: Body) -> IPv4Network:
    """The address space that we gave the network: of several, where its owner added some, the one of the nodes."""
    properties = network["properties"]
    spaces = [IPv4Network(str(text)) for text in properties["addressSpace"]["addressPrefixes"]]
    for subnet in properties.get("subnets") or ():
        for space in spaces if str(subnet.get("name", "")).lower() == "default" else ():
            if str(ranges.parts(space)[0]) == (subnet.get("properties") or {}).get("addressPrefix"):
                return space
    return spaces[0]


def design(facts: Facts) -> tuple[Wanted, ...]:
    """All that the workspace should have.

    Raises ConfigurationError with all faults that stand in the way of a design.
    """
    faults: list[str] = list(facts.faults)
    found: dict[str, Any] = {}
    names = names_of(facts)
    questions: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("head", lambda: head_node(facts)),
        ("storage", lambda: storage_account(facts)),
        ("space", lambda: address_space(facts, names)),
        ("place", lambda: workspace_subnet(facts, found["head"]) if "head" in found else None),
    )
    for name, ask in questions:
        try:
            found[name] = ask()
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError(list(dict.fromkeys(faults)))
    network, subnet = found["place"]
    head, storage, choice = found["head"], found["storage"], chosen(facts, names)
    at = {"location": facts.location, "tags": tags(names)}
    return (
        *_network(names, facts.location, found["space"], storage, by_endpoint=choice.storage_endpoint),
        *(ways.way_out(names, at) if choice.nat_gateway else ()),
        *_account(names, facts.location, subnet),
        *([] if choice.central_dns else _dns(names, network)),
        *(ways.storage_endpoint(names, at, storage, central_dns=choice.central_dns) if choice.storage_endpoint else ()),
        *access.node_identity(names, facts.location, storage, choice.registry, tags(names)),
        *_head(names, facts, head, storage),
        *access.policy(names, facts.options),
    )


def _head(names: Names, facts: Facts, head: Machine, storage: Body) -> list[Wanted]:
    """The head node's roles, and its identity where that is not on, or was switched on by us."""
    who = f"the head node {head.name}"
    if head.principal_id is not None and head not in switched_on(facts):
        return access.roles(names, head.principal_id, (), storage, who)
    principal = reference(head.id, "identity.principalId")
    return [access.identity(head), *access.roles(names, principal, (head.id,), storage, who)]


def every(facts: Facts) -> tuple[Wanted, ...]:
    """All that an enable may ever have made, whatever it was asked for, also where no design can be made any more (no
    head node, no storage account): what to look for when something has to go.
    """
    names, nothing = names_of(facts), f"{facts.group['id']}/providers/Microsoft.Storage/storageAccounts/none"
    at = {"location": facts.location, "tags": tags(names)}
    stores = [one for one in facts.storage_accounts if TAG not in (one.get("tags") or {})] or [
        {"id": nothing, "name": "of the workspace"}
    ]
    found = facts.found.get(names.network.lower())
    space = _space_of(found) if found is not None else IPv4Network("10.0.0.0/22")
    machines = list(switched_on(facts))
    try:
        who = f"the head node {head_node(facts).name}"
    except ConfigurationError:
        who = "the head node"
    endpoint = (facts.found.get(names.account_endpoint.lower()) or {}).get("properties") or {}
    place = str((endpoint.get("subnet") or {}).get("id") or f"{names.group}/none")
    subnet = Subnet(id=place, name=place.rpartition("/")[2], prefix="10.0.0.0/24", taken=0)
    wanted: list[Wanted] = [*_account(names, facts.location, subnet), *ways.way_out(names, at)]
    for storage in stores:
        wanted += _network(names, facts.location, space, storage, by_endpoint=False)
        wanted += ways.storage_endpoint(names, at, storage, central_dns=False)
        wanted += access.node_identity(names, facts.location, storage, facts.registry, tags(names))
        wanted += access.roles(names, "", tuple(one.id for one in machines), storage, who)
    for registry in facts.pulls_from:
        wanted += access.node_identity(names, facts.location, stores[0], registry, tags(names))
    for network in facts.networks:
        wanted += _dns(names, network)
    if not facts.networks:
        wanted += [one for one in _dns(names, None) if one.code != "l1"]
    wanted += [*(access.identity(one) for one in machines), *access.policy(names, facts.options)]
    return tuple({(one.code, one.id.lower()): one for one in wanted}.values())


def _rule(name: str, priority: int, direction: str, verdict: str, why: str, **what: str) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            "description": why,
            "priority": priority,
            "direction": direction,
            "access": verdict,
            "protocol": what.get("protocol", "*"),
            "sourceAddressPrefix": what.get("source", "*"),
            "sourcePortRange": "*",
            "destinationAddressPrefix": what.get("destination", "*"),
            "destinationPortRange": what.get("port", "*"),
        },
    }


def security_rules(location: str, endpoints: IPv4Network, *, by_endpoint: bool) -> list[dict[str, Any]]:
    """Closed both ways for every protocol, but for node management (inside the network) and the storage: the region's,
    or with a private endpoint none outside the network.
    """
    storage, why = f"Storage.{location}", "the workspace's storage; the endpoint policy keeps others out"
    if by_endpoint:
        storage, why = str(endpoints), "the workspace's storage by private endpoint"
    return [
        _rule("azbatch-node-management", 100, "Outbound", "Allow", "Batch node management by private endpoint",
              protocol="Tcp", destination=str(endpoints), port="443"),
        _rule("azbatch-storage", 110, "Outbound", "Allow", why, protocol="Tcp", destination=storage, port="443"),
        _rule("azbatch-deny-out", DENY_PRIORITY, "Outbound", "Deny", "closed unless opened"),
        _rule("azbatch-deny-in", DENY_PRIORITY, "Inbound", "Deny", "nothing comes in"),
    ]  # fmt: skip


def _network(names: Names, location: str, space: IPv4Network, storage: Body, *, by_endpoint: bool) -> list[Wanted]:
    """Network, group and policy; the storage's rule only where its private endpoint does not make it needless.

    The policy stays beside an endpoint: whatever is opened, it keeps all other accounts out.
    """
    nodes, endpoints = ranges.parts(space)
    at = {"location": location, "tags": tags(names)}
    definition = {
        "name": "workspace-storage",
        "properties": {"service": "Microsoft.Storage", "serviceResources": [str(storage["id"])]},
    }
    subnets = [
        {
            "name": "default",
            "properties": {
                "addressPrefix": str(nodes),
                "defaultOutboundAccess": False,
                "networkSecurityGroup": {"id": names.security_group},
                "serviceEndpoints": [{"service": "Microsoft.Storage"}],
                "serviceEndpointPolicies": [{"id": names.storage_policy}],
            },
        },
        {"name": "endpoints", "properties": {"addressPrefix": str(endpoints), "defaultOutboundAccess": False}},
    ]
    rule = {"virtualNetworkRules": [{"id": names.nodes_subnet, "action": "Allow"}]}
    made = [
        Wanted(
            code="sg",
            id=names.security_group,
            api_version=NETWORK_API,
            body={**at, "properties": {"securityRules": security_rules(location, endpoints, by_endpoint=by_endpoint)}},
            sentence="a security group that closes the nodes' subnet for every protocol, both ways",
        ),
        Wanted(
            code="sp",
            id=names.storage_policy,
            api_version=NETWORK_API,
            body={**at, "properties": {"serviceEndpointPolicyDefinitions": [definition]}},
            sentence=f"a policy by which the nodes reach the storage account {storage.get('name')} and no other",
        ),
        Wanted(
            code="vn",
            id=names.network,
            api_version=NETWORK_API,
            depends_on=(names.security_group, names.storage_policy),
            body={**at, "properties": {"addressSpace": {"addressPrefixes": [str(space)]}, "subnets": subnets}},
            sentence=f"a network for the nodes, {space}, with no way out of its own",
        ),
    ]
    lets_in = Wanted(
        code="sr",
        id=str(storage["id"]),
        api_version=STORAGE_API,
        ownership=Ownership.PART,
        depends_on=(names.network,),
        body={"properties": {"networkAcls": rule}},
        sentence=f"the storage account {storage.get('name')} lets the nodes' subnet in",
    )
    return made if by_endpoint else [*made, lets_in]


def _account(names: Names, location: str, subnet: Subnet) -> list[Wanted]:
    at = {"location": location, "tags": tags(names)}

    def endpoint(code: str, id: str, group: str, place: str, needs: tuple[str, ...], sentence: str) -> Wanted:
        connection = {"name": "batch", "properties": {"privateLinkServiceId": names.account, "groupIds": [group]}}
        return Wanted(
            code=code,
            id=id,
            api_version=NETWORK_API,
            depends_on=(names.account, *needs),
            body={**at, "properties": {"subnet": {"id": place}, "privateLinkServiceConnections": [connection]}},
            sentence=sentence,
        )

    return [
        Wanted(
            code="ac",
            id=names.account,
            api_version=BATCH_API,
            body={
                **at,
                "properties": {
                    "poolAllocationMode": "BatchService",
                    "publicNetworkAccess": "Disabled",
                    "allowedAuthenticationModes": ["AAD"],
                },
            },
            sentence=f"a Batch account {names.account_name} without public access and without keys",
        ),
        endpoint("pe", names.account_endpoint, "batchAccount", subnet.id, (),
                 f"a private endpoint in the workspace's subnet {subnet.name}, by which its machines reach the "
                 f"account"),
        endpoint("pn", names.node_endpoint, "nodeManagement", names.endpoints_subnet, (names.network,),
                 "a private endpoint in the Batch network, by which the nodes are managed"),
    ]  # fmt: skip


def _dns(names: Names, network: Network | None) -> list[Wanted]:
    """The zone with its links and records; with central DNS the records are for its owner to make (`records.py`)."""

    def link(code: str, target: str, needs: tuple[str, ...], what: str) -> Wanted:
        return Wanted(
            code=code,
            id=names.zone_link(target),
            api_version=DNS_API,
            depends_on=(names.zone, *needs),
            body={
                "location": "global",
                "tags": tags(names),
                "properties": {"registrationEnabled": False, "virtualNetwork": {"id": target}},
            },
            sentence=f"names of the account resolve in {what}",
        )

    def group(code: str, endpoint: str, what: str) -> Wanted:
        zone = {"name": "batch", "properties": {"privateDnsZoneId": names.zone}}
        return Wanted(
            code=code,
            id=f"{endpoint}/privateDnsZoneGroups/default",
            api_version=NETWORK_API,
            depends_on=(endpoint, names.zone),
            body={"properties": {"privateDnsZoneConfigs": [zone]}},
            sentence=f"a record for {what}",
        )

    return [
        Wanted(
            code="zo",
            id=names.zone,
            api_version=DNS_API,
            body={"location": "global", "tags": tags(names)},
            sentence=f"a private DNS zone {ZONE}",
        ),
        *([link("l1", network.id, (), "the workspace's network")] if network else ()),
        link("l2", names.network, (names.network,), "the Batch network"),
        group("g1", names.account_endpoint, "the account"),
        group("g2", names.node_endpoint, "node management"),
    ]
