"""The benchmarks run: what they measure is for a quiet machine, not for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.enumeration import confidence, sign_test
from benchmarks.goals import TO_BASELINE
from benchmarks.measure import sample_of
from benchmarks.workload import SCENARIOS

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="no /proc of Linux here"
)


def test_the_comparison_runs_every_scenario_of_ours_and_the_baseline(tmp_path: Path) -> None:
    out = tmp_path / "benchmarks.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(out)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (measured,) = json.loads(out.with_suffix(".json").read_text())["measured"]
    assert measured["problems"] == []
    assert {scenario: set(found) for scenario, found in measured["samples"].items()} == {
        scenario: {"ours", "baseline", "same_work"} for scenario in SCENARIOS
    }
    assert measured["queries"]["register"] == {
        "ours": 2,
        "same_work": 2,
        "baseline": 1,
    }  # it looks first, so that no time tells
    assert measured["queries"]["verify"] == {"ours": 2, "same_work": 2, "baseline": 2}
    assert measured["queries"]["login"] == {"ours": 2, "same_work": 2, "baseline": 2}
    assert measured["mails"] > 0
    table = out.read_text()
    assert all(f"| {scenario} | ours |" in table for scenario in SCENARIOS)
    assert all(f": {scenario} ≥" in table for scenario in TO_BASELINE)


def test_the_sign_test_sees_a_difference_and_no_other() -> None:
    assert sign_test([1.0, -1.0] * 50) == pytest.approx(1.0)
    assert sign_test([1.0] * 60 + [-1.0] * 40) == pytest.approx(0.057, abs=0.001)
    assert sign_test([1.0] * 100) < 1e-20
    assert sign_test([0.0] * 10) == 1.0


def test_the_interval_of_a_median_has_the_median_in_it() -> None:
    low, high = confidence([float(number) for number in range(100)])
    assert (low, high) == (40.0, 60.0)


def test_a_turn_is_told_by_its_rate_and_its_latencies() -> None:
    sample = sample_of([0.001] * 99 + [0.1], elapsed=2.0, cpu=200_000_000)
    assert (sample.rate, sample.p50, sample.cpu) == (50.0, 1.0, 2.0)
    assert sample.p99 > 1.0
