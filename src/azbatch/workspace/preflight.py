"""What stands in the way of a plan, all at once, before anything is made. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azbatch.workspace import ranges
from azbatch.workspace.compare import resolved
from azbatch.workspace.design import head_node, workspace_subnet
from azbatch.workspace.model import Change, Facts, Finding, Ownership, Plan, Rights, Verb, Wanted
from azbatch.workspace.plan import strangers

NEEDED_PROVIDERS = (
    "Microsoft.Batch",
    "Microsoft.Compute",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.Storage",
)


def kind_of(id: str) -> str:
    """The type of the resource an id names, such as Microsoft.Network/virtualNetworks/subnets."""
    parts = id.split("/providers/")[-1].split("/")
    return "/".join((parts[0], *parts[1::2]))


def allowed(rights: Sequence[Rights], action: str, id: str) -> bool:
    """Whether the caller may do an action on an id, by the rights known at scopes around it."""
    for one in rights:
        if not f"{id.lower()}/".startswith(f"{one.scope.lower().rstrip('/')}/"):
            continue
        if _matches(one.actions, action) and not _matches(one.not_actions, action):
            return True
    return False


def _matches(wildcards: Sequence[str], action: str) -> bool:
    return any(
        re.fullmatch(".*".join(re.escape(part) for part in text.lower().split("*")), action.lower())
        for text in wildcards
    )


def preflight(facts: Facts, plan: Plan, wanted: Sequence[Wanted]) -> list[Finding]:
    """All findings; those that are `fatal` forbid to begin."""
    return [
        *_rights(facts, plan),
        *_providers(facts),
        *strangers(facts, wanted),
        *_place(facts, plan),
        *_quotas(facts, plan),
        *_policies(facts, plan),
        *_locks(facts, plan),
        *_gateway(facts, plan),
    ]


def unseen(facts: Facts) -> list[Finding]:
    """For a removal: what the caller may not even read would be left there, and nobody told."""
    actions = sorted({(f"{kind_of(id)}/read", id.split("/providers/")[0]) for id in facts.unreadable})
    return [
        Finding(
            code="MissingRight",
            subject=scope,
            sentence=f"You may not do {action} on {scope}, so it cannot be seen whether all is taken away.",
            remedy="Let an owner of the subscription run this command.",
        )
        for action, scope in actions
    ]


def _rights(facts: Facts, plan: Plan) -> Iterator[Finding]:
    told: set[tuple[str, str]] = set()
    for change in plan.changes:
        if change.verb is Verb.KEEP:
            continue
        verb = "delete" if change.verb is Verb.REMOVE and change.wanted.ownership is not Ownership.PART else "write"
        action, id = f"{kind_of(change.wanted.id)}/{verb}", change.wanted.id
        if allowed(facts.rights, action, id):
            continue
        scope = id.split("/providers/")[0]
        if (action, scope) in told:
            continue
        told.add((action, scope))
        where = "the subscription" if scope.count("/") == 2 else "the workspace's resource group"
        role = "Owner" if "Microsoft.Authorization" in action else "Contributor"
        yield Finding(
            code="MissingRight",
            subject=id,
            sentence=f"You may not do {action} on {scope}.",
            remedy=f"Ask an owner of {where} for the role {role} there, or let them run this command.",
        )


def _providers(facts: Facts) -> Iterator[Finding]:
    for name in NEEDED_PROVIDERS:
        if facts.providers.get(name, "Registered") not in {"Registered", "Registering"}:
            yield Finding(
                code="ProviderNotRegistered",
                subject=name,
                sentence=f"The subscription is not registered for {name}.",
                remedy=f"Run: az provider register --namespace {name}",
            )


def _place(facts: Facts, plan: Plan) -> Iterator[Finding]:
    network = next((one for one in plan.changes if one.wanted.code == "vn" and one.verb is not Verb.REMOVE), None)
    asked = facts.options.address_space
    if network is not None and asked is not None:
        has = network.wanted.body["properties"]["addressSpace"]["addressPrefixes"][0]
        if str(ranges.parse(asked)) != has:
            yield Finding(
                code="AddressSpaceFixed",
                subject=network.wanted.id,
                sentence=f"The Batch network has the address space {has} already, not {asked}.",
                remedy="Leave --address-space out, or run azbatch workspace disable first.",
            )
    makes = any(one.verb is Verb.CREATE and one.wanted.code == "pe" for one in plan.changes)
    if not makes:
        return
    _, subnet = workspace_subnet(facts, head_node(facts))
    if ranges.free(subnet.prefix, subnet.taken) < 1:
        yield Finding(
            code="SubnetFull",
            subject=subnet.id,
            sentence=f"The subnet {subnet.name} ({subnet.prefix}) has no free address for the private endpoint.",
            remedy="Free one, or enlarge the subnet.",
        )


def _quotas(facts: Facts, plan: Plan) -> Iterator[Finding]:
    makes = any(one.verb is Verb.CREATE and one.wanted.code == "ac" for one in plan.changes)
    limit, used = facts.quotas.get("batchAccounts"), facts.quotas.get("batchAccountsUsed") or 0
    if makes and limit is not None and used >= limit:
        yield Finding(
            code="AccountQuota",
            subject=facts.location,
            sentence=f"The subscription has {used} Batch accounts in {facts.location} and may have {limit}.",
            remedy="Ask for a higher quota (Azure portal, Quotas, Batch), or delete an account.",
        )
    if makes and not facts.account_name_available:
        name = next(one.wanted.id.rsplit("/", 1)[1] for one in plan.changes if one.wanted.code == "ac")
        yield Finding(
            code="NameTaken",
            subject=name,
            sentence=f"The name {name} for the Batch account is taken in {facts.location}, by an account that is "
            f"not in this workspace.",
            remedy="It may be one that was deleted lately: try again in an hour, or ask the owner of that account.",
        )


def _policies(facts: Facts, plan: Plan) -> Iterator[Finding]:
    for change in plan.changes:
        if change.verb not in {Verb.CREATE, Verb.UPDATE} or change.wanted.ownership is Ownership.PART:
            continue
        body = resolved(change.wanted.body, facts.found)
        for assignment in facts.policies:
            if _denies(assignment, change, body):
                title = (assignment.get("properties") or {}).get("displayName") or assignment.get("name")
                yield Finding(
                    code="DeniedByPolicy",
                    subject=change.wanted.id,
                    sentence=f"The policy '{title}' denies {kind_of(change.wanted.id)} "
                    f"{change.wanted.id.rsplit('/', 1)[1]}.",
                    remedy="Ask the owner of the policy for an exemption of this workspace.",
                )


def _denies(assignment: Mapping[str, Any], change: Change, body: Mapping[str, Any]) -> bool:
    from azbatch.workspace.policies import denies

    return denies(assignment, change.wanted.id, kind_of(change.wanted.id), body)


def _locks(facts: Facts, plan: Plan) -> Iterator[Finding]:
    for lock in facts.locks:
        level = (lock.get("properties") or {}).get("level")
        scope = str(lock.get("id")).split("/providers/Microsoft.Authorization/locks")[0]
        hit = next((one for one in plan.changes if _locked(one, str(level), scope.lower())), None)
        if hit is not None:
            verb = "changed" if level == "ReadOnly" else "removed"
            yield Finding(
                code="Locked",
                subject=str(lock.get("id")),
                sentence=f"The lock '{lock.get('name')}' ({level}) on {scope} forbids that "
                f"{kind_of(hit.wanted.id).rpartition('/')[2]} {hit.wanted.id.rpartition('/')[2]} is {verb}.",
                remedy="Remove the lock for the time, or ask whoever set it.",
            )


def _locked(change: Change, level: str, scope: str) -> bool:
    """Whether a lock at a scope (lower case) forbids a change: what lies in it; for a removal also what it lies in.

    A role assignment is not updated but made anew, so an update removes it too.
    """
    one = change.wanted
    removes = change.verb is Verb.REMOVE and one.ownership is not Ownership.PART
    removes = removes or (change.verb is Verb.UPDATE and "/roleAssignments/" in one.id)
    if change.verb is Verb.KEEP or (level == "CanNotDelete" and not removes):
        return False
    id = one.id.lower()
    return f"{id}/".startswith(f"{scope}/") or (removes and scope.startswith(f"{id}/"))


def _gateway(facts: Facts, plan: Plan) -> Iterator[Finding]:
    """A subnet has one NAT gateway: where its owner gave it one, ours does not take its place."""
    part = next((one for one in plan.changes if one.wanted.code == "wo" and one.verb is Verb.UPDATE), None)
    held = ((facts.found.get(part.wanted.id.lower()) or {}).get("properties") or {}).get("natGateway") if part else None
    if part is not None and held:
        name = str(held.get("id", "")).rpartition("/")[2]
        yield Finding(
            code="OtherGateway",
            subject=part.wanted.id,
            sentence=f"The nodes' subnet has the NAT gateway {name}, not made by azbatch; a subnet has only one.",
            remedy="Say --way-out none and keep that one, or take it off the subnet first.",
        )
