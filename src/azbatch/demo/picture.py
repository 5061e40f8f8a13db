"""The picture: coverage along the reference with the variants of each sample, and how they score."""

from __future__ import annotations

from typing import Any

from azbatch.demo.results import Results

# Okabe and Ito's colours, which colour-blind readers tell apart.
COVERAGE, FOUND, MISSED, WRONG = "#56B4E9", "#009E73", "#D55E00", "#CC79A7"


def draw(results: Results, path: str) -> None:
    """Write a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = len(results.samples)
    figure, axes = pyplot.subplots(rows, 1, figsize=(11, 1.2 + 1.9 * rows), sharex=True, squeeze=False)
    for axis, sample in zip(axes[:, 0], results.samples, strict=True):
        _one(axis, results, sample)
    axes[-1, 0].set_xlabel(f"position on {results.sequence[:40]} (kb)")
    figure.suptitle(_title(results), fontsize=12, x=0.01, ha="left")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=len(labels), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def _title(results: Results) -> str:
    total = results.summary()["score"]
    if total is None:
        return "Coverage and variants"
    return f"Recall {total['recall']:.1%}, precision {total['precision']:.1%}"


def _one(axis: Any, results: Results, sample: Any) -> None:
    width = results.length / len(sample.coverage)
    places = [(number + 0.5) * width / 1000 for number in range(len(sample.coverage))]
    axis.fill_between(places, sample.coverage, step="mid", color=COVERAGE, alpha=0.6, linewidth=0, label="coverage")
    top = max(sample.coverage) or 1
    axis.set_ylim(0, top * 1.35)
    truth = results.truth.get(sample.name)
    kinds = [("found", sample.calls if truth is None else sample.calls & truth, FOUND, "v")]
    if truth is not None:
        kinds += [("missed", truth - sample.calls, MISSED, "x"), ("wrong", sample.calls - truth, WRONG, "s")]
    for label, calls, colour, marker in kinds:
        axis.scatter(
            [call[1] / 1000 for call in calls],
            [top * 1.18] * len(calls),
            color=colour,
            marker=marker,
            s=26,
            label=label,
        )
    axis.set_ylabel(f"{sample.name}\ncoverage", fontsize=9)
    axis.margins(x=0.005)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
