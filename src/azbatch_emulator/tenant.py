"""The emulated tenant: ARM's resources joined to what serves them, and the directory of who there is."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from azbatch_emulator import starting_workspace
from azbatch_emulator.account import Account
from azbatch_emulator.arm import addresses, reach
from azbatch_emulator.arm.core import Arm
from azbatch_emulator.arm.providers import batch, managed_identity
from azbatch_emulator.arm.providers.batch_applications import APPLICATION, VERSION, active_versions
from azbatch_emulator.arm.providers.network_private import ENDPOINT, connections
from azbatch_emulator.arm.records import (
    ArmRefused,
    Principal,
    PrincipalKind,
    ProvisioningState,
    Resource,
)
from azbatch_emulator.arm.registry import PROVIDERS
from azbatch_emulator.arm.roles import BY_NAME
from azbatch_emulator.batch.service import BatchService
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.identity.directory import Identity
from azbatch_emulator.identity.metadata import SUBJECT, default_instance
from azbatch_emulator.packages import PackageStorage
from azbatch_emulator.pool_resources import Pools
from azbatch_emulator.records import Application, Fault, Pool
from azbatch_emulator.starting_workspace import MACHINE

log = logging.getLogger(__name__)
OWNER = "owner"
FORMAT = 1


class Tenant:
    """`default` serves the built-in account; `open_account` makes the service of an account that ARM made.

    All methods belong to the event loop's thread. It answers as `identity.directory.Directory`.
    """

    def __init__(
        self,
        *,
        account: Account,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        speed: float,
        open_account: Callable[[Account], BatchService],
    ) -> None:
        self.account = account
        self.arm = Arm(PROVIDERS, new_id=new_id, speed=speed)
        self.services: dict[str, BatchService] = {}
        self.people: dict[str, Identity] = {}
        self._now, self._new_id, self._open_account = now, new_id, open_account
        self.arm.store.external[batch.POOL.lower()] = Pools(self)
        self.arm.unstored = self._package_address
        self.packages: PackageStorage | None = None
        self._found()

    def _found(self) -> None:
        """The default subscription, resource group, account and owner."""
        account, now = self.account, self._now()
        self.people[OWNER] = Identity(object_id=SUBJECT, client_id=SUBJECT, name=OWNER)
        self.add_subscription(account.subscription)
        self.arm.make(self.default_group, {"location": account.location}, now)
        # Its auto-storage is the emulator's own, which is no resource of the tenant.
        storage = f"{self.default_group}/providers/Microsoft.Storage/storageAccounts/{account.storage}"
        properties = {"autoStorage": {"storageAccountId": storage}} if account.storage else {}
        self.arm.make(self.default_id, {"location": account.location, "properties": properties}, now)

    @property
    def default_group(self) -> str:
        return f"/subscriptions/{self.account.subscription}/resourceGroups/{self.account.resource_group}"

    @property
    def default_id(self) -> str:
        """The ARM id of the built-in Batch account."""
        return f"{self.default_group}/providers/{batch.ACCOUNT}/{self.account.name}"

    def forget(self) -> None:
        """Begin anew."""
        self.arm.store.clear()
        self.arm.operations, self.arm.revoked, self.people = {}, [], {}
        self._found()

    def adopt(self, service: BatchService) -> None:
        """Let the built-in account be served by `service`."""
        self.services[self.default_id.lower()] = service

    def add_subscription(self, id: str) -> None:
        """A subscription whose owner is the default identity; one that is there stays."""
        text = f"/subscriptions/{id}"
        if self.arm.store.get(text) is None:
            self.arm.make(
                text,
                {"tenantId": self.account.tenant, "properties": {"displayName": f"Subscription {id[-4:]}"}},
                self._now(),
            )
            self.grant(SUBJECT, "Owner", text)

    def grant(self, object_id: str, role: str, scope: str) -> None:
        """A role assignment in force at once."""
        definition = (
            f"/subscriptions/{scope.split('/')[2]}/providers/Microsoft.Authorization/roleDefinitions/{BY_NAME[role]}"
        )
        body = {"properties": {"principalId": object_id, "roleDefinitionId": definition, "scope": scope}}
        id = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{self._new_id()}"
        self.arm.put(id, body, self._now() - self.arm.propagation)

    # What survives the process

    def saved(self) -> bytes:
        """All of the tenant: resources, operations under way, people."""
        arm = self.arm
        return pickle.dumps((FORMAT, list(arm.store), arm.operations, arm.revoked, self.people), protocol=5)

    def restore(self, saved: bytes) -> None:
        """Be as when `saved` was made. Raises EmulatorError where another version made it."""
        found = pickle.loads(saved)  # noqa: S301 - our own file, writable by its owner only
        if found[0] != FORMAT:
            raise EmulatorError(
                "The tenant was saved by another version of the emulator; forget it with: azbatch emulator reset"
            )
        _, resources, self.arm.operations, self.arm.revoked, self.people = found
        self.arm.store.clear()
        for resource in resources:
            self.arm.store.put(resource)

    # Who there is

    def now(self) -> datetime:
        return self._now()

    def add_person(self, name: str, secret: str | None = None) -> Identity:
        """Somebody new, with no rights; the same again for a name that is known. With a secret: an application."""
        if name not in self.people:
            self.people[name] = Identity(object_id=self._new_id(), client_id=self._new_id(), name=name, secret=secret)
        return self.people[name]

    def identity_of(self, who: str, selector: Mapping[str, str]) -> Identity | None:
        """Of a person, a machine (its system-assigned identity, or the one `selector` names), or a managed identity."""
        person = self.people.get(who or OWNER)
        if person is not None:
            return person
        machine = self.machine(who)
        if machine is not None:
            return self._of_machine(machine, selector)
        found = next(
            (one for one in self.arm.store.of_type(managed_identity.TYPE) if one.id.name.lower() == who.lower()), None
        )
        return None if found is None else _managed(found)

    def machine(self, name: str) -> Resource | None:
        """A virtual machine by name, or by resource group and name (`group.name`)."""
        for one in self.arm.store.of_type(MACHINE):
            if name.lower() in {one.id.name.lower(), f"{one.id.resource_group}.{one.id.name}".lower()}:
                return one
        return None

    def _of_machine(self, machine: Resource, selector: Mapping[str, str]) -> Identity | None:
        identity = machine.body.get("identity") or {}
        users = [self.arm.store.get(id) for id in identity.get("userAssignedIdentities") or {}]
        managed = [_managed(one) for one in users if one is not None]
        named = {value.lower() for value in selector.values()}
        if named:
            ids = {one.id.key: _managed(one) for one in users if one is not None}
            return next(
                (who for key, who in ids.items() if named & {key, who.client_id.lower(), who.object_id.lower()}), None
            )
        if identity.get("principalId"):
            object_id = str(identity["principalId"])
            return Identity(object_id=object_id, client_id=object_id, name=machine.id.name)
        return managed[0] if len(managed) == 1 else None

    def instance(self, who: str) -> Mapping[str, Any] | None:
        """What the metadata service tells a machine about itself."""
        if who in {"", OWNER}:
            return default_instance(self.account)
        machine = self.machine(who)
        if machine is None:
            return None
        tags = [{"name": name, "value": value} for name, value in machine.tags.items()]
        return {
            "azEnvironment": "AzurePublicCloud",
            "location": machine.location,
            "name": machine.id.name,
            "resourceGroupName": machine.id.resource_group,
            "resourceId": machine.id.text,
            "subscriptionId": machine.id.subscription,
            "osType": str((machine.properties.get("storageProfile") or {}).get("osDisk", {}).get("osType", "Linux")),
            "tags": ";".join(f"{one['name']}:{one['value']}" for one in tags),
            "tagsList": tags,
            "vmSize": (machine.properties.get("hardwareProfile") or {}).get("vmSize"),
        }

    def application(self, client_id: str) -> Identity | None:
        """An application with a secret."""
        return next((one for one in self.people.values() if one.client_id == client_id and one.secret), None)

    def whose(self, object_id: str) -> Principal:
        """The principal behind a token."""
        for person in self.people.values():
            if person.object_id == object_id:
                return Principal(object_id=object_id, name=person.name, kind=PrincipalKind.USER)
        for kind in (MACHINE, managed_identity.TYPE):
            for one in self.arm.store.of_type(kind):
                ids = {str((one.body.get("identity") or {}).get("principalId")), str(one.properties.get("principalId"))}
                if object_id in ids:
                    return Principal(
                        object_id=object_id,
                        name=one.id.name,
                        kind=PrincipalKind.SERVICE_PRINCIPAL,
                        resource=one.id.text,
                    )
        return Principal(object_id=object_id, name=object_id, kind=PrincipalKind.SERVICE_PRINCIPAL)

    # Batch accounts

    async def reconcile(self) -> None:
        """Let each account that ARM has be served, and none that it has not."""
        self.arm.settle(self._now())
        there = {
            one.id.key: one
            for one in self.arm.store.of_type(batch.ACCOUNT)
            if one.state is not ProvisioningState.CREATING
        }
        for key, resource in there.items():
            if key not in self.services:
                self.services[key] = self._open_account(self._account_of(resource))
        for key in [key for key in self.services if key not in there]:
            await self.services.pop(key).engine.close()
        await self._prepare_packages()

    def _account_of(self, resource: Resource) -> Account:
        from azbatch_emulator.arm.providers.storage import account_key

        return Account(
            name=resource.id.name,
            key=account_key(resource.id.name, 1),
            tenant=self.account.tenant,
            subscription=str(resource.id.subscription),
            resource_group=str(resource.id.resource_group),
            location=resource.location,
        )

    def account_id(self, account: Account) -> str:
        group = f"/subscriptions/{account.subscription}/resourceGroups/{account.resource_group}"
        return f"{group}/providers/{batch.ACCOUNT}/{account.name}"

    def permits(self, account: Account, object_id: str, area: str, verb: str) -> bool:
        """Whether someone may read, write or delete pools, jobs or jobSchedules of an account.

        Roles name jobs as data actions; those that allow all of the account's control plane allow them too.
        """
        scope, action = self.account_id(account), f"{batch.ACCOUNT}/{area}/{verb}"
        who = self.whose(object_id)
        return self.arm.permitted(who, action, scope, self._now()) or self.arm.permitted(
            who, action, scope, self._now(), data=True
        )

    def modes(self, account: Account) -> tuple[str, ...]:
        """How callers may sign in at an account."""
        found = self.arm.store.get(self.account_id(account))
        return tuple(found.properties.get("allowedAuthenticationModes") or batch.MODES) if found else batch.MODES

    def is_open(self, account: Account) -> bool:
        """Whether the account answers on its public address."""
        found = self.arm.store.get(self.account_id(account))
        return found is None or found.properties.get("publicNetworkAccess") != "Disabled"

    def private_endpoint(self, account: Account, network_id: str | None) -> str | None:
        """The private endpoint that the account's name leads to in a network; None for the public address."""
        found = self.arm.store.get(self.account_id(account))
        if found is None or network_id is None:
            return None
        address = addresses.resolve(
            str(found.properties["accountEndpoint"]), network_id, found.location, self.arm.store
        )
        for endpoint in self.arm.store.of_type(ENDPOINT):
            mine = any(
                str(one.get("privateLinkServiceId", "")).lower() == found.id.key for one in connections(endpoint.body)
            )
            held = {text for one in endpoint.properties.get("customDnsConfigs") or () for text in one["ipAddresses"]}
            if mine and str(address) in held and endpoint.state is ProvisioningState.SUCCEEDED:
                return endpoint.id.text
        return None

    def node_fault(self, account: Account, pool: Pool) -> Fault | None:
        """Why the nodes of a pool would be unusable."""
        found = self.arm.store.get(self.account_id(account))
        obstacle = reach.node_obstacle(pool.spec, found, self.arm.store) if found else None
        return None if obstacle is None else Fault(code=obstacle.code, message=obstacle.message)

    def pool_identity(self, account: Account, pool_id: str) -> str | None:
        """The name of the first user-assigned identity of a pool."""
        service = self.services.get(self.account_id(account).lower())
        pool = service.engine.world.pools.get(pool_id.lower()) if service else None
        users = (pool.spec.get("identity") or {}).get("userAssignedIdentities") if pool else None
        return str(users[0]["resourceId"]).rsplit("/", 1)[-1] if users else None

    def subject_of(self, identity_id: str) -> str:
        """Who a managed identity is; somebody without any rights where there is none of that id."""
        found = self.arm.store.get(identity_id)
        return _managed(found).object_id if found is not None and found.properties.get("principalId") else "nobody"

    def may_join(self, object_id: str, subnet_id: str) -> bool:
        """Whether someone may put machines into a subnet."""
        return self.arm.permitted(self.whose(object_id), batch.JOIN, subnet_id, self._now())

    # Applications

    def applications(self, account: Account) -> list[Application]:
        """The applications of an account with their active packages."""
        found = []
        for one in self.arm.store.of_type(APPLICATION, self.account_id(account)):
            default = str(one.properties.get("defaultVersion") or "") or None
            active = tuple(active_versions(self.arm.store, one.id.text))
            name = one.properties.get("displayName")
            found.append(Application(id=one.id.name, display_name=name, versions=active, default_version=default))
        return found

    def package(self, account: Account, application: str, version: str | None) -> tuple[str, str] | None:
        """(version, URL of its blob) of an active package; the default one without a version."""
        found = next((one for one in self.applications(account) if one.id.lower() == application.lower()), None)
        chosen = found.resolve(version) if found else None
        if found is None or chosen is None or self.packages is None:
            return None
        return chosen, self.packages.address(account.name, found.id, chosen, "r", self._now())[0]

    def _package_address(self, resource: Resource) -> Mapping[str, Any]:
        """Where a package is to be written, as the answer to whoever may write it says."""
        if resource.id.type.lower() != VERSION.lower() or self.packages is None:
            return {}
        address, expiry = self.packages.address(*_owner(resource), resource.id.name, "rw", self._now())
        return {"storageUrl": address, "storageUrlExpiry": expiry.isoformat()}

    async def _prepare_packages(self) -> None:
        """See that what a storageUrl leads to can be written."""
        packages = self.packages
        if packages is None:
            return
        for one in list(self.arm.store.of_type(VERSION)):
            account, application = _owner(one)
            if not packages.is_prepared(account, application):
                try:
                    await asyncio.to_thread(packages.prepare, account, application, self._now())
                except EmulatorError as error:
                    log.warning("%s", error)  # tried again at the next request

    # Storage accounts

    def storage_reached(self, account_id: str, subnet_id: str | None) -> bool:
        """Whether an account lets callers of a subnet in, and the subnet's endpoint policy lets them out to it.

        By a private endpoint neither matters: its address is inside the networks, and only security groups stand before
        it.
        """
        account = self.arm.store.get(account_id)
        if account is None:
            return False
        subnet = self.arm.store.get(subnet_id) if subnet_id else None
        name = f"{account.id.name}.blob.core.windows.net"
        if subnet is not None and reach.is_private(subnet, name, account.location, self.arm.store):
            return self._endpoint_answers(account, subnet, name)
        if subnet is not None and not self._policy_allows(subnet, account):
            return False
        rules = account.properties.get("networkAcls") or {}
        if account.properties.get("publicNetworkAccess") == "Disabled":
            return False
        if rules.get("defaultAction", "Allow") == "Allow":
            return True
        named = {str(rule.get("id", "")).lower() for rule in rules.get("virtualNetworkRules") or ()}
        return subnet is not None and subnet.id.key in named

    def _endpoint_answers(self, account: Resource, subnet: Resource, name: str) -> bool:
        """Whether the private address that a name leads to is one of the account's, and the subnet reaches it."""
        network = str(subnet.id.parent.text) if subnet.id.parent else None
        address = str(addresses.resolve(name, network, account.location, self.arm.store))
        held = {
            text
            for endpoint in self.arm.store.of_type(ENDPOINT)
            if any(
                str(one.get("privateLinkServiceId", "")).lower() == account.id.key
                and "blob" in {str(group).lower() for group in one.get("groupIds") or ()}
                for one in connections(endpoint.body)
            )
            for one in endpoint.properties.get("customDnsConfigs") or ()
            for text in one["ipAddresses"]
        }
        return address in held and reach.connects(subnet, name, 443, account.location, self.arm.store) is None

    def _policy_allows(self, subnet: Resource, account: Resource) -> bool:
        policies = [str(one.get("id", "")) for one in subnet.properties.get("serviceEndpointPolicies") or ()]
        if not policies:
            return True
        kind = "Microsoft.Network/serviceEndpointPolicies/serviceEndpointPolicyDefinitions"
        allowed = {
            str(one).lower()
            for policy in policies
            for definition in self.arm.store.of_type(kind, policy)
            for one in definition.properties.get("serviceResources") or ()
        }
        return any(account.id.lies_in(one) for one in allowed)

    def storage_permits(self, account_id: str, container: str, object_id: str, action: str, *, data: bool) -> bool:
        """Whether someone's roles allow an action on a container of an account."""
        scope = f"{account_id}/blobServices/default/containers/{container}" if container else account_id
        return self.arm.permitted(self.whose(object_id), action, scope, self._now(), data=data)

    def storage_takes_keys(self, account_id: str) -> bool:
        found = self.arm.store.get(account_id)
        return found is not None and bool(found.properties.get("allowSharedKeyAccess", True))

    # A workspace to start from

    def create_workspace(
        self, name: str, subscription: str | None = None, location: str = "westeurope"
    ) -> dict[str, Any]:
        """A resource group with storage, network, two Linux machines, a researcher. Raises ArmRefused if it exists."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", name):
            raise ArmRefused(
                400, "InvalidResourceGroup", f"'{name}' is no name for a workspace: letters, digits, _ and -."
            )
        subscription = subscription or self.account.subscription
        self.add_subscription(subscription)
        group = f"/subscriptions/{subscription}/resourceGroups/{name}"
        if self.arm.store.get(group) is not None:
            raise ArmRefused(409, "ResourceGroupExists", f"The resource group {name} exists already.")
        number = sum(1 for _ in self.arm.store.of_type("Microsoft.Network/virtualNetworks"))
        storage = starting_workspace.storage_name(name, group)
        steps = starting_workspace.resources(name, group, location, storage, number)
        for id, body in steps:
            self.arm.make(id, body, self._now())
        researcher = self.add_person(f"{name}-researcher")
        self.grant(researcher.object_id, "Contributor", group)
        return {
            "id": group,
            "subscription": subscription,
            "location": location,
            "storage_account": storage,
            "machines": [f"{name}-head", f"{name}-desk"],
            "people": [OWNER, researcher.name],
        }


def _owner(package: Resource) -> tuple[str, str]:
    """(account, application) that a package belongs to."""
    application = package.id.parent
    assert application is not None
    assert application.parent is not None
    return application.parent.name, application.name


def _managed(resource: Resource) -> Identity:
    return Identity(
        object_id=str(resource.properties["principalId"]),
        client_id=str(resource.properties["clientId"]),
        name=resource.id.name,
    )
