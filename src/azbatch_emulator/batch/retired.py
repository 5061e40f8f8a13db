"""What earlier api-versions had and the service has given up. Source: REST 2024-02-01.19.0.

Certificates of Batch accounts were retired on 29 February 2024. How the service refuses to add one is not recorded.
"""

from __future__ import annotations

from azbatch_emulator.batch.call import Call, Reply
from azbatch_emulator.records import Refused


def add_certificate(_call: Call) -> Reply:
    raise Refused(
        "OperationInvalidForCurrentState",
        message="Certificates of Batch accounts were retired on 29 February 2024; use Azure Key Vault instead.",
    )


def list_certificates(call: Call) -> Reply:
    return Reply(body={"odata.metadata": f"{call.url}/$metadata#certificates", "value": []})


def no_certificate(_call: Call) -> Reply:
    raise Refused("CertificateNotFound")


def no_remote_desktop(call: Call) -> Reply:
    """Linux nodes have none; their remote login settings say how they are reached."""
    call.world.node(call.path["poolId"], call.path["nodeId"])
    raise Refused("OperationInvalidForCurrentState", message="The node runs Linux; ask for its remote login settings.")
