"""Profiles: what their files may say, and what the world makes of them."""

from __future__ import annotations

import random
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from azbatch_emulator import events, profiles
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.faults import ALLOCATION_FAILED, IMAGE_NOT_FOUND
from azbatch_emulator.injection.rules import FaultRule
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import NodeState
from azbatch_emulator.world import World
from tests.unit.worlds import START, Play


def played(seed: int = 1, **profile: Any) -> Play:
    """A world under a profile."""
    play = Play()
    play.world = World(Profile(**profile), random.Random(seed), START)
    return play


def pool_spec(**spec: Any) -> dict[str, Any]:
    """The body of the pool `p`."""
    return {
        "id": "p",
        "vmSize": "Standard_D2s_v5",
        "taskSlotsPerNode": 1,
        "targetDedicatedNodes": 0,
        "targetLowPriorityNodes": 0,
        **spec,
    }


def states(play: Play) -> list[str]:
    return [node.state.value for node in play.world.nodes["p"].values()]


@pytest.mark.parametrize("name", profiles.NAMES)
def test_the_named_profiles(name: str) -> None:
    """Each is read, and meets the schema."""
    given = yaml.safe_load((profiles.HERE / f"{name}.yaml").read_text())
    assert profiles.load(name) == profiles.read(given, name)
    jsonschema.validate(given, profiles.schema())


def test_a_file(tmp_path: Path) -> None:
    """An own file: ranges, rules without end, all else as on Azure; an empty one is valid."""
    file = tmp_path / "mine.yaml"
    file.write_text("boot_seconds: [10, 40]\nseed: 3\nspeed: 5\nhttp: [{kind: slow, seconds: 2}]\n")
    found = profiles.load(file)
    assert (found.name, found.seed, found.speed) == ("mine", 3, 5.0)
    assert (found.service.boot, found.service.boot_spread) == (timedelta(seconds=10), timedelta(seconds=30))
    assert found.http == (FaultRule.read({"kind": "slow", "seconds": 2, "times": None}),)
    file.write_text("")
    assert profiles.load(file).service == Profile()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no mapping"),
        ({"colour": 1}, "'colour' is no property"),
        ({"boot_seconds": -1}, "boot_seconds: a number from 0"),
        ({"boot_seconds": [3, "x"]}, "boot_seconds: a number from 0"),
        ({"boot_seconds": [3]}, "a list of the least and the most"),
        ({"sample_lag_seconds": [3, 4]}, "sample_lag_seconds: seconds, not"),
        ({"sample_period_seconds": 0}, "sample_period_seconds: a number above 0"),
        ({"sample_loss": 1.1}, "sample_loss: a number from 0 to 1"),
        ({"boot_failure": 2}, "boot_failure: a number from 0 to 1"),
        ({"speed": 0}, "speed: a number above 0"),
        ({"speed": True}, "speed: a number above 0"),
        ({"seed": "x"}, "seed: a whole number"),
        ({"http": {}}, "http: a list of rules"),
        ({"http": [{"kind": "rain"}]}, "'rain' is no kind of fault"),
        ({"http": [{"kind": "status", "status": 200}]}, "status: 4xx or 5xx"),
        ({"description": 3}, "description: a text"),
    ],
)
def test_what_is_wrong_with_a_profile(given: Any, said: str) -> None:
    """The schema and we refuse the same, and we say why in one sentence."""
    with pytest.raises(EmulatorError, match=said):
        profiles.read(given, "mine")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(given, profiles.schema())


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Everything wrong with a file is told together; a file that is none is told as such."""
    with pytest.raises(EmulatorError, match=r"'a' is no property.*speed: .*http: "):
        profiles.read({"a": 1, "speed": -1, "http": [{"kind": "slow", "skip": -1}]}, "mine")
    with pytest.raises(EmulatorError, match=r"cannot be read .*one of fast, realistic, chaos"):
        profiles.load(tmp_path / "nothing.yaml")
    (tmp_path / "bad.yaml").write_text("{")
    with pytest.raises(EmulatorError, match="is not YAML"):
        profiles.load(tmp_path / "bad.yaml")


def test_delays_are_within_their_range() -> None:
    """Nodes of one pool come up at different times, none before the least or after the most."""
    play = played(boot=timedelta(seconds=10), boot_spread=timedelta(seconds=60))
    play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=50)))
    play.after(seconds=12 + 9.9)
    assert set(states(play)) == {"starting"}
    play.after(seconds=30)
    assert set(states(play)) == {"starting", "idle"}
    play.after(seconds=31)
    assert set(states(play)) == {"idle"}


def test_images_take_their_time() -> None:
    """Each container image of the pool makes the boot longer; then they are pulled, and the node is ready."""
    play = played(image_pull=timedelta(seconds=40))
    configuration = {"containerConfiguration": {"type": "dockerCompatible", "containerImageNames": ["a", "b"]}}
    play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=1, virtualMachineConfiguration=configuration)))
    play.after(seconds=12 + 15 + 79)
    assert states(play) == ["starting"]
    assert play.running == {}
    play.after(seconds=2)
    assert states(play) == ["starting"]
    (pull,) = play.running.values()
    assert (pull.kind, pull.spec) == ("pull", configuration["containerConfiguration"])
    play.end(pull.run)
    assert states(play) == ["idle"]


def test_images_that_are_not_to_be_had() -> None:
    """The profile says how often an image cannot be pulled: such a node is unusable, and says which image."""
    play = played(image_pull_failure=0.5)
    configuration = {"containerConfiguration": {"type": "dockerCompatible", "containerImageNames": ["a", "b"]}}
    play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=200, virtualMachineConfiguration=configuration)))
    play.after(minutes=1)
    broken = [node for node in play.world.nodes["p"].values() if node.state is NodeState.UNUSABLE]
    assert 120 <= len(broken) <= 180  # three of four
    assert {error.details for node in broken for error in node.errors} == {
        (("ContainerImage", "a"),),
        (("ContainerImage", "b"),),
    }
    assert len(play.running) == 200 - len(broken)


def test_spot_nodes_are_preempted_at_the_rate() -> None:
    """One preemption an hour and node: of 400 about 253 (1 - 1/e) within the first; dedicated nodes none."""
    play = played(preemptions_per_hour=1.0, restore=timedelta(days=1))
    play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=20, targetLowPriorityNodes=400)))
    play.after(hours=1, seconds=12)
    dedicated, spot = play.world.node_counts("p")
    assert dedicated[NodeState.IDLE] == 20
    assert 220 <= spot[NodeState.PREEMPTED] <= 285


def test_restored_machines_are_taken_again() -> None:
    """A preempted node comes back, and its new machine lives its own time."""
    play = played(preemptions_per_hour=20.0, restore=timedelta(minutes=1))
    play.do(events.AddPool(spec=pool_spec(targetLowPriorityNodes=1)))
    seen = 0
    for _ in range(24 * 60):
        before = states(play)[:1]
        play.after(minutes=1)
        seen += before != ["preempted"] and states(play) == ["preempted"]
    assert seen > 50


def test_failures_by_chance() -> None:
    """Resizes that get nothing, and nodes that are unusable, about as often as the profile says."""
    play = played(boot_failure=0.25)
    play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=400)))
    play.after(minutes=1)
    assert 70 <= states(play).count("unusable") <= 130
    failed = 0
    for seed in range(100):
        play = played(seed, allocation_failure=0.3)
        play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=1)))
        play.after(minutes=1)
        failed += [error.code for error in play.world.pool("p").resize_errors] == ["AllocationFailed"]
        assert len(states(play)) == (0 if play.world.pool("p").resize_errors else 1)
    assert 18 <= failed <= 42


def test_the_same_seed_gives_the_same_history() -> None:
    """Names, times and failures are those of the seed."""

    def history(seed: int) -> Any:
        play = played(
            seed, boot_spread=timedelta(minutes=1), boot_failure=0.3, preemptions_per_hour=3.0, allocation_failure=0.1
        )
        play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=5, targetLowPriorityNodes=5)))
        play.after(hours=5)
        return play.world.nodes

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_resizes_and_nodes_that_are_told_to_fail() -> None:
    """As many as asked for fail, with the error; then the pool recovers."""
    play = played()
    play.do(events.AddPool(spec=pool_spec(targetDedicatedNodes=3)))
    play.do(events.FailResizes(pool_id="p", count=1, fault=ALLOCATION_FAILED))
    play.do(events.FailNodes(pool_id="p", count=2, fault=IMAGE_NOT_FOUND))
    play.after(minutes=1)
    assert play.world.pool("p").resize_errors == (ALLOCATION_FAILED,)
    assert states(play) == []
    play.do(events.ResizePool(pool_id="p", dedicated=3, spot=None))
    play.after(minutes=1)
    assert play.world.pool("p").resize_errors == ()
    assert sorted(states(play)) == ["idle", "unusable", "unusable"]
    broken = [node for node in play.world.nodes["p"].values() if node.state is NodeState.UNUSABLE]
    assert {error.code for node in broken for error in node.errors} == {"ContainerInvalidImage"}
    play.do(events.RebootNode(pool_id="p", node_id=broken[0].id))
    play.after(minutes=1)
    assert sorted(states(play)) == ["idle", "idle", "unusable"]


def test_the_page_names_everything() -> None:
    """docs/emulator-faults.md has each property of rules and profiles, and each control call that causes a fault."""
    page = (Path(__file__).parents[2] / "docs" / "emulator-faults.md").read_text()
    rule = {field.name for field in fields(FaultRule)}
    calls = {"faults/add", "faults/clear", "struck", "break", "fill-disk", "fail-nodes", "fail-resizes", "clock"}
    wanted = {*rule, *profiles.schema()["properties"], *profiles.NAMES, *calls}
    assert {name for name in wanted if f"`{name}`" not in page} == set()


def test_the_schema_knows_what_is_read() -> None:
    """Schema and reader have the same properties, of profiles and of rules."""
    schema = profiles.schema()
    assert set(schema["properties"]) == profiles.properties()
    assert set(schema["$defs"]["rule"]["properties"]) == {field.name for field in fields(FaultRule)}
