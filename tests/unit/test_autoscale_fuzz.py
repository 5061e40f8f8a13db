"""Fuzzing of formulas. AZBATCH_FUZZ=1000000 makes the run a long one; AZBATCH_FUZZ_SEED chooses another."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from azbatch_emulator.autoscale import VARIABLES, Evaluation, FormulaError, MetricHistory, evaluate
from azbatch_emulator.autoscale.evaluator import MOST_NODES
from azbatch_emulator.autoscale.functions import DEALLOCATION_OPTIONS
from tests.unit.formulas import Writer

FEW = 800
FORMULAS = int(os.environ.get("AZBATCH_FUZZ", str(FEW)))
SEED = int(os.environ.get("AZBATCH_FUZZ_SEED", "1"))
NOW = datetime(2026, 11, 25, 14, 30, 5, 123456, tzinfo=UTC)
# What a formula that is right by the documented types may still run into.
OUT_OF_RANGE = ("is out of range", "Insufficient data", "at most 10000 elements", "finite number", "takes too long")
# Seconds of the processor: other tests run at the same time.
SLOWEST = 1.5 if FORMULAS <= FEW else 10.0


def _history() -> MetricHistory:
    """A day of samples, some of them missing."""
    history = MetricHistory(period=timedelta(seconds=30), lag=timedelta(seconds=30))
    for back in range(2880, -1, -1):
        if back % 7:
            history.record(NOW - timedelta(seconds=30 * back), dict.fromkeys(VARIABLES, float(back % 13)))
    return history


HISTORY = _history()
PRESENT = dict.fromkeys(VARIABLES, 3.0)


def _outcome(text: str) -> Evaluation | FormulaError:
    try:
        return evaluate(
            text, metrics=HISTORY, present=PRESENT, now=NOW, random=random.Random(1), current=(7, 1, "requeue")
        )
    except FormulaError as error:
        return error


def _judge(text: str, outcome: Evaluation | FormulaError) -> None:
    if isinstance(outcome, FormulaError):
        lines = text.split("\n")
        assert 1 <= outcome.line <= len(lines), text
        assert 1 <= outcome.column <= len(lines[outcome.line - 1]) + 1, text
        assert outcome.message, text
        return
    assert 0 <= outcome.target_dedicated <= MOST_NODES, text
    assert 0 <= outcome.target_spot <= MOST_NODES, text
    assert outcome.deallocation in DEALLOCATION_OPTIONS, text
    assert outcome.results.startswith(f"$TargetDedicatedNodes={outcome.target_dedicated};"), text
    assert len(outcome.results) < 3_000_000, text[:200]


@pytest.mark.timeout(0 if FORMULAS > FEW else 180)
def test_any_text_gives_targets_or_a_fault_in_bounded_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Right, wild, damaged and heavy formulas: targets or a FormulaError with a place inside the text, the same each
    time, never another exception, never slow. One that is right by the documented types fails only out of range."""
    writer, kinds, ends, slowest = Writer(SEED), Counter[str](), Counter[str](), 0.0
    for number in range(FORMULAS):
        kind = "heavy" if number % 50 == 0 else ("typed", "wild", "damaged")[number % 3]
        text: str = getattr(writer, kind)()
        begun = time.process_time()
        outcome = _outcome(text)
        slowest = max(slowest, time.process_time() - begun)
        _judge(text, outcome)
        if kind == "typed" and isinstance(outcome, FormulaError):
            assert any(part in outcome.message for part in OUT_OF_RANGE), f"{outcome}\n{text}"
        if number % 10 == 0:
            again = _outcome(text)
            assert (str(again) if isinstance(again, FormulaError) else again.results) == (
                str(outcome) if isinstance(outcome, FormulaError) else outcome.results
            ), text
        kinds[kind] += 1
        ends[f"{kind} fault" if isinstance(outcome, FormulaError) else f"{kind} value"] += 1
    assert slowest < SLOWEST
    # The grammar reaches both ends of each kind, else it tests nothing.
    assert set(ends) == {f"{kind} {end}" for kind in kinds for end in ("value", "fault")}
    with capsys.disabled():
        print(f"\nfuzzed {FORMULAS} formulas (seed {SEED}): {dict(sorted(ends.items()))}; slowest {slowest:.3f} s")
