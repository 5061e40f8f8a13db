"""Handlers of compute nodes. Source: REST, Nodes."""

from __future__ import annotations

from typing import Any

from azbatch_emulator import events
from azbatch_emulator.batch import encode
from azbatch_emulator.batch.call import Call, Reply, page, selected, wanted_filter
from azbatch_emulator.records import DeallocationOption, Node, Refused


def _node(call: Call) -> Node:
    return call.world.node(call.path["poolId"], call.path["nodeId"])


def list_(call: Call) -> Reply:
    pool = call.world.pool(call.path["poolId"])
    wanted = wanted_filter(call)
    return page(
        call,
        call.world.nodes[pool.id.lower()].values(),
        lambda node: encode.node(node, call.url, pool.spec),
        lambda node: node.id,
        test=wanted.test if wanted else None,
    )


def get(call: Call) -> Reply:
    node = _node(call)
    return Reply(body=selected(call, encode.node(node, call.url, call.world.pool(node.pool_id).spec)))


def _restart(call: Call, reimage: bool, option: str) -> Reply:
    node = _node(call)
    call.engine.submit(
        events.RebootNode(
            pool_id=node.pool_id,
            node_id=node.id,
            option=call.option(option, DeallocationOption.REQUEUE),
            reimage=reimage,
        )
    )
    return _addressed(call, node, 202)


def reboot(call: Call) -> Reply:
    return _restart(call, False, "nodeRebootOption")


def reimage(call: Call) -> Reply:
    return _restart(call, True, "nodeReimageOption")


def _addressed(call: Call, node: Node, status: int) -> Reply:
    return Reply(status, headers={"DataServiceId": f"{call.url}/pools/{node.pool_id}/nodes/{node.id}"})


def start(call: Call) -> Reply:
    node = _node(call)
    call.engine.submit(events.StartNode(pool_id=node.pool_id, node_id=node.id))
    return _addressed(call, node, 202)


def deallocate(call: Call) -> Reply:
    node = _node(call)
    option = call.option("nodeDeallocateOption", DeallocationOption.REQUEUE)
    call.engine.submit(events.DeallocateNode(pool_id=node.pool_id, node_id=node.id, option=option))
    return _addressed(call, node, 202)


def _schedule(call: Call, enabled: bool) -> Reply:
    node = _node(call)
    option = call.option("nodeDisableSchedulingOption", DeallocationOption.REQUEUE)
    call.engine.submit(events.SetNodeScheduling(pool_id=node.pool_id, node_id=node.id, enabled=enabled, option=option))
    return Reply(200)


def enable_scheduling(call: Call) -> Reply:
    return _schedule(call, True)


def disable_scheduling(call: Call) -> Reply:
    return _schedule(call, False)


def remote_login(call: Call) -> Reply:
    node = _node(call)
    return Reply(body={"remoteLoginIPAddress": node.ip, "remoteLoginPort": 22})


def _extensions(call: Call) -> list[dict[str, Any]]:
    node = _node(call)
    machine = call.world.pool(node.pool_id).spec.get("virtualMachineConfiguration") or {}
    return [{"provisioningState": "Succeeded", "vmExtension": entry} for entry in machine.get("extensions") or ()]


def list_extensions(call: Call) -> Reply:
    return page(call, _extensions(call), lambda entry: entry, lambda entry: str(entry["vmExtension"]["name"]))


def get_extension(call: Call) -> Reply:
    for entry in _extensions(call):
        if entry["vmExtension"]["name"] == call.path["extensionName"]:
            return Reply(body=selected(call, entry))
    raise Refused("ResourceNotFound")
