"""The container image's file and the systemd unit: what can be said of them without building or booting."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from azbatch_emulator.__main__ import health, main, serve

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "emulator-service.md").read_text()


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of the Containerfile, continued lines joined, comments dropped."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.M)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def understood(command: click.Command, arguments: list[str]) -> dict[str, object]:
    """The values of a command's parameters; it must understand all of its arguments."""
    with command.make_context(command.name, arguments) as context:
        return context.params


def test_the_image_starts_what_our_command_line_knows() -> None:
    """Its entry point and its health check parse; it listens for others only with a key, on the ports it exposes."""
    words = json.loads(of("ENTRYPOINT")[0])
    assert words[:4] == ["python", "-m", "azbatch_emulator", "serve"]
    options = understood(serve, words[4:])
    assert (options["allow_remote"], options["listen"]) == (True, "0.0.0.0")
    assert options["key_file"] == Path("/run/secrets/azbatch-key")
    assert of("EXPOSE") == [f"{options['https_port']} {options['blob_port']}"]
    check = json.loads(of("HEALTHCHECK")[0].partition("CMD")[2])
    assert check[:4] == [*words[:3], "health"]
    understood(health, check[4:])
    assert set(re.findall(r"azbatch_emulator (\w+)", " ".join(of("RUN")))) <= set(main.commands)


def test_the_image_is_no_roots_and_keeps_its_state() -> None:
    """The last user is an ordinary one that was made, the state a volume and the state folder of its environment."""
    user = [rest for name, rest in instructions() if name == "USER"][-1]
    assert user != "root"
    assert f"--shell /usr/sbin/nologin {user}" in " ".join(of("RUN"))
    assert [name for name, _ in instructions()].index("USER") > [name for name, _ in instructions()].index("RUN")
    (volume,) = of("VOLUME")
    assert f"AZBATCH_EMULATOR_STATE={volume}" in " ".join(of("ENV"))


def test_all_that_is_copied_is_there_and_let_through() -> None:
    """Sources of COPY exist in the checkout, and the ignore file, which keeps all else out, lets them in."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for rest in of("COPY") if "--from" not in rest for word in rest.split()[:-1]]
    assert copied
    assert set(copied) == allowed
    for name in copied:
        assert (ROOT / name).exists(), name
    stages = set(re.findall(r" AS (\w+)", "\n".join(of("FROM"))))
    assert set(re.findall(r"--from=(\w+)", "\n".join(of("COPY")))) <= stages


def unit() -> dict[str, list[str]]:
    """The settings of the unit, by name."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "azbatch-emulator.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_what_our_command_line_knows() -> None:
    """On loopback, as a user of its own, told when it is ready."""
    settings = unit()
    words = shlex.split(settings["ExecStart"][0])
    assert words[1:4] == ["-m", "azbatch_emulator", "serve"]
    assert understood(serve, words[4:])["listen"] == "127.0.0.1"
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp"):
        assert settings[name] == ["yes"], name
    assert (settings["ProtectSystem"], settings["Type"]) == (["strict"], ["notify"])
    assert settings["CapabilityBoundingSet"] == [""]
    state = f"AZBATCH_EMULATOR_STATE=%S/{settings['StateDirectory'][0]}"
    assert state in settings["Environment"][0].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd on this machine")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing wrong, and rates what it may do as little."""
    text = (DEPLOY / "azbatch-emulator.service").read_text()
    path = tmp_path / "azbatch-emulator.service"
    path.write_text(text.replace("/opt/azbatch/bin/python", sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-500:] + rated.stderr


def test_the_page_names_options_that_exist() -> None:
    """Every option on the page is one of our commands'; the container engines' own aside."""
    from azbatch.cli.emulator import start, status

    known = {one for command in (serve, start, status, health) for each in command.params for one in each.opts}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    engines = {"--secret", "--publish", "--volume", "--init", "--name", "--rm", "--detach", "--format", "--read-only"}
    engines |= {"--tmpfs", "--cap-drop", "--build-arg", "--now", "--cacert", "--network", "--ulimit"}
    assert used
    assert used - engines <= known
