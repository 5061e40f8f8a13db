"""Run by the Python of .venv-batch14: drives the emulator with azure-batch 14.2 and prints what it saw as JSON.

Arguments: the Batch URL, "key" or "token", and on standard input the account name and the secret, a line each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import azure.batch.models as models
from azure.batch import BatchServiceClient
from azure.batch.batch_auth import SharedKeyCredentials
from msrest.authentication import BasicTokenAuthentication


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("the condition did not come true in time")


def refused(call: Callable[[], Any]) -> str:
    """The service's code for a call that must be refused."""
    try:
        call()
    except models.BatchErrorException as error:
        return str(error.error.code)
    return "accepted"


def main() -> None:
    url, kind = sys.argv[1:]
    account, secret = sys.stdin.read().split()
    credential = (
        SharedKeyCredentials(account, secret) if kind == "key" else BasicTokenAuthentication({"access_token": secret})
    )
    client = BatchServiceClient(credential, url)
    name = f"old-{kind}"
    saw: dict[str, Any] = {}
    saw["agents"] = sorted({image.node_agent_sku_id for image in client.account.list_supported_images()})
    machine = models.VirtualMachineConfiguration(
        image_reference=models.ImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404"),
        node_agent_sku_id="batch.node.ubuntu 24.04",
    )
    pool = models.PoolAddParameter(
        id=name,
        vm_size="STANDARD_D2S_V5",
        virtual_machine_configuration=machine,
        target_dedicated_nodes=1,
        task_slots_per_node=2,
        target_node_communication_mode="simplified",
    )
    client.pool.add(pool)
    saw["pool again"] = refused(lambda: client.pool.add(pool))
    saw["exists"] = client.pool.exists(name)
    until(lambda: [node.state for node in client.compute_node.list(name)] == ["idle"])
    client.pool.patch(name, models.PoolPatchParameter(metadata=[models.MetadataItem(name="a", value="b")]))
    saw["metadata"] = [item.value for item in client.pool.get(name).metadata]
    client.pool.update_properties(
        name,
        models.PoolUpdatePropertiesParameter(certificate_references=[], application_package_references=[], metadata=[]),
    )
    client.pool.resize(name, models.PoolResizeParameter(target_dedicated_nodes=2))
    until(lambda: len(list(client.compute_node.list(name))) == 2)
    until(lambda: client.pool.get(name).allocation_state == "steady")
    saw["resize back"] = client.pool.get(name).current_dedicated_nodes
    node = next(iter(client.compute_node.list(name)))
    until(lambda: all(n.state == "idle" for n in client.compute_node.list(name)))
    client.compute_node.disable_scheduling(name, node.id)
    client.compute_node.enable_scheduling(name, node.id)
    client.compute_node.reboot(name, node.id)
    client.pool.enable_auto_scale(name, auto_scale_formula="$TargetDedicatedNodes = 1;")
    saw["evaluate"] = client.pool.evaluate_auto_scale(name, "$TargetDedicatedNodes = 4;").results
    until(lambda: client.pool.get(name).allocation_state == "steady")
    client.pool.disable_auto_scale(name)
    saw["counts"] = [count.dedicated.total for count in client.account.list_pool_node_counts() if count.pool_id == name]

    client.job.add(models.JobAddParameter(id=name, pool_info=models.PoolInformation(pool_id=name)))
    client.job.patch(name, models.JobPatchParameter(priority=3))
    saw["priority"] = client.job.get(name).priority
    tasks = [models.TaskAddParameter(id=f"t{n}", command_line="/bin/sh -c 'echo hello'") for n in range(3)]
    results = client.task.add_collection(name, tasks).value
    saw["added"] = sorted(str(result.status).lower() for result in results)
    client.task.add(name, models.TaskAddParameter(id="bad", command_line="/bin/false"))
    saw["task again"] = refused(lambda: client.task.add(name, tasks[0]))
    until(lambda: client.job.get_task_counts(name).task_counts.completed == 4)
    saw["failed"] = client.job.get_task_counts(name).task_counts.failed
    listed = client.task.list(
        name, models.TaskListOptions(filter="state eq 'completed'", select="id,state", max_results=2)
    )
    saw["listed"] = sorted(task.id for task in listed)
    saw["failure"] = client.task.get(name, "bad").execution_info.failure_info.code
    saw["output"] = b"".join(client.file.get_from_task(name, "t1", "stdout.txt")).decode()
    head = client.file.get_properties_from_task(name, "t1", "stdout.txt", raw=True).headers
    saw["length"] = head["Content-Length"]
    saw["files"] = sorted(file.name for file in client.file.list_from_task(name, "t1"))
    client.task.reactivate(name, "bad")
    until(lambda: client.task.get(name, "bad").state == "completed")
    client.task.delete(name, "bad")
    client.job.disable(name, "requeue")
    client.job.enable(name)
    client.job.terminate(name, terminate_reason="enough")
    until(lambda: client.job.get(name).state == "completed")
    saw["reason"] = client.job.get(name).execution_info.terminate_reason
    client.job.delete(name)
    client.pool.delete(name)
    until(lambda: refused(lambda: client.pool.get(name)) == "PoolNotFound")
    json.dump(saw, sys.stdout)


if __name__ == "__main__":
    main()
