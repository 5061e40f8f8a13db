"""The environment of a command on a node. Pure.

Source: "Azure Batch runtime environment variables". Nothing of the emulator's own environment is passed on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from azbatch_emulator.commands import Run
from azbatch_emulator.runners.layout import Package, TaskPaths, expand

MARKER = "AZBATCH_EMULATOR_RUN"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a node finds around it: the account, its identity, the authorities to trust, the auto-storage.

    `token(resource, identity)` gives an access token of a node's identity (resource id), for the agent's own transfers.
    """

    account: str
    account_url: str
    identity_url: Callable[[str], str]  # of the metadata service that nodes of a pool ask
    ca_bundle: Path
    storage_url: str | None
    token: Callable[[str, str], str]
    # (version, URL of its blob) for an application and a version, or the default one; None where there is none.
    package: Callable[[str, str | None], tuple[str, str] | None] = lambda _application, _version: None
    proxy: str = ""  # that leads to the storage by its name on Azure; "" for none


def node_path() -> str:
    """PATH of a node: the interpreter's directory stands for the node's image, then the system's."""
    return f"{Path(sys.executable).parent}:{SYSTEM_PATH}"


def build(
    command: Run,
    paths: TaskPaths,
    surroundings: Surroundings,
    *,
    path: str,
    temporary: str,
    marker: str,
    packages: Iterable[Package] = (),
) -> dict[str, str]:
    """All variables of a command. The task's environmentSettings come last, and may refer to the others by `$NAME`."""
    environment = {
        "PATH": path,
        "LANG": "C.UTF-8",
        "HOME": str(paths.working),
        "TMPDIR": temporary,
        "AZ_BATCH_ACCOUNT_NAME": surroundings.account,
        "AZ_BATCH_ACCOUNT_URL": surroundings.account_url,
        "AZ_BATCH_NODE_ROOT_DIR": str(paths.node),
        "AZ_BATCH_NODE_SHARED_DIR": str(paths.node / "shared"),
        "AZ_BATCH_NODE_STARTUP_DIR": str(paths.node / "startup"),
        "AZ_BATCH_NODE_STARTUP_WORKING_DIR": str(paths.node / "startup" / "wd"),
        "AZ_BATCH_NODE_MOUNTS_DIR": str(paths.node / "fsmounts"),
        "AZ_BATCH_TASK_DIR": str(paths.task),
        "AZ_BATCH_TASK_WORKING_DIR": str(paths.working),
        **_preparation(command, paths),
        **_shared(command, paths),
        **{package.variable: str(package.directory(paths.node)) for package in packages},
        **command.environment,
        **_identity(surroundings, command.pool_id),
    }
    for setting in command.spec.get("environmentSettings") or ():
        environment[str(setting["name"])] = expand(str(setting.get("value") or ""), environment)
    environment[MARKER] = marker
    return environment


def _preparation(command: Run, paths: TaskPaths) -> Mapping[str, str]:
    if command.preparation_directory is None:
        return {}
    directory = paths.node / command.preparation_directory
    return {"AZ_BATCH_JOB_PREP_DIR": str(directory), "AZ_BATCH_JOB_PREP_WORKING_DIR": str(directory / "wd")}


def _shared(command: Run, paths: TaskPaths) -> Mapping[str, str]:
    if command.shared_directory is None:
        return {}
    return {"AZ_BATCH_TASK_SHARED_DIR": str(paths.node / command.shared_directory)}


def _identity(surroundings: Surroundings, pool_id: str) -> Mapping[str, str]:
    bundle = str(surroundings.ca_bundle)
    return {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": surroundings.identity_url(pool_id),
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "REQUESTS_CA_BUNDLE": bundle,
        "SSL_CERT_FILE": bundle,
        **_proxied(surroundings.proxy),
    }


def _proxied(proxy: str) -> Mapping[str, str]:
    return {"HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1,localhost"} if proxy else {}
