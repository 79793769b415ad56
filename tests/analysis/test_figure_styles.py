"""``figure --style``: a style's colours are those of the figure, and arms stay apart in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.figures.arm_styles import COLOURS, style_at
from analysis.figures.themes import LIGHT
from tests.analysis.commands import run
from tests.analysis.sweeps import kind_of, level, two_arms, write_arm

pytestmark = pytest.mark.slow
_OURS = {light.lower() for light, _ in COLOURS[1:]}


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Five arms, each with a batch size of its own."""
    for place, arm in enumerate(("fixed", "arm_1", "arm_2", "arm_3", "arm_4")):
        write_arm(tmp_path / "five", arm, [10 * 2**place] * 3, 0.9, range(2))
    return tmp_path / "five"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.mplstyle"
    path.write_text("axes.prop_cycle: cycler('color', ['ff0000', '00aa00'])\nimage.cmap: viridis\n")
    return path


def drawn_styles(path: Path) -> list[tuple[str, str]]:
    """Return colour and dashes of the coloured lines of an SVG."""
    found = []
    for style in re.findall(r'style="([^"]*stroke: #[^"]*)"', path.read_text()):
        parts = dict(part.split(": ", 1) for part in style.split("; ") if ": " in part)
        if parts.get("fill") == "none":
            found.append((parts["stroke"], parts.get("stroke-dasharray", "")))
    return found


def test_arms_take_the_colours_of_a_style_in_turn(
    five: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.svg"
    run(capsys, "figure", five, "--pictures", "batch_size", "--style", own, "-o", path)
    styles = drawn_styles(path)
    red = {dashes for colour, dashes in styles if colour == "#ff0000"}
    green = {dashes for colour, dashes in styles if colour == "#00aa00"}
    # arms 0, 2 and 4 are red, 1 and 3 are green, each with a dash of its own
    assert (len(red), len(green)) == (3, 2)
    assert not _OURS & {colour for colour, _ in styles}


def test_without_colours_of_its_own_a_style_leaves_ours(
    five: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    style = tmp_path / "serif.mplstyle"
    style.write_text("font.family: serif\n")
    path = tmp_path / "f.svg"
    run(capsys, "figure", five, "--pictures", "batch_size", "--style", style, "-o", path)
    seen = {colour for colour, _ in drawn_styles(path)}
    assert {style_at(place).colour.lower() for place in range(5)} <= seen


def test_a_grey_style_leaves_no_colour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = two_arms(tmp_path / "sweep")
    path = tmp_path / "f.png"
    pictures = "speedup,batch_size,speedup_parts,time_by_span"
    for style, is_grey in (("grayscale", True), ("default", False)):
        run(capsys, "figure", root, "--pictures", pictures, "--style", style, "-o", path)
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
        assert (np.ptp(pixels, axis=2).max() == 0) == is_grey


def test_a_heat_map_takes_the_map_of_a_style(tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for decay in (0.0, 0.5):
        swept = {"optimizer.weight_decay": decay}
        for arm, size in (("fixed", 10), ("large", 40)):
            write_arm(tmp_path / "grid", level(arm, swept), [size] * 3, 0.9, range(2), **kind_of(swept))
    path = tmp_path / "f.png"
    # the upper ends of viridis and of our own map
    yellow, blue = (253, 231, 36), tuple(int(LIGHT.high[place : place + 2], 16) for place in (1, 3, 5))
    for words, wanted, other in ((("--style", own), yellow, blue), ((), blue, yellow)):
        run(capsys, "figure", tmp_path / "grid", "--pictures", "speedup_grid", *words, "-o", path)
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=int)
        near = [int((np.abs(pixels - colour).max(axis=2) <= 8).sum()) for colour in (wanted, other)]
        # the end of the scale, and at least one field
        assert near[0] > 2000
        assert near[1] < 100


def test_dashes_and_markers_alone_tell_arms_apart() -> None:
    styles = [style_at(place) for place in range(54)]
    assert len({(style.dash, style.marker) for style in styles}) == 54
    many = [style_at(place) for place in range(378)]
    assert len({(style.colour, style.dash, style.marker) for style in many}) == 378
