"""What nextflowhelper does where the original went wrong; and pools that belong to a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from azbatch.errors import AzbatchError, ConfigurationError, ServiceError
from azbatch.headnode.discover import Workspace
from azbatch.pools.own import OWNER, RUN, OwnPool, alive, this_process
from azbatch.pools.spec import PoolSpec
from azbatch.signals import Interrupts
from nextflowhelper import NextflowHelper
from tests.unit.test_pools import IMAGE


class Account:
    """A Batch account in memory whose pools have the nodes that a test gives them."""

    def __init__(self, nodes: list[Any] | None = None) -> None:
        self.pools: dict[str, Any] = {}
        self.nodes = nodes if nodes is not None else [{"id": "n", "state": "idle"}]
        self.jobs: list[Any] = []
        self.terminated: list[str] = []
        self.refuse: ServiceError | None = None
        self.made: list[Any] = []

    def create_pool(self, body: Any) -> None:
        self.made.append(body)
        if body["id"] in self.pools:
            raise ServiceError("there", code="PoolExists", status=409)
        self.pools[body["id"]] = {**body, "state": "active", "allocationState": "steady"}

    def create_pool_resource(self, pool_id: str, resource: Any) -> None:
        self.create_pool({"id": pool_id, **resource})

    def get_pool(self, pool_id: str) -> Any:
        if self.refuse is not None:
            raise self.refuse
        if pool_id not in self.pools:
            raise ServiceError("not there", code="PoolNotFound", status=404)
        return self.pools[pool_id]

    def list_pools(self) -> list[Any]:
        return list(self.pools.values())

    def delete_pool(self, pool_id: str) -> None:
        self.pools.pop(pool_id, None)

    def list_nodes(self, pool_id: str) -> list[Any]:
        return self.nodes

    def supported_images(self) -> list[Any]:
        return [IMAGE]

    def list_jobs(self) -> list[Any]:
        return self.jobs

    def terminate_job(self, job_id: str, reason: str) -> None:
        self.terminated.append(job_id)

    def read_node_file(self, pool_id: str, node_id: str, path: str, last: int) -> bytes:
        return b""

    def resize_pool(self, pool_id: str, dedicated: int | None, spot: int | None) -> None:
        raise AssertionError

    def enable_autoscale(self, pool_id: str, formula: str, interval: str) -> None:
        raise AssertionError


def _helper(account: Account) -> NextflowHelper:
    helper = NextflowHelper(tell=lambda _: None)
    helper._account = account  # type: ignore[assignment]
    helper._workspace = Workspace(
        account_url="https://a.westeurope.batch.azure.com",
        account_name="a",
        storage_url="https://s.blob.core.windows.net",
        storage_name="sss",
        region="westeurope",
    )
    return helper


def test_slots_are_the_vcpus_and_containers_can_run() -> None:
    """The original put 4 slots on 2 cores; one of its two scale settings was always refused."""
    account = Account()
    _helper(account).create_batch_pool("p", vm_size="Standard_D2ds_v5")
    _helper(account).create_batch_pool("q", cores=4, memory_mb=20000, scenario="fixed", nodes=3)
    first, second = account.made
    assert first["taskSlotsPerNode"] == 2
    assert first["virtualMachineConfiguration"]["containerConfiguration"] == {"type": "dockerCompatible"}
    assert (second["vmSize"], "targetDedicatedNodes" in second) == ("Standard_E4ds_v5", False)
    with pytest.raises(ConfigurationError) as raised:
        _helper(account).create_batch_pool("r", scenario="Default", shape="huge")
    assert [fault.split(":")[0] for fault in raised.value.faults] == [
        "'Default' is no scenario",
        "'huge' is no shape",
    ]


def test_a_pool_of_the_workspace_is_asked_for_with_its_identity() -> None:
    """In the subnet, by Resource Manager, its registry read by the identity; a shape is a size."""
    account = Account()
    helper = _helper(account)
    place = "/subscriptions/s/resourceGroups/g/providers"
    helper._workspace = replace(
        helper.get_workspace(),
        node_identity_id=f"{place}/Microsoft.ManagedIdentity/userAssignedIdentities/nodes",
        subnet_id=f"{place}/Microsoft.Network/virtualNetworks/v/subnets/default",
    )
    helper.create_batch_pool("p", shape="memory", nodes=2, images=("mine.azurecr.io/tool:1",), docker_disk="100")
    (made,) = account.made
    machine = made["properties"]["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert made["properties"]["vmSize"] == "Standard_E8ds_v5"
    assert made["properties"]["networkConfiguration"]["subnetId"] == helper.get_batch_subnetid()
    assert list(made["identity"]["userAssignedIdentities"]) == [helper.get_node_identity()]
    registry = {"registryServer": "mine.azurecr.io", "identityReference": {"resourceId": helper.get_node_identity()}}
    assert machine["containerConfiguration"]["containerRegistries"] == [registry]
    assert machine["dataDisks"][0]["diskSizeGB"] == 100


def test_a_failed_pool_is_kept_on_request() -> None:
    """To look at it: only where that was asked for."""
    account = Account(nodes=[{"id": "n", "state": "unusable", "errors": [{"code": "X", "message": "blocked"}]}])
    with pytest.raises(AzbatchError, match="X: blocked"):
        _helper(account).create_batch_pool("p", keep_failed=True)
    assert set(account.pools) == {"p"}


def test_zero_nodes_are_never_ready() -> None:
    """The original took a pool without nodes for ready."""
    account = Account(nodes=[])
    account.create_pool({"id": "p"})
    assert _helper(account).get_batch_pool_status("p").verdict == "waiting"


def test_only_not_found_means_deleted() -> None:
    """The original took any error for success."""
    account = Account()
    account.create_pool({"id": "p"})
    helper = _helper(account)
    helper.delete_batch_pool("p")
    assert account.pools == {}
    account.refuse = ServiceError("no right", code="InsufficientAccountPermissions", status=403)
    with pytest.raises(ServiceError, match="no right"):
        helper.delete_batch_pool("p")


def test_a_pool_that_gets_no_node_is_deleted_again() -> None:
    """On failure nothing stays running, and the reason is told."""
    account = Account(nodes=[{"id": "n", "state": "unusable", "errors": [{"code": "X", "message": "blocked"}]}])
    with pytest.raises(AzbatchError, match="X: blocked"):
        _helper(account).create_batch_pool("p")
    assert account.pools == {}


def test_files_for_the_usual_endpoint_name_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nf-azure makes the endpoint of account and region; an unknown setting is refused by name."""
    monkeypatch.chdir(tmp_path)
    helper = _helper(Account())
    with pytest.raises(ConfigurationError, match="'vmsize' is no setting"):
        helper.create_nextflow_scripts(vmsize="x")
    assert list(tmp_path.iterdir()) == []
    helper._workspace = Workspace(
        account_url="https://abc.westeurope.batch.azure.com",
        account_name="abc",
        storage_url="https://sss.blob.core.windows.net",
        storage_name="sss",
        region="westeurope",
    )
    helper.create_nextflow_scripts("a.nf", "a.config", "a.py", pool="mine")
    assert "endpoint" not in (tmp_path / "a.config").read_text()
    assert "queue = 'mine'" in (tmp_path / "a.config").read_text()


def test_the_hosts_file_needs_root(tmp_path: Path) -> None:
    """Twice is once."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    helper = _helper(Account())
    assert helper.update_hosts({"a.example": "10.0.0.4"}, path)
    assert not helper.update_hosts({"a.example": "10.0.0.4"}, path)
    assert path.read_text() == "127.0.0.1 localhost\n10.0.0.4 a.example # azbatch\n"


# A run's own pool


def _own(account: Account, said: list[str] | None = None) -> OwnPool:
    spec = PoolSpec(id="p", vm_size="Standard_D2ds_v5", image=IMAGE, slots=2, dedicated=1)
    words = said if said is not None else []
    return OwnPool(account, spec, interrupts=Interrupts(), said=words.append, sleep=lambda _: None)


def test_only_the_runs_own_pool_and_jobs_end() -> None:
    """Other pools and jobs stay; a job of the run that is still active is ended."""
    account = Account()
    account.create_pool({"id": "other"})
    account.jobs = [
        {"id": "ours", "state": "active", "poolInfo": {"poolId": "p"}},
        {"id": "over", "state": "completed", "poolInfo": {"poolId": "p"}},
        {"id": "theirs", "state": "active", "poolInfo": {"poolId": "other"}},
    ]
    with pytest.raises(RuntimeError), _own(account):  # noqa: PT012
        assert set(account.pools) == {"p", "other"}
        raise RuntimeError
    assert set(account.pools) == {"other"}
    assert account.terminated == ["ours"]


def test_a_pool_made_anew_by_another_stays() -> None:
    """Where somebody replaced the pool meanwhile, it is theirs."""
    account = Account()
    with _own(account):
        account.pools["p"]["metadata"] = [{"name": RUN, "value": "another"}]
    assert "p" in account.pools


@pytest.mark.parametrize(
    ("owner", "taken"),
    [
        ("", True),
        (this_process(), True),
        ("another-host/1/5", True),
        (f"{this_process().split('/')[0]}/{os.getpid()}/1", False),
    ],
    ids=["no owner", "this process", "another host", "an earlier process of this id"],
)
def test_whose_a_pool_is_that_is_there(owner: str, taken: bool) -> None:
    """Of someone else, of a living process, or of another machine: refused. Of a dead process of this one: replaced."""
    account = Account()
    account.create_pool({"id": "p", "metadata": [{"name": OWNER, "value": owner}] if owner else []})
    if taken:
        with pytest.raises(AzbatchError, match="exists already"), _own(account):
            pass
        assert "p" in account.pools
        return
    said: list[str] = []
    with _own(account, said):
        assert alive(str(account.pools["p"]["metadata"][1]["value"])) is True
    assert "which a killed run left" in said[0]


def test_a_signal_waits_for_what_cannot_be_taken_back() -> None:
    """While held, Ctrl-C is only noted; it comes at the end of the block, or never where it is dropped."""
    code = (
        "import os, signal\nfrom azbatch.signals import Interrupts\nsaid = []\n"
        "with Interrupts(said.append) as i:\n"
        "    try:\n"
        "        with i.held():\n"
        "            os.kill(os.getpid(), signal.SIGINT); print('finished')\n"
        "    except KeyboardInterrupt:\n"
        "        print('then interrupted', len(said))\n"
        "    with i.held(dropped=True):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "finished\nthen interrupted 1\nwent on\n"


def test_ctrl_c_while_a_pool_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is finished first, then the pool is deleted again; a pool that was there before stays."""
    account = Account(nodes=[])
    sent = account.create_pool

    def interrupted(body: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sent(body)

    monkeypatch.setattr(account, "create_pool", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _helper(account).create_batch_pool("p")
    assert (len(account.made), account.pools) == (1, {})
    account.pools["q"] = {"id": "q", "state": "active"}
    monkeypatch.setattr(account, "create_pool", sent)
    with pytest.raises(ServiceError, match="there"):
        _helper(account).create_batch_pool("q")
    assert set(account.pools) == {"q"}
