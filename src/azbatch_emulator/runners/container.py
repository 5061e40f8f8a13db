"""Runs tasks with containerSettings in containers of podman or docker, all others as processes.

Source: REST, TaskContainerSettings: "all directories recursively below the AZ_BATCH_NODE_ROOT_DIR are mapped into the
container, all Task environment variables are mapped into the container, and the Task command line is executed in the
container". The node's directories have the same path inside as outside.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azbatch_emulator import faults
from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.records import Fault
from azbatch_emulator.runners import command_line
from azbatch_emulator.runners.environment import Surroundings
from azbatch_emulator.runners.layout import TaskPaths
from azbatch_emulator.runners.process import Active, ProcessRunner
from azbatch_emulator.runners.transfers import Cancelled

COMMAND = "AZBATCH_EMULATOR_CONTAINER_COMMAND"
MOST = 16_384  # open files, and processes, of a container
PULL_SECONDS, REMOVE_SECONDS = 600.0, 20.0
# Podman and docker read these themselves: the container's are given by value, and none of them is secret.
_OF_THE_ENGINE = ("HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


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


def run_words(
    settings: Mapping[str, Any],
    words: Sequence[str],
    variables: Mapping[str, str],
    paths: TaskPaths,
    *,
    name: str,
    mounts: Sequence[Path],
    limits: Mapping[str, tuple[int, int]],
    own_path: str | None,
) -> list[str]:
    """The arguments of podman or docker for a task. Pure. Values of variables are not among them: they may be secret.

    `own_path` is the PATH that the task asks for; by default the image's holds.
    """
    options = shlex.split(str(settings.get("containerRunOptions") or ""))
    arguments = ["run", "--rm", "--name", name, "--pull", "never"]
    if not any(option.split("=")[0] in {"--network", "--net"} for option in options):
        # Tasks reach storage and identity on loopback.
        arguments += ["--network", "host"]
    for limit, (soft, hard) in limits.items():
        arguments += ["--ulimit", f"{limit}={soft}:{hard}"]
    for mount in mounts:
        arguments += ["--volume", f"{mount}:{mount}"]
    if settings.get("workingDirectory", "taskWorkingDirectory").lower() != "containerimagedefault":
        arguments += ["--workdir", str(paths.working)]
    for variable, value in variables.items():
        if variable == "PATH":
            continue
        arguments += ["--env", f"{variable}={value}" if variable in _OF_THE_ENGINE else variable]
    if own_path is not None:
        arguments += ["--env", f"PATH={own_path}"]
    return [*arguments, *options, str(settings["imageName"]), *words]


class ContainerRunner(ProcessRunner):
    """A ProcessRunner whose tasks with containerSettings run in containers. Raises EmulatorError without an engine."""

    def __init__(self, root: Path, surroundings: Surroundings, owner: str) -> None:
        super().__init__(root, surroundings, owner)
        self._engine = engine(os.environ)
        self._told_of_containers = True
        self._pulls: dict[str, asyncio.Lock] = {}

    async def _before_launch(self, active: Active) -> Fault | None:
        """See that the task's image is there: pulled once, whoever asks for it first."""
        settings = active.command.spec.get("containerSettings")
        if not settings:
            return None
        image = str(settings.get("imageName") or "").removeprefix("docker://")
        if settings.get("registry"):
            # Refused rather than pulled without what it asks for.
            return faults.fault(
                "ContainerInvalidRegistry",
                Image=image,
                Message="The emulator does not sign in to registries; pull the image yourself and leave registry out",
            )
        async with self._pulls.setdefault(image, asyncio.Lock()):
            if active.cancelled.is_set():
                raise Cancelled
            return await asyncio.to_thread(self._provide, image)

    def _provide(self, image: str) -> Fault | None:
        if self._call("image", "inspect", image)[0] == 0:
            return None
        code, told = self._call("pull", "--quiet", image)
        if code == 0:
            return None
        return faults.fault("ContainerInvalidImage", Image=image, Message=told.strip().splitlines()[-1] if told else "")

    def _call(self, *words: str, timeout: float = PULL_SECONDS) -> tuple[int, str]:
        try:
            done = subprocess.run(  # noqa: S603
                [*self._engine, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1, f"{words[0]} did not end within {timeout:.0f} s"
        return done.returncode, done.stderr

    def _launch(self, active: Active, paths: TaskPaths, variables: dict[str, str]) -> Fault | None:
        spec = active.command.spec
        settings = spec.get("containerSettings")
        if not settings:
            return super()._launch(active, paths, variables)
        try:
            words = command_line.split(str(spec.get("commandLine", "")))
            mounts = [paths.node, Path(variables["TMPDIR"]), Path(self._surroundings.ca_bundle)]
            asked = [str(one["name"]) for one in spec.get("environmentSettings") or ()]
            arguments = run_words(
                {**settings, "imageName": str(settings.get("imageName") or "").removeprefix("docker://")},
                words,
                variables,
                paths,
                name=_name(active),
                mounts=mounts,
                limits=limits(),
                own_path=variables["PATH"] if "PATH" in asked else None,
            )
        except ValueError as error:
            return faults.fault("CommandLaunchFailed", Message=f"{error}")
        executable = shutil.which(self._engine[0])
        if executable is None:
            return faults.fault("CommandProgramNotFound", Message=f"{self._engine[0]} is no longer on PATH")
        kept = {name: value for name, value in variables.items() if name not in {"PATH", *_OF_THE_ENGINE}}
        return self._popen(active, paths, [*self._engine, *arguments], executable, {**os.environ, **kept})

    async def _wait(self, active: Active, began: float) -> tuple[int, bool]:
        code, in_time = await super()._wait(active, began)
        if active.command.spec.get("containerSettings") and (active.cancelled.is_set() or not in_time):
            # The client is dead; its container is not.
            await asyncio.to_thread(self._call, "rm", "--force", _name(active), timeout=REMOVE_SECONDS)
        return code, in_time


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
