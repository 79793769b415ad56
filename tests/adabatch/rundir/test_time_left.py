"""How far runs are and how long they will take, by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from adabatch.rundir.columns import COLUMNS
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import mark_done
from adabatch.rundir.states import State
from adabatch.rundir.time_left import RunSoFar, TimeLeft, known_seconds, run_so_far, time_left, wall_seconds

CELL = "fashion_mnist-resnet20"


def write(
    root: Path, arm: str, seed: int, *, cell: str = CELL, done: float | None = None, forecast: float | None = None
) -> Path:
    """Write a run that took ``done`` wall-clock seconds, or has not started; 20 s of a forecast are tests."""
    run = RunDir(root / cell / arm / f"seed_{seed}")
    run.path.mkdir(parents=True)
    run.config.write_text("num_epochs: 20\n")
    launch: dict[str, object] = {"arm": arm, "cell": cell, "concurrent_runs": 2}
    if forecast is not None:
        launch["forecast"] = {"train_seconds": forecast - 30, "growth_seconds": 10, "test_seconds": 20}
    run.meta.write_text(json.dumps({"launch": launch}))
    if done is not None:
        run.summary.write_text(json.dumps({"state": "done", "epochs": 20, "num_epochs": 20, "wall_seconds": done}))
        mark_done(run, "done")
    return run.path


def train(run: Path, epoch: int, wall: float, samples: int = 500) -> Path:
    """Let a run train: some of an epoch's 1,000 samples are done."""
    beat = {"time": time.time(), "host": "elsewhere", "pid": 1, "epoch": epoch, "num_epochs": 20, "updates": 1234}
    beat |= {"samples_in_epoch": samples, "epoch_samples": 1000, "wall_seconds": wall}
    RunDir(run).progress.write_text(json.dumps(beat))
    return run


def finish_epochs(run: Path, count: int) -> Path:
    rows = [",".join(COLUMNS), *(",".join([str(epoch), *["1"] * (len(COLUMNS) - 1)]) for epoch in range(1, count + 1))]
    RunDir(run).epochs.write_text("\n".join(rows) + "\n")
    return run


def read(root: Path) -> list[RunSoFar]:
    """Return all runs: done ones, those with a heartbeat as running, the others as waiting."""
    found = []
    for config in sorted(root.rglob("config.yaml")):
        run = RunDir(config.parent)
        state = State.RUNNING if run.progress.exists() else State.PENDING
        found.append(run_so_far(run.path, State.DONE if run.done.exists() else state))
    return found


def left(root: Path) -> TimeLeft:
    return time_left(read(root))


def test_jobs_start_as_slots_become_free() -> None:
    # two slots, busy for 5 and 20 s: 10 s end at 15, 10 more at 25, 30 start at 20 and end at 50
    assert wall_seconds([10, 10, 30], 2, [5, 20]) == 50
    assert wall_seconds([10, 10, 10], 1) == 30
    assert wall_seconds([10, 10, 10], 5) == 10
    assert wall_seconds([], 2) == 0


def test_before_any_run_has_ended_the_forecast_tells(tmp_path: Path) -> None:
    for seed in range(2):
        write(tmp_path, "fixed", seed, forecast=600)
        write(tmp_path, "growing", seed, forecast=300)
    nothing_runs = left(tmp_path)
    # two at a time, as recorded: 600 and 300 s of one seed; 600 s of the other from 300 s on, and 300 s from 600 s on
    assert (nothing_runs.seconds, nothing_runs.bases, nothing_runs.fraction) == (900, ("the forecast",), 0)
    assert nothing_runs.text == "0 of 4 done, 4 waiting; about 15 min 00 s left (by the forecast)"
    train(tmp_path / CELL / "fixed" / "seed_0", epoch=1, wall=60, samples=10)
    first = left(tmp_path)
    # 10 of 20,000 samples are no pace: 0.0005 of 600 s are done, then 600, 300 and 300 s, one at a time
    assert first.seconds == pytest.approx(600 * (1 - 0.0005) + 1200)
    assert (first.num_running, first.num_waiting, first.bases) == (1, 3, ("the forecast",))


def test_from_the_first_run_on_the_pace_tells(tmp_path: Path) -> None:
    write(tmp_path, "fixed", 0, done=1000, forecast=600)
    train(write(tmp_path, "growing", 0, forecast=300), epoch=11, wall=210)
    write(tmp_path, "fixed", 1, forecast=600)
    write(tmp_path, "growing", 1, forecast=300)
    found = left(tmp_path)
    # 10.5 of 20 epochs took 210 s: 190 s are left, 400 s in all; then 1,000 s and 400 s as their arms took
    assert found.seconds == pytest.approx(190 + 1000 + 400)
    assert found.fraction == pytest.approx((1 + 10.5 / 20) / 4)
    assert found.text == "1 of 4 done, 1 running, 2 waiting; about 26 min 30 s left (by the pace so far)"


def test_pace_and_forecast_are_both_named(tmp_path: Path) -> None:
    train(write(tmp_path, "growing", 0, forecast=300), epoch=11, wall=210)
    write(tmp_path, "fixed", 0, forecast=600)
    assert left(tmp_path).left_text == "about 13 min 10 s left (by the pace so far and the forecast)"


def test_without_a_forecast_other_arms_tell_and_then_other_cells(tmp_path: Path) -> None:
    write(tmp_path, "fixed", 0, done=100)
    write(tmp_path, "growing", 0)
    assert left(tmp_path).left_text == "about 1 min 40 s left (by the pace so far)"
    write(tmp_path, "fixed", 0, cell="fashion_mnist-alexnet")
    # two at a time
    assert left(tmp_path).left_text == "about 1 min 40 s left (by the pace so far and runs of other cells)"


def test_what_waits_again_has_only_its_other_epochs_left(tmp_path: Path) -> None:
    write(tmp_path, "fixed", 0, done=1000)
    finish_epochs(write(tmp_path, "fixed", 1), 15)
    found = left(tmp_path)
    assert found.seconds == pytest.approx(1000 * 5 / 20)
    assert found.fraction == pytest.approx((1 + 15 / 20) / 2)


def test_the_order_in_which_runs_are_given_does_not_matter(tmp_path: Path) -> None:
    for seed in (2, 10):
        write(tmp_path, "fixed", seed, forecast=600)
        write(tmp_path, "growing", seed, forecast=300)
    write(tmp_path, "last", 10, forecast=1000)
    runs = read(tmp_path)
    # two at a time in the order of the seeds: 600 and 300; 600 and 300 until 900; then 1,000 s more
    assert time_left(runs).seconds == time_left(runs[::-1]).seconds == 1900


def test_the_pace_of_all_runs_tells_of_some(tmp_path: Path) -> None:
    write(tmp_path, "fixed", 0, done=100)
    write(tmp_path, "fixed", 1)
    runs = read(tmp_path)
    assert time_left(runs[1:]).left_text == "time left not known yet"
    assert time_left(runs[1:], runs).text == "0 of 1 done, 1 waiting; about 1 min 40 s left (by the pace so far)"
    assert known_seconds(runs, [runs[1].run_dir]) == [100]


def test_nothing_is_promised_without_pace_or_forecast(tmp_path: Path) -> None:
    runs = [RunSoFar(write(tmp_path, "fixed", 0), State.PENDING)]
    assert time_left(runs).text == "0 of 1 done, 1 waiting; time left not known yet"
    assert known_seconds(runs, [runs[0].run_dir]) is None
    ended = [RunSoFar(runs[0].run_dir, State.FAILED)]
    assert time_left(ended).text == "0 of 1 done, 1 neither queued nor done"
    assert time_left([]).left_text == ""
