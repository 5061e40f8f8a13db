"""The page "Use it in your own CI", done from an empty folder with nothing but pip: its commands, files and recipes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from azbatch_emulator.state import cache_directory

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "emulator-ci.md").read_text()
# Of the tests' own process nothing goes in: neither its packages nor its settings.
NODE = ("node", "nodejs", "npm", "npx")
FOREIGN = ("PYTHONPATH", "VIRTUAL_ENV", "PYTEST_", "COV", "AZBATCH_", "AZURE_")


def block(name: str) -> str:
    """The content of the page's block of that name."""
    (found,) = re.findall(rf"^```[a-z]+ {re.escape(name)}\n(.*?)^```$", PAGE, re.M | re.S)
    return str(found)


class Folder:
    """An empty folder in which the page is followed."""

    def __init__(self, path: Path, wheel: Path) -> None:
        self.path = path
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        pinned = {"AZBATCH": str(wheel), "AZBATCH_EMULATOR_CACHE": str(cache_directory().absolute())}
        self.environment = {**kept, **pinned, "HOME": str(path)}

    def write(self, *names: str) -> None:
        for name in names:
            (self.path / name).write_text(block(name))

    def run(self, script: str) -> str:
        """What a script prints; it must succeed."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=170,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout


def without_node(path: str, scratch: Path) -> str:
    """A PATH on which there is no Node.js: of the folders that have one, copies (links) that have none."""
    folders = []
    for number, folder in enumerate(path.split(os.pathsep)):
        if not any((Path(folder) / name).exists() for name in NODE):
            folders.append(folder)
            continue
        copy = scratch / f"bin{number}"
        copy.mkdir(parents=True)
        for program in Path(folder).iterdir():
            if program.name not in NODE:
                (copy / program.name).symlink_to(program)
        folders.append(str(copy))
    return os.pathsep.join(folders)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder with nothing in it, and a wheel of ours elsewhere."""
    dist = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (wheel,) = dist.glob("*.whl")
    return Folder(tmp_path_factory.mktemp("empty"), wheel)


@pytest.mark.xdist_group("emulator-ci")
def test_with_pip_only(folder: Folder, tmp_path: Path) -> None:
    """Without Node.js: the page's fixture and tests are green, and a shell's tools find the emulator."""
    folder.write("conftest.py", "test_jobs.py")
    folder.environment["PATH"] = without_node(os.environ["PATH"], tmp_path)
    assert shutil.which("node", path=folder.environment["PATH"]) is None
    folder.run(block("install"))
    assert re.search(r"^4 passed", folder.run(block("run")), re.M)
    said = folder.run(block("shell"))
    assert "There is no pool." in said
    assert "The emulator has stopped." in said
    assert not (folder.path / "emulator.json").exists()


@pytest.mark.xdist_group("emulator-ci")
def test_with_blobs(folder: Folder) -> None:
    """With Node.js from pip: a task reads and writes blobs by the node's own identity."""
    folder.write("conftest.py", "test_jobs.py", "test_blobs.py")
    folder.run(block("install-with-blobs"))
    assert re.search(r"^5 passed", folder.run(block("run")), re.M)


def test_the_recipes_do_what_was_tried() -> None:
    """GitHub's and GitLab's run the same commands as the tests above, and cache where Azurite is kept."""
    tried = [line for name in ("install-with-blobs", "run") for line in block(name).splitlines()]
    gitlab = yaml.safe_load(block("gitlab"))["tests"]
    assert gitlab["script"] == tried
    assert gitlab["variables"]["AZBATCH_EMULATOR_CACHE"].endswith(gitlab["cache"]["paths"][0])
    job = yaml.safe_load(block("github"))["jobs"]["tests"]
    assert [line for step in job["steps"] if "run" in step for line in step["run"].strip().splitlines()] == tried
    (cached,) = (step["with"]["path"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache"))
    assert job["env"]["AZBATCH_EMULATOR_CACHE"].endswith(f"/{cached}")


def test_every_fixture_on_the_page_exists() -> None:
    """The table names the plugin's fixtures, all of them."""
    from azbatch_emulator import pytest_plugin

    source = Path(pytest_plugin.__file__).read_text()
    public = set(re.findall(r"@pytest\.fixture(?:\(.*\))?\ndef ([a-z]\w*)\(", source)) - {"batch_emulator_options"}
    table = PAGE.split("## Fixtures")[1].split("## Other")[0]
    named = {one for row in re.findall(r"^\| (`.*?`) \|", table, re.M) for one in re.findall(r"`(\w+)`", row)}
    assert named == public
