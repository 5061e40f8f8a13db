"""The closing report of the demonstration: text for the terminal, and one HTML page with the picture in it. Pure."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What ran where, from the executor's report: tasks by node, and requests by service."""

    nodes: Mapping[str, tuple[int, float]]  # node -> (tasks, seconds busy)
    tasks: int
    seconds: float  # wall time of the workflow
    requests: Mapping[str, int] = field(default_factory=dict)
    vm_size: str = ""


def ran(report: Json, seconds: float, requests: Mapping[str, int]) -> Ran:
    """From the executor's JSON report."""
    counts: Counter[str] = Counter()
    busy: Counter[str] = Counter()
    for task in report["tasks"]:
        node = str(task["node"])
        counts[node] += 1
        if task["start"] and task["end"]:
            busy[node] += (_time(task["end"]) - _time(task["start"])).total_seconds()  # type: ignore[assignment]
    nodes = {node: (counts[node], float(busy[node])) for node in counts}
    return Ran(
        nodes=nodes, tasks=sum(counts.values()), seconds=seconds, requests=requests, vm_size=str(report["vm_size"])
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _short(node: str) -> str:
    return node if len(node) < 20 else f"{node[:12]}…{node[-4:]}"


def text(summary: Json, where: Ran, picture: str, page: str) -> str:
    """The report for the terminal."""
    lines = [
        f"Found {summary['variants']} variants in {len(summary['samples'])} samples on {summary['sequence'][:60]}."
    ]
    for sample in summary["samples"]:
        line = (
            f"  {sample['name']}: {sample['mapped_share']:.1%} of {sample['reads']} reads mapped, "
            f"coverage {sample['coverage']:.1f}, {sample['variants']} variants"
        )
        score = sample.get("score")
        if score:
            line += f"; recall {score['recall']:.3f}, precision {score['precision']:.3f}"
        lines.append(line)
    total = summary.get("score")
    if total:
        lines.append(
            f"Compared with the truth: recall {total['recall']:.3f}, precision {total['precision']:.3f} "
            f"({total['right']} right, {total['wrong']} wrong, {total['missed']} missed)."
        )
    lines.append(f"Ran {where.tasks} Batch tasks on {len(where.nodes)} {where.vm_size} nodes in {where.seconds:.0f} s:")
    lines += [f"  {_short(node)}: {n} tasks, {busy:.0f} s" for node, (n, busy) in sorted(where.nodes.items())]
    if where.requests:
        kinds = ", ".join(f"{name} {number}" for name, number in sorted(where.requests.items()))
        lines.append(f"Requests to Batch: {sum(where.requests.values())} ({kinds}).")
    return "\n".join([*lines, f"Picture: {picture}", f"Summary: {page}"])


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.lead { color: #57606a; margin-top: 0; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .8rem .35rem 0; }
th { border-bottom: 2px solid #d0d7de; font-weight: 600; } td { border-bottom: 1px solid #eaeef2; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } img { width: 100%; height: auto; }
code { font-size: .85em; } ul.big { display: flex; gap: 2.5rem; flex-wrap: wrap; list-style: none; padding: 0; }
ul.big li b { display: block; font-size: 1.7rem; line-height: 1.2; } ul.big li { color: #57606a; }
ul.big b { color: #1b1f24; }
"""


def page(summary: Json, where: Ran, picture: bytes, made: str) -> str:
    """The HTML page; it needs nothing beside it."""
    image = base64.b64encode(picture).decode()
    total = summary.get("score")
    big = [(str(summary["variants"]), "variants"), (str(where.tasks), "Batch tasks"), (str(len(where.nodes)), "nodes")]
    big.append((f"{where.seconds:.0f} s", "wall time"))
    if total:
        big = [(f"{total['recall']:.1%}", "recall"), (f"{total['precision']:.1%}", "precision"), *big]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>azbatch demonstration</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Variant calling on Azure Batch</h1>",
        f"<p class='lead'>{html.escape(summary['sequence'])}, {summary['length']:,} bases. {html.escape(made)}</p>",
        "<ul class='big'>" + "".join(f"<li><b>{b}</b>{html.escape(label)}</li>" for b, label in big) + "</ul>",
        f"<img alt='Coverage and variants of each sample' src='data:image/png;base64,{image}'>",
        "<h2>Samples</h2>",
        _samples(summary),
        "<h2>What ran where</h2>",
        _table(
            ("Node", "Tasks", "Seconds busy"),
            [
                (f"<code>{html.escape(node)}</code>", n, f"{busy:.1f}")
                for node, (n, busy) in sorted(where.nodes.items())
            ],
        ),
    ]
    if where.requests:
        parts += ["<h2>Requests to Batch</h2>", _table(("Operation", "Requests"), sorted(where.requests.items()))]
    return "".join([*parts, "</body></html>"])


def _samples(summary: Json) -> str:
    rows = []
    for sample in summary["samples"]:
        score = sample.get("score")
        scored = (f"{score['recall']:.3f}", f"{score['precision']:.3f}") if score else ("–", "–")
        rows.append(
            (
                html.escape(sample["name"]),
                f"{sample['reads']:,}",
                f"{sample['mapped_share']:.1%}",
                f"{sample['coverage']:.1f}",
                sample["variants"],
                *scored,
            )
        )
    return _table(("Sample", "Reads", "Mapped", "Coverage", "Variants", "Recall", "Precision"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th{_class(number)}>{column}</th>" for number, column in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{_class(number)}>{cell}</td>" for number, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _class(column: int) -> str:
    return " class='n'" if column else ""
