"""The files for Nextflow: strict, without keys, right for any value."""

from __future__ import annotations

import ast
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch.errors import AzbatchError, ConfigurationError
from azbatch.nextflow import render, strict
from azbatch.nextflow.groovy import quoted, unquoted
from azbatch.nextflow.settings import Settings
from azbatch.nextflow.write import write


def _settings(**changes: Any) -> Settings:
    return Settings(**{"batch_account": "myaccount", "region": "westeurope", "storage_account": "mystorage", **changes})


VARIANTS = [
    _settings(),
    _settings(client_id="", pool="pool_1", work_prefix=""),
    _settings(client_id="11111111-2222-3333-4444-555555555555", endpoint="http://127.0.0.1:1234"),
    _settings(azcopy_on_nodes=False, spot=True, container="it's/odd:$x"),
]


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_files_are_strict_and_without_keys(settings: Settings) -> None:
    """Only settings and blocks, only options that nf-azure has, no secret; the script is DSL2; the starter compiles."""
    text = render.config(settings)
    assert strict.check_config(text) == []
    assert strict.check_script(render.pipeline()) == []
    assert "accountKey" not in text
    ast.parse(render.launcher(settings))


def test_the_pool_is_the_queue() -> None:
    """nf-azure takes the pool that process.queue names, and makes none of its own."""
    text = render.config(_settings(pool="pool-1"))
    found = dict(strict.options(text)[0])
    assert {"process.queue", "azure.batch.pools.pool-1.vmType"} <= set(found)
    assert "queue = 'pool-1'" in text
    assert "allowPoolCreation = false" in text
    assert "autoPoolMode = false" in text


@given(st.text())
def test_any_value_is_quoted_rightly(text: str) -> None:
    """What is written is what Groovy reads, and a quoted value never opens an expression or a line."""
    written = quoted(text)
    assert unquoted(written) == text
    assert "\n" not in written
    assert strict.options(f"a = {written}\nb = 1\n") == ([("a", 1), ("b", 2)], [])


@given(st.text(st.sampled_from("'\"\\$\n{}" + string.ascii_letters), min_size=1), st.text(min_size=1))
def test_odd_names_stay_inside_their_quotes(container: str, name: str) -> None:
    """A container or file name with quotes, backslashes or braces breaks neither configuration nor starter."""
    if not container.strip():
        return
    settings = _settings(container=container)
    assert strict.check_config(render.config(settings)) == []
    tree = ast.parse(render.launcher(settings, pipeline_name=name))
    values = {ast.unparse(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign)}
    assert ast.literal_eval(values["PIPELINE"]) == name
    assert ast.literal_eval(values["IMAGES"]) == [container]


def test_all_faults_of_the_settings_come_at_once() -> None:
    """Each wrong value is told, in one go; sizes that Nextflow does not know among them."""
    wrong = _settings(
        batch_account="No-Dashes",
        storage_account="x",
        region="West Europe",
        pool="no spaces",
        work_container="A",
        vm_size="Standard_D4ds_v6",
        container=" ",
        plugin_version="latest",
    )
    with pytest.raises(ConfigurationError) as raised:
        render.config(wrong)
    assert len(raised.value.faults) == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def x = 1\n", "'def' is a statement"),
        ("if (true) {\n}\n", "'if' is a statement"),
        ("azure.batch.accountKey = 'x'\n", "secret in clear"),
        ("azure {\n batch {\n  acountName = 'x'\n }\n}\n", "azure.batch.acountName is no option"),
        ('process.queue = "$HOME"\n', "use env"),
        ("azure {\n", "is not closed"),
        ("}\n", "closes nothing"),
        ("process { queue }\n", "neither a setting nor a block"),
        ("[1]\n", "begins no setting"),
    ],
)
def test_what_strict_configurations_may_not_have(text: str, says: str) -> None:
    """Each rule finds what it is for."""
    assert any(says in fault.sentence for fault in strict.check_config(text)), strict.check_config(text)


def test_configurations_that_are_right() -> None:
    """Comments, closures over lines, selectors, includes and quoted names pass."""
    text = """\
    // a comment { with braces
    includeConfig 'other.config'
    process {
        withName: 'A.*' { cpus = 2; memory = 4.GB }
        ext.args = { "--x ${task.cpus}" }
        errorStrategy = {
            task.exitStatus == 1 ? 'retry' : 'finish'
        }
        resourceLimits = [cpus: 16,
                          memory: 120.GB]
    }
    azure { batch { pools { 'a-b' { vmType = 'Standard_D4ds_v5' } } } }
    """
    found, faults = strict.options(text)
    assert faults == []
    assert ("azure.batch.pools.a-b.vmType", 12) in found
    assert strict.check_config(text) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("items = channel.of(1)\n", "outside of process"),
        ("workflow {\n Channel.of(1)\n}\n", "write channel"),
        ("process A {\n input:\n val x from items\n script:\n ''\n}\n", "DSL1"),
        ("workflow {\n channel.of(1).map { it }\n}\n", "closure's parameter"),
        ('process A {\n input:\n val x\n\n """\n echo\n """\n}\n', "needs script:"),
        ("workflow {\n", "not closed"),
    ],
)
def test_what_strict_scripts_may_not_have(text: str, says: str) -> None:
    """The original's script broke several of these."""
    assert any(says in fault.sentence for fault in strict.check_script(text)), strict.check_script(text)


def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    """A user's own files stay as they are, and it is said."""
    names = {"pipeline": tmp_path / "a.nf", "config": tmp_path / "b.config", "launcher": tmp_path / "c.py"}
    names["config"].write_text("mine")
    written = write(_settings(), **names)
    assert written.kept == (names["config"],)
    assert names["config"].read_text() == "mine"
    assert [line.split()[0] for line in written.sentences()] == ["Wrote", "Wrote", "Kept"]
    assert names["launcher"].stat().st_mode & 0o111
    assert write(_settings(), **names).made == ()


def test_nothing_half_made(tmp_path: Path) -> None:
    """A fault in the settings, the same name twice, or a missing folder leaves no file."""
    names = {"pipeline": tmp_path / "a.nf", "config": tmp_path / "b.config", "launcher": tmp_path / "c.py"}
    with pytest.raises(ConfigurationError):
        write(_settings(region="?"), **names)
    with pytest.raises(ConfigurationError, match="three names"):
        write(_settings(), **{**names, "config": names["pipeline"]})
    with pytest.raises(AzbatchError, match="cannot be written"):
        write(_settings(), **{**names, "pipeline": tmp_path / "none" / "a.nf"})
    assert list(tmp_path.iterdir()) == []
