"""The files for Nextflow, read by a parser of Groovy that is not ours; slow, hence not among the unit tests."""

from __future__ import annotations

import pytest

from azbatch.nextflow import render
from tests.unit.test_nextflow_files import VARIANTS

pytest.importorskip("groovy_parser", reason="groovy-parser is not installed")


def test_a_groovy_parser_takes_the_files() -> None:
    """An independent parser of Groovy accepts both files, odd values and all, and refuses what is broken."""
    from groovy_parser.parser import parse_groovy_content

    for text in (render.config(VARIANTS[3]), render.pipeline()):
        parse_groovy_content(text)
    with pytest.raises(Exception, match=r"."):
        parse_groovy_content("azure {{ (\n")
