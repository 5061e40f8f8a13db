"""Microsoft's unchanged management clients against the emulated ARM, over TLS with a token."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, DeviceCodeCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.batch import BatchManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

from azbatch_emulator import Emulator
from tests.contract.sdk import MACHINE, Token

PYTHON_14 = Path(__file__).parents[2] / ".venv-batch14" / "bin" / "python"
AT = {"location": "westeurope"}


class As:
    """A credential that asks somebody's instance metadata service."""

    def __init__(self, emulator: Emulator, who: str) -> None:
        self._host = emulator.environment(who)["AZURE_POD_IDENTITY_AUTHORITY_HOST"]

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        import requests

        answer = requests.get(
            f"{self._host}/metadata/identity/oauth2/token",
            params={"resource": scopes[0].removesuffix("/.default"), "api-version": "2018-02-01"},
            headers={"Metadata": "true"},
            timeout=10,
        )
        body = answer.json()
        return AccessToken(body["access_token"], int(body["expires_on"]))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(storage=False, runner="instant", speed=20_000) as running:
        running.control("workspace", name="lab")
        yield running


@pytest.fixture
def clients(emulator: Emulator) -> Iterator[dict[str, Any]]:
    """One client of each management package, signed in as the owner."""
    options: dict[str, Any] = {
        "base_url": emulator.https_url,
        "credential_scopes": ["https://management.azure.com/.default"],
        "connection_verify": str(emulator.ca_bundle),
        "polling_interval": 0,
    }
    subscription = "00000000-0000-4000-8000-000000000001"
    kinds = {
        "resource": ResourceManagementClient,
        "network": NetworkManagementClient,
        "authorization": AuthorizationManagementClient,
        "batch": BatchManagementClient,
    }
    made = {name: kind(Token(emulator), subscription, **options) for name, kind in kinds.items()}
    yield made
    for one in made.values():
        one.close()


def test_resource_groups_and_generic_resources(clients: dict[str, Any]) -> None:
    """azure-mgmt-resource: groups, resources by id, lists with filters, providers, deletion of all inside."""
    resource = clients["resource"]
    resource.resource_groups.create_or_update("made", {**AT, "tags": {"cost": "1"}})
    assert {"lab", "made"} <= {one.name for one in resource.resource_groups.list()}
    kinds = {one.type for one in resource.resources.list_by_resource_group("lab")}
    assert {"Microsoft.Compute/virtualMachines", "Microsoft.Storage/storageAccounts"} <= kinds
    only = list(
        resource.resources.list_by_resource_group("lab", filter="resourceType eq 'Microsoft.Network/virtualNetworks'")
    )
    assert [one.name for one in only] == ["lab-vnet"]
    group = resource.resource_groups.get("made").id
    id = f"{group}/providers/Microsoft.Network/networkSecurityGroups/n"
    made = resource.resources.begin_create_or_update_by_id(
        id, {**AT, "properties": {}}, api_version="2024-05-01"
    ).result()
    assert made.name == "n"
    assert resource.resources.get_by_id(id, api_version="2024-05-01").location == "westeurope"
    assert resource.providers.get("Microsoft.Batch").registration_state == "Registered"
    resource.resource_groups.begin_delete("made").result()
    with pytest.raises(ResourceNotFoundError):
        resource.resource_groups.get("made")


def test_networks(clients: dict[str, Any]) -> None:
    """azure-mgmt-network: networks with subnets, security groups and rules, a refusal with Azure's code."""
    network = clients["network"]
    group = network.network_security_groups.begin_create_or_update("lab", "sec", {**AT, "properties": {}}).result()
    rule = {
        "priority": 100,
        "direction": "Outbound",
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "Internet",
        "destinationPortRange": "*",
    }
    network.security_rules.begin_create_or_update("lab", "sec", "deny", {"properties": rule}).result()
    subnet = {"name": "one", "properties": {"addressPrefix": "10.90.0.0/24", "networkSecurityGroup": {"id": group.id}}}
    space = {"addressSpace": {"addressPrefixes": ["10.90.0.0/16"]}, "subnets": [subnet]}
    made = network.virtual_networks.begin_create_or_update("lab", "more", {**AT, "properties": space}).result()
    assert made.subnets[0].address_prefix == "10.90.0.0/24"
    assert [one.name for one in network.security_rules.list("lab", "sec")] == ["deny"]
    with pytest.raises(HttpResponseError, match="InUseNetworkSecurityGroupCannotBeDeleted"):
        network.network_security_groups.begin_delete("lab", "sec").result()
    network.virtual_networks.begin_delete("lab", "more").result()
    network.network_security_groups.begin_delete("lab", "sec").result()
    with pytest.raises(ResourceNotFoundError):
        network.virtual_networks.get("lab", "more")


def test_roles(clients: dict[str, Any], emulator: Emulator) -> None:
    """azure-mgmt-authorization: built-in and custom roles, an assignment that takes effect, its removal."""
    authorization = clients["authorization"]
    scope = clients["resource"].resource_groups.get("lab").id
    reader = next(iter(authorization.role_definitions.list(scope, filter="roleName eq 'Reader'")))
    assert reader.role_type == "BuiltInRole"
    mira = emulator.control("person", name="mira")
    name = str(uuid.uuid4())
    body = {"properties": {"principalId": mira["object_id"], "roleDefinitionId": reader.id}}
    made = authorization.role_assignments.create(scope, name, body)
    found = list(authorization.role_assignments.list_for_scope(scope, filter=f"principalId eq '{mira['object_id']}'"))
    assert [one.id for one in found] == [made.id]
    with ResourceManagementClient(
        As(emulator, "mira"),
        "00000000-0000-4000-8000-000000000001",
        base_url=emulator.https_url,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(emulator.ca_bundle),
    ) as hers:
        assert hers.resource_groups.get("lab").name == "lab"
        with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
            hers.resource_groups.create_or_update("lab", {**AT, "tags": {"a": "b"}})
    authorization.role_assignments.delete(scope, name)
    custom = {
        "properties": {
            "roleName": "joiner",
            "assignableScopes": [scope],
            "permissions": [{"actions": ["Microsoft.Network/virtualNetworks/subnets/join/action"]}],
        }
    }
    role = authorization.role_definitions.create_or_update(scope, str(uuid.uuid4()), custom)
    assert "joiner" in {
        one.role_name for one in authorization.role_definitions.list(scope, filter="type eq 'CustomRole'")
    }
    authorization.role_definitions.delete(scope, role.name)


def test_batch_accounts_and_their_pools(clients: dict[str, Any], emulator: Emulator) -> None:
    """azure-mgmt-batch: an account, its keys, quotas; a pool made here is a pool of the data plane, and the other way
    round.
    """
    batch = clients["batch"]
    account = batch.batch_account.begin_create("lab", "labacc", AT).result()
    assert account.account_endpoint == "labacc.westeurope.batch.azure.com"
    assert batch.batch_account.get_keys("lab", "labacc").primary
    assert batch.location.get_quotas("westeurope").account_quota == 3
    machine = {"imageReference": MACHINE["imageReference"], "nodeAgentSkuId": MACHINE["nodeAgentSKUId"]}
    pool = {
        "properties": {
            "vmSize": "Standard_D2ds_v5",
            "deploymentConfiguration": {"virtualMachineConfiguration": machine},
            "scaleSettings": {"fixedScale": {"targetDedicatedNodes": 1}},
        }
    }
    batch.pool.create("lab", "labacc", "one", pool)
    url = emulator.control("address", account=account.id, who="")["url"]
    with BatchClient(endpoint=url, credential=Token(emulator), connection_verify=str(emulator.ca_bundle)) as client:
        assert [one.id for one in client.list_pools()] == ["one"]
        assert client.get_pool("one").vm_size == "standard_d2ds_v5"
    scale = {"formula": "x = 1;", "evaluationInterval": "PT7M"}
    scaled = {"properties": {**pool["properties"], "scaleSettings": {"autoScale": scale}}}
    batch.pool.create("lab", "labacc", "two", scaled)
    scale["evaluationInterval"] = "PT8M"
    batch.pool.create("lab", "labacc", "two", scaled)
    found = batch.pool.get("lab", "labacc", "two").scale_settings.auto_scale
    assert (found.formula, found.evaluation_interval) == ("x = 1;", timedelta(minutes=8))
    scale["formula"] = "x = ;"
    with pytest.raises(HttpResponseError, match="Line 1, Col 5"):
        batch.pool.create("lab", "labacc", "two", scaled)
    batch.pool.begin_delete("lab", "labacc", "two").result()
    assert [one.name for one in batch.pool.list_by_batch_account("lab", "labacc")] == ["one"]
    batch.pool.begin_delete("lab", "labacc", "one").result()
    assert list(batch.pool.list_by_batch_account("lab", "labacc")) == []
    batch.batch_account.begin_delete("lab", "labacc").result()
    assert "labacc" not in {one.name for one in batch.batch_account.list_by_resource_group("lab")}


@pytest.mark.skipif(
    not PYTHON_14.exists(), reason="azure-mgmt-batch 17.3 is not in .venv-batch14 (scripts/test does it)"
)
def test_the_previous_generation_of_the_batch_management_sdk(emulator: Emulator) -> None:
    """azure-mgmt-batch 17.3: account, keys, name check, pools, deletions."""
    done = subprocess.run(
        [str(PYTHON_14), str(Path(__file__).with_name("mgmt17_scenario.py")), emulator.https_url],
        input=Token(emulator).get_token("https://management.azure.com/.default").token,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(emulator.ca_bundle), "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {
        "endpoint": "oldacc.westeurope.batch.azure.com",
        "key": True,
        "free": False,
        "pools": ["old"],
        "size": "standard_d2ds_v5",
        "left": [],
        "accounts": False,
    }


def test_signing_in_with_a_secret_and_with_a_device_code(emulator: Emulator) -> None:
    """azure-identity unchanged: client credentials; a device code that somebody approves, refuses, or lets expire."""
    application = emulator.control("person", name="pipeline", secret="s3cret")
    options: dict[str, Any] = {
        "authority": emulator.https_url,
        "disable_instance_discovery": True,
        "connection_verify": str(emulator.ca_bundle),
    }
    tenant = "00000000-0000-4000-8000-000000000000"
    with ClientSecretCredential(tenant, application["client_id"], "s3cret", **options) as by_secret:
        assert by_secret.get_token("https://management.azure.com/.default").token

    def approve(_uri: str, user_code: str, _expires: object) -> None:
        emulator.control("sign-in", user_code=user_code, who="owner")

    def refuse(_uri: str, user_code: str, _expires: object) -> None:
        emulator.control("sign-in", user_code=user_code, who=None)

    with DeviceCodeCredential("app", tenant_id=tenant, prompt_callback=approve, **options) as credential:
        assert credential.get_token("https://management.azure.com/.default").token
    with (
        DeviceCodeCredential("app", tenant_id=tenant, prompt_callback=refuse, **options) as credential,
        pytest.raises(Exception, match="declined"),
    ):
        credential.get_token("https://management.azure.com/.default")


def test_errors_of_the_wire(emulator: Emulator) -> None:
    """Without token, version or JSON: ARM's own error bodies, never a traceback."""
    import requests

    bundle = str(emulator.ca_bundle)
    token = Token(emulator).get_token("https://management.azure.com/.default").token
    group = f"{emulator.https_url}/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/lab"
    signed = {"Authorization": f"Bearer {token}"}
    cases: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("GET", f"{group}?api-version=2022-09-01", {}, 401, "AuthenticationFailed"),
        ("GET", group, {"headers": signed}, 400, "MissingApiVersionParameter"),
        ("GET", f"{group}?api-version=new", {"headers": signed}, 400, "InvalidApiVersionParameter"),
        ("PUT", f"{group}?api-version=2022-09-01", {"headers": signed, "data": "{"}, 400, "InvalidRequestContent"),
        ("PUT", f"{group}?api-version=2022-09-01", {"headers": signed, "data": "[]"}, 400, "InvalidRequestContent"),
        (
            "PUT",
            f"{group}?api-version=2022-09-01",
            {"headers": signed, "json": {"properties": 3}},
            400,
            "InvalidRequestContent",
        ),
        ("POST", f"{group}?api-version=2022-09-01", {"headers": signed}, 405, "MethodNotAllowed"),
        ("GET", f"{group}/providers/x?api-version=2022-09-01", {"headers": signed}, 400, "InvalidResourceId"),
    ]
    for method, url, options, status, code in cases:
        answer = requests.request(method, url, verify=bundle, timeout=10, **options)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), url
    discovered = requests.get(
        f"{emulator.https_url}/metadata/endpoints?api-version=2022-09-01", verify=bundle, timeout=10
    )
    assert discovered.json()["resourceManager"] == f"{emulator.https_url}/"
