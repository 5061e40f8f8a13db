"""Which files of a task come from where and go where."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azbatch_emulator.runners import layout

ENVIRONMENT = {"AZ_BATCH_TASK_ID": "t1", "OUT": "results"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$OUT/x", "results/x"),
        ("${OUT}x", "resultsx"),
        ("$OUTx", "$OUTx"),
        ("$UNKNOWN and $$ and $", "$UNKNOWN and $$ and $"),
        ("a$AZ_BATCH_TASK_ID", "at1"),
    ],
)
def test_known_variables_are_expanded_and_others_left(text: str, expanded: str) -> None:
    """Only what the task's environment holds is replaced."""
    assert layout.expand(text, ENVIRONMENT) == expanded


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a/.."])
def test_a_file_path_cannot_leave_the_working_directory(path: str) -> None:
    """A resource file never lands outside `wd`, nor replaces it."""
    with pytest.raises(ValueError, match="not a path inside"):
        layout.inside(Path("/node/wd"), path)


@given(st.text(alphabet="ab./", max_size=12))
def test_whatever_is_accepted_is_inside(path: str) -> None:
    """No spelling of a path slips through."""
    directory = Path("/node/wd")
    try:
        found = layout.inside(directory, path)
    except ValueError:
        return
    assert os.path.commonpath([directory, found]) == str(directory)
    assert found != directory


def test_the_three_sources_of_a_resource_file() -> None:
    """A URL is one file; containers are listed; auto-storage is opened by the node's identity."""
    one = layout.resource({"httpUrl": "https://h/c/b?sig=1", "filePath": "in/b", "fileMode": "0640"}, None)
    assert (one.listing, one.path, one.mode, one.bearer) == (False, "in/b", 0o640, "")
    many = layout.resource(
        {"storageContainerUrl": "https://h/c", "blobPrefix": "p/", "identityReference": {"resourceId": "/id"}}, None
    )
    assert (many.listing, many.prefix, many.path, many.bearer, many.mode) == (True, "p/", "", "/id", 0o770)
    auto = layout.resource({"autoStorageContainerName": "c"}, "https://h/account")
    assert (auto.url, auto.listing, auto.bearer) == ("https://h/account/c", True, "auto-storage")


@pytest.mark.parametrize("spec", [{}, {"autoStorageContainerName": "c"}])
def test_a_resource_file_without_a_source_is_an_error(spec: dict[str, Any]) -> None:
    """No source, or auto-storage where there is none, is told."""
    with pytest.raises(ValueError, match=r"source|auto-storage"):
        layout.resource(spec, None)


def test_a_blobs_address_keeps_the_containers_sas() -> None:
    """The SAS stays behind the path; names with odd characters are quoted; messages do not show the SAS."""
    url = layout.blob_url("https://h/acc/con/?sv=1&sig=a%2Bb", "d/e f#?.txt")
    assert url == "https://h/acc/con/d/e%20f%23%3F.txt?sv=1&sig=a%2Bb"
    assert layout.bare_url(url) == "https://h/acc/con/d/e%20f%23%3F.txt"


@pytest.mark.parametrize(
    ("condition", "succeeded", "wanted"),
    [
        ("tasksuccess", True, True),
        ("tasksuccess", False, False),
        ("taskfailure", True, False),
        ("TaskFailure", False, True),
        ("taskcompletion", True, True),
        ("taskcompletion", False, True),
        (None, False, True),
    ],
)
def test_upload_conditions(condition: str | None, succeeded: bool, wanted: bool) -> None:
    """Output goes up on success, on failure, or always, as its condition says; always is the default."""
    output = {"uploadOptions": {"uploadCondition": condition}} if condition else {}
    assert layout.wanted(output, succeeded) is wanted


FILES = ["a.txt", "b.log", ".hidden.txt", "out/x.txt", "out/deep/y.txt", "out/deep/z.bin", "abc*", "../stdout.txt"]


@pytest.fixture
def working(tmp_path: Path) -> Path:
    """A working directory with FILES in and beside it."""
    directory = tmp_path / "wd"
    for name in FILES:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return directory


@pytest.mark.parametrize(
    ("pattern", "destination", "names"),
    [
        ("*.txt", None, {"a.txt"}),
        ("*.txt", "run", {"run/a.txt"}),
        (".*.txt", None, {".hidden.txt"}),
        ("**/*.txt", "r/", {"r/a.txt", "r/out/x.txt", "r/out/deep/y.txt"}),
        ("out/**/*", None, {"x.txt", "deep/y.txt", "deep/z.bin"}),
        ("out/*", "d", {"d/x.txt"}),
        ("../std*.txt", "logs", {"logs/stdout.txt"}),
        ("[!a].log", None, {"b.log"}),
        ("?.[a-l]og", None, {"b.log"}),
        ("abc[*]", None, {"abc*"}),
        ("a.txt", None, {"a.txt"}),
        ("out/x.txt", None, {"x.txt"}),
        ("out/x.txt", "named.txt", {"named.txt"}),
        ("../stdout.txt", "o", {"o"}),
        ("out", "o", set()),
        ("nothing*", None, set()),
        ("$WHERE/x.txt", None, {"x.txt"}),
    ],
)
def test_file_patterns(working: Path, pattern: str, destination: str | None, names: set[str]) -> None:
    """Wildcards and blob names are those of the service's OutputFile."""
    found = list(layout.matches(pattern, destination, working, {"WHERE": "out"}))
    assert {name for _path, name in found} == names
    assert all(path.is_file() for path, _name in found)


def test_an_absolute_pattern(working: Path) -> None:
    """A pattern may be absolute: what lies below its literal directory keeps its structure."""
    found = list(layout.matches(f"{working}/out/**/*.txt", None, working, {}))
    assert {name for _path, name in found} == {"x.txt", "deep/y.txt"}
