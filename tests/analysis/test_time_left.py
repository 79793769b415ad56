"""How long the running and pending runs of a sweep will take, by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.live import read_beats
from analysis.time_left import time_left
from tests.analysis.runs import write_run
from tests.analysis.served import beat, shorten


def queue(runs: pd.DataFrame, which: pd.Series) -> None:
    """Make runs that are done ones that wait."""
    runs["state"] = runs.state.mask(which, "pending")
    runs["epochs"] = runs.epochs.mask(which, 0)


def load(root: Path, pending: tuple[str, ...] = (), forecasts: dict[str, float] | None = None) -> pd.DataFrame:
    """Return the runs of a folder, some of them as if they were queued."""
    runs = analysis.load(root).runs.copy()
    for arm in pending:
        queue(runs, runs.arm == arm)
    for arm, seconds in (forecasts or {}).items():
        runs.loc[runs.arm == arm, "forecast_seconds"] = seconds
    return runs


def test_runs_take_as_long_as_those_of_their_arm(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path, "fixed", seed)  # 2 epochs of 10 s
    running = write_run(tmp_path, "fixed", 2)
    shorten(running, 1)
    beat(running, 2, 2)  # 1.5 of 2 epochs after 45 s, so 15 s are left of 60 s
    write_run(tmp_path, "fixed", 3)
    runs = load(tmp_path)
    queue(runs, runs.seed == 3)
    left = time_left(runs, read_beats(runs))
    assert left is not None
    assert (left.num_at_once, left.basis) == (1, "at the pace so far")
    # The pending one takes the mean of 20, 20 and 60 s.
    assert left.seconds == pytest.approx(15 + 100 / 3)


def test_as_many_at_a_time_as_now_but_none_ends_before_its_own_end(tmp_path: Path) -> None:
    for seed in range(2):
        running = write_run(tmp_path, "fixed", seed)
        shorten(running, 1)
        beat(running, 2, 2)
    write_run(tmp_path, "late", 0)
    runs = load(tmp_path, pending=("late",), forecasts={"late": 10.0})
    left = time_left(runs, read_beats(runs))
    assert left is not None
    # (15 + 15 + 10) / 2
    assert (left.seconds, left.num_at_once) == (pytest.approx(20.0), 2)
    assert left.basis == "at the pace so far, and by the forecast where no run has ended"
    runs = load(tmp_path, pending=("late",), forecasts={"late": 100.0})
    longest = time_left(runs, read_beats(runs))
    assert longest is not None
    assert longest.seconds == pytest.approx(100.0)


def test_before_any_run_has_ended_the_forecast_counts(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0)
    write_run(tmp_path, "growing", 0)
    left = time_left(load(tmp_path, ("fixed", "growing"), {"fixed": 40.0, "growing": 20.0}), {})
    assert left is not None
    assert (left.seconds, left.num_at_once, left.basis) == (60.0, 1, "by the forecast")
    assert time_left(load(tmp_path, ("fixed", "growing")), {}) is None


def test_an_arm_is_known_from_other_groups(tmp_path: Path) -> None:
    write_run(tmp_path, "growing,seeds=1", 0, cell="digits-resnet14", changes={"network.name": "resnet14"})
    write_run(tmp_path, "growing,seeds=2", 0)
    left = time_left(load(tmp_path, ("growing,seeds=2",)), {})
    assert left is not None
    assert (left.seconds, left.basis) == (20.0, "at the pace so far")


def test_nothing_is_left_of_what_has_ended(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0)
    write_run(tmp_path, "fixed", 1, state="failed", cause="DataError: cut")
    runs = load(tmp_path)
    assert time_left(runs, read_beats(runs)) is None
