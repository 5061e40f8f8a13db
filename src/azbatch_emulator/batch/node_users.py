"""Handlers of accounts on nodes. Source: REST, Nodes - Create / Replace / Delete Node User."""

from __future__ import annotations

from azbatch_emulator import events
from azbatch_emulator.batch import decode
from azbatch_emulator.batch.call import Call, Reply


def add(call: Call) -> Reply:
    node = call.world.node(call.path["poolId"], call.path["nodeId"])
    user = decode.node_user(call.body, call.now)
    call.engine.submit(events.AddNodeUser(pool_id=node.pool_id, node_id=node.id, user=user))
    address = f"{call.url}/pools/{node.pool_id}/nodes/{node.id}/users/{user.name}"
    return Reply(201, headers={"Location": address, "DataServiceId": address})


def replace(call: Call) -> Reply:
    """The password, the key or the expiry of a user that is there."""
    node = call.world.node(call.path["poolId"], call.path["nodeId"])
    key = call.body.get("sshPublicKey")
    call.engine.submit(
        events.ReplaceNodeUser(
            pool_id=node.pool_id,
            node_id=node.id,
            name=call.path["userName"],
            expires=decode.time(call.body, "expiryTime") if "expiryTime" in call.body else None,
            ssh_public_key=str(key) if key else None,
        )
    )
    address = f"{call.url}/pools/{node.pool_id}/nodes/{node.id}/users/{call.path['userName']}"
    return Reply(200, headers={"DataServiceId": address})


def delete(call: Call) -> Reply:
    node = call.world.node(call.path["poolId"], call.path["nodeId"])
    call.engine.submit(events.DeleteNodeUser(pool_id=node.pool_id, node_id=node.id, name=call.path["userName"]))
    return Reply(200)
