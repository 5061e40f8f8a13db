"""The page of faults is made from the tests."""

from __future__ import annotations

from tests import faults_page


def test_the_page_of_faults_is_that_of_the_tests() -> None:
    """`python -m tests.faults_page` was run after the last change."""
    assert faults_page.PAGE.read_text() == faults_page.page()
