"""Arms whose curves are equal: each of them is seen, on the screen and on paper."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import analysis
from analysis.figures.alternative import alternative_text
from analysis.figures.marks import Line, Picture
from analysis.figures.registry import build
from analysis.figures.screen import draw
from analysis.figures.source import source_of
from tests.analysis.figures_of import GROUP
from tests.analysis.runs import write_run

_NOTE = "where lines coincide, they are drawn side by side around their place"


def lines_of(picture: Picture) -> dict[str, Line]:
    return {mark.label: mark for mark in picture.marks if isinstance(mark, Line) and mark.label}


def drawn(root: Path, name: str) -> Picture:
    return build(name, source_of(analysis.load(root)), GROUP)


def colours_seen(path: Path) -> list[int]:
    """Return by colour of the palette how many pixels of a picture are nearly of it."""
    from analysis.figures.arm_styles import COLOURS

    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
    found = []
    for light, _ in COLOURS:
        wanted = [int(light[place : place + 2], 16) for place in (1, 3, 5)]
        found.append(int((np.abs(pixels - wanted).max(axis=2) <= 6).sum()))
    return found


def test_two_equal_arms_are_side_by_side_around_their_place(tmp_path: Path) -> None:
    for arm in ("fixed", "same"):
        write_run(tmp_path, arm, accuracies=(0.5, 0.6, 0.7, 0.8), batches=[10, 10, 40, 40])
    picture = drawn(tmp_path, "batch_size")
    fixed, same = lines_of(picture).values()
    assert (list(fixed.y), list(same.y)) == ([10, 10, 10, 40, 40], [10, 10, 10, 40, 40])
    # The axis has two octaves; they are 0.0125 of it apart, half of it to each side, and the first arm is above.
    half = 4 ** (0.0125 / 2)
    assert fixed.drawn_y == pytest.approx([10 * half] * 3 + [40 * half] * 2, rel=1e-5)
    assert same.drawn_y == pytest.approx([10 / half] * 3 + [40 / half] * 2, rel=1e-5)
    # Where they climb, after epoch 2 of 4, they are 0.008 of the width apart; the upper one is at the left.
    assert fixed.drawn_x == pytest.approx([0, 1, 2 - 0.016, 3, 4])
    assert same.drawn_x == pytest.approx([0, 1, 2 + 0.016, 3, 4])
    assert picture.notes[-1] == _NOTE
    assert "fixed: ends at 40; same: ends at 40." in alternative_text(picture)


def test_what_is_said_of_a_moved_point_is_its_value(tmp_path: Path) -> None:
    for arm in ("fixed", "same"):
        write_run(tmp_path, arm, accuracies=(0.5, 0.6), batches=10)
    [trace, _] = [trace for trace in draw(drawn(tmp_path, "batch_size")).data if trace.mode == "lines"
                  and trace.x[0] is not None]  # fmt: skip
    assert trace.y[0] != 10
    assert trace.text == ("10", "10", "10")
    assert trace.hovertemplate.startswith("fixed<br>%{text}<br>")


@pytest.mark.parametrize("name", ["rate_per_sample", "batch_size", "accuracy_by_epoch"])
def test_twelve_equal_arms_have_twelve_heights(tmp_path: Path, name: str) -> None:
    for place in range(12):
        write_run(tmp_path, f"arm_{place:02}", accuracies=(0.5, 0.7, 0.9), batches=64, rates=(0.01, 0.01, 0.01))
    picture = drawn(tmp_path, name)
    lines = list(lines_of(picture).values())
    assert len(lines) == 12
    figure = draw(picture)
    low, high = figure.layout.yaxis.range or (50, 90)
    height = (high - low) * (math.log(10) if figure.layout.yaxis.type == "log" else 1)
    for point in range(len(lines[0].y)):
        heights = [line.drawn_y[point] for line in lines]
        places = np.log(heights) if figure.layout.yaxis.type == "log" else np.array(heights)
        # neighbours are 0.01 of the axis apart: twelve share 0.12 of it
        assert -np.diff(places) == pytest.approx([0.01 * height] * 11, rel=0.03)
        value = math.log(lines[0].y[point]) if figure.layout.yaxis.type == "log" else lines[0].y[point]
        assert np.mean(places) == pytest.approx(value, rel=1e-4)
    assert _NOTE in picture.notes


def test_every_colour_of_twelve_equal_arms_is_seen_on_paper(tmp_path: Path) -> None:
    for place in range(12):
        write_run(tmp_path / "runs", f"arm_{place:02}", accuracies=(0.5, 0.7, 0.9), batches=64)
    path = tmp_path / "figure.png"
    analysis.save_figure(analysis.load(tmp_path / "runs"), path, ["batch_size"])
    # The eight colours are in the legend, too, in the upper fifth.
    image = Image.open(path)
    image.crop((0, image.height // 5, image.width, image.height)).save(path)
    assert min(colours_seen(path)) > 200


def test_arms_that_part_are_moved_only_where_they_were_equal(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", accuracies=(0.5, 0.6, 0.7, 0.8), batches=10)
    write_run(tmp_path, "growing", accuracies=(0.5, 0.6, 0.7, 0.8), batches=[10, 10, 20, 40])
    fixed, growing = lines_of(drawn(tmp_path, "batch_size")).values()
    # A stage is moved as a whole, so that it has no step that the run has not.
    assert len(set(fixed.drawn_y)) == 1
    assert fixed.drawn_y[0] > 10 > growing.drawn_y[0]
    assert growing.drawn_y[3:] == pytest.approx([20, 40])


def test_curves_that_are_equal_at_first_come_back_to_their_place(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", accuracies=(0.5, 0.6, 0.7, 0.80, 0.85), batches=10)
    write_run(tmp_path, "growing", accuracies=(0.5, 0.6, 0.7, 0.78, 0.84), batches=10)
    fixed, growing = lines_of(drawn(tmp_path, "accuracy_by_epoch")).values()
    # half of 0.0125 of an axis of 35 points
    shift = 0.0125 * 35 / 2
    assert fixed.drawn_y == pytest.approx([50 + shift, 60 + shift, 70 + shift, 80, 85], rel=1e-5)
    assert growing.drawn_y == pytest.approx([50 - shift, 60 - shift, 70 - shift, 78, 84], rel=1e-5)


def test_curves_that_differ_a_little_stay_at_their_place(tmp_path: Path) -> None:
    for place, arm in enumerate(("fixed", "growing", "large")):
        write_run(tmp_path, arm, accuracies=[0.5 + 0.0002 * place, 0.7, 0.8 - 0.0002 * place], batches=10)
    picture = drawn(tmp_path, "accuracy_by_epoch")
    assert not any(line.drawn_y for line in lines_of(picture).values())
    assert _NOTE not in picture.notes


def test_a_crowd_of_levels_is_drawn_in_order(tmp_path: Path) -> None:
    """Two ramps of 200 levels with one arm between them: neighbours never change places."""
    ramp = [10 + epoch for epoch in range(200)]
    for arm in ("one", "two"):
        write_run(tmp_path, arm, accuracies=[0.5] * 200, batches=ramp)
    one, two = lines_of(drawn(tmp_path, "batch_size")).values()
    assert all(first > second for first, second in zip(one.drawn_y, two.drawn_y, strict=True))
    assert all(first <= second for first, second in pairwise(one.drawn_x))
