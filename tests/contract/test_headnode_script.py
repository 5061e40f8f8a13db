"""prepare.sh run for real below a prefix, with the download hosts played by a TLS server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from azbatch.headnode import script
from tests.contract.vendors import Vendors, zipped

PYTHON = str(getattr(sys, "_base_executable", sys.executable))
OWN = zipped(
    {
        "nextflowhelper/__init__.py": b"",
        "azbatch-9.9.dist-info/METADATA": b"Metadata-Version: 2.1\nName: azbatch\nVersion: 9.9\n",
        "azbatch-9.9.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "azbatch-9.9.dist-info/entry_points.txt": b"[console_scripts]\nazbatch = nextflowhelper:x\n",
        "azbatch-9.9.dist-info/RECORD": b"",
    }
)


class Machine:
    """A folder that stands for a machine's file system."""

    def __init__(self, folder: Path, vendors: Vendors) -> None:
        self.root, self.vendors, self.folder = folder / "root", vendors, folder
        self.root.mkdir()

    def run(self, *options: str, mirror: bool = True, **changes: str) -> subprocess.CompletedProcess[str]:
        text = script.render(
            self.vendors.pins,
            version="9.9",
            lock=self.vendors.lock,
            wheel_name="azbatch-9.9-py3-none-any.whl",
            wheel=OWN,
        )
        path = self.folder / "prepare.sh"
        path.write_text(text)
        source = ["--mirror", self.vendors.url] if mirror else []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        return subprocess.run(
            ["bash", str(path), "--prefix", str(self.root), "--any-system", *source, *options],
            env={**kept, **self.vendors.environment(), **changes},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def says(self, *command: str) -> str:
        program = str(self.root / "usr/local/bin" / command[0])
        return subprocess.run([program, *command[1:]], capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Vendors(tmp_path, PYTHON) as vendors:
        yield Machine(tmp_path, vendors)


def test_a_machine_is_prepared_and_again(machine: Machine) -> None:
    """All is in place for every user, with what belongs together; a second run downloads and changes nothing; a new pin
    brings only its own step; the log has it all."""
    done = machine.run()
    assert done.returncode == 0, done.stdout
    home = machine.root / "opt/azbatch"
    assert machine.says("nextflow", "run", "x").split() == [
        "nextflow",
        str(home / "java"),
        str(home / "plugins"),
        "true",
        "run",
        "x",
    ]
    assert (home / "plugins/nf-azure-1.2.3/classes/META-INF/MANIFEST.MF").exists()
    assert machine.says("azcopy", "--version").strip() == "azcopy --version"
    assert machine.says("python", "-c", "import tinydep, nextflowhelper; print('both')").strip() == "both"
    assert (machine.root / "usr/local/bin/azbatch").exists()
    log = (machine.root / "var/log/azbatch-prepare.log").read_text()
    assert "Done: Java 1.2.3" in log
    asked = dict(machine.vendors.asked)
    again = machine.run()
    assert again.returncode == 0, again.stdout
    assert again.stdout.count("is there already") == 6
    assert dict(machine.vendors.asked) == asked
    machine.vendors.files["azcopy"] = machine.vendors.files["java"]
    del machine.vendors.pins
    newer = machine.run("--refresh-timer")
    assert newer.stdout.count("is there already") == 5
    assert (machine.root / "etc/systemd/user/azbatch-network-refresh.timer").exists()
    assert list(home.glob(".work*")) == []


@pytest.mark.parametrize("name", ["java", "python", "azcopy"])
def test_a_wrong_checksum_stops_it(machine: Machine, name: str) -> None:
    """A file that is not the one pinned is thrown away, its step is named with how to go on, and nothing of it is used;
    what was done before stays, so that a second run goes on from there."""
    good = machine.vendors.files[name]
    assert machine.vendors.pins
    machine.vendors.files[name] = good + b"!"
    done = machine.run()
    assert done.returncode == 1
    assert f"FAILED in step '{name}': {name} has another SHA-256" in done.stdout
    assert "run the script again" in done.stdout
    assert not (machine.root / "opt/azbatch/.state" / name).exists()
    assert list((machine.root / "opt/azbatch").glob(".work*")) == []
    if name == "azcopy":  # the last step: all before it is kept
        machine.vendors.files[name] = good
        again = machine.run()
        assert again.returncode == 0, again.stdout
        assert again.stdout.count("is there already") == 5


def test_a_package_that_is_not_the_one_locked_stops_it(machine: Machine) -> None:
    """Python packages are pinned by hash too."""
    lock = machine.vendors.lock
    machine.vendors.tiny += b"!"
    type(machine.vendors).lock = property(lambda self: lock)  # type: ignore[method-assign, assignment]
    try:
        done = machine.run()
    finally:
        type(machine.vendors).lock = LOCK  # type: ignore[method-assign]
    assert done.returncode == 1
    assert "FAILED in step 'azbatch'" in done.stdout
    assert not (machine.root / "opt/azbatch/venv").exists()


LOCK = Vendors.lock


def test_what_cannot_be_downloaded_is_told(machine: Machine) -> None:
    """The address, and what to do about it."""
    pins = dict(machine.vendors.pins)
    machine.vendors.pins["java"] = replace(pins["java"], url="https://downloads.example/gone")
    machine.vendors.answer = lambda path: None  # type: ignore[method-assign]
    done = machine.run()
    assert done.returncode == 1
    assert "java could not be downloaded from" in done.stdout
    assert "--from-bundle" in done.stdout


def test_a_machine_without_internet(machine: Machine) -> None:
    """Everything is packed where there is internet; the other machine needs none, and a damaged bundle is refused."""
    bundle = machine.folder / "bundle.tar.gz"
    packed = machine.run("--bundle", str(bundle))
    assert packed.returncode == 0, packed.stdout
    assert "Packed" in packed.stdout
    assert not (machine.root / "opt/azbatch/java").exists()
    asked = dict(machine.vendors.asked)
    done = machine.run("--from-bundle", str(bundle), mirror=False)
    assert done.returncode == 0, done.stdout
    assert dict(machine.vendors.asked) == asked
    assert machine.says("python", "-c", "import tinydep; print('there')").strip() == "there"
    bundle.write_bytes(bundle.read_bytes()[:-2000])
    damaged = machine.run("--from-bundle", str(bundle), mirror=False)
    assert damaged.returncode == 1
    assert "FAILED in step 'bundle'" in damaged.stdout


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--nonsense"], 2, "there is no option '--nonsense'"),
        (["--mirror"], 2, "--mirror needs a value"),
        (["--mirror", "http://plain.example"], 2, "https address"),
        (["--bundle", "a", "--from-bundle", "b"], 2, "choose one"),
        (["--from-bundle", "/nowhere"], 1, "there is no file /nowhere"),
        (["--help"], 0, "Usage: prepare.sh"),
    ],
)
def test_wrong_options(machine: Machine, options: list[str], code: int, says: str) -> None:
    """Each is told in a sentence, before anything is touched."""
    done = machine.run(*options, mirror=False)
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True)


def test_other_systems_are_refused(machine: Machine) -> None:
    """Only the two Ubuntus, unless asked for; this machine may be one."""
    path = machine.folder / "prepare.sh"
    machine.run("--help")
    done = subprocess.run(
        ["bash", str(path), "--prefix", str(machine.root), "--mirror", machine.vendors.url],
        env={**os.environ, **machine.vendors.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    system = Path("/etc/os-release").read_text()
    if "ID=ubuntu" in system and ("22.04" in system or "24.04" in system):
        assert done.returncode == 0
    else:
        assert "Ubuntu 22.04 and 24.04 are prepared" in done.stdout


def test_shellcheck(machine: Machine) -> None:
    """The linter of shell scripts finds nothing, where it is installed; bash itself always reads it."""
    machine.run("--help")
    path = str(machine.folder / "prepare.sh")
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    checked = subprocess.run(["shellcheck", "--severity=style", path], capture_output=True, text=True, check=False)
    assert checked.stdout == ""


def test_the_temporary_folder_of_others_stays(machine: Machine) -> None:
    """The original emptied the machine's temporary folder; ours leaves it as it was, and nothing of its own there."""
    temporary = machine.folder / "tmp"
    (temporary / "someone-elses").mkdir(parents=True)
    (temporary / "someone-elses/work.txt").write_text("hours of it")
    (machine.root / "tmp").mkdir()
    (machine.root / "tmp/also").write_text("theirs")
    machine.vendors.pins["python"] = replace(machine.vendors.pins["python"], sha256="0" * 64)
    done = machine.run(TMPDIR=str(temporary))
    assert (done.returncode, "FAILED in step 'python'" in done.stdout) == (1, True), done.stdout
    assert [path.name for path in temporary.iterdir()] == ["someone-elses"]
    assert (temporary / "someone-elses/work.txt").read_text() == "hours of it"
    assert (machine.root / "tmp/also").read_text() == "theirs"
