"""The demonstration: planted variants are found, and real reads are mapped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from azbatch_emulator.launcher import Emulator

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("demo"), pytest.mark.timeout(280)]
DATA = Path(os.environ.get("AZBATCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
GGAL = DATA / "ggal"


def _demo(emulator: Emulator, output: Path, *arguments: str) -> dict[str, object]:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("azbatch")), "demo", "--json", "--output", str(output), *arguments],
        env={**os.environ, **emulator.environment()},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_planted_variants_are_found(azbatch_emulator: Emulator, tmp_path: Path) -> None:
    """On made data, recall and precision reach the bound, and picture and page are there."""
    answer = _demo(azbatch_emulator, tmp_path, "--samples", "2", "--seed", "7")
    assert answer["ok"] is True
    assert Path(str(answer["picture"])).read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in Path(str(answer["page"])).read_text()


@pytest.mark.skipif(not GGAL.exists(), reason=f"the real reads are not on this machine ({GGAL})")
def test_real_reads(azbatch_emulator: Emulator, tmp_path: Path) -> None:
    """Real reads run as at least 8 tasks on at least 2 nodes; over 95 % of the reads are mapped."""
    reference = next(GGAL.glob("*.fa"))
    answer = _demo(
        azbatch_emulator,
        tmp_path,
        *("--reads", str(GGAL / "ggal_gut_1.fq"), str(GGAL / "ggal_gut_2.fq"), "--reference", str(reference)),
    )
    assert int(str(answer["tasks"])) >= 8
    nodes, summary = answer["nodes"], answer["summary"]
    assert isinstance(nodes, dict)
    assert len(nodes) >= 2
    assert isinstance(summary, dict)
    assert summary["samples"][0]["mapped_share"] > 0.95
