"""``figure``: where texts have little room, none lies on another, is slanted, or is cut."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from itertools import pairwise
from pathlib import Path

import pytest

import analysis
from tests.analysis.sweeps import batches_of, kind_of, level, twelve_arms, write_arm

pytestmark = pytest.mark.slow
_SVG = "{http://www.w3.org/2000/svg}"
#: In points, about: of texts of the size x-small, 5.6 points, and of names, 8 points.
_LETTER, _LETTER_OF_NAME = 3.3, 4.4
_ARMS = ["growing_twice_every_four_epochs", "large_with_linear_scaling", "middle"] + [f"arm_{n}" for n in range(8)]


@pytest.fixture(scope="module")
def wide_grid(tmp_path_factory: pytest.TempPathFactory) -> analysis.Comparison:
    """Two values of weight decay with eleven arms beside the baseline."""
    root = tmp_path_factory.mktemp("wide")
    for decay in (0.0, 0.0005):
        swept = {"optimizer.weight_decay": decay}
        for place, arm in enumerate(["fixed", *_ARMS]):
            write_arm(root, level(arm, swept), batches_of(10 + place), 0.96, range(2), **kind_of(swept))
    return analysis.compare(analysis.load(root))


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> analysis.Comparison:
    return analysis.compare(analysis.load(twelve_arms(tmp_path_factory.mktemp("twelve"))))


def _anchor(element: xml.etree.ElementTree.Element) -> str:
    found = re.search(r"text-anchor: (\w+)", element.get("style", ""))
    return found.group(1) if found else "start"


def texts_of(
    runs: analysis.Comparison, folder: Path, pictures: list[str], width: float, arms: list[str] | None = None
) -> tuple[list[tuple[str, float, float, float]], float]:
    """Return the texts of a figure with x (left end), y and rotation, and the figure's width in points."""
    style = folder / "text.mplstyle"
    style.write_text("svg.fonttype: none\n")
    sheet = analysis.Sheet(width_inches=width, style=str(style))
    path = analysis.save_figure(runs, folder / "f.svg", pictures, arms=arms, sheet=sheet)
    root = xml.etree.ElementTree.parse(path).getroot()
    found = []
    for element in root.iter(f"{_SVG}text"):
        transform = element.attrib.get("transform", "")
        place = re.search(r"translate\(([-\d.]+) ([-\d.]+)\)", transform)
        turned = re.search(r"rotate\(([-\d.]+)", transform)
        x, y = map(float, place.groups()) if place else (float(element.get("x", 0)), float(element.get("y", 0)))
        text = "".join(element.itertext()).strip()
        share = {"middle": 0.5, "end": 1.0}.get(_anchor(element), 0.0)
        found.append((text, x - share * _LETTER * len(text), y, float(turned.group(1)) if turned else 0.0))
    return found, float(root.attrib["width"].removesuffix("pt"))


@pytest.mark.parametrize(
    ("num_arms", "width", "turned"), [(3, 7.0, 0), (3, 3.3, 0), (4, 7.0, 0), (12, 7.0, -90), (12, 3.3, -90)]
)
def test_names_of_columns_are_level_or_upright(
    wide_grid: analysis.Comparison, tmp_path: Path, num_arms: int, width: float, turned: int
) -> None:
    arms = ["fixed", *_ARMS][:num_arms]
    texts, right = texts_of(wide_grid, tmp_path, ["speedup_grid"], width, arms)
    names = [text for text in texts if text[0].startswith(("growing", "large", "arm_", "middle"))]
    assert {text[3] for text in names} == {turned}
    assert "".join(text[0] for text in texts).count("large_with_linear_scaling") == (num_arms > 2)
    assert all(0 <= text[1] <= right for text in names)
    if turned:
        columns = sorted(text[1] for text in names)
        # 8 points high; those of two lines have a place for each line
        assert all(other - one >= 8 for one, other in pairwise(columns))


@pytest.mark.parametrize("pictures", [["speedup_grid", "speedup"], ["speedup"], ["speedup", "batch_size"]])
def test_ticks_of_a_narrow_panel_are_apart(wide_grid: analysis.Comparison, tmp_path: Path, pictures: list[str]) -> None:
    texts, _ = texts_of(wide_grid, tmp_path, pictures, 3.3, ["fixed", *_ARMS][:4])
    by_line: dict[float, list[tuple[float, str]]] = {}
    for text, x, y, _ in texts:
        if re.fullmatch(r"[\d.]+x", text):
            by_line.setdefault(y, []).append((x, text))
    [ticks] = [sorted(line) for line in by_line.values() if len(line) > 1 and "1x" in [text for _, text in line]]
    assert len(ticks) >= 2
    # the text of 8 points is about 4.6 points a letter; places are those of its left end
    assert all(other[0] - one[0] > 4.6 * len(one[1]) for one, other in pairwise(ticks))


def test_texts_beside_marks_keep_off_the_names_of_rows(twelve: analysis.Comparison, tmp_path: Path) -> None:
    for name in ("speedup", "quality_difference"):
        texts, right = texts_of(twelve, tmp_path, [name], 3.3)
        names = [text for text in texts if text[0].startswith(("growing", "fixed", "unstable", "adaptive"))]
        beside = [text for text in texts if re.match(r"[-+]?\d+\.\d\d(x| |$|\*)", text[0])]
        assert len(beside) >= 8
        # The names end where the panel begins; they are drawn from their left ends.
        panel = max(x + _LETTER_OF_NAME * len(text) for text, x, _, _ in names)
        assert min(x for _, x, _, _ in beside) > panel - 12
        assert all(x + _LETTER * len(text) <= right + 3 for text, x, _, _ in beside)


def test_a_picture_of_many_rows_is_in_parts_side_by_side(twelve: analysis.Comparison, tmp_path: Path) -> None:
    texts, right = texts_of(twelve, tmp_path, ["speedup_parts"], 7.0)
    # nine arms with four factors each: 45 rows in two parts
    assert [text for text, *_ in texts if re.fullmatch(r"\d of \d", text)] == ["1 of 2", "2 of 2"]
    rows = [(x, y) for text, x, y, _ in texts if text == "throughput"]
    assert len(rows) == 9
    [first, *_] = [y for text, _, y, _ in texts if text == "1 of 2"]
    [label, *_] = [y for text, _, y, _ in texts if text == "as fast"]
    assert label - first >= 6  # the labels of lines are below the heading
    assert min(x for x, _ in rows) < right / 2 < max(x for x, _ in rows)
    axes = [text for text, *_ in texts if text == "speedup"]
    assert len(axes) == 2


@pytest.mark.parametrize(("count", "rows"), [(3, [3]), (4, [2, 2]), (5, [3, 2]), (7, [3, 2, 2])])
def test_panels_fill_their_rows(twelve: analysis.Comparison, tmp_path: Path, count: int, rows: list[int]) -> None:
    pictures = ["batch_size", "learning_rate", "rate_per_sample", "accuracy_by_epoch", "accuracy_by_samples",
                "error_by_epoch", "accuracy_by_updates"]  # fmt: skip
    texts, right = texts_of(twelve, tmp_path, pictures[:count], 7.0)
    labels = sorted((y, x) for text, x, y, _ in texts if text in ("epoch", "updates", "samples seen"))
    found: list[list[float]] = []
    for (y, x), (before, _) in zip(labels, [(-99.0, 0.0), *labels], strict=False):
        found = [*found[:-1], [*found[-1], x]] if y - before < 12 else [*found, [x]]
    assert [len(row) for row in found] == rows
    # the last panel of each row ends near the right end: its label is in its middle
    assert all(row[-1] > right * (1 - 1 / len(row)) for row in found)


def test_a_label_is_no_longer_than_its_axis(twelve: analysis.Comparison, tmp_path: Path) -> None:
    texts, right = texts_of(twelve, tmp_path, ["time_by_stage"], 3.3)
    lines = [(text, x) for text, x, *_ in texts if text and text in "mean time of an epoch, s" and len(text) > 3]
    assert " ".join(text for text, _ in lines).startswith("mean time of")
    assert len(lines) >= 2
    assert all(x + _LETTER_OF_NAME * len(text) <= right for text, x in lines)
