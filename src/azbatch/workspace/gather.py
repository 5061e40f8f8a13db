"""The facts of a workspace, read in few requests and fewer round trips."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from azbatch.errors import ConfigurationError, ServiceError
from azbatch.workspace import choices, design, ledger, plan, ranges
from azbatch.workspace.model import Body, Facts, Machine, Network, Options, Ownership, Rights, Subnet
from azbatch.workspace.names import Names
from azbatch.workspace.ports import Arm

RESOURCES_API, COMPUTE_API, NETWORK_API = "2022-09-01", "2024-07-01", "2024-05-01"
STORAGE_API, LOCKS_API, POLICY_API, ROLES_API = "2023-05-01", "2020-05-01", "2023-04-01", "2022-04-01"
BATCH_API, REGISTRY_API = "2024-07-01", "2023-07-01"
THREADS = 12
REGISTRIES = "providers/Microsoft.ContainerRegistry/registries"
UNSETTLED = {"creating", "updating", "deleting"}


def check(options: Options) -> None:
    """What can be told of the options alone. Raises ConfigurationError with all faults."""
    faults = [*_nameless(options), *_malformed(options)]
    if faults:
        raise ConfigurationError(faults)


def _nameless(options: Options) -> list[str]:
    """Faults without which nothing can be asked of Azure."""
    faults = []
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", options.subscription):
        faults.append(
            f"'{options.subscription}' is no subscription id: give --subscription-id the GUID that az account show "
            f"prints as id."
        )
    if not re.fullmatch(r"[\w().-]{0,89}[\w()-]", options.workspace):
        faults.append(f"'{options.workspace}' is no name of a workspace: give --workspace the resource group's name.")
    return faults


def _malformed(options: Options) -> list[str]:
    """Faults that leave the workspace to be read: told with those that only Azure knows."""
    faults = []
    if not _registry_is_one(options.image_registry):
        faults.append(
            f"'{options.image_registry}' is no container registry: give --image-registry its name (5 to 50 letters and "
            f"digits, without .azurecr.io), its whole resource id, or none."
        )
    if options.way_out not in {None, *choices.WAYS_OUT}:
        faults.append(f"'{options.way_out}' is no way out: give --way-out {' or '.join(choices.WAYS_OUT)}.")
    if options.address_space is not None:
        try:
            ranges.parse(options.address_space)
        except ConfigurationError as error:
            faults += error.faults
    return faults


def _registry_is_one(text: str | None) -> bool:
    """Whether it is a registry's name or id, or a word for none."""
    name = r"[A-Za-z0-9]{5,50}"
    return text is None or text == choices.NONE or bool(re.fullmatch(rf"{name}|/.*/{REGISTRIES}/{name}", text))


class Gatherer:
    """Reads one workspace. Raises ConfigurationError where there is no such subscription or workspace."""

    def __init__(self, arm: Arm, options: Options) -> None:
        self._arm, self._options = arm, options
        self._names = Names(options.subscription, options.workspace)

    def facts(self, *, everything: bool = False) -> Facts:
        """All facts; with `everything` also of what an enable may have made that is not wanted now.

        Faults of the options that leave the workspace to be read come along in `Facts.faults`.
        """
        if nameless := _nameless(self._options):
            raise ConfigurationError([*nameless, *_malformed(self._options)])
        faults = _malformed(self._options)
        group = self._group()
        with ThreadPoolExecutor(THREADS) as threads:
            asked = {name: threads.submit(ask) for name, ask in self._questions(group)}
            told: dict[str, Any] = {}
            for name, future in asked.items():
                try:
                    told[name] = future.result()
                except ConfigurationError as error:
                    faults += error.faults
            base = self._assembled(group, told, faults)
            ids = self._candidates(base, everything=everything)
            unreadable: list[str] = []
            bodies = dict(
                zip(
                    ids,
                    threads.map(
                        lambda item: _one_as_far_as_allowed(self._arm, item[0], item[1], unreadable), ids.items()
                    ),
                    strict=True,
                )
            )
            found = {id.lower(): body for id, body in bodies.items()}
            names = design.names_of(base)
            available, limit = True, None
            if found.get(names.account.lower()) is None:
                available = self._name_available(names.account_name, base.location)
                limit = self._account_quota(base.location)
        used = sum(1 for one in told["accounts"] if str(one.get("location", "")).lower() == base.location.lower())
        return replace(
            base,
            found={**base.found, **found},
            unreadable=tuple(sorted(unreadable)),
            account_name_available=available,
            quotas={"batchAccounts": limit, "batchAccountsUsed": used},
        )

    def _group(self) -> Body:
        try:
            group = self._arm.get(self._names.group, RESOURCES_API)
        except ServiceError as error:
            if error.code in {"SubscriptionNotFound", "InvalidSubscriptionId"}:
                raise ConfigurationError(
                    [
                        (
                            f"There is no subscription {self._options.subscription} that you can see: check "
                            f"--subscription-id and your sign-in."
                        )
                    ]
                ) from None
            if error.code == "AuthorizationFailed":
                raise ConfigurationError(
                    [
                        (
                            f"You may not read the workspace {self._options.workspace}: ask its owner for the role "
                            f"Reader, or better Owner."
                        )
                    ]
                ) from None
            raise
        if group is None:
            raise ConfigurationError(
                [
                    (
                        f"There is no workspace (resource group) {self._options.workspace} in subscription "
                        f"{self._options.subscription}."
                    )
                ]
            )
        return group

    def _questions(self, group: Body) -> Iterator[tuple[str, Callable[[], Any]]]:
        names, arm = self._names, self._arm
        inside = f"{names.group}/providers"

        def listing(path: str, version: str, **query: str) -> Callable[[], list[Body]]:
            return lambda: _as_far_as_allowed(arm, path, version, query)

        yield "storage", listing(f"{inside}/Microsoft.Storage/storageAccounts", STORAGE_API)
        yield "networks", listing(f"{inside}/Microsoft.Network/virtualNetworks", NETWORK_API)
        yield "cards", listing(f"{inside}/Microsoft.Network/networkInterfaces", NETWORK_API)
        yield "machines", listing(f"{inside}/Microsoft.Compute/virtualMachines", COMPUTE_API)
        yield "endpoints", listing(f"{inside}/Microsoft.Network/privateEndpoints", NETWORK_API)
        yield "locks", listing(f"{inside}/Microsoft.Authorization/locks", LOCKS_API)
        yield "all locks", listing(f"{names.scope}/providers/Microsoft.Authorization/locks", LOCKS_API)
        yield "group rights", listing(f"{inside}/Microsoft.Authorization/permissions", ROLES_API)
        yield "rights", listing(f"{names.scope}/providers/Microsoft.Authorization/permissions", ROLES_API)
        yield "policies", listing(f"{names.scope}/providers/Microsoft.Authorization/policyAssignments", POLICY_API)
        yield "assignments", listing(f"{names.scope}/providers/Microsoft.Authorization/roleAssignments", ROLES_API)
        yield "providers", listing(f"{names.scope}/providers", RESOURCES_API)
        yield "accounts", listing(f"{names.scope}/providers/Microsoft.Batch/batchAccounts", BATCH_API)
        for id in self._elsewhere(group):
            yield id, listing(f"{id}/providers/Microsoft.Authorization/permissions", ROLES_API)
        if _registry_is_one(self._options.image_registry):
            yield "registry", self._registry

    def _elsewhere(self, group: Body) -> list[str]:
        """Ids of the registries in other subscriptions, whose rights are not those of this one."""
        asked = self._options.image_registry or ""
        ids = {id.lower(): id for id in (*ledger.read_registries(group), *([asked] if asked.startswith("/") else ()))}
        return [id for key, id in ids.items() if not key.startswith(f"{self._names.scope.lower()}/")]

    def _registry(self) -> Body | None:
        wanted = self._options.image_registry
        if wanted is None or wanted == choices.NONE:
            return None
        if wanted.startswith("/"):
            found = self._arm.get(wanted, REGISTRY_API)
        else:
            path = f"{self._names.scope}/providers/Microsoft.ContainerRegistry/registries"
            found = next(
                (one for one in self._arm.list(path, REGISTRY_API) if str(one["name"]).lower() == wanted.lower()), None
            )
        if found is None:
            raise ConfigurationError(
                [f"There is no container registry '{wanted}' that you can see in the subscription."]
            )
        return found

    def _name_available(self, name: str, location: str) -> bool:
        path = f"{self._names.scope}/providers/Microsoft.Batch/locations/{location}/checkNameAvailability"
        body = {"name": name, "type": "Microsoft.Batch/batchAccounts"}
        try:
            return bool(self._arm.post(path, BATCH_API, body).get("nameAvailable", True))
        except ServiceError:
            return True  # whoever may not ask will be told by the create itself

    def _account_quota(self, location: str) -> int | None:
        path = f"{self._names.scope}/providers/Microsoft.Batch/locations/{location}/quotas"
        try:
            found = self._arm.get(path, BATCH_API)
        except ServiceError:
            return None
        return int(found["accountQuota"]) if found and "accountQuota" in found else None

    def _assembled(self, group: Body, told: Mapping[str, Any], faults: Sequence[str]) -> Facts:
        names = self._names
        places = _places(told["cards"])
        policies = [one for one in told["policies"] if _applies(one, names.group)]
        definitions = {
            id: self._arm.get(id, POLICY_API)
            for id in {str((one.get("properties") or {}).get("policyDefinitionId")) for one in policies}
            if id.lower() != names.policy.lower()
        }
        expanded = [
            {**one, "definition": definitions[str(one["properties"]["policyDefinitionId"])]}
            for one in policies
            if definitions.get(str((one.get("properties") or {}).get("policyDefinitionId")))
        ]
        return Facts(
            options=self._options,
            tenant="",
            caller="",
            location=str(group.get("location", "")),
            group=group,
            storage_accounts=tuple(told["storage"]),
            networks=tuple(
                _network(one) for one in told["networks"] if str(one["id"]).lower() != names.network.lower()
            ),
            machines=tuple(_machine(one, places) for one in told["machines"]),
            locks=tuple({str(one["id"]).lower(): one for one in (*told["locks"], *told["all locks"])}.values()),
            rights=(
                *_rights(names.group, told["group rights"]),
                *_rights(names.scope, told["rights"]),
                *(one for id in self._elsewhere(group) for one in _rights(id, told[id])),
            ),
            providers={str(one.get("namespace")): str(one.get("registrationState")) for one in told["providers"]},
            policies=tuple(expanded),
            ledger=ledger.read_codes(group),
            registry=told.get("registry"),
            pulls_from=tuple({"id": id, "name": id.rpartition("/")[2]} for id in ledger.read_registries(group)),
            head_principal=_head_principal(names, told["assignments"]),
            faults=tuple(faults),
            interfaces=tuple(told["cards"]),
            shared_users=_users(names, told),
            found={
                str(one["id"]).lower(): one
                for bodies in (
                    *(told[name] for name in ("storage", "networks", "machines", "endpoints")),
                    _subnets(names, told["networks"]),
                )
                for one in bodies
            },
        )

    def _candidates(self, facts: Facts, *, everything: bool) -> dict[str, str]:
        """Ids that could be ours, with the api-version to read them by, but for those that a list has told."""
        try:
            wanted = design.design(facts)
        except ConfigurationError:
            wanted = ()  # told by the preflight
        every = design.every(facts)
        # Without a ledger (never enabled, or somebody wiped it) only looking for all of it tells what is there.
        wanted = (*wanted, *(every if everything or not facts.ledger else plan.former(facts, wanted, every)))
        known = {str(id) for id in facts.found}
        return {
            one.id: one.api_version
            for one in wanted
            if one.id.lower() not in known and one.ownership is not Ownership.PART
        }


def _as_far_as_allowed(arm: Arm, path: str, version: str, query: Mapping[str, str]) -> list[Body]:
    """What the caller may see; that a right is missing is the preflight's to tell."""
    try:
        return list(arm.list(path, version, **query))
    except ServiceError as error:
        if error.status == 403:
            return []
        raise


def _one_as_far_as_allowed(arm: Arm, id: str, version: str, unreadable: list[str]) -> Body | None:
    try:
        return arm.get(id, version)
    except ServiceError as error:
        if error.status == 403:
            unreadable.append(id)
            return None
        raise


def _rights(scope: str, told: list[Body]) -> list[Rights]:
    return [
        Rights(scope=scope, actions=tuple(one.get("actions") or ()), not_actions=tuple(one.get("notActions") or ()))
        for one in told
    ]


def _applies(assignment: Body, group: str) -> bool:
    scope = str(assignment["id"]).split("/providers/Microsoft.Authorization/")[0].lower()
    return f"{group.lower()}/".startswith(f"{scope}/")


def _users(names: Names, told: Mapping[str, Any]) -> dict[str, int]:
    """How many assignments outside this workspace use each definition."""
    counted: dict[str, int] = {}
    inside = f"{names.group.lower()}/"
    for name, member in (("assignments", "roleDefinitionId"), ("policies", "policyDefinitionId")):
        for one in told[name]:
            used = str((one.get("properties") or {}).get(member, "")).lower()
            if not str(one["id"]).lower().startswith(inside):
                counted[used] = counted.get(used, 0) + 1
    return counted


def _head_principal(names: Names, assignments: list[Body]) -> str | None:
    """Whose identity an earlier enable gave the head node's role."""
    id = names.assignment(names.group, "a1").lower()
    found = next((one for one in assignments if str(one["id"]).lower() == id), None)
    return None if found is None else str((found.get("properties") or {}).get("principalId"))


def _subnets(names: Names, networks: list[Body]) -> list[Body]:
    """Those of the Batch network."""
    return [
        subnet
        for one in networks
        if str(one["id"]).lower() == names.network.lower()
        for subnet in (one.get("properties") or {}).get("subnets") or ()
    ]


def _places(cards: list[Body]) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = {}
    for card in cards:
        inner = [one.get("properties") or {} for one in (card.get("properties") or {}).get("ipConfigurations") or ()]
        if inner:
            addresses = tuple(str(one["privateIPAddress"]) for one in inner if one.get("privateIPAddress"))
            found[str(card["id"]).lower()] = (str((inner[0].get("subnet") or {}).get("id", "")), addresses)
    return found


def _machine(body: Body, places: Mapping[str, tuple[str, tuple[str, ...]]]) -> Machine:
    properties, identity = body.get("properties") or {}, body.get("identity") or {}
    cards = (properties.get("networkProfile") or {}).get("networkInterfaces") or ()
    subnet, addresses = next(
        (places[str(one["id"]).lower()] for one in cards if str(one["id"]).lower() in places), (None, ())
    )
    return Machine(
        id=str(body["id"]),
        name=str(body["name"]),
        operating_system=str((properties.get("storageProfile") or {}).get("osDisk", {}).get("osType", "")),
        principal_id=identity.get("principalId"),
        identity_type=str(identity.get("type", "None")),
        subnet_id=subnet,
        addresses=addresses,
    )


def _network(body: Body) -> Network:
    properties = body.get("properties") or {}
    peers = [
        prefix
        for one in properties.get("virtualNetworkPeerings") or ()
        for prefix in ((one.get("properties") or {}).get("remoteAddressSpace") or {}).get("addressPrefixes") or ()
    ]
    return Network(
        id=str(body["id"]),
        name=str(body["name"]),
        location=str(body.get("location", "")),
        prefixes=tuple((properties.get("addressSpace") or {}).get("addressPrefixes") or ()),
        subnets=tuple(_subnet(one) for one in properties.get("subnets") or ()),
        peer_prefixes=tuple(peers),
    )


def _subnet(body: Body) -> Subnet:
    properties = body.get("properties") or {}
    taken = len(properties.get("ipConfigurations") or ())
    return Subnet(
        id=str(body["id"]),
        name=str(body["name"]),
        prefix=str(properties.get("addressPrefix") or (properties.get("addressPrefixes") or [""])[0]),
        taken=taken,
        body=body,
    )
