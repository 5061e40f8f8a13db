"""Makes a reference, samples with planted variants, and their reads. Pure given a random.Random."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BASES = "ACGT"
SPACING = 160  # bases between variants, more than a read, so that each is called by itself
EDGE = 500  # bases without variants at both ends, where coverage is thin
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True, slots=True)
class Variant:
    """`position` counts from 1, as in VCF; `genotypes` are the copies (0, 1 or 2) each sample carries."""

    position: int
    ref: str
    alt: str
    genotypes: tuple[int, ...]


def reference(length: int, rng: random.Random) -> str:
    return "".join(rng.choices(BASES, k=length))


def plant(sequence: str, samples: int, number: int, rng: random.Random) -> list[Variant]:
    """Variants, four in five single bases and the rest insertions and deletions of 1 to 4 bases, in order of position.

    Half of them are shared by all samples, the others belong to one.
    """
    usable = range(EDGE, len(sequence) - EDGE, SPACING)
    places = sorted(rng.sample(usable, min(number, len(usable))))
    found = []
    for place in places:
        ref, alt = _change(sequence, place, rng)
        shared = rng.random() < 0.5
        owner = rng.randrange(samples)
        genotypes = tuple(rng.choice((1, 2)) if shared or sample == owner else 0 for sample in range(samples))
        found.append(Variant(place + 1, ref, alt, genotypes))
    return found


def _change(sequence: str, place: int, rng: random.Random) -> tuple[str, str]:
    base = sequence[place]
    if rng.random() < 0.8:
        return base, rng.choice([other for other in BASES if other != base])
    size = rng.randint(1, 4)
    if rng.random() < 0.5:
        # The first inserted base differs from the one that follows: the insertion has one place only.
        following = sequence[place + 1]
        first = rng.choice([other for other in BASES if other not in (base, following)])
        return base, base + first + "".join(rng.choices(BASES, k=size - 1))
    return sequence[place : place + 1 + size], base


def haplotype(sequence: str, variants: Sequence[Variant], sample: int, copy: int) -> str:
    """One of a sample's two copies of the reference: copy 0 has all its variants, copy 1 those it carries twice."""
    parts, last = [], 0
    for variant in variants:
        if variant.genotypes[sample] <= copy:
            continue
        start = variant.position - 1
        parts += [sequence[last:start], variant.alt]
        last = start + len(variant.ref)
    return "".join([*parts, sequence[last:]])


@dataclass(frozen=True, slots=True)
class Reads:
    """How reads are made: `coverage` of the reference, read `length`, mean `insert` size, `error` rate of a base."""

    coverage: float = 30.0
    length: int = 100
    insert: int = 300
    error: float = 0.003


def read_pairs(copies: Sequence[str], reads: Reads, rng: random.Random) -> Iterator[tuple[str, str, str, str]]:
    """(first read, its qualities, second read, its qualities) from both strands of fragments of the copies."""
    number = int(len(copies[0]) * reads.coverage / (2 * reads.length))
    for _ in range(number):
        source = rng.choice(copies)
        size = max(reads.length, round(rng.gauss(reads.insert, 30)))
        start = rng.randrange(0, len(source) - size)
        fragment = source[start : start + size]
        first, second = fragment[: reads.length], _reverse(fragment[-reads.length :])
        if rng.random() < 0.5:
            first, second = second, first
        yield (*_sequenced(first, reads, rng), *_sequenced(second, reads, rng))


def _reverse(sequence: str) -> str:
    return sequence.translate(_COMPLEMENT)[::-1]


def _sequenced(read: str, reads: Reads, rng: random.Random) -> tuple[str, str]:
    wrong = {place for place in range(len(read)) if rng.random() < reads.error}
    bases = "".join(rng.choice(BASES.replace(base, "")) if place in wrong else base for place, base in enumerate(read))
    return bases, "".join("&" if place in wrong else "I" for place in range(len(read)))


def vcf(name: str, length: int, variants: Sequence[Variant], samples: Sequence[str]) -> str:
    """The truth as a VCF file."""
    shown = {0: "0/0", 1: "0/1", 2: "1/1"}
    head = [
        "##fileformat=VCFv4.2",
        f"##contig=<ID={name},length={length}>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples]),
    ]
    rows = [
        "\t".join([name, str(v.position), ".", v.ref, v.alt, ".", "PASS", ".", "GT", *(shown[g] for g in v.genotypes)])
        for v in variants
    ]
    return "\n".join([*head, *rows]) + "\n"


def fasta(name: str, sequence: str) -> str:
    lines = [sequence[start : start + 60] for start in range(0, len(sequence), 60)]
    return "\n".join([f">{name}", *lines]) + "\n"


def fastq(sample: str, pairs: Sequence[tuple[str, str, str, str]]) -> tuple[str, str]:
    """The two FASTQ files of a sample."""
    first = "".join(f"@{sample}.{n}/1\n{one}\n+\n{q}\n" for n, (one, q, _, _) in enumerate(pairs))
    second = "".join(f"@{sample}.{n}/2\n{two}\n+\n{q}\n" for n, (_, _, two, q) in enumerate(pairs))
    return first, second
