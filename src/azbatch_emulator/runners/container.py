"""Runs tasks with containerSettings in containers of podman or docker, all others as processes.

Source: REST, TaskContainerSettings: "all directories recursively below the AZ_BATCH_NODE_ROOT_DIR are mapped into the
container, all Task environment variables are mapped into the container, and the Task command line is executed in the
container". The node's directories have the same path inside as outside. All nodes share the machine's images.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azbatch_emulator import faults
from azbatch_emulator.commands import MakeNode
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.records import Fault
from azbatch_emulator.runners import command_line, container_words
from azbatch_emulator.runners.environment import MARKER, Surroundings
from azbatch_emulator.runners.layout import NODE_DIRECTORIES, TaskPaths
from azbatch_emulator.runners.process import Active, ProcessRunner
from azbatch_emulator.runners.registries import Engine, Rejected, last_line, sign_in
from azbatch_emulator.runners.transfers import Cancelled

COMMAND = "AZBATCH_EMULATOR_CONTAINER_COMMAND"
LABEL = "azbatch-emulator"
MOST = 16_384  # open files, and processes, of a container
PULL_SECONDS, CALL_SECONDS = 600.0, 60.0
TASK_USER = 60_999  # where the emulator is root: who tasks without elevation are, as on a node, nobody of this machine
_NEVER = "0001-01-01"  # when a container that did not start was started
_ABSENT = re.compile(r"not found|no such file", re.I)


def _registries(pool: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The containerRegistries of a pool's body."""
    machine = pool.get("virtualMachineConfiguration") or {}
    return (machine.get("containerConfiguration") or {}).get("containerRegistries") or ()


def engine(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The words that start podman or docker: what the variable COMMAND says, else what is on PATH.

    Raises EmulatorError where there is neither.
    """
    words = tuple(shlex.split(environ.get(COMMAND, "")))
    found = words or tuple(name for name in ("podman", "docker") if shutil.which(name, path=environ.get("PATH")))[:1]
    if not found or shutil.which(found[0], path=environ.get("PATH")) is None:
        raise EmulatorError(
            "The container runner needs podman or docker, and neither is on PATH; "
            "install one, or start the emulator with: --runner process"
        )
    return found


class ContainerRunner(ProcessRunner):
    """A ProcessRunner whose tasks with containerSettings run in containers. Raises EmulatorError without an engine."""

    runs_containers = True

    def __init__(self, root: Path, surroundings: Surroundings, owner: str) -> None:
        super().__init__(root, surroundings, owner)
        self._engine = Engine(engine(os.environ))
        self._label = f"{LABEL}={owner}"
        self._pulls: dict[str, asyncio.Lock] = {}
        self._there: dict[str, str] = {}  # image as asked for -> as the engine knows it
        self._containers: dict[str, str] = {}  # run -> container
        self._cleaned: asyncio.Task[None] | None = None
        self._is_root = os.getuid() == 0
        if self._is_root:
            # Public certificates, in a folder of ours alone; inside a container others read them too.
            Path(surroundings.ca_bundle).chmod(0o644)

    # Nodes

    def make_node(self, command: MakeNode) -> None:
        super().make_node(command)
        if self._is_root:
            node = self._node(command.pool_id, command.node_id)
            for name in NODE_DIRECTORIES:
                os.chown(node / name, TASK_USER, TASK_USER)

    async def _pull(self, active: Active) -> tuple[int | None, Fault | None]:
        command = active.command
        registries = list(command.spec.get("containerRegistries") or ())
        images = [str(name).removeprefix("docker://") for name in command.spec.get("containerImageNames") or ()]
        async with self._pulls.setdefault(command.pool_id.lower(), asyncio.Lock()):
            if active.cancelled.is_set():
                raise Cancelled
            failure = await self._in_thread(lambda: self._provide(active, images, registries))
        return (0, None) if failure is None else (None, failure)

    # Images

    def _is_there(self, image: str) -> bool:
        if image not in self._there and self._engine.call("image", "inspect", image, timeout=CALL_SECONDS)[0] == 0:
            self._there[image] = image
        return image in self._there

    def _provide(self, active: Active, images: Sequence[str], registries: Sequence[Mapping[str, Any]]) -> Fault | None:
        """Sign in to the registries, and pull what is not there yet; the first thing that fails."""
        with _private_folder() as folder:
            # Both engines keep there, for this folder's life, what lets them into a registry.
            kept = {"DOCKER_CONFIG": str(folder), "REGISTRY_AUTH_FILE": str(folder / "config.json")}
            environment = {**os.environ, **(kept if registries else {}), MARKER: active.marker}
            identity_url = self._surroundings.identity_url(active.command.pool_id)
            try:
                sign_in(self._engine, registries, identity_url, environment, CALL_SECONDS)
            except Rejected as rejected:
                return rejected.fault
            for image in images:
                if self._is_there(image):
                    continue
                name, server = container_words.full_name(image), container_words.server_of(image)
                words = ["pull", "--quiet", *self._engine.tls_words(server), name]
                code, _, said = self._engine.call(*words, timeout=PULL_SECONDS, environment=environment)
                if code:
                    return faults.fault("ContainerInvalidImage", ContainerImage=image, Message=last_line(said))
                self._there[image] = name
        return None

    # Tasks

    async def _before_launch(self, active: Active, paths: TaskPaths, variables: dict[str, str]) -> Fault | None:
        settings = active.command.spec.get("containerSettings")
        if not settings:
            return None
        await self._clean()
        failure = await self._image_of(active, settings)
        if failure is None and not active.cancelled.is_set():
            failure = await self._in_thread(lambda: self._create(active, settings, paths, variables))
        return failure

    async def _image_of(self, active: Active, settings: Mapping[str, Any]) -> Fault | None:
        """Pull a task's image unless it is there, with the task's registry or the pool's."""
        image = container_words.image_name(settings)
        own, known = settings.get("registry"), _registries(active.command.pool)
        server = container_words.server_of(image)
        registries = [own] if own else [one for one in known if container_words.server_name(one) == server]
        async with self._pulls.setdefault(image, asyncio.Lock()):
            if active.cancelled.is_set():
                raise Cancelled
            if await self._in_thread(lambda: self._is_there(image)):
                return None
            return await self._in_thread(lambda: self._provide(active, [image], registries))

    def _create(
        self, active: Active, settings: Mapping[str, Any], paths: TaskPaths, variables: dict[str, str]
    ) -> Fault | None:
        spec, image = active.command.spec, container_words.image_name(settings)
        asked = {str(one["name"]) for one in spec.get("environmentSettings") or ()}
        ours = [
            container_words.Mount(Path(variables["TMPDIR"])),
            container_words.Mount(Path(self._surroundings.ca_bundle), read_only=True),
        ]
        filed = container_words.by_file(variables)
        try:
            with _private_folder() as folder:
                arguments = container_words.create_words(
                    {**settings, "imageName": self._there.get(image, image)},
                    command_line.split(str(spec.get("commandLine", ""))),
                    variables,
                    paths,
                    name=_name(active),
                    label=self._label,
                    user=self._user(active, paths),
                    mounts=[*container_words.mounts(settings, paths, active.command.preparation_directory), *ours],
                    limits=limits(),
                    env_file=_env_file(folder, filed) if filed else None,
                    own_path=variables["PATH"] if "PATH" in asked else None,
                )
                environment = container_words.engine_environment(os.environ, variables)
                code, out, said = self._engine.call(*arguments, timeout=CALL_SECONDS, environment=environment)
        except ValueError as error:
            return faults.fault("ContainerInvalidSettings", Message=f"{error}")
        if code:
            self._there.pop(image, None)
            reasons = [line for line in said.splitlines() if not line.startswith(("See ", "time="))]
            return faults.fault("ContainerInvalidSettings", Message=last_line("\n".join(reasons)))
        self._containers[active.command.run] = out.split()[-1]
        return None

    def _user(self, active: Active, paths: TaskPaths) -> container_words.User:
        """Root for elevated tasks; for the others whoever we are, or, where we are root, a user of their own."""
        if container_words.elevated(active.command.spec, active.command.pool):
            return container_words.User(0, 0)
        if not self._is_root:
            return container_words.User(os.getuid(), os.getgid(), kept=self._engine.is_podman)
        _hand_over(paths.node / (active.command.shared_directory or active.command.directory))
        os.chown(self._temporary_directory(), TASK_USER, TASK_USER)
        return container_words.User(TASK_USER, TASK_USER)

    def _launch(self, active: Active, paths: TaskPaths, variables: dict[str, str]) -> Fault | None:
        container = self._containers.get(active.command.run)
        if container is None:
            return super()._launch(active, paths, variables)
        executable = shutil.which(self._engine.words[0])
        if executable is None:
            return faults.fault("ContainerMiscError", Message=f"{self._engine.words[0]} is no longer on PATH")
        words = [*self._engine.words, "start", "--attach", container]
        return self._popen(
            active, paths, words, executable, container_words.engine_environment(os.environ, {MARKER: active.marker})
        )

    async def _carry_out(self, active: Active) -> tuple[int | None, Fault | None]:
        try:
            code, failure = await super()._carry_out(active)
        except NotStarted:
            active.container = None
            code, failure = None, await self._in_thread(lambda: self._why_not_started(active))
        finally:
            container = self._containers.pop(active.command.run, None)
            if container is not None:
                removal = asyncio.to_thread(self._remove, container)
                if active.cancelled.is_set():
                    await removal  # its client is dead, it is not
                else:
                    self._spawn(removal)
        if self._is_root and active.command.kind != "task":
            # What was made as root, by the node, is the tasks' to change.
            await self._in_thread(lambda: self._share(active))
        return code, failure

    def _share(self, active: Active) -> None:
        node = self._node(active.command.pool_id, active.command.node_id)
        for directory in (node / active.command.directory, node / "shared"):
            _hand_over(directory)

    async def _wait(self, active: Active, began: float) -> tuple[int, bool]:
        code, in_time = await super()._wait(active, began)
        container = self._containers.get(active.command.run)
        if container is None:
            return code, in_time
        active.container = container
        if active.cancelled.is_set() or not in_time:
            await asyncio.to_thread(self._remove, self._containers.pop(active.command.run))
        elif code:
            code = await self._in_thread(lambda: self._exit_code(container, code))
        return code, in_time

    def _exit_code(self, container: str, code: int) -> int:
        """What the command ended with, which the client may not tell. Raises NotStarted where it did not begin."""
        form = "{{.State.StartedAt}}|{{.State.ExitCode}}"
        failed, out, _ = self._engine.call("inspect", "--format", form, container, timeout=CALL_SECONDS)
        started, _, found = out.strip().partition("|")
        if failed or not found.lstrip("-").isdigit():
            return code
        if started.startswith(_NEVER):
            raise NotStarted
        return int(found)

    def _why_not_started(self, active: Active) -> Fault:
        stderr = self._node(active.command.pool_id, active.command.node_id) / active.command.directory / "stderr.txt"
        reason = last_line(stderr.read_text(errors="replace"))
        code = "CommandProgramNotFound" if _ABSENT.search(reason) else "ContainerMiscError"
        return faults.fault(code, Message=reason)

    def _remove(self, container: str) -> None:
        self._engine.call("rm", "--force", container, timeout=CALL_SECONDS)

    async def _clean(self) -> None:
        """Remove, once, the containers that an emulator with our name left when it was killed."""
        if self._cleaned is None:
            self._cleaned = asyncio.get_running_loop().create_task(asyncio.to_thread(self._remove_left))
        await asyncio.shield(self._cleaned)

    def _remove_left(self) -> None:
        _, out, _ = self._engine.call(
            "ps", "--all", "--quiet", "--filter", f"label={self._label}", timeout=CALL_SECONDS
        )
        for container in out.split():
            self._remove(container)


class NotStarted(Exception):
    """A container was made, and its command could not be begun."""


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder for what others must not read (0700), deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="azbatch-engine-") as name:
        yield Path(name)


def _env_file(folder: Path, variables: Mapping[str, str]) -> Path:
    """A file for the engine's --env-file. Raises ValueError for a value it cannot hold."""
    path = folder / "variables"
    path.touch(mode=0o600)
    for name, value in variables.items():
        if "\n" in value:
            raise ValueError(f"the environment variable {name} cannot have more than one line in a container")
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    return path


def _hand_over(directory: Path) -> None:
    """Let tasks without elevation own a directory and all below it; links are not followed."""
    for folder, _, files in os.walk(directory):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 - there may be many
            with contextlib.suppress(FileNotFoundError):
                os.lchown(path, TASK_USER, TASK_USER)


def _name(active: Active) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", active.marker).strip("-.")[-200:]


def limits() -> dict[str, tuple[int, int]]:
    """At most MOST: an engine's defaults, and even our own, may be above what a restricted machine lets it set."""
    numbers = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    found: dict[str, tuple[int, int]] = {}
    for name, number in numbers.items():
        soft, hard = (MOST if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(number))
        found[name] = (min(soft, MOST), min(hard, MOST))
    return found
