"""The demonstration's alignments, and how it treats files of the user's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from azbatch.demo import simulate, steps
from azbatch.demo.run import Plan, prepare
from azbatch.errors import ConfigurationError


def test_clipped_reads_lie_where_they_match(tmp_path: Path) -> None:
    """Each record's bases match the reference under its CIGAR: of both reads, on both strands, clipped at any end."""

    import pysam

    rng = random.Random(5)
    sequence = simulate.reference(6000, rng)
    (tmp_path / "in.fa").write_text(simulate.fasta("ref", sequence))
    pairs = []
    for start in range(500, 5000, 300):
        fragment = sequence[start : start + 300]
        first, second = fragment[:100], simulate._reverse(fragment)[:100]
        strange = simulate.reference(30, rng)
        first, second = rng.choice([(strange + first[30:], second[:70] + strange), (first[:70] + strange, second)])
        if rng.random() < 0.5:
            first, second = second, first
        pairs.append((first, "I" * 100, second, "I" * 100))
    for path, content in zip(("1.fq", "2.fq"), simulate.fastq("s", pairs), strict=True):
        (tmp_path / path).write_text(content)
    fasta, index, bam = (str(tmp_path / name) for name in ("r.fa", "r.mmi", "o.bam"))
    steps.index(str(tmp_path / "in.fa"), fasta, index)
    steps.map_(index, str(tmp_path / "1.fq"), str(tmp_path / "2.fq"), "s", "0", "1", bam)
    clipped = set()
    with pysam.AlignmentFile(bam) as records:
        for record in records.fetch(until_eof=True):
            assert record.query_sequence is not None
            wrong = sum(
                record.query_sequence[read] != sequence[place]
                for read, place in record.get_aligned_pairs(matches_only=True)
            )
            assert wrong == record.get_tag("NM"), record.query_name
            if "S" in (record.cigarstring or ""):
                clipped.add((record.is_read2, record.is_reverse))
    assert clipped == {(False, False), (False, True), (True, False), (True, True)}


def test_a_directory_of_the_users_is_left_alone(tmp_path: Path) -> None:
    """A folder `work` that no demonstration made is never removed; one of ours is replaced."""
    theirs = tmp_path / "theirs" / "work" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    with pytest.raises(ConfigurationError, match="choose another --output"):
        Plan(output=tmp_path / "theirs").check()
    assert theirs.exists()
    ours = Plan(output=tmp_path / "ours", samples=1)
    prepare(ours)
    ours.check()


def test_reads_named_alike_stay_apart(tmp_path: Path) -> None:
    """R1 and R2 of the same name in two directories, with a space in it, are both used."""
    for folder, bases in (("a", "AAAA"), ("b", "CCCC")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my reads.fq").write_text(f"@r\n{bases}\n+\nIIII\n")
    (tmp_path / "r.fa").write_text(">one\nACGTACGT\n")
    reads = (tmp_path / "a" / "my reads.fq", tmp_path / "b" / "my reads.fq")
    config = prepare(Plan(output=tmp_path / "out", reads=reads, reference=tmp_path / "r.fa"))
    (copies,) = config["samples"].values()
    assert [(tmp_path / "out" / "work" / copy).read_text().split()[1] for copy in copies] == ["AAAA", "CCCC"]
