"""Where time goes, and what it buys: stages, spans, parts of a speedup, throughput and trade-off, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.figures.costs import time_by_span, time_by_stage
from analysis.figures.marks import Bar, Line, Picture, Points
from analysis.figures.registry import build
from analysis.figures.source import source_of
from analysis.figures.stages import stages
from analysis.figures.throughput import throughput
from tests.analysis.figures_of import GROUP, picture
from tests.analysis.runs import edit_epochs, write_run
from tests.analysis.sweeps import imported


def write_two(root: Path, seconds: tuple[float, ...] = (5.0, 5.0), **changes: Any) -> None:
    """Two seeds of a baseline that takes 10 s an epoch, and of a growing arm."""
    for seed, taken in enumerate(seconds):
        write_run(root, "fixed", seed, epoch_seconds=10.0, rates=(0.01, 0.005))
        write_run(root, "grown", seed, epoch_seconds=taken, batches=(10, 20), rates=(0.01, 0.01), **changes)


def write_trade(root: Path) -> None:
    """Arms of one seed: a fast and bad one, a slow and good one, one that is beaten in both, and one as good as it."""
    for arm, seconds, accuracy in (("fixed", 20, 0.9), ("bad", 5, 0.7), ("beaten", 30, 0.8), ("equal", 20, 0.9)):
        batches = {"fixed": 10, "bad": 20, "beaten": 40, "equal": 50}[arm]
        write_run(root, arm, 0, accuracies=(0.5, accuracy), epoch_seconds=seconds / 2, batches=batches)


def test_the_pareto_front_by_hand(tmp_path: Path) -> None:
    write_trade(tmp_path)
    found = picture(tmp_path, "quality_by_time")
    points = {mark.label: mark for mark in found.marks if isinstance(mark, Points)}
    assert {name for name, mark in points.items() if mark.filled} == {"fixed", "bad", "equal"}
    assert (points["beaten"].x, points["beaten"].y) == ([pytest.approx(30.0)], [pytest.approx(80.0)])
    [front] = [mark for mark in found.marks if getattr(mark, "label", "") == "Pareto front"]
    assert front.x == pytest.approx([5.0, 20.0, 20.0])  # type: ignore[union-attr]
    assert front.y == pytest.approx([70.0, 90.0, 90.0])  # type: ignore[union-attr]
    errors = picture(tmp_path, "error_by_time")
    assert {mark.label: mark.y[0] for mark in errors.marks if isinstance(mark, Points)}["bad"] == pytest.approx(30.0)


def test_the_time_of_a_trade_off_is_a_geometric_mean_over_seeds(tmp_path: Path) -> None:
    write_two(tmp_path, (4.0, 9.0))
    points = {mark.label: mark for mark in picture(tmp_path, "quality_by_time").marks if isinstance(mark, Points)}
    # two epochs of 4 and of 9 s: sqrt(8 * 18)
    assert points["grown"].x == [pytest.approx(12.0)]


def test_an_arm_without_errors_is_drawn_at_half_a_sample(tmp_path: Path) -> None:
    write_two(tmp_path, accuracies=(0.5, 1.0))
    found = picture(tmp_path, "error_by_time")
    samples = analysis.load(tmp_path).runs["dataset.num_test_samples"].iloc[0]
    points = {mark.label: mark for mark in found.marks if isinstance(mark, Points)}
    assert points["grown"].y == [pytest.approx(50 / samples)]
    assert "half a test sample" in found.notes[-1]


def test_stages_by_hand(tmp_path: Path) -> None:
    write_run(
        tmp_path, "grown", 0, accuracies=(0.1, 0.2, 0.3, 0.4), batches=(10, 10, 20, 10), epoch_seconds=(8, 8, 4, 6),
        spans={"data": 0.5, "forward": 0.25, "backward": 0.25, "update": 0.0, "growth": 0.5},
    )  # fmt: skip
    frame = stages(analysis.load(tmp_path))
    assert list(frame.stage) == [1, 2, 3]
    assert list(frame.batch_size) == [10, 20, 10]
    assert list(zip(frame.first_epoch, frame.last_epoch, frame.epochs, strict=True)) == [
        (1, 2, 2),
        (3, 3, 1),
        (4, 4, 1),
    ]
    assert list(frame.samples) == [2000, 1000, 1000]
    assert list(frame.train_seconds) == [16, 4, 6]
    assert list(frame.data) == [8, 2, 3]
    assert list(frame.growth) == [8, 2, 3]
    assert list(frame.other) == [0, 0, 0]


def bars(found: Picture) -> dict[str, list[Bar]]:
    """Return the bars of each row by its name."""
    rows: dict[str, list[Bar]] = {}
    for mark in found.marks:
        if isinstance(mark, Bar):
            rows.setdefault(found.y.categories[mark.row], []).append(mark)
    return rows


def test_the_parts_of_a_speedup_multiply_to_it(tmp_path: Path) -> None:
    """Of 20 s, 5 s each are data, forward, backward and update; the arm has 3 / 4 of the updates, and half of the rest.

    Fewer updates: 20 / (20 - 5 + 3.75) = 1.0667. Throughput: 18.75 / (18.75 - 10 + 5) = 1.3636. No growth. Rest: data
    5 to 2.5 s and steps 3.75 to 2.5 s, 13.75 / 10 = 1.375. In all 2.
    """
    write_two(tmp_path)
    found = picture(tmp_path, "speedup_parts")
    assert found.y.categories == ("grown", "fewer updates", "throughput", "growth", "rest")
    rows = {name: marks[0] for name, marks in bars(found).items()}
    assert [rows[name].text for name in found.y.categories] == ["2.00x", "1.07x", "1.36x", "1.00x", "1.38x"]
    ends = [rows[name].start + rows[name].length for name in found.y.categories[1:]]
    assert ends == pytest.approx([20 / 18.75, 20 / 13.75, 20 / 13.75, 2.0])
    assert [rows[name].start for name in found.y.categories[1:]] == pytest.approx([1.0, *ends[:-1]])


def test_a_part_that_costs_time_goes_back(tmp_path: Path) -> None:
    spans = {"data": 0.25, "forward": 0.25, "backward": 0.25, "update": 0.25, "growth": 1.0}
    write_two(tmp_path, spans=spans)
    rows = {name: marks[0] for name, marks in bars(picture(tmp_path, "speedup_parts")).items()}
    # of 13.75 s 10 s of growth make 23.75 s
    assert (rows["growth"].label, rows["growth"].text) == ("slower", "0.58x")
    assert rows["growth"].start == pytest.approx(20 / 23.75)
    assert rows["growth"].start + rows["growth"].length == pytest.approx(20 / 13.75)


def test_spans_of_runs_by_hand(tmp_path: Path) -> None:
    write_two(tmp_path, (5.0, 7.0))
    frame = time_by_span(analysis.load(tmp_path), GROUP)
    # two epochs of 5 and of 7 s, a quarter of it forward; a test takes a second
    assert (frame.forward["grown"], frame.test["grown"], frame.other["grown"]) == (pytest.approx(3.0), 2.0, 0.0)
    row = bars(picture(tmp_path, "time_by_span"))["grown"]
    assert [(bar.label, bar.start, bar.length) for bar in row] == [
        ("data", 0.0, pytest.approx(3.0)),
        ("forward", pytest.approx(3.0), pytest.approx(3.0)),
        ("backward", pytest.approx(6.0), pytest.approx(3.0)),
        ("update", pytest.approx(9.0), pytest.approx(3.0)),
        ("tests", pytest.approx(12.0), pytest.approx(2.0)),
    ]


def test_a_copy_of_a_run_takes_no_time(tmp_path: Path) -> None:
    for seed, (accuracy, seconds) in enumerate([(0.8, 10), (0.8, 10), (0.9, 30)]):
        written = write_run(tmp_path, "fixed", seed, accuracies=(0.5, accuracy), epoch_seconds=seconds)
        edit_epochs(written, "test_loss", [accuracy, accuracy])
    # two epochs of 10 and of 30 s, a quarter of it forward
    assert time_by_span(analysis.load(tmp_path), GROUP).forward["fixed"] == pytest.approx((20 + 60) / 2 / 4)


def test_spans_by_stage_by_hand(tmp_path: Path) -> None:
    write_run(tmp_path, "grown", 0, accuracies=(0.1, 0.2, 0.3), batches=(10, 10, 20), epoch_seconds=(8, 4, 4))
    data = analysis.load(tmp_path)
    frame = time_by_stage(data, GROUP)
    assert list(frame.label) == ["10 (epochs 1 to 2)", "20 (epoch 3)"]
    assert list(frame.data) == [1.5, 1.0]
    found = build("time_by_stage", source_of(data), GROUP)
    assert found.y.categories == ("grown", "10 (epochs 1 to 2)", "20 (epoch 3)")


def test_the_stages_of_a_ramp_are_merged_between_powers_of_two(tmp_path: Path) -> None:
    sizes = (8, 10, 12, 14, 16, 18, 20, 40)
    write_run(tmp_path, "ramp", 0, accuracies=[0.5] * 8, batches=sizes, epoch_seconds=8.0)
    labels = list(time_by_stage(analysis.load(tmp_path), GROUP).label)
    assert labels == ["8 to 14 (epochs 1 to 4)", "16 to 20 (epochs 5 to 7)", "40 (epoch 8)"]


def test_what_cuda_graphs_hide_is_not_divided(tmp_path: Path) -> None:
    written = write_run(tmp_path, "fixed", 0, epoch_seconds=10.0)
    for span in ("forward", "backward", "update"):
        edit_epochs(written, f"{span}_seconds", ["", ""])
    frame = time_by_span(analysis.load(tmp_path), GROUP)
    assert (frame.data["fixed"], frame.other["fixed"]) == (5.0, 15.0)
    assert math.isnan(frame.forward["fixed"])
    assert "Not divided: in CUDA graphs, or in logs without spans." in picture(tmp_path, "time_by_span").notes


def test_imported_runs_without_spans(tmp_path: Path) -> None:
    runs = imported(tmp_path)
    assert "spans of time were not measured" in picture(runs, "speedup_parts", "cifar10-resnet20").empty
    row = bars(picture(runs, "time_by_span", "cifar10-resnet20"))["small"]
    assert [bar.label for bar in row] == ["training, not divided"]


def test_throughput_by_hand(tmp_path: Path) -> None:
    write_run(tmp_path, "grown", 0, accuracies=(0.1, 0.2, 0.3), batches=(10, 10, 20), epoch_seconds=(10, 30, 10))
    write_run(tmp_path, "grown", 1, accuracies=(0.1, 0.2, 0.3), batches=(10, 10, 20), epoch_seconds=(5, 5, 10))
    frame = throughput(analysis.load(tmp_path), GROUP)
    # 2,000 samples in 40 s and in 10 s: 50 and 200 samples a second, and their geometric mean
    assert list(frame.batch_size) == [10, 20]
    assert list(frame.rate) == pytest.approx([100.0, 100.0])
    assert (frame.low[0], frame.high[0], frame.n[0]) == (pytest.approx(50.0), pytest.approx(200.0), 2)


def test_the_line_of_the_forecast_by_hand(tmp_path: Path) -> None:
    """Micro-batches of at most 25 take 1 s and 0.1 s a sample, a step 2 s: 50 samples 2 * 1 + 50 * 0.1 + 2 = 9 s."""
    line = {"fixed_seconds": 1.0, "seconds_per_sample": 0.1, "update_seconds": 2.0}
    other = {"fixed_seconds": 0.5, "seconds_per_sample": 0.1, "update_seconds": 1.0, "uses_graphs": True}
    parts = {"train_seconds": 9.0, "growth_seconds": 1.0, "uses_graphs": False, "counterpart": other}
    for arm, size in (("fixed", 50), ("large", 100)):
        write_run(
            tmp_path, arm, 0, batches=size, launch={"forecast": {**parts, **line}},
            meta={"cuda_graphs": "no: a processor", "world_size": 1}, changes={"max_micro_batch_size": 25},
        )  # fmt: skip
    found = picture(tmp_path, "throughput")
    lines = {mark.label: mark for mark in found.marks if isinstance(mark, Line) and mark.label}
    assert list(lines) == ["forecast, no CUDA graphs", "forecast, CUDA graphs"]
    plain, graphs = (dict(zip(mark.x, mark.y, strict=True)) for mark in lines.values())
    assert plain[35.0] == pytest.approx(35 / (2 * 1 + 3.5 + 2))
    assert graphs[35.0] == pytest.approx(35 / (2 * 0.5 + 3.5 + 1))
    points = {mark.label: mark for mark in found.marks if isinstance(mark, Points)}
    assert list(points) == ["fixed, no CUDA graphs", "large, no CUDA graphs"]
    assert not points["fixed, no CUDA graphs"].filled


def test_throughput_of_two_devices_is_told_apart(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0)
    write_run(tmp_path, "fixed", 1, meta={"device_model": "another processor"})
    data = analysis.load(tmp_path)
    assert list(throughput(data, GROUP).device) == ["a processor", "another processor"]
    found = build("throughput", source_of(data), GROUP)
    assert [mark.label for mark in found.marks if isinstance(mark, Points)] == [
        "fixed, a processor",
        "fixed, another processor",
    ]
