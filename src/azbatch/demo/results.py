"""What the workflow found, read from its files: coverage, mapped share, variants, the comparison with the truth."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azbatch.demo.compare import Call, Score, score_all


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: reads in all and mapped, mean coverage in bins along the reference, variants it carries."""

    name: str
    reads: int
    mapped: int
    coverage: tuple[float, ...]
    calls: frozenset[Call]

    @property
    def mapped_share(self) -> float:
        return self.mapped / self.reads if self.reads else 0.0


@dataclass(frozen=True, slots=True)
class Results:
    """All samples over one reference sequence, the first of the FASTA file; `truth` is empty where none is known."""

    sequence: str
    length: int
    samples: tuple[Sample, ...]
    truth: dict[str, frozenset[Call]] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Score]:
        return score_all(self.truth, {sample.name: sample.calls for sample in self.samples})

    def summary(self) -> dict[str, Any]:
        """As JSON, for the report."""
        scores = self.scores
        total = sum(scores.values(), Score(0, 0, 0))
        variants = frozenset[Call]().union(*(sample.calls for sample in self.samples))
        return {
            "sequence": self.sequence,
            "length": self.length,
            "variants": len(variants),
            "samples": [
                {
                    "name": sample.name,
                    "reads": sample.reads,
                    "mapped": sample.mapped,
                    "mapped_share": sample.mapped_share,
                    "coverage": sum(sample.coverage) / len(sample.coverage),
                    "variants": len(sample.calls),
                    **({"score": _scored(scores[sample.name])} if sample.name in scores else {}),
                }
                for sample in self.samples
            ],
            "score": _scored(total) if scores else None,
        }


def _scored(score: Score) -> dict[str, Any]:
    return {
        "right": score.right,
        "wrong": score.wrong,
        "missed": score.missed,
        "recall": score.recall,
        "precision": score.precision,
    }


BINS = 200


def gather(fasta: str, calls: str, truth: str | None, bams: Sequence[str]) -> Results:
    """Read everything. Both variant files are normalised alike, so that one change is written one way."""
    import pysam

    with pysam.FastaFile(fasta) as reference:
        sequence, length = reference.references[0], reference.lengths[0]
    called = _calls(calls, fasta)
    samples = tuple(_sample(path, sequence, length, called) for path in bams)
    return Results(sequence, length, samples, _calls(truth, fasta) if truth else {})


def _sample(path: str, sequence: str, length: int, called: dict[str, frozenset[Call]]) -> Sample:
    import pysam

    with pysam.AlignmentFile(path) as bam:
        name = str(bam.header.to_dict()["RG"][0]["SM"])
        width = max(1, -(-length // BINS))
        depth = [sum(column) for column in zip(*bam.count_coverage(sequence), strict=True)]
        coverage = tuple(
            sum(depth[start : start + width]) / len(depth[start : start + width]) for start in range(0, length, width)
        )
        return Sample(name, bam.mapped + bam.unmapped, bam.mapped, coverage, called.get(name, frozenset()))


def _calls(path: str, fasta: str) -> dict[str, frozenset[Call]]:
    """The variants each sample carries."""
    import pysam
    from pysam import bcftools

    with tempfile.TemporaryDirectory() as scratch:
        normal = str(Path(scratch) / "normal.vcf")
        bcftools.norm("-f", fasta, "-m", "-any", "-o", normal, path, catch_stdout=False)
        found: dict[str, set[Call]] = {}
        with pysam.VariantFile(normal) as variants:
            for name in variants.header.samples:
                found[name] = set()
            for record in variants:
                change = (str(record.chrom), int(record.pos), str(record.ref), str((record.alts or ("",))[0]))
                for sample_name, sample in record.samples.items():
                    if any(sample["GT"]):
                        found[str(sample_name)].add(change)
    return {name: frozenset(calls) for name, calls in found.items()}
