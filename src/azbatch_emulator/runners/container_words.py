"""What podman or docker is told to run a task: words, mounts, users, names. Pure.

Source: REST, BatchTaskContainerSettings ("additional options are supplied as arguments to the docker create command");
ContainerHostBatchBindMountEntry; "Run container applications on Azure Batch" (users; image names as docker has them).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azbatch_emulator.runners.layout import TaskPaths

DOCKER_HUB = "docker.io"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
# Podman and docker read these themselves: the container's are given by value, and none of them is secret.
OF_THE_ENGINE = frozenset({"HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"})
# These too, and what they hold may be secret: they go by a file.
_ALSO_READ = re.compile(r"^(DOCKER|CONTAINERS?|PODMAN|BUILDAH|STORAGE|XDG|LD)_|^(_|REGISTRY_AUTH_FILE|PATH)$")
_PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})


@dataclass(frozen=True, slots=True)
class User:
    """Who a container runs as. `kept`: of podman without root, which must be told to keep the numbers."""

    uid: int
    gid: int
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file with the same path inside as outside; `kept` False: an empty one that ends with the task."""

    path: Path
    read_only: bool = False
    kept: bool = True


def image_name(settings: Mapping[str, Any]) -> str:
    """The image a task asks for; nf-azure and others may write it with its scheme."""
    return str(settings.get("imageName") or "").removeprefix("docker://")


def full_name(image: str) -> str:
    """The name as docker reads it, with its registry, so that podman reads it alike."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"{DOCKER_HUB}/{image}" if slash else f"{DOCKER_HUB}/library/{image}"


def server_of(image: str) -> str:
    """The registry an image comes from."""
    return full_name(image).partition("/")[0]


def server_name(registry: Mapping[str, Any]) -> str:
    """The host of a `containerRegistries` entry, which may be written as an address; without one it is Docker's."""
    text = re.sub(r"^https?://", "", str(registry.get("registryServer") or ""))
    host = text.partition("/")[0].lower()
    return DOCKER_HUB if host in {"", "index.docker.io", "hub.docker.com", "registry-1.docker.io"} else host


def on_loopback(server: str) -> bool:
    """Whether a registry is this machine's: docker does not ask for TLS there."""
    host = server if server.endswith("]") else server.rpartition(":")[0] or server
    return host in LOOPBACK


def elevated(spec: Mapping[str, Any], pool: Mapping[str, Any]) -> bool:
    """Whether a task asks for an administrator: an automatic user, or one of the pool's userAccounts."""
    identity = spec.get("userIdentity") or {}
    accounts = {str(one.get("name")): one for one in pool.get("userAccounts") or ()}
    user = accounts.get(str(identity.get("username"))) or identity.get("autoUser") or {}
    return str(user.get("elevationLevel", "")).lower() == "admin"


def mounts(settings: Mapping[str, Any], paths: TaskPaths, preparation: str | None) -> list[Mount]:
    """The node's directories a container sees: all of them, or those that containerHostBatchBindMounts names.

    Raises ValueError for a name there is no directory for.
    """
    named = settings.get("containerHostBatchBindMounts")
    if named is None:
        return [Mount(paths.node)]
    known = {
        "shared": paths.node / "shared",
        "startup": paths.node / "startup",
        "vfsmounts": paths.node / "fsmounts",
        "applications": paths.node / "applications",
        "task": paths.task,
        **({"jobprep": paths.node / preparation} if preparation else {}),
    }
    found: list[Mount] = []
    for entry in named:
        source = str(entry.get("source") or "")
        if source.lower() not in known:
            raise ValueError(f"containerHostBatchBindMounts: the node has no directory '{source}' for this task")
        found.append(Mount(known[source.lower()], bool(entry.get("isReadOnly"))))
    if not any(paths.working.is_relative_to(mount.path) for mount in found):
        found.append(Mount(paths.working, kept=False))
    return found


def create_words(
    settings: Mapping[str, Any],
    words: Sequence[str],
    variables: Mapping[str, str],
    paths: TaskPaths,
    *,
    name: str,
    label: str,
    user: User,
    mounts: Sequence[Mount],
    limits: Mapping[str, tuple[int, int]],
    env_file: Path | None,
    own_path: str | None,
) -> list[str]:
    """The arguments of podman or docker that make a task's container. Raises ValueError for options with open quotes.

    Values of variables are not among them, since they may be secret: the engine finds them in its environment, those of
    `by_file` in `env_file`. `own_path` is the PATH that the task asks for; by default the image's holds.
    """
    options = shlex.split(str(settings.get("containerRunOptions") or ""))
    arguments = ["create", "--name", name, "--label", label, "--pull", "never", "--user", f"{user.uid}:{user.gid}"]
    if user.kept:
        arguments += ["--userns", "keep-id"]
    if not any(option.split("=")[0] in {"--network", "--net"} for option in options):
        # Tasks reach storage and identity on loopback.
        arguments += ["--network", "host"]
    for limit, (soft, hard) in limits.items():
        arguments += ["--ulimit", f"{limit}={soft}:{hard}"]
    for mount in mounts:
        if mount.kept:
            arguments += ["--volume", f"{mount.path}:{mount.path}{':ro' if mount.read_only else ''}"]
        else:
            arguments += ["--tmpfs", f"{mount.path}:mode=1777"]
    if str(settings.get("workingDirectory") or "").lower() != "containerimagedefault":
        arguments += ["--workdir", str(paths.working)]
    filed = by_file(variables)
    for variable, value in variables.items():
        if variable not in filed and variable != "PATH":
            arguments += ["--env", f"{variable}={value}" if variable in OF_THE_ENGINE else variable]
    if env_file is not None:
        arguments += ["--env-file", str(env_file)]
    if own_path is not None:
        arguments += ["--env", f"PATH={own_path}"]
    return [*arguments, *options, str(settings["imageName"]), *words]


def by_file(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that would change what the engine itself does, if it found them in its environment."""
    return {name: value for name, value in variables.items() if _ALSO_READ.match(name) and name != "PATH"}


def engine_environment(own: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The engine's environment: our own without proxies, which it would pass on, and the task's variables."""
    filed = by_file(variables)
    kept = {name: value for name, value in variables.items() if name not in {"PATH", *OF_THE_ENGINE, *filed}}
    return {**{name: value for name, value in own.items() if name.lower() not in _PROXIES}, **kept}
