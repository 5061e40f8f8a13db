"""Run by the Python of .venv-batch14: drives the emulated Resource Manager with azure-mgmt-batch 17.3, as it comes.

Argument: the emulator's URL; on standard input a token. Prints what it saw as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from azure.core.credentials import AccessToken
from azure.mgmt.batch import BatchManagementClient

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"


class Given:
    """A token that somebody else got."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)


def main() -> None:
    url = sys.argv[1]
    client = BatchManagementClient(
        Given(sys.stdin.read().strip()),
        SUBSCRIPTION,
        base_url=url,
        credential_scopes=["https://management.azure.com/.default"],
        polling_interval=0,
    )
    saw: dict[str, Any] = {}
    account = client.batch_account.begin_create("lab", "oldacc", {"location": "westeurope"}).result()
    saw["endpoint"] = account.account_endpoint
    saw["key"] = bool(client.batch_account.get_keys("lab", "oldacc").primary)
    saw["free"] = client.location.check_name_availability(
        "westeurope", {"name": "oldacc", "type": "Microsoft.Batch/batchAccounts"}
    ).name_available
    machine = {
        "image_reference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404", "version": "latest"},
        "node_agent_sku_id": "batch.node.ubuntu 24.04",
    }
    client.pool.create(
        "lab",
        "oldacc",
        "old",
        {
            "vm_size": "Standard_D2ds_v5",
            "deployment_configuration": {"virtual_machine_configuration": machine},
            "scale_settings": {"fixed_scale": {"target_dedicated_nodes": 1}},
        },
    )
    saw["pools"] = [pool.name for pool in client.pool.list_by_batch_account("lab", "oldacc")]
    saw["size"] = client.pool.get("lab", "oldacc", "old").vm_size.lower()
    client.pool.begin_delete("lab", "oldacc", "old").result()
    saw["left"] = [pool.name for pool in client.pool.list_by_batch_account("lab", "oldacc")]
    client.batch_account.begin_delete("lab", "oldacc").result()
    saw["accounts"] = "oldacc" in {one.name for one in client.batch_account.list_by_resource_group("lab")}
    print(json.dumps(saw))


if __name__ == "__main__":
    main()
