"""The pages about head node and network: their Python runs, and their commands and options exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from azbatch.cli import cli
from azbatch_emulator.launcher import Emulator
from tests.acceptance.test_nextflowhelper import HeadNode

pytestmark = pytest.mark.acceptance
DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("howto-headnode.md", "howto-network.md")


def test_the_python_of_the_head_node_page(azbatch_emulator: Emulator, tmp_path: Path) -> None:
    """The blocks, one after another, as a new user would type them."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / PAGES[0]).read_text(), re.S)
    assert len(blocks) == 2
    node = HeadNode(tmp_path, azbatch_emulator)
    done = node.python("-c", "\n".join(blocks))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "waiting\n"
    assert (tmp_path / "nextflow.py").exists()
    run = node.python("nextflow.py")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists(page: str) -> None:
    """Each `azbatch GROUP COMMAND` with its options is one that the command line has."""
    found = re.findall(r"azbatch (headnode|network|nextflow|pool) ([a-z-]+)([^`\n#>|]*)", (DOCS / page).read_text())
    assert len(found) >= 5
    for group_name, name, rest in found:
        group = cli.get_command(click.Context(cli), group_name)
        assert isinstance(group, click.Group)
        command = group.get_command(click.Context(group), name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, (name, rest)


def test_the_options_on_the_page() -> None:
    """The tables name options that prepare.sh and `azbatch pool create` have."""
    script, pools = (DOCS / PAGES[0]).read_text().split("## 3. Look")
    template = (DOCS.parent / "src/azbatch/headnode/prepare.sh.in").read_text()
    rows = re.findall(r"^\| `(--[a-z-]+)", script, re.M)
    assert len(rows) >= 5
    assert all(f"    {option}" in template for option in rows)
    group = cli.get_command(click.Context(cli), "pool")
    assert isinstance(group, click.Group)
    known = {option for parameter in group.commands["create"].params for option in parameter.opts}
    named = {
        option for row in re.findall(r"^\| (`--.*?) \|", pools, re.M) for option in re.findall(r"`(--[a-z-]+)", row)
    }
    assert len(named) >= 5
    assert named <= known


def test_the_commands_that_need_no_azure_are_quick_to_load() -> None:
    """Help loads neither Azure's SDKs nor msal."""
    code = (
        "import sys; from azbatch.cli import cli; import click\n"
        "for name in ('network', 'headnode', 'nextflow', 'pool'):\n"
        "    cli.get_command(click.Context(cli), name)\n"
        "import nextflowhelper\n"
        "loaded = [m for m in sys.modules if m.split('.')[0] in {'azure', 'msal', 'requests', 'rich'}]\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
