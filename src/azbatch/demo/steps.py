"""The workflow's steps: `python -m azbatch.demo.steps STEP ARGUMENTS…`, each one a rule of the Snakefile.

mappy maps; samtools and bcftools come with pysam.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PRESET = "sr"  # short reads: also of RNA, where it clips at splice sites and maps the rest
_CIGAR_SOFT_CLIP = 4


def index(source: str, fasta: str, mmi: str) -> None:
    """Copy the reference, index it for samtools and for minimap2."""
    import mappy
    import pysam

    shutil.copyfile(source, fasta)
    pysam.faidx(fasta)
    if not mappy.Aligner(fasta, preset=PRESET, fn_idx_out=mmi):
        raise SystemExit(f"{source} cannot be indexed: is it a FASTA file?")


def map_(mmi: str, first: str, second: str, sample: str, chunk: str, chunks: str, output: str) -> None:
    """Map every `chunks`-th pair of reads, beginning with number `chunk`, to an unsorted BAM file."""
    import mappy
    import pysam

    aligner = mappy.Aligner(mmi, preset=PRESET)
    if not aligner:
        raise SystemExit(f"{mmi} is no minimap2 index.")
    header = {
        "HD": {"VN": "1.6", "SO": "unsorted"},
        "SQ": [{"SN": name, "LN": len(aligner.seq(name))} for name in aligner.seq_names],
        "RG": [{"ID": sample, "SM": sample, "PL": "ILLUMINA"}],
    }
    pairs = zip(mappy.fastx_read(first), mappy.fastx_read(second), strict=True)
    with pysam.AlignmentFile(output, "wb", header=header) as bam:
        for one, two in itertools.islice(pairs, int(chunk), None, int(chunks)):
            for record in _pair(aligner, bam.header, sample, one, two):
                bam.write(record)


def _pair(aligner: Any, header: Any, sample: str, one: Any, two: Any) -> Iterator[Any]:
    """The two records of a read pair: each read's primary alignment, with what it must say of its mate."""
    hits: dict[int, Any] = {}
    for hit in aligner.map(one[1], two[1]):
        if hit.is_primary and hit.read_num not in hits:
            hits[hit.read_num] = hit
    records = [_record(header, sample, read, hits.get(number), number) for number, read in ((1, one), (2, two))]
    _tie(*records)
    yield from records


def _record(header: Any, sample: str, read: Any, hit: Any, number: int) -> Any:
    import mappy
    import pysam

    name, sequence, quality = read[0], read[1], read[2]
    record = pysam.AlignedSegment(header)
    record.query_name = name.removesuffix(f"/{number}")
    record.is_paired = True
    record.is_read1, record.is_read2 = number == 1, number == 2
    record.set_tag("RG", sample)
    if hit is None:
        record.is_unmapped = True
        record.query_sequence = sequence
        record.query_qualities = pysam.qualitystring_to_array(quality) if quality else None
        return record
    reverse = hit.strand < 0
    record.is_reverse = reverse
    record.reference_name = hit.ctg
    record.reference_start = hit.r_st
    record.mapping_quality = hit.mapq
    record.query_sequence = mappy.revcomp(sequence) if reverse else sequence
    if quality:
        record.query_qualities = pysam.qualitystring_to_array(quality[::-1] if reverse else quality)
    before, after = hit.q_st, len(sequence) - hit.q_en
    # mappy turns the second read of a pair over before mapping; it tells the strand, not q_st and q_en, as of the read.
    turned = reverse != (number == 2)
    clips = (after, before) if turned else (before, after)
    cigar = [(operation, length) for length, operation in hit.cigar]
    record.cigartuples = [
        *([(_CIGAR_SOFT_CLIP, clips[0])] if clips[0] else []),
        *cigar,
        *([(_CIGAR_SOFT_CLIP, clips[1])] if clips[1] else []),
    ]
    record.set_tag("NM", hit.NM)
    return record


def _tie(one: Any, two: Any) -> None:
    """What each record says of its mate; a pair is proper when it faces inward on one sequence within 1,000 bases."""
    for record, mate in ((one, two), (two, one)):
        record.mate_is_unmapped = mate.is_unmapped
        record.mate_is_reverse = mate.is_reverse
        if record.is_unmapped and not mate.is_unmapped:
            record.reference_name, record.reference_start = mate.reference_name, mate.reference_start
        if not mate.is_unmapped:
            record.next_reference_name, record.next_reference_start = mate.reference_name, mate.reference_start
        elif not record.is_unmapped:
            record.next_reference_name, record.next_reference_start = record.reference_name, record.reference_start
    if one.is_unmapped or two.is_unmapped or one.reference_name != two.reference_name:
        return
    start = min(one.reference_start, two.reference_start)
    length = max(one.reference_end, two.reference_end) - start
    forward, backward = (two, one) if one.is_reverse else (one, two)
    inward = one.is_reverse != two.is_reverse and forward.reference_start <= backward.reference_start
    for record, mate in ((one, two), (two, one)):
        leftmost = (record.reference_start, record.is_read2) < (mate.reference_start, mate.is_read2)
        record.template_length = length if leftmost else -length
        record.is_proper_pair = inward and length <= 1000


def sort(*paths: str) -> None:
    """Sort and index alignments: the last path is the output."""
    import pysam

    *inputs, output = paths
    if len(inputs) == 1:
        pysam.sort("-o", output, inputs[0])
    else:
        merged = f"{output}.merged"
        pysam.merge("-f", merged, *inputs)
        pysam.sort("-o", output, merged)
        Path(merged).unlink()
    pysam.index(output, f"{output}.bai")


def call(fasta: str, region: str, *paths: str) -> None:
    """Call variants of all samples in one region: the last path is the output (BCF)."""
    from pysam import bcftools

    *bams, output = paths
    piled = f"{output}.pile"
    bcftools.mpileup(
        "-f",
        fasta,
        "-r",
        region,
        "-Q",
        "20",
        "-d",
        "1000",
        "-a",
        "AD,DP",
        "-Ou",
        "-o",
        piled,
        *bams,
        catch_stdout=False,
    )
    bcftools.call("-mv", "-Ob", "-o", output, piled, catch_stdout=False)
    Path(piled).unlink()


def merge(fasta: str, *paths: str) -> None:
    """Put the regions together, normalise, keep what is likely, and index: the last path is the output (VCF)."""
    from pysam import bcftools

    *parts, output = paths
    joined, normal = f"{output}.joined", f"{output}.normal"
    bcftools.concat("-Ob", "-o", joined, *parts, catch_stdout=False)
    bcftools.norm("-f", fasta, "-m", "-any", "-Ob", "-o", normal, joined, catch_stdout=False)
    bcftools.view("-i", "QUAL>=20", "-Oz", "-o", output, normal, catch_stdout=False)
    bcftools.index("-f", "-o", f"{output}.csi", output, catch_stdout=False)
    for path in (joined, normal):
        Path(path).unlink()


def plot(fasta: str, calls: str, truth: str, *paths: str) -> None:
    """Coverage, variants and, where there is a truth, scores: a picture and a JSON summary (the last two paths)."""
    from azbatch.demo.picture import draw
    from azbatch.demo.results import gather

    *bams, picture, summary = paths
    results = gather(fasta, calls, truth or None, bams)
    draw(results, picture)
    Path(summary).write_text(json.dumps(results.summary(), indent=2))


STEPS: dict[str, Callable[..., None]] = {
    "index": index,
    "map": map_,
    "sort": sort,
    "call": call,
    "merge": merge,
    "plot": plot,
}


if __name__ == "__main__":
    STEPS[sys.argv[1]](*sys.argv[2:])
