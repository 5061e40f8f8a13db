"""Queries of the storage plugin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_storage_plugin_azblob import StorageProvider
from snakemake_storage_plugin_azblob.query import Location, fault, inventory_parent, parse


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("s3://a/b", "must start with az://"),
        ("az://", "names no container"),
        ("az://ab/x", "is no container name"),
        ("az://UPPER/x", "is no container name"),
        ("az://two--hyphens/x", "is no container name"),
        ("az://good", "names no blob"),
        ("az://good/../x", "'.' or '..'"),
        ("az://good/a//b", "an empty part"),
        ("az://good/" + "x" * 2000, "longer than"),
    ],
)
def test_a_bad_query_says_why(query: str, reason: str) -> None:
    """Each kind of mistake has its reason, before anything is asked of the storage."""
    assert reason in str(fault(query))
    assert not StorageProvider.is_valid_query(query)


@pytest.mark.parametrize("query", ["az://abc/x", "az://my-data/{sample}/a b+c%20#?.txt", "az://{container}/x"])
def test_good_queries(query: str) -> None:
    """Odd names and wildcards are fine."""
    assert fault(query) is None


@given(st.text(alphabet="ab%+ #?é/.", min_size=1, max_size=40))
def test_names_are_taken_as_they_are(name: str) -> None:
    """Nothing of a name is decoded or lost but slashes at its ends."""
    location = parse(f"az://abc/{name}")
    assert location == Location("abc", name.strip("/"))


@pytest.mark.parametrize(("name", "prefix"), [("run/a/b.txt", "run/"), ("run", ""), ("x/y", "x/")])
def test_what_is_listed_for_a_file(name: str, prefix: str) -> None:
    """A run's files lie below one directory: that is what one listing covers."""
    assert inventory_parent(Location("c", name)) == ("c", prefix)
