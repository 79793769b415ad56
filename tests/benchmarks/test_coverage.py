"""That the simulation of verdicts runs, is repeatable, and holds its bounds within its own random error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.intervals import paired_intervals
from benchmarks.__main__ import main
from benchmarks.coverage import bounded_extremes, quality_errors, speed_errors
from benchmarks.simulated_sweeps import MIRRORED, flipped_points, half_widths_of_rules, log_seconds, places_in_blocks


@pytest.mark.slow
@pytest.mark.bench
def test_coverage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "coverage.json"
    assert main(["coverage", "--quick", "-o", str(output)]) == 0
    assert "Bounds for paired rules" in capsys.readouterr().out
    values = json.loads(output.read_text())["benchmarks"]["coverage"]
    assert values["num_sweeps"] == 400
    assert {row["n"] for row in values["paired_speed"]} == {2, 3, 5, 10, 30}
    assert {(row["num_samples"], row["n"]) for row in values["paired_quality"]} >= {(359, 2), (10_000, 30)}
    extremes = bounded_extremes(values)
    # The worst of 170 rows of 400 sweeps: standard errors 1.1 and 0.8 %, of which the worst row is off by up to five
    assert extremes["coverage"][0] >= 93.5 - 5 * 1.1
    for claim in ("faster", "slower", "not worse"):
        assert extremes[claim][0] <= 3.0 + 5 * 0.8
    # three values lie on one side of their mean, outside of the band, in 2 of 8 cases; standard error 2.2 %
    assert values["bands"][0]["coverage"] == pytest.approx(75, abs=11)

    assert main(["--show", str(output), "--format", "markdown"]) == 0
    assert "| coverage | >= 93.5 |" in capsys.readouterr().out


def test_errors_are_counted_where_the_truth_is_zero() -> None:
    # of four sweeps one misses the truth above and one below, far from every bound
    interval = paired_intervals(np.array([[9.0, 9.1], [-9.0, -9.1], [-5.0, 5.0], [-5.0, 5.0]]))
    speed, quality = speed_errors(interval), quality_errors(interval)
    assert (speed["coverage"], speed["faster"], speed["slower"], speed["equal"]) == (50.0, 25.0, 25.0, 0.0)
    assert (quality["coverage"], quality["better"], quality["worse"], quality["not worse"]) == (50.0, 25.0, 25.0, 25.0)


def test_every_second_seed_has_the_reverse_order() -> None:
    places = places_in_blocks(np.random.default_rng(0), 50, 5, 3, MIRRORED)
    assert (np.sort(places, axis=2) == [0, 1, 2]).all()
    assert (places[:, 0] + places[:, 1] == 2).all()
    assert (places[:, 2] + places[:, 3] == 2).all()


def test_single_samples_have_the_spread_that_was_asked_for() -> None:
    points = flipped_points(np.random.default_rng(0), (40_000, 2), (0.1, 0.2), 359)
    assert points.std() == pytest.approx(np.hypot(0.1, 0.2), rel=0.02)
    assert points.mean() == pytest.approx(0.0, abs=0.005)


def test_a_moderated_variance_lies_between_pairs_and_pooled_ones() -> None:
    seconds = log_seconds(np.random.default_rng(0), (4000, 2), (0.05,) * 5)
    widths = {rule: np.median(half_width) for rule, half_width in half_widths_of_rules(seconds).items()}
    assert widths["pooled"] < widths["moderated"] < widths["pairs"]
