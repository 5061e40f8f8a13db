"""Handlers of pools and the account. Source: REST, Pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azbatch_emulator import durations, events
from azbatch_emulator.batch import applications, decode, encode, stats
from azbatch_emulator.batch.call import Call, Reply, check_conditions, expanded, page, selected, wanted_filter
from azbatch_emulator.batch.images import supported_images
from azbatch_emulator.records import DeallocationOption, Pool, Refused


def _encoded(call: Call, pool: Pool) -> dict[str, Any]:
    body = encode.pool(pool, call.world.nodes[pool.id.lower()], call.url)
    if call.api_version < "2025":
        # Dropped from the API in 2025; older clients expect it, and simplified is all there is since March 2026.
        body.setdefault("currentNodeCommunicationMode", "simplified")
    if expanded(call):
        body["stats"] = stats.pool(pool, call.world.nodes[pool.id.lower()].values(), call.url, call.now)
    return body


def _existing(call: Call) -> Pool:
    pool = call.world.pool(call.path["poolId"])
    check_conditions(call, pool.last_modified)
    return pool


def add(call: Call) -> Reply:
    spec = decode.pool(call.body)
    applications.check(call.applications, spec)
    call.engine.submit(events.AddPool(spec=spec))
    pool = call.world.pool(spec["id"])
    address = f"{call.url}/pools/{pool.id}"
    return Reply(201, None, pool.last_modified, {"Location": address, "DataServiceId": address})


def get(call: Call) -> Reply:
    pool = _existing(call)
    return Reply(200, selected(call, _encoded(call, pool)), pool.last_modified)


def exists(call: Call) -> Reply:
    return Reply(200, None, _existing(call).last_modified)


def list_(call: Call) -> Reply:
    wanted = wanted_filter(call)
    return page(
        call,
        call.world.pools.values(),
        lambda pool: _encoded(call, pool),
        lambda pool: pool.id.lower(),
        test=wanted.test if wanted else None,
    )


_PATCHABLE = (
    "startTask", "metadata", "applicationPackageReferences", "certificateReferences", "targetNodeCommunicationMode",
    "displayName", "taskSlotsPerNode", "taskSchedulingPolicy", "mountConfiguration", "resourceTags", "upgradePolicy",
)  # fmt: skip


REPLACEABLE = ("startTask", "metadata", "applicationPackageReferences")


def patch(call: Call) -> Reply:
    """Replaces what the body names, the start task whole [recorded]."""
    _existing(call)
    changes = {name: call.body[name] for name in _PATCHABLE if name in call.body}
    if "startTask" in changes:
        changes["startTask"] = decode.start_task(changes["startTask"])
    applications.check(call.applications, changes)
    call.engine.submit(events.PatchPool(pool_id=call.path["poolId"], changes=changes))
    return _touched(call, 200)


def update_properties(call: Call) -> Reply:
    """Replaces all updatable properties: a body without startTask removes it [recorded]."""
    _existing(call)
    changes: dict[str, Any] = {name: call.body.get(name) for name in REPLACEABLE}
    if changes["startTask"] is not None:
        changes["startTask"] = decode.start_task(changes["startTask"])
    applications.check(call.applications, changes)
    call.engine.submit(events.PatchPool(pool_id=call.path["poolId"], changes=changes))
    return _touched(call, 204)


def _touched(call: Call, status: int, operation: str = "") -> Reply:
    """The pool was changed, by the `operation` that the path ends in where the answer names it [recorded]."""
    pool = call.world.pool(call.path["poolId"])
    return Reply(status, None, pool.last_modified, {"DataServiceId": f"{call.url}/pools/{pool.id}{operation}"})


def delete(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.DeletePool(pool_id=call.path["poolId"]))
    return Reply(202)


def resize(call: Call) -> Reply:
    _existing(call)
    dedicated, spot = call.body.get("targetDedicatedNodes"), call.body.get("targetLowPriorityNodes")
    call.engine.submit(
        events.ResizePool(
            pool_id=call.path["poolId"],
            dedicated=dedicated,
            spot=spot,
            timeout=call.duration("resizeTimeout", "PT15M"),
            deallocation=call.option("nodeDeallocationOption", DeallocationOption.REQUEUE),
        )
    )
    return _touched(call, 202)


def stop_resize(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.StopResize(pool_id=call.path["poolId"]))
    return _touched(call, 202)


def remove_nodes(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(
        events.RemoveNodes(
            pool_id=call.path["poolId"],
            node_ids=call.body["nodeList"],
            timeout=call.duration("resizeTimeout", "PT15M"),
            deallocation=call.option("nodeDeallocationOption", DeallocationOption.REQUEUE),
        )
    )
    return _touched(call, 202)


def enable_autoscale(call: Call) -> Reply:
    _existing(call)
    text = call.body.get("autoScaleFormula")
    if text is not None:
        decode.formula(text)
    interval = call.body.get("autoScaleEvaluationInterval")
    call.engine.submit(
        events.EnableAutoScale(
            pool_id=call.path["poolId"],
            formula=text,
            interval=durations.parse(interval) if interval else None,
        )
    )
    return _touched(call, 200, "/enableautoscale")


def disable_autoscale(call: Call) -> Reply:
    _existing(call)
    call.engine.submit(events.DisableAutoScale(pool_id=call.path["poolId"]))
    return _touched(call, 200, "/disableautoscale")


def evaluate_autoscale(call: Call) -> Reply:
    """A formula with a fault is answered 200, with the present targets and the error [recorded]."""
    pool = _existing(call)
    if pool.autoscale_formula is None:
        raise Refused("OperationInvalidForCurrentState", message="Automatic scaling is not enabled on the pool.")
    run = call.world.evaluate(pool.id, str(call.required("autoScaleFormula")), call.now)
    body = {
        "odata.metadata": f"{call.url}/$metadata#Microsoft.Azure.Batch.Protocol.Entities.AutoScaleRun",
        **encode.autoscale_run(run),
    }
    return Reply(body=body, headers={"DataServiceId": f"{call.url}/pools/{pool.id}/evaluateautoscale"})


def node_counts(call: Call) -> Reply:
    def entry(pool: Pool) -> dict[str, Any]:
        dedicated, spot = call.world.node_counts(pool.id)
        return {"poolId": pool.id, "dedicated": _counted(dedicated), "lowPriority": _counted(spot)}

    wanted = wanted_filter(call)
    test = wanted.test if wanted else None
    return page(call, call.world.pools.values(), entry, lambda pool: pool.id.lower(), test=test)


# Node states as the counts name them, where the name is not the state's.
_COUNT_NAMES = {
    "leavingpool": "leavingPool",
    "starttaskfailed": "startTaskFailed",
    "waitingforstarttask": "waitingForStartTask",
    "upgradingos": "upgradingOS",
}


def _counted(counts: Mapping[Any, int]) -> dict[str, int]:
    named = {_COUNT_NAMES.get(state.value, state.value): number for state, number in counts.items()}
    return {**named, "total": sum(named.values())}


def list_images(call: Call) -> Reply:
    wanted = wanted_filter(call)
    images = list(enumerate(supported_images()))
    test = wanted.test if wanted else None
    return page(
        call, images, lambda item: item[1], lambda item: item[0], test=None if test is None else lambda i: test(i[1])
    )
