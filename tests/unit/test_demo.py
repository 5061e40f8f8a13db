"""The demonstration's data, its comparison and its report."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azbatch.demo import report, simulate
from azbatch.demo.compare import Score, score, score_all


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_the_truth_applied_to_the_reference_gives_the_sample(seed: int, samples: int) -> None:
    """Each planted variant stands where the truth says; copy 1 has just those carried twice."""
    rng = random.Random(seed)
    sequence = simulate.reference(5000, rng)
    variants = simulate.plant(sequence, samples, 15, rng)
    for variant in variants:
        assert sequence[variant.position - 1 :].startswith(variant.ref)
        assert variant.ref != variant.alt
        assert any(variant.genotypes)
    for sample in range(samples):
        shift = sum(len(v.alt) - len(v.ref) for v in variants if v.genotypes[sample] > 1)
        assert len(simulate.haplotype(sequence, variants, sample, 1)) == len(sequence) + shift


def test_the_same_seed_makes_the_same_data() -> None:
    """A seed stated is a promise."""

    def made(seed: int) -> object:
        rng = random.Random(seed)
        sequence = simulate.reference(2000, rng)
        variants = simulate.plant(sequence, 2, 5, rng)
        copies = [simulate.haplotype(sequence, variants, 0, copy) for copy in (0, 1)]
        return list(simulate.read_pairs(copies, simulate.Reads(coverage=2), rng))

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_scores() -> None:
    """Recall and precision by their definitions; nothing planted and nothing found is perfect."""
    a, b, c = ("x", 1, "A", "C"), ("x", 2, "A", "C"), ("x", 3, "A", "C")
    found = score({a, b}, {b, c})
    assert (found.recall, found.precision) == (0.5, 0.5)
    assert (score(set(), set()).recall, score(set(), set()).precision) == (1, 1)
    assert Score(1, 2, 3) + Score(1, 1, 1) == Score(2, 3, 4)
    assert score_all({"s": {a}}, {})["s"] == Score(0, 0, 1)


SUMMARY = {
    "sequence": "chr<1>",
    "length": 1000,
    "variants": 2,
    "samples": [
        {"name": "s&1", "reads": 10, "mapped": 9, "mapped_share": 0.9, "coverage": 3.0, "variants": 2},
    ],
    "score": None,
}


@pytest.mark.parametrize("scored", [False, True])
def test_the_report(scored: bool) -> None:
    """Text and page say what was found, what ran where, and where the files lie; names are escaped."""
    summary = dict(SUMMARY)
    if scored:
        summary["score"] = {"right": 2, "wrong": 0, "missed": 1, "recall": 0.667, "precision": 1.0}
    tasks = [{"node": "n1", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:03.5Z"}]
    where = report.ran({"tasks": tasks, "vm_size": "D2"}, 12.0, {"ListTasks": 3})
    assert where.nodes == {"n1": (1, 3.5)}
    text = report.text(summary, where, "p.png", "s.html")
    assert "Ran 1 Batch tasks on 1 D2 nodes in 12 s" in text
    assert ("recall 0.667" in text) is scored
    page = report.page(summary, where, b"png", "Made.")
    assert "chr&lt;1&gt;" in page
    assert "s&amp;1" in page
