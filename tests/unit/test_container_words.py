"""What podman and docker are told: words, mounts, names; and who learns a registry's password."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from azbatch_emulator.runners import container_words as told
from azbatch_emulator.runners.layout import TaskPaths
from azbatch_emulator.runners.registries import Engine, Rejected, last_line, sign_in

PATHS = TaskPaths(Path("/n"), Path("/n/workitems/j/job-1/t"))


def created(settings: dict[str, Any], variables: dict[str, str] | None = None, **more: Any) -> list[str]:
    given = {"name": "c", "label": "l", "user": told.User(1, 2), "mounts": [], "limits": {}, "env_file": None}
    return told.create_words(
        {"imageName": "i", **settings},
        ["run", "me"],
        variables or {},
        PATHS,
        own_path=None,
        **{**given, **more},
    )


@pytest.mark.parametrize(
    ("image", "full", "server"),
    [
        ("ubuntu", "docker.io/library/ubuntu", "docker.io"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04", "docker.io"),
        ("bio/tool:1", "docker.io/bio/tool:1", "docker.io"),
        ("r.example/tool", "r.example/tool", "r.example"),
        ("localhost/tool", "localhost/tool", "localhost"),
        ("127.0.0.1:5000/a/tool:1", "127.0.0.1:5000/a/tool:1", "127.0.0.1:5000"),
    ],
)
def test_names_are_docker_s(image: str, full: str, server: str) -> None:
    """Podman is asked for what docker would pull."""
    assert (told.full_name(image), told.server_of(image)) == (full, server)


@pytest.mark.parametrize(
    ("given", "server", "loopback"),
    [
        (None, "docker.io", False),
        ("https://index.docker.io/v1/", "docker.io", False),
        ("R.example", "r.example", False),
        ("http://127.0.0.1:5000", "127.0.0.1:5000", True),
        ("localhost:5000", "localhost:5000", True),
        ("[::1]:5000", "[::1]:5000", True),
        ("127.0.0.1.example", "127.0.0.1.example", False),
    ],
)
def test_registries_by_host(given: str | None, server: str, loopback: bool) -> None:
    """A registry may be given as an address; only loopback's may do without TLS."""
    assert told.server_name({"registryServer": given}) == server
    assert told.on_loopback(server) is loopback


def test_values_of_variables_are_not_on_the_command_line() -> None:
    """They may be secret: the engine has them from its environment, or from a file where it would read them itself."""
    variables = {"MINE": "secret 1", "DOCKER_AUTH": "secret 2", "HOME": "/h", "PATH": "/p", "REGISTRY_AUTH_FILE": "f"}
    words = created({}, variables, env_file=Path("/e"))
    assert "secret" not in " ".join(words)
    assert words[words.index("MINE") - 1] == "--env"
    assert "HOME=/h" in words
    assert words[words.index("--env-file") + 1] == "/e"
    assert told.by_file(variables) == {"DOCKER_AUTH": "secret 2", "REGISTRY_AUTH_FILE": "f"}
    own = {"PATH": "/bin", "HTTPS_PROXY": "x", "no_proxy": "y", "DOCKER_HOST": "h"}
    assert told.engine_environment(own, variables) == {"PATH": "/bin", "DOCKER_HOST": "h", "MINE": "secret 1"}


def test_the_users_options_come_last_and_keep_their_quotes() -> None:
    """So that they win over ours; a network of their own takes the place of the machine's."""
    words = created({"containerRunOptions": "--env 'A=b c' --workdir /x --network=none"})
    assert words[-8:] == ["--env", "A=b c", "--workdir", "/x", "--network=none", "i", "run", "me"]
    assert "host" not in words
    assert words[words.index("--user") + 1] == "1:2"
    assert "host" in created({})
    with pytest.raises(ValueError, match="quotation"):
        created({"containerRunOptions": "'"})


@pytest.mark.parametrize(
    ("identity", "root"),
    [
        (None, False),
        ({"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}, False),
        ({"autoUser": {"scope": "task", "elevationLevel": "Admin"}}, True),
        ({"username": "chief"}, True),
        ({"username": "clerk"}, False),
        ({"username": "nobody"}, False),
    ],
)
def test_who_is_root_in_a_container(identity: dict[str, Any] | None, root: bool) -> None:
    """An automatic user or a named one of the pool, with elevationLevel admin; nobody else."""
    accounts = [{"name": "chief", "elevationLevel": "admin"}, {"name": "clerk"}]
    assert told.elevated({"userIdentity": identity}, {"userAccounts": accounts}) is root


def test_the_working_directory() -> None:
    """The task's, unless the image's is asked for."""
    assert created({})[created({}).index("--workdir") + 1] == "/n/workitems/j/job-1/t/wd"
    assert "--workdir" not in created({"workingDirectory": "containerImageDefault"})


def test_mounts() -> None:
    """All of the node by default; else what is named, and the working directory in any case."""
    named = [
        {"source": "Shared", "isReadOnly": True},
        *({"source": name} for name in ("Startup", "VfsMounts", "JobPrep", "Applications", "task")),
    ]
    assert told.mounts({}, PATHS, None) == [told.Mount(PATHS.node)]
    found = told.mounts({"containerHostBatchBindMounts": named}, PATHS, "workitems/j/job-1/prep")
    assert found == [
        told.Mount(Path("/n/shared"), read_only=True),
        *(told.Mount(Path("/n") / name) for name in ("startup", "fsmounts", "workitems/j/job-1/prep", "applications")),
        told.Mount(PATHS.task),
    ]
    assert told.mounts({"containerHostBatchBindMounts": []}, PATHS, None) == [told.Mount(PATHS.working, kept=False)]
    with pytest.raises(ValueError, match="JobPrep"):
        told.mounts({"containerHostBatchBindMounts": [{"source": "JobPrep"}]}, PATHS, None)
    words = created({}, mounts=found[:1] + told.mounts({"containerHostBatchBindMounts": []}, PATHS, None))
    assert "/n/shared:/n/shared:ro" in words
    assert words[words.index("--tmpfs") + 1] == f"{PATHS.working}:mode=1777"


def engine(folder: Path, code: int) -> Engine:
    """A program called podman that writes down what it is told, and repeats the password as a careless one would."""
    program = folder / "podman"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {folder}/words\npassword=$(cat)\necho "$password" > {folder}/password\n'
        f"echo 'Error: no' \"$password\" >&2\nexit {code}\n"
    )
    program.chmod(stat.S_IRWXU)
    return Engine((str(program),))


def test_a_password_goes_by_standard_input(tmp_path: Path) -> None:
    """It is in no word and in no message, whatever the engine tells."""
    registry = {"registryServer": "127.0.0.1:9", "username": "u", "password": "secret"}
    sign_in(engine(tmp_path, 0), [registry, {"registryServer": "open.example"}], "", {}, 10.0)
    assert (tmp_path / "words").read_text() == "login --username u --password-stdin --tls-verify=false 127.0.0.1:9\n"
    assert (tmp_path / "password").read_text() == "secret\n"
    with pytest.raises(Rejected) as rejected:
        sign_in(engine(tmp_path, 1), [registry], "", {}, 10.0)
    assert rejected.value.fault.code == "ContainerInvalidRegistry"
    assert dict(rejected.value.fault.details) == {"ContainerRegistry": "127.0.0.1:9", "Message": "Error: no ***"}


def test_a_user_and_an_identity_exclude_each_other(tmp_path: Path) -> None:
    """Nobody is let in by a guess which of the two is meant."""
    registry = {"registryServer": "r.example", "username": "u", "identityReference": {"resourceId": "/i"}}
    with pytest.raises(Rejected):
        sign_in(engine(tmp_path, 0), [registry], "", {}, 10.0)
    assert not (tmp_path / "words").exists()


def test_the_last_line_of_an_engine() -> None:
    """What it says last is why; nothing is an empty reason."""
    assert last_line("a\nb \n\n") == "b"
    assert last_line("") == ""
