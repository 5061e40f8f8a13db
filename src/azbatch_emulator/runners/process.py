"""Runs commands as real processes, in the directory layout and environment of a Batch node, as this machine's user."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from azbatch_emulator import faults, processes
from azbatch_emulator.commands import DropDirectory, Kill, MakeNode, PutFile, RemoveNode, Run
from azbatch_emulator.events import RunEnded, RunStarted
from azbatch_emulator.records import Fault
from azbatch_emulator.runners import Report, command_line, environment
from azbatch_emulator.runners.environment import MARKER, Surroundings
from azbatch_emulator.runners.layout import NODE_DIRECTORIES, Package, TaskPaths, inside, mounts, references
from azbatch_emulator.runners.packages import Deployments
from azbatch_emulator.runners.transfers import Cancelled, TransferFailed, Transfers

log = logging.getLogger(__name__)
WORKERS = 8
CLOSE_SECONDS = 10.0  # for transfers that hang in a dead connection
TRASH, TEMPORARY = ".trash", ".temporary"  # beside the pools, whose ids have no dots
T = TypeVar("T")


@dataclass(slots=True)
class Active:
    """A run under way."""

    command: Run
    marker: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    container: str | None = None  # that it has begun in


class ProcessRunner:
    """`root` holds the nodes, as `<pool>/<node>/...`; `owner` marks all our processes, so that leftovers are found.

    What is to be told once is kept in `told`, which the runners of one emulator share.
    All methods belong to the event loop's thread. Files move in a few threads of our own.
    """

    runs_containers = False

    def __init__(self, root: Path, surroundings: Surroundings, owner: str, told: set[str] | None = None) -> None:
        self._root = root
        self._surroundings = surroundings
        self._owner = owner
        self._transfers = Transfers(surroundings)
        self._deployments = Deployments(self._transfers)
        self._active: dict[str, Active] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._temporary: Path | None = None
        self._to_sweep: set[str] = set()
        self._lingering: dict[str, str] = {}  # coordination run that has ended -> its marker
        self._sweeping = False
        self._told = set() if told is None else told

    # Nodes

    def make_node(self, command: MakeNode) -> None:
        node = self._node(command.pool_id, command.node_id)
        for name in NODE_DIRECTORIES:
            (node / name).mkdir(parents=True, exist_ok=True)

    def remove_node(self, command: RemoveNode) -> None:
        for active in list(self._active.values()):
            if (active.command.pool_id, active.command.node_id) == (command.pool_id, command.node_id):
                self._end(active)
        self._sweep_soon(self._marker(command.pool_id, command.node_id))
        self._drop(self._node(command.pool_id, command.node_id))

    def drop_directory(self, command: DropDirectory) -> None:
        self._drop(self._node(command.pool_id, command.node_id) / command.directory)

    def put_file(self, command: PutFile) -> bool:
        self._spawn(self._put_file(command))
        return True

    async def _put_file(self, command: PutFile) -> None:
        try:
            await self._in_thread(
                lambda: self._transfers.put_bytes(
                    command.content, command.container_url, command.name, command.identity
                )
            )
        except TransferFailed as failed:
            log.warning("%s could not be written: %s", command.name, failed.fault.code)

    def _node(self, pool_id: str, node_id: str) -> Path:
        return self._root / pool_id / node_id

    def _marker(self, *names: str) -> str:
        return "/".join((self._owner, *names)) + "/"

    def _drop(self, path: Path) -> None:
        """Out of sight at once, deleted in a thread: its name may be needed again."""
        trash = self._root / TRASH / uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            trash.parent.mkdir(parents=True, exist_ok=True)
            path.rename(trash)
            self._spawn(asyncio.to_thread(shutil.rmtree, trash, ignore_errors=True))

    # Runs

    def start(self, command: Run, report: Report) -> None:
        active = Active(command, self._marker(command.pool_id, command.node_id, command.run))
        self._active[command.run] = active
        self._spawn(self._run(active, report))

    def kill(self, command: Kill) -> None:
        active, marker = self._active.get(command.run), self._lingering.pop(command.run, None)
        if active is not None:
            self._end(active)
        elif marker is not None:
            self._sweep_soon(marker)

    def _end(self, active: Active) -> None:
        active.cancelled.set()
        if active.process is not None:
            processes.kill_group(active.process.pid)
        self._sweep_soon(active.marker)

    async def _run(self, active: Active, report: Report) -> None:
        command, code, failure = active.command, None, None
        if not active.cancelled.is_set():
            report(RunStarted(run=command.run))
            try:
                code, failure = await (self._pull(active) if command.kind == "pull" else self._carry_out(active))
            except Cancelled:
                log.debug("%s was killed", command.run)
            except Exception as error:
                log.exception("%s of task %s failed in the emulator", command.run, command.task_id)
                failure = faults.fault("Unknown", Message=f"{type(error).__name__}: {error}")
        del self._active[command.run]
        if not active.cancelled.is_set():
            report(RunEnded(run=command.run, exit_code=code, failure=failure, container=active.container))

    async def _carry_out(self, active: Active) -> tuple[int | None, Fault | None]:
        command, began = active.command, time.monotonic()
        paths = self._prepare(command)
        packages = self._packages(command)
        variables = environment.build(
            command,
            paths,
            self._surroundings,
            path=environment.node_path(),
            temporary=self._temporary_directory(),
            marker=active.marker,
            packages=packages,
        )
        stopped = active.cancelled.is_set
        failure, into = None, paths.working
        if command.kind == "coordination":
            into = paths.node / (command.shared_directory or command.directory)
        if packages:
            failure = await self._in_thread(lambda: self._deployments.deploy(paths.node, packages, stopped))
        if failure is None and command.spec.get("resourceFiles"):
            failure = await self._in_thread(lambda: self._transfers.fetch(command.spec, into, stopped))
        if failure is None:
            failure = await self._before_launch(active, paths, variables)
        if failure is None:
            failure = self._launch(active, paths, variables)
        if failure is not None:
            return None, failure
        code, in_time = await self._wait(active, began)
        if active.cancelled.is_set():
            raise Cancelled
        failure = faults.exit_code(code) if code else None
        if not in_time and command.max_wall_clock is not None:
            failure = faults.out_of_time(command.max_wall_clock)
        if command.spec.get("outputFiles"):
            good = failure is None
            not_put = await self._in_thread(lambda: self._transfers.put(command.spec, paths, variables, good, stopped))
            failure = failure or not_put
        return code, failure

    def _packages(self, command: Run) -> list[Package]:
        """The packages of the pool and of the task."""
        found: list[Package] = []
        for application, version in references(command.pool, command.spec):
            there = self._surroundings.package(application, version)
            found.append(
                Package(
                    application=application,
                    version=there[0] if there else version or "default",
                    by_default=version is None,
                    url=there[1] if there else None,
                )
            )
        return found

    def _prepare(self, command: Run) -> TaskPaths:
        """Fresh directories for each start of a task; a start task meets what it left before a reboot."""
        node = self._node(command.pool_id, command.node_id)
        paths = TaskPaths(node, node / command.directory)
        for mount in mounts(command.pool):
            inside(node / "fsmounts", mount).mkdir(parents=True, exist_ok=True)
        if command.kind != "start" and command.fresh:
            self._drop(node / (command.shared_directory or command.directory))
        paths.working.mkdir(parents=True, exist_ok=True)
        for output in (paths.stdout, paths.stderr):
            output.open("wb" if command.fresh else "ab").close()
        if command.spec.get("containerSettings"):
            self._tell_of_images()
        return paths

    def _tell_of_images(self) -> None:
        if not self.runs_containers and "images" not in self._told:
            self._told.add("images")
            log.warning("container images are ignored: commands run on this machine (see --runner container)")

    async def _pull(self, active: Active) -> tuple[int | None, Fault | None]:
        """Have a node's container images ready: here there is nothing to do but to say that they are ignored."""
        if active.command.spec.get("containerImageNames"):
            self._tell_of_images()
        return 0, None

    async def _before_launch(self, _active: Active, _paths: TaskPaths, _variables: dict[str, str]) -> Fault | None:
        """What a kind of runner needs before the command can begin."""
        return None

    def _launch(self, active: Active, paths: TaskPaths, variables: dict[str, str]) -> Fault | None:
        text = str(active.command.spec.get("commandLine", ""))
        try:
            words = command_line.split(text)
        except ValueError as error:
            return faults.fault("CommandLaunchFailed", Message=f"{error}")
        if not words:
            return faults.fault("CommandLaunchFailed", Message="The command line is empty")
        executable = command_line.program(words, paths.working, variables["PATH"])
        if executable is None:
            return faults.fault("CommandProgramNotFound", Message=f"There is no program {words[0]!r} on the node")
        return self._popen(active, paths, words, executable, variables)

    @staticmethod
    def _popen(
        active: Active, paths: TaskPaths, words: list[str], executable: str, variables: dict[str, str]
    ) -> Fault | None:
        if active.cancelled.is_set():
            raise Cancelled
        try:
            with paths.stdout.open("ab") as out, paths.stderr.open("ab") as err:
                active.process = subprocess.Popen(  # noqa: S603 - running what users ask for is the purpose
                    words,
                    executable=executable,
                    cwd=paths.working,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            return faults.fault("CommandLaunchFailed", Message=f"{words[0]}: {error}")
        return None

    async def _wait(self, active: Active, began: float) -> tuple[int, bool]:
        """(exit code, whether it ended within its time); a signal counts as 128 + its number, as a shell says it."""
        process, limit = active.process, active.command.max_wall_clock
        assert process is not None
        in_time = await _ended(process.pid, _left(limit, began))
        lingers = active.command.kind == "coordination" and in_time
        if not lingers:
            # Before its leader is waited for, the group's number is still its own: end what was left in it.
            processes.kill_group(process.pid)
        if not in_time:
            await _ended(process.pid, None)
        code = process.wait()
        active.process = None
        if lingers and code == 0:
            self._lingering[active.command.run] = active.marker  # what it began serves the primary
        else:
            self._sweep_soon(active.marker)
        return (code if code >= 0 else 128 - code), in_time

    # What was left over

    def _sweep_soon(self, marker: str) -> None:
        """Find and end what left its group. One look at all processes serves any number of runs that end together."""
        self._to_sweep.add(marker)
        if not self._sweeping:
            self._sweeping = True
            self._spawn(self._sweep())

    async def _sweep(self) -> None:
        await asyncio.sleep(0)
        while self._to_sweep:
            markers, self._to_sweep = tuple(self._to_sweep), set()
            await asyncio.to_thread(_kill_below, markers)
        self._sweeping = False

    async def close(self) -> None:
        """End every run and wait until none of our processes is left. The runner may be used again."""
        for active in list(self._active.values()):
            self._end(active)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_SECONDS)
        await asyncio.to_thread(_kill_below, (self._marker(),))
        self._lingering.clear()
        self._transfers.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            (self._root / TEMPORARY).unlink(missing_ok=True)
            self._temporary = None

    # Threads

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="azbatch-runner")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _temporary_directory(self) -> str:
        """TMPDIR of the nodes: short, since sockets are made in it and their paths are limited to 108 characters."""
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="azbatch-"))
            (self._root / TEMPORARY).write_text(str(self._temporary))
        return str(self._temporary)


def drop_files(root: Path) -> None:
    """Delete all nodes below `root`, and the temporary directory of a runner that was killed."""
    drop_temporary(root)
    shutil.rmtree(root, ignore_errors=True)


def drop_temporary(root: Path) -> None:
    """Delete what a runner that was killed had in its temporary directory, and was about to delete."""
    with contextlib.suppress(OSError):
        shutil.rmtree((root / TEMPORARY).read_text())
    shutil.rmtree(root / TRASH, ignore_errors=True)


def _kill_below(markers: tuple[str, ...]) -> None:
    processes.kill_marked(MARKER, lambda value: value.startswith(markers))


def _left(limit: timedelta | None, began: float) -> float | None:
    return None if limit is None else max(0.0, limit.total_seconds() - (time.monotonic() - began))


async def _ended(pid: int, timeout: float | None) -> bool:
    """Wait, without a thread, until a child has ended; False if it has not after `timeout` seconds."""
    loop, ended, handle = asyncio.get_running_loop(), asyncio.Event(), os.pidfd_open(pid)
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(timeout):
            await ended.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return True
