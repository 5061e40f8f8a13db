"""Settings: on the command line --azbatch-…, in the environment SNAKEMAKE_AZBATCH_…, in a profile azbatch-…."""

# Snakemake reads the annotations at run time and knows Optional only: no postponed annotations here.
from dataclasses import dataclass, field
from typing import Any, Optional

from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase


def _setting(default: Any, help: str, type: Any = None) -> Any:
    metadata: dict[str, Any] = {"help": help, "env_var": type is not bool, "required": False}
    if type is not None:
        metadata["type"] = type
    return field(default=default, metadata=metadata)


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """How and where jobs run on Azure Batch."""

    account_url: Optional[str] = _setting(
        None,
        "Batch account, https://NAME.REGION.batch.azure.com. Default: the variable AZBATCH_ACCOUNT_URL.",
    )
    account_id: Optional[str] = _setting(
        None,
        "Resource id of the account, for pools whose nodes have an identity. Default: AZBATCH_ACCOUNT_ID.",
    )
    storage_url: Optional[str] = _setting(
        None,
        "Blob endpoint for tasks. Default: that of the storage plugin, or AZBATCH_STORAGE_URL.",
    )
    pool_id: Optional[str] = _setting(None, "Run on this existing pool instead of making one for the run.")
    vm_size: Optional[str] = _setting(
        None, "VM size of the pool made for the run. Default: the smallest that fits the largest rule."
    )
    max_nodes: int = _setting(2, "Most nodes of the pool made for the run.", int)
    min_nodes: int = _setting(0, "Least nodes with autoscale.", int)
    spot_share: float = _setting(0.0, "Part of the nodes that are spot nodes, from 0 to 1.", float)
    autoscale: bool = _setting(False, "Scale the pool with the waiting tasks, between min and max nodes.")
    task_slots: Optional[int] = _setting(None, "Task slots of a node. Default: its cores.", int)
    subnet_id: Optional[str] = _setting(None, "Resource id of the nodes' subnet; such nodes have no public IP.")
    image: Optional[str] = _setting(None, "Node image, publisher:offer:sku. Default: the newest verified Ubuntu.")
    container_image: Optional[str] = _setting(
        None, "Container image in which jobs run, with snakemake and azbatch in it; pulled ahead by the pool."
    )
    scratch_disk: Optional[str] = _setting(
        None,
        "A disk for jobs' temporary files (TMPDIR) on the nodes of the pool made for the run, in containers too: its "
        "size in GB, or nvme for the VM size's own.",
    )
    registry: Optional[str] = _setting(None, "Registry server of the container image, where it needs a sign-in.")
    node_identity: Optional[str] = _setting(
        None,
        "Resource id of the identity with which the nodes of the pool made for the run read and write blobs, and "
        "sign in to the registry. Such pools are made by Azure Resource Manager.",
    )
    keep_pool: bool = _setting(False, "Leave the pool made for the run when it ends.")
    task_retention: str = _setting("P1D", "How long files of tasks stay on nodes, an ISO 8601 duration.")
    task_retries: int = _setting(0, "How often Batch itself tries a failed task again on a node.", int)
    infrastructure_retries: int = _setting(
        3, "How often a job is run again when a node or the service failed, apart from Snakemake's own retries.", int
    )
    pack: int = _setting(
        0,
        "Most jobs of a rule that share a task: 1 never packs, 0 packs rules that declare a runtime of at most "
        "10 minutes.",
        int,
    )
    max_wall_clock: str = _setting(
        "P7D", "When Batch itself ends the run, driver or not, an ISO 8601 duration: nothing runs for ever."
    )
    keep_running: bool = _setting(
        False, "Leave what runs on Batch when Snakemake is interrupted; the same command goes on with it."
    )
    report: Optional[str] = _setting(
        None, "Write what ran where to this JSON file at the end: tasks, nodes, seconds, requests to Batch."
    )
    python: str = _setting("python", "The Python of the node or container image, with snakemake and azbatch.")
