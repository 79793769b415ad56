"""What figures draw: means over seeds, the bands around them, and which points of long lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.bands import MOST_POINTS, drawn_points
from analysis.figures.costs import time_by_span
from analysis.figures.curves import CURVES, curve_frame, notes
from analysis.frames import records
from analysis.target import performance_profile
from tests.analysis.runs import edit_epochs, write_run

GROUP = "digits-tiny_cnn"


def last_accuracies(root: Path, accuracies: list[float], **options: object) -> pd.DataFrame:
    """Return the curve of an arm whose seeds end at some accuracies."""
    for seed, accuracy in enumerate(accuracies):
        write_run(root, "fixed", seed, accuracies=(0.5, accuracy), **options)  # type: ignore[arg-type]
    return curve_frame(analysis.load(root), GROUP, CURVES["accuracy_by_epoch"])


@pytest.mark.parametrize(
    ("accuracies", "mean", "low", "high"),
    [
        ([0.7], 70, 70, 70),
        # of two seeds the range
        ([0.6, 0.8], 70, 60, 80),
        # three draws of three: all are the first with probability 1 / 27 = 3.7 %, more than the tail of 2.5 %
        ([0.6, 0.6, 0.9], 70, 60, 90),
        # the fourth seed is drawn k times of four: k = 4 in 1 of 256 resamples, k >= 3 in 13, so 97.5 % lie at or below
        # k = 3, where the mean is 50 + 40 * 3 / 4; k = 0 in 81 of 256
        ([0.5, 0.5, 0.5, 0.9], 60, 50, 80),
    ],
)
def test_bands_by_hand(tmp_path: Path, accuracies: list[float], mean: float, low: float, high: float) -> None:
    last = last_accuracies(tmp_path, accuracies).iloc[-1]
    assert (last.y, last.low, last.high) == (pytest.approx(mean), pytest.approx(low), pytest.approx(high))
    assert last.n == len(accuracies)


def test_a_band_is_narrower_than_the_range_of_many_seeds(tmp_path: Path) -> None:
    accuracies = [0.5 + 0.01 * seed for seed in range(25)]
    last = last_accuracies(tmp_path, accuracies).iloc[-1]
    # the means of resamples have a standard deviation of sqrt((25**2 - 1) / 12) / sqrt(25) = 1.442 points
    assert last.low == pytest.approx(62 - 1.96 * 1.442, abs=0.25)
    assert last.high == pytest.approx(62 + 1.96 * 1.442, abs=0.25)


@pytest.mark.parametrize(
    ("count", "sentences"),
    [
        (1, ["n = 1 seed, no band"]),
        (2, ["Mean over n = 2 seeds; band: range at each epoch"]),
        (3, ["Mean over n = 3 seeds; band: 95 % bootstrap interval at each epoch"]),
    ],
)
def test_a_figure_says_what_its_band_is(tmp_path: Path, count: int, sentences: list[str]) -> None:
    assert notes(last_accuracies(tmp_path, [0.7 + 0.01 * seed for seed in range(count)])) == sentences
    figure = analysis.plot(analysis.load(tmp_path), "accuracy_by_epoch", GROUP)
    assert figure.layout.title.subtitle.text == sentences[0] + "."
    [line] = [trace for trace in figure.data if trace.customdata]
    name = {1: "", 2: "range 70 to 71, ", 3: "95 % bootstrap interval 70 to 72, "}[count]
    assert line.customdata[-1] == f"epoch 2: {name}n = {count} seed{'s' if count > 1 else ''}"


def test_arms_with_other_numbers_of_seeds_are_said(tmp_path: Path) -> None:
    for arm, count in (("fixed", 4), ("adaptive", 2)):
        for seed in range(count):
            write_run(tmp_path, arm, seed, accuracies=(0.5, 0.6 + 0.01 * seed))
    frame = curve_frame(analysis.load(tmp_path), GROUP, CURVES["accuracy_by_epoch"])
    assert notes(frame) == [
        "Mean over n = 2 to 4 seeds; band: 95 % bootstrap interval at each epoch",
        "where n = 2 the range",
    ]


def test_copies_and_repeats_are_one_seed_of_a_curve(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.8, 0.8, 0.8, 0.9)):
        written = write_run(tmp_path, "fixed", seed, accuracies=(0.5, accuracy), epoch_seconds=10 * (1 + seed))
        edit_epochs(written, "test_loss", [accuracy, accuracy])
    write_run(tmp_path, "fixed", 3, accuracies=(0.5, 0.7), epoch_seconds=40, name="again")
    frame = curve_frame(analysis.load(tmp_path), GROUP, CURVES["accuracy_by_seconds"])
    last = frame.iloc[-1]
    # 80 once, and 80 of seed 3, twice run; 2 * 20 and 2 * 40 s
    assert (last.y, last.n, last.x) == (pytest.approx(80.0), 2, pytest.approx(60.0))
    assert notes(frame)[1:] == ["copies of a run count once"]


def test_a_copy_of_a_run_takes_no_time(tmp_path: Path) -> None:
    for seed, (accuracy, seconds) in enumerate([(0.8, 10), (0.8, 10), (0.9, 30)]):
        written = write_run(tmp_path, "fixed", seed, accuracies=(0.5, accuracy), epoch_seconds=seconds)
        edit_epochs(written, "test_loss", [accuracy, accuracy])
    # two epochs of 10 and of 30 s, a quarter of it forward
    assert time_by_span(analysis.load(tmp_path), GROUP).loc["fixed", "forward"] == pytest.approx((20 + 60) / 2 / 4)


def test_a_seed_that_is_not_there_yet_is_in_no_band(tmp_path: Path) -> None:
    for seed in range(4):
        accuracies = (0.5, 0.5 + 0.1 * seed, 0.9)[: 3 if seed < 2 else 2]
        state = "done" if seed < 2 else "running"
        write_run(tmp_path, "fixed", seed, accuracies=accuracies, state=state, changes={"num_epochs": 3})
    frame = curve_frame(analysis.load(tmp_path), GROUP, CURVES["accuracy_by_epoch"])
    assert list(frame.n) == [4, 4, 2]
    assert (frame.low[1], frame.high[1]) == (pytest.approx(52.5, abs=2.6), pytest.approx(77.5, abs=2.6))
    assert (frame.low[2], frame.high[2]) == (90.0, 90.0)


def test_epochs_without_a_value_do_not_shorten_the_seconds(tmp_path: Path) -> None:
    written = write_run(tmp_path, "fixed", 0, accuracies=(0.5, 0.6, 0.7), epoch_seconds=10)
    edit_epochs(written, "train_loss", [2.0, "", 1.0])
    frame = curve_frame(analysis.load(written), GROUP, CURVES["train_loss"])
    assert list(frame.epoch) == [1, 3]
    assert list(frame.x) == [1.0, 3.0]


def test_a_line_whose_place_is_unknown_is_not_drawn(tmp_path: Path) -> None:
    written = write_run(tmp_path, "fixed", 0, accuracies=(0.5, 0.6))
    data = analysis.load(written)
    unknown = analysis.Data(data.runs, data.epochs.assign(elapsed_seconds=float("nan")))
    assert curve_frame(unknown, GROUP, CURVES["accuracy_by_seconds"]).empty
    assert len(curve_frame(unknown, GROUP, CURVES["accuracy_by_epoch"])) == 2


def test_a_long_line_is_thinned_between_its_boundaries(tmp_path: Path) -> None:
    batches = [10] * 617 + [20] * 383
    rates = [0.01] * 101 + [0.02] * 899
    write_run(tmp_path, "fixed", 0, accuracies=[0.5] * 1000, batches=batches, rates=rates)
    data = analysis.load(tmp_path)
    frame = curve_frame(data, GROUP, CURVES["batch_size"])
    assert len(frame) == MOST_POINTS
    assert {1, 101, 102, 617, 618, 1000} <= set(frame.epoch)
    assert frame.epoch.diff().max() <= 5
    assert list(frame.y) == [10.0 if epoch <= 617 else 20.0 for epoch in frame.epoch]
    assert notes(frame)[-1] == "250 of 1,000 epochs are drawn"
    figure = analysis.plot(data, "accuracy_by_epoch", GROUP)
    assert max(len(trace.x) for trace in figure.data) == MOST_POINTS


def test_a_line_that_changes_at_every_epoch_keeps_its_ends_and_boundaries() -> None:
    batch, rate = np.repeat([1, 2], 50), np.arange(100)
    points = drawn_points(batch, rate, most=10)
    assert len(set(points)) == 10
    assert {0, 49, 50, 99} <= set(points)
    assert list(drawn_points(batch, rate, most=100)) == list(range(100))
    # ten boundaries for two places beside the ends: evenly spread, the first and the last of them
    assert list(drawn_points(np.arange(6) // 1, most=4)) == [0, 1, 4, 5]


def test_the_same_runs_give_the_same_picture(tmp_path: Path) -> None:
    last_accuracies(tmp_path, [0.5, 0.62, 0.71, 0.9])
    data = analysis.load(tmp_path)
    pictures = {analysis.plot(data, "accuracy_by_epoch", GROUP).to_json() for _ in range(2)}
    assert len(pictures) == 1


def test_a_paper_figure_says_what_its_bands_are(tmp_path: Path) -> None:
    last_accuracies(tmp_path, [0.5, 0.62, 0.71])
    path = analysis.save_figure(analysis.load(tmp_path), tmp_path / "f.svg", ["accuracy_by_epoch"])
    assert "<!-- Mean over n = 3 seeds; band: 95 % bootstrap interval at each epoch. -->" in path.read_text()


def profile(root: Path) -> pd.DataFrame:
    comparison = analysis.compare(analysis.load(root), target=0.85)
    return performance_profile(comparison.data, comparison.matching, comparison.targets, comparison.measure)


def write_race(root: Path, seeds: int, losses: int, copies: bool = False, network: str = "tiny_cnn") -> None:
    """The growing arm is twice as fast, but of the last ``losses`` seeds never reaches the target."""
    for seed in range(seeds):
        final = 0.9 if seed < seeds - losses else 0.2
        kind: dict[str, Any] = {"cell": f"digits-{network}", "changes": {"network.name": network}}
        write_run(root, "fixed", seed, accuracies=(0.1, 0.9), epoch_seconds=10, rates=(0.01, 0.005), **kind)
        grown = write_run(
            root, "adaptive", seed, accuracies=(0.1, final), epoch_seconds=5, batches=(10, 20), rates=(0.01, 0.01),
            **kind,
        )  # fmt: skip
        if copies:
            edit_epochs(grown, "test_loss", [final, final])


def test_the_band_of_a_profile_by_hand(tmp_path: Path) -> None:
    write_race(tmp_path, seeds=4, losses=1)
    rows = {(entry["arm"], entry["factor"]): entry for entry in records(profile(tmp_path))}
    # the arm wins k of four draws with a chance of 3 / 4 each: k = 0 in 1 of 256 resamples, k <= 1 in 13
    won = rows["adaptive", 1.0]
    assert (won["share"], won["low"], won["high"], won["n"]) == (0.75, 0.25, 1.0, 4)
    assert (rows["fixed", 1.0]["share"], rows["fixed", 1.0]["low"], rows["fixed", 1.0]["high"]) == (0.25, 0.0, 0.75)
    assert (rows["fixed", 2.0]["low"], rows["fixed", 2.0]["high"]) == (1.0, 1.0)


def test_seeds_are_drawn_within_their_group(tmp_path: Path) -> None:
    write_race(tmp_path, seeds=3, losses=0)
    write_race(tmp_path, seeds=3, losses=3, network="alexnet")
    frame = profile(tmp_path)
    # each resample has three seeds of each group, of which one always wins and the other never does
    [grown] = frame[frame.arm == "adaptive"].itertuples()
    assert (grown.share, grown.low, grown.high, grown.n) == (0.5, 0.5, 0.5, 6)


def test_a_profile_of_few_seeds_has_no_band_and_says_so(tmp_path: Path) -> None:
    write_race(tmp_path, seeds=2, losses=1)
    assert list(profile(tmp_path).low.isna()) == [True, True, True]
    figure = analysis.plot(analysis.compare(analysis.load(tmp_path), target=0.85), "time_to_target_profile")
    assert figure.layout.title.subtitle.text.startswith(
        "n = 2 groups x seeds an arm. No band where a group has fewer than 3 seeds."
    )


def test_copies_are_one_seed_of_a_profile(tmp_path: Path) -> None:
    write_race(tmp_path, seeds=3, losses=1, copies=True)
    frame = profile(tmp_path)
    # seeds 0 and 1 are copies in the growing arm, and so one for both arms: it wins one of two
    assert set(frame.n) == {2}
    [won] = frame[frame.arm == "adaptive"].itertuples()
    assert (won.factor, won.share) == (1.0, 0.5)
