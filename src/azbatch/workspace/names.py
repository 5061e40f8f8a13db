"""Names of everything in a workspace's Batch environment: functions of subscription and workspace. Pure."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from functools import cached_property

_NAMESPACE = uuid.UUID("5b7f6f0c-8a53-4a55-9f0b-3c1f2a0d7e11")
ZONE, BLOB_ZONE = "privatelink.batch.azure.com", "privatelink.blob.core.windows.net"
_BATCH, _NETWORK = "Microsoft.Batch/batchAccounts", "Microsoft.Network"
_AUTHORIZATION = "Microsoft.Authorization"


@dataclass(frozen=True)
class Names:
    """Ids of the resources of one workspace. The same twice; a hash keeps shortened names apart."""

    subscription: str
    workspace: str

    @cached_property
    def hash(self) -> str:
        """Ten hexadecimal digits that no other workspace has."""
        return hashlib.sha256(f"{self.subscription}/{self.workspace}".lower().encode()).hexdigest()[:10]

    @property
    def scope(self) -> str:
        return f"/subscriptions/{self.subscription}"

    @property
    def group(self) -> str:
        return f"{self.scope}/resourceGroups/{self.workspace}"

    def _short(self, suffix: str, most: int = 60) -> str:
        """`<workspace>-<suffix>`; where that is too long, cut and told apart by the hash."""
        whole = f"{self.workspace}-{suffix}"
        return whole if len(whole) <= most else f"{self.workspace[: most - len(suffix) - 12]}-{self.hash}-{suffix}"

    def _in(self, kind: str, name: str) -> str:
        return f"{self.group}/providers/{kind}/{name}"

    @property
    def account_name(self) -> str:
        """3 to 24 lower-case letters and digits."""
        return f"{re.sub(r'[^a-z0-9]', '', self.workspace.lower())[:13]}b{self.hash}"

    @property
    def account(self) -> str:
        return self._in(_BATCH, self.account_name)

    @property
    def network(self) -> str:
        return self._in(f"{_NETWORK}/virtualNetworks", self._short("batch-vnet"))

    @property
    def nodes_subnet(self) -> str:
        return f"{self.network}/subnets/default"

    @property
    def endpoints_subnet(self) -> str:
        return f"{self.network}/subnets/endpoints"

    @property
    def security_group(self) -> str:
        """Begins with z: the portal takes the first group, alphabetically, for the workspace's own."""
        return self._in(f"{_NETWORK}/networkSecurityGroups", f"z-{self._short('batch-nsg')}")

    @property
    def storage_policy(self) -> str:
        return self._in(f"{_NETWORK}/serviceEndpointPolicies", self._short("batch-storage"))

    @property
    def account_endpoint(self) -> str:
        return self._in(f"{_NETWORK}/privateEndpoints", self._short("batch-account"))

    @property
    def node_endpoint(self) -> str:
        return self._in(f"{_NETWORK}/privateEndpoints", self._short("batch-nodes"))

    @property
    def storage_endpoint(self) -> str:
        return self._in(f"{_NETWORK}/privateEndpoints", self._short("batch-storage"))

    @property
    def nat_gateway(self) -> str:
        return self._in(f"{_NETWORK}/natGateways", self._short("batch-nat"))

    @property
    def nat_address(self) -> str:
        return self._in(f"{_NETWORK}/publicIPAddresses", self._short("batch-nat-ip"))

    @property
    def zone(self) -> str:
        return self._in(f"{_NETWORK}/privateDnsZones", ZONE)

    @property
    def blob_zone(self) -> str:
        return self._in(f"{_NETWORK}/privateDnsZones", BLOB_ZONE)

    def zone_link(self, network: str, zone: str = "") -> str:
        """Of a network to a zone, by default the account's."""
        name = f"azbatch-{hashlib.sha256(network.lower().encode()).hexdigest()[:10]}"
        return f"{zone or self.zone}/virtualNetworkLinks/{name}"

    @property
    def node_identity(self) -> str:
        return self._in("Microsoft.ManagedIdentity/userAssignedIdentities", self._short("batch-nodes"))

    def guid(self, *parts: str) -> str:
        """A GUID that is the same each time for these parts in this workspace."""
        return str(uuid.uuid5(_NAMESPACE, "/".join((self.group, *parts)).lower()))

    def shared_guid(self, what: str) -> str:
        """A GUID that all workspaces of the subscription share."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.scope}/{what}".lower()))

    def assignment(self, scope: str, *parts: str) -> str:
        return f"{scope}/providers/{_AUTHORIZATION}/roleAssignments/{self.guid(scope, *parts)}"

    def role(self, what: str) -> str:
        return f"{self.scope}/providers/{_AUTHORIZATION}/roleDefinitions/{self.shared_guid(what)}"

    def built_in(self, guid: str) -> str:
        return f"{self.scope}/providers/{_AUTHORIZATION}/roleDefinitions/{guid}"

    @property
    def policy(self) -> str:
        return f"{self.scope}/providers/{_AUTHORIZATION}/policyDefinitions/azbatch-private-batch"

    @property
    def policy_assignment(self) -> str:
        return f"{self.group}/providers/{_AUTHORIZATION}/policyAssignments/azbatch-private-batch"
