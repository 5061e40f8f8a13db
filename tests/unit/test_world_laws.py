"""Laws of the world, whatever happens to it."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from azbatch_emulator import events
from azbatch_emulator.journal import Journal
from azbatch_emulator.profile import Profile
from azbatch_emulator.records import DeallocationOption, Fault, NodeState, Refused, TaskState
from azbatch_emulator.world.nodes import BOOTING
from tests.unit.worlds import Play

OPTIONS = st.sampled_from(list(DeallocationOption))
START_TASK = {"startTask": {"commandLine": "s"}}
CONTAINERS = {"virtualMachineConfiguration": {"containerConfiguration": {"containerImageNames": ["i"]}}}


class Laws(RuleBasedStateMachine):
    """Requests, reports, faults and time in any order."""

    @initialize(seed=st.integers(0, 1000), demands=st.sampled_from([{}, START_TASK, CONTAINERS]))
    def begin(self, seed: int, demands: dict[str, Any]) -> None:
        self.play = Play(seed)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "world.sqlite"
        self.play.journal = Journal(self.path)
        self.play.journal.snapshot(self.play.world)
        self.rng = random.Random(seed)
        self.count = 0
        slots = self.rng.choice([1, 3])
        self.play.pool(2, spot=1, slots=slots, enableInterNodeCommunication=slots == 1, **demands)
        self.play.job(jobPreparationTask={"commandLine": "p"}, usesTaskDependencies=True)
        self.play.job("k")

    def teardown(self) -> None:
        assert self.play.journal is not None
        self.play.journal.close()
        self.folder.cleanup()

    @rule()
    def kill_and_restart_the_emulator(self) -> None:
        """Whatever the instant, the journal gives the very same world; then all that ran is requeued or lost."""
        before, due = self._picture(), self.play.world.next_due()
        assert self.play.journal is not None
        self.play.journal.close()
        self.play.journal = Journal(self.path)
        self.play.world = self.play.journal.restore(Profile(), random.Random(), self.play.now)
        assert self._picture() == before
        assert self.play.world.next_due() == due
        self.play.do(events.Restart())
        assert {run.kind for run in self.play.running.values()} <= {"pull", "start"}

    def _do(self, event: events.Event) -> None:
        before = self._picture()
        try:
            self.play.do(event)
        except Refused:
            assert self._picture() == before, "a refusal changes nothing"

    def _picture(self) -> object:
        world = self.play.world
        return (
            dict(world.pools),
            {pool: dict(nodes) for pool, nodes in world.nodes.items()},
            dict(world.jobs),
            dict(world.schedules),
            {job: dict(world.tasks(job)) for job in world.jobs},
            dict(world.runs),
        )

    @rule(job=st.sampled_from("jk"), slots=st.integers(1, 4), number=st.integers(1, 4))
    def add(self, job: str, slots: int, number: int) -> None:
        specs = []
        for _ in range(number):
            self.count += 1
            specs.append({"id": f"t{self.count}", "commandLine": "x", "requiredSlots": slots})
            if self.count % 3:  # the others, or these, do not fit the pool
                specs[-1]["containerSettings"] = {"imageName": "i"}
        if job == "j" and self.count > number:
            specs[-1]["dependsOn"] = {"taskIds": [f"t{self.rng.randint(1, self.count)}"]}
        self._do(events.AddTasks(job_id=job, specs=specs))

    @rule(job=st.sampled_from("jk"), instances=st.integers(1, 3))
    def add_multi_instance(self, job: str, instances: int) -> None:
        self.count += 1
        settings = {"numberOfInstances": instances, "coordinationCommandLine": "c"}
        spec = {"id": f"t{self.count}", "commandLine": "x", "multiInstanceSettings": settings}
        self._do(events.AddTasks(job_id=job, specs=[spec]))

    @rule(ends=st.booleans())
    def schedule(self, ends: bool) -> None:
        job = {"poolInfo": {"poolId": "p"}, **({"onAllTasksComplete": "terminatejob"} if ends else {})}
        spec = {"id": "s", "schedule": {"recurrenceInterval": "PT1M"}, "jobSpecification": job}
        self._do(events.AddJobSchedule(spec=spec))

    @rule(
        what=st.sampled_from(
            [
                events.DisableJobSchedule,
                events.EnableJobSchedule,
                events.TerminateJobSchedule,
                events.DeleteJobSchedule,
            ]
        )
    )
    def touch_schedule(self, what: type[events.EnableJobSchedule]) -> None:
        self._do(what(schedule_id="s"))

    @rule(code=st.sampled_from([0, 0, 0, 1]))
    def finish(self, code: int) -> None:
        if self.play.running:
            self.play.end(self.rng.choice(sorted(self.play.running)), code)

    @rule(seconds=st.integers(1, 200))
    def wait(self, seconds: int) -> None:
        self.play.after(seconds=seconds)

    @rule(dedicated=st.integers(0, 3), spot=st.integers(0, 2), option=OPTIONS)
    def resize(self, dedicated: int, spot: int, option: DeallocationOption) -> None:
        self._do(events.ResizePool(pool_id="p", dedicated=dedicated, spot=spot, deallocation=option))

    @rule(kind=st.sampled_from(["preempt", "break", "reboot", "off", "on", "deallocate", "start"]), option=OPTIONS)
    def disturb(self, kind: str, option: DeallocationOption) -> None:
        nodes = self.play.nodes()
        if not nodes:
            return
        place: dict[str, Any] = {"pool_id": "p", "node_id": self.rng.choice(nodes).id}
        made: dict[str, events.Event] = {
            "preempt": events.PreemptNode(**place),
            "break": events.BreakNode(**place, fault=Fault(code="x", message="x")),
            "reboot": events.RebootNode(**place, option=option),
            "off": events.SetNodeScheduling(**place, enabled=False, option=option),
            "on": events.SetNodeScheduling(**place, enabled=True),
            "deallocate": events.DeallocateNode(**place, option=option),
            "start": events.StartNode(**place),
        }
        self._do(made[kind])

    @rule(job=st.sampled_from("jk"), what=st.sampled_from(["disable", "enable"]), option=OPTIONS)
    def switch(self, job: str, what: str, option: DeallocationOption) -> None:
        self._do(events.DisableJob(job_id=job, tasks=option) if what == "disable" else events.EnableJob(job_id=job))

    @rule(what=st.sampled_from([events.TerminateTask, events.DeleteTask, events.ReactivateTask]))
    def touch(self, what: type[events.TerminateTask]) -> None:
        if self.count:
            self._do(what(job_id=self.rng.choice("jk"), task_id=f"t{self.rng.randint(1, self.count)}"))

    @invariant()
    def slots_are_never_over_used(self) -> None:
        for node in self.play.nodes():
            assert 0 <= node.slots_used <= node.slots
            bound = [
                task
                for job in self.play.world.jobs
                for task in self.play.world.tasks(job).values()
                if task.state in {TaskState.RUNNING, TaskState.PREPARING}
                and node.id in {task.node_id, *(one.node_id for one in task.subtasks)}
            ]
            assert node.slots_used == sum(task.required_slots for task in bound)
            assert node.running_tasks == len(bound)

    @invariant()
    def counts_are_true(self) -> None:
        for job in self.play.world.jobs:
            tasks = self.play.world.tasks(job).values()
            counts, slots = self.play.world.task_counts(job)
            done = [task for task in tasks if task.state is TaskState.COMPLETED]
            assert counts.active == sum(task.state is TaskState.ACTIVE for task in tasks)
            assert counts.completed == len(done)
            assert counts.succeeded == sum(task.execution.result == "success" for task in done)
            assert counts.active + counts.running + counts.completed == len(tasks)
            assert slots.completed == sum(task.required_slots for task in done)
            for state in TaskState:
                listed = {task.id for task in self.play.world.tasks_in_state(job, state)}
                assert listed == {task.id for task in tasks if task.state is state}

    @invariant()
    def what_runs_is_what_was_asked_for(self) -> None:
        assert {*self.play.running, *self.play.lingering} == set(self.play.world.runs)
        alive = {node.id.lower() for node in self.play.nodes()}
        for run in self.play.world.runs.values():
            assert run.node in alive
        coming = [node for node in self.play.nodes() if node.state is NodeState.WAITING_FOR_START_TASK]
        coming += [node for node in self.play.nodes() if node.state in BOOTING and self.play.world.next_due() is None]
        assert {node.id.lower() for node in coming} <= {run.node for run in self.play.world.runs.values()}

    @invariant()
    def nothing_is_due_in_the_past(self) -> None:
        self.play.after(seconds=0)
        due = self.play.world.next_due()
        assert due is None or due > self.play.now


Laws.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestLaws = Laws.TestCase
