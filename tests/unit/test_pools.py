"""Pool specs, sizes, images, formulas and watching."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch.errors import ConfigurationError
from azbatch.pools import PoolSpec, Registry, Verdict, assess, formula, images, vm_sizes
from azbatch.pools.shapes import Needs, Shape, fitting

IMAGE = {
    "imageReference": {"publisher": "microsoft-dsvm", "offer": "ubuntu-hpc", "sku": "2404", "version": "latest"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    "osType": "linux",
    "verificationType": "verified",
    "capabilities": ["DockerCompatible"],
}
OLDER = {
    **IMAGE,
    "imageReference": {**IMAGE["imageReference"], "sku": "2204"},  # type: ignore[dict-item]
    "nodeAgentSKUId": "batch.node.ubuntu 22.04",
}
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/default"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def _spec(**changes: Any) -> PoolSpec:
    return PoolSpec(**{"id": "p", "vm_size": "Standard_D2ds_v5", "image": IMAGE, "slots": 2, **changes})


def test_all_faults_of_a_spec_come_at_once() -> None:
    """A user mends a spec in one go: id, slots, counts, subnet and identity are all told."""
    spec = _spec(id="no spaces", slots=0, dedicated=-1, subnet_id="x", identity="y")
    with pytest.raises(ConfigurationError) as raised:
        spec.body()
    assert len(raised.value.faults) == 5


def test_nodes_in_a_subnet_have_no_public_ip() -> None:
    """A locked workspace's nodes get no public address unless asked for."""
    network = _spec(subnet_id=SUBNET).body()["networkConfiguration"]
    assert network["publicIPAddressConfiguration"] == {"provision": "noPublicIPAddresses"}
    assert "publicIPAddressConfiguration" not in _spec(subnet_id=SUBNET, public_ip=True).body()["networkConfiguration"]


def test_a_scaled_pool_sends_no_targets() -> None:
    """The service refuses a formula beside fixed targets."""
    body = _spec(formula="$TargetDedicatedNodes=1;", dedicated=3).body()
    assert body["enableAutoScale"] is True
    assert "targetDedicatedNodes" not in body


def test_containers_are_pulled_ahead_with_the_nodes_identity() -> None:
    """Images are named at the pool, and the registry is opened by identity, never by a password."""
    identity = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
    spec = _spec(container_images=("r.io/a:1",), registries=(Registry(server="r.io", identity=identity),))
    containers = spec.body()["virtualMachineConfiguration"]["containerConfiguration"]
    assert containers["containerImageNames"] == ["r.io/a:1"]
    assert containers["containerRegistries"] == [
        {"registryServer": "r.io", "identityReference": {"resourceId": identity}}
    ]


@pytest.mark.parametrize(
    ("needs", "name"),
    [
        ({}, "Standard_F2s_v2"),
        ({"cores": 3}, "Standard_F4s_v2"),
        ({"memory_mb": 6000}, "Standard_D2ds_v5"),
        ({"cores": 8, "memory_mb": 60000}, "Standard_E8ds_v5"),
        ({"gpus": 1}, "Standard_NC4as_T4_v3"),
    ],
)
def test_the_smallest_size_that_fits(needs: dict[str, int], name: str) -> None:
    """Fewest cores first, then least memory; GPUs only where asked for."""
    assert vm_sizes.smallest_fitting(**needs).size.name == name


def test_why_no_size_fits() -> None:
    """The refusal says what the largest sizes lack."""
    with pytest.raises(ConfigurationError, match="9000000 needed"):
        vm_sizes.smallest_fitting(memory_mb=9_000_000)


def test_an_unknown_size_brings_near_names() -> None:
    """A typing error is answered with names that are near."""
    with pytest.raises(ConfigurationError, match=r"did you mean Standard_"):
        vm_sizes.find("Standard_Dfourds_v5")


@given(
    st.sampled_from(vm_sizes.VM_SIZES),
    st.integers(1, 128),
    st.integers(0, 900_000),
    st.integers(0, 10**6),
    st.integers(1, 256),
)
def test_slots_law(size: vm_sizes.VmSize, threads: int, memory: int, disk: int, slots: int) -> None:
    """Slots are between 1 and the node's; jobs that fill all slots never ask for more than the node has."""
    try:
        needed = vm_sizes.slots_for(threads=threads, memory_mb=memory, disk_mb=disk, size=size, slots_per_node=slots)
    except ConfigurationError:
        assert threads > size.cores or memory > size.memory_mb - vm_sizes.SYSTEM_MEMORY_MB or disk > size.disk_mb > 0
        return
    assert 1 <= needed <= slots
    together = slots // needed
    assert together * threads <= size.cores or together == 1


def test_the_newest_supported_ubuntu_is_the_default() -> None:
    """By default the newest verified Ubuntu; one past its end of support never."""
    assert images.choose([OLDER, IMAGE], None, containers=True, now=NOW) is IMAGE
    ended = {**IMAGE, "batchSupportEndOfLife": "2026-01-01T00:00:00Z"}
    assert images.choose([OLDER, ended], None, containers=True, now=NOW) is OLDER
    with pytest.raises(ConfigurationError):
        images.choose([ended], None, containers=False, now=NOW)


def test_an_image_by_name() -> None:
    """publisher:offer:sku finds it whatever the case, with a version where given; a typing error brings near names."""
    chosen = images.choose([IMAGE], "Microsoft-DSVM:ubuntu-hpc:2404:1.2.3", containers=False, now=NOW)
    assert chosen["imageReference"]["version"] == "1.2.3"
    with pytest.raises(ConfigurationError, match="microsoft-dsvm:ubuntu-hpc:2404"):
        images.choose([IMAGE], "microsoft-dsvm:ubuntu-hpc:2604", containers=False, now=NOW)


@pytest.mark.parametrize(
    "arguments", [{"most": -1}, {"most": 2, "least": 3}, {"most": 2, "spot_share": 1.5}], ids=["most", "least", "spot"]
)
def test_a_formula_with_impossible_bounds_is_refused(arguments: dict[str, Any]) -> None:
    """Nonsense never reaches the service."""
    with pytest.raises(ValueError, match=r"least|spot"):
        formula.pending_tasks(**arguments)


def _pool(**changes: Any) -> dict[str, Any]:
    return {"id": "p", "state": "active", "allocationState": "steady", **changes}


@pytest.mark.parametrize(
    ("pool", "nodes", "verdict", "said"),
    [
        (_pool(), [], Verdict.WAITING, "no nodes yet"),
        (_pool(), [{"id": "n", "state": "idle"}], Verdict.READY, "1 idle"),
        (_pool(), [{"id": "n", "state": "starting"}], Verdict.WAITING, "1 starting"),
        (_pool(state="deleting"), [{"id": "n", "state": "idle"}], Verdict.FAILED, "being deleted"),
        (
            _pool(resizeErrors=[{"code": "AccountCoreQuotaReached", "message": "x"}]),
            [],
            Verdict.FAILED,
            "ask Azure for more",
        ),
        (
            _pool(allocationState="resizing", resizeErrors=[{"code": "AllocationFailed", "message": "x"}]),
            [],
            Verdict.WAITING,
            "no capacity",
        ),
        (
            _pool(),
            [{"id": "n", "state": "unusable", "errors": [{"code": "DiskFull", "message": "full"}]}],
            Verdict.FAILED,
            "DiskFull: full",
        ),
        (
            _pool(),
            [
                {"id": "n", "state": "starttaskfailed", "startTaskInfo": {"exitCode": 3}},
                {"id": "m", "state": "starting"},
            ],
            Verdict.WAITING,
            "exit code 3",
        ),
        (
            _pool(autoScaleRun={"error": {"code": "E", "values": [{"value": "Line 1, Col 2: bad"}]}}),
            [],
            Verdict.WAITING,
            "Line 1, Col 2: bad",
        ),
    ],
)
def test_judging_a_pool(pool: dict[str, Any], nodes: list[dict[str, Any]], verdict: Verdict, said: str) -> None:
    """Zero usable nodes are never ready; hopeless pools fail with the remedy; others wait, and say for what."""
    judged = assess(pool, nodes)
    assert judged.verdict is verdict
    assert said in " ".join(judged.lines)


@pytest.mark.parametrize(
    ("shape", "needs", "name"),
    [
        (Shape.SMALL, Needs(), "Standard_F2s_v2"),
        (Shape.MEDIUM, Needs(), "Standard_F8s_v2"),
        (Shape.LARGE, Needs(), "Standard_F32s_v2"),
        (Shape.MEMORY, Needs(), "Standard_E8ds_v5"),
        (Shape.DISK, Needs(), "Standard_L8s_v3"),
        (Shape.GPU, Needs(), "Standard_NC4as_T4_v3"),
        (Shape.SMALL, Needs(cores=16), "Standard_F16s_v2"),
        (Shape.GPU, Needs(memory_mb=40_000), "Standard_NC8as_T4_v3"),
        (None, Needs(cores=2), "Standard_F2s_v2"),
    ],
)
def test_a_shape_is_a_size(shape: Shape | None, needs: Needs, name: str) -> None:
    """Each name is the smallest size with what it says; what is asked for besides makes it larger, never smaller."""
    assert fitting(shape, needs).name == name
