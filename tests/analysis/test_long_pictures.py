"""Pictures with more rows than a page has room for: in parts, each with the same axis."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

import analysis
from analysis.figures.marks import Bar, Cell, Interval, Picture, Rule
from analysis.figures.page import MOST_HEIGHT, framed_parts
from analysis.figures.parts import parts_of
from analysis.figures.registry import PICTURES, build
from analysis.figures.screen import draw
from analysis.figures.source import Source, groups, source_of
from tests.analysis.sweeps import grid_of_six, twelve_arms


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(analysis.compare(analysis.load(grid_of_six(tmp_path_factory.mktemp("grid")))))


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return source_of(analysis.compare(analysis.load(twelve_arms(tmp_path_factory.mktemp("twelve")))))


def rows_of(picture: Picture) -> list[tuple[str, str, float]]:
    """Return heading, name and value of each row with an interval."""
    found = []
    for mark in picture.marks:
        if isinstance(mark, Interval):
            heading = max((row for row in picture.y.headings if row < mark.row), default=None)
            name = "" if heading is None else picture.y.categories[heading].removesuffix(" (continued)")
            found.append((name, picture.y.categories[mark.row], mark.value))
    return found


def test_rows_stay_with_their_heading(grid: Source) -> None:
    whole = build("speedup", grid)
    # six headings with two arms each, and one more over all cells
    assert len(whole.y.categories) == 21
    parts = parts_of(whole, 8)
    assert [len(part.y.categories) for part in parts] == [6, 6, 6, 3]
    assert [part.title for part in parts] == [f"Speedup ({number} of 4)" for number in (1, 2, 3, 4)]
    assert all(0 in part.y.headings for part in parts)
    assert [row for part in parts for row in rows_of(part)] == rows_of(whole)


def test_parts_have_one_axis_and_all_reference_lines(grid: Source) -> None:
    for name in ("speedup", "quality_difference"):
        parts = parts_of(build(name, grid), 8)
        ranges = {tuple(draw(part).layout.xaxis.range) for part in parts}
        assert ranges == {tuple(draw(build(name, grid)).layout.xaxis.range)}
        rules = [[mark for mark in part.marks if isinstance(mark, Rule)] for part in parts]
        assert rules[0]
        assert all(found == rules[0] for found in rules)
        assert [bool(part.notes) for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_heading_that_is_broken_is_named_again(twelve: Source) -> None:
    whole = build("speedup", twelve)
    one_heading = replace(whole, y=replace(whole.y, headings=frozenset({0})))
    parts = parts_of(one_heading, 5)
    name = whole.y.categories[0]
    assert [part.y.categories[0] for part in parts] == [name] + [f"{name} (continued)"] * (len(parts) - 1)
    assert sum(len(part.y.categories) - 1 for part in parts) == len(whole.y.categories) - 1
    assert all(len(part.y.categories) <= 5 for part in parts)


def test_bars_and_fields_keep_their_rows(twelve: Source, grid: Source) -> None:
    group = groups(twelve.data)[0]
    whole = build("time_by_stage", twelve, group)
    parts = parts_of(whole, 12)
    assert len(parts) >= 3
    lengths = [[(part.y.categories[mark.row], mark.length) for mark in part.marks if isinstance(mark, Bar)]
               for part in (whole, *parts)]  # fmt: skip
    assert sorted(chain.from_iterable(lengths[1:])) == sorted(lengths[0])
    assert len({part.x.high for part in parts}) == 1
    heat = build("speedup_grid", grid)
    halves = parts_of(heat, 4)
    assert [len(part.y.categories) for part in halves] == [3, 3]
    texts = [[mark.text for mark in part.marks if isinstance(mark, Cell)] for part in (heat, *halves)]
    assert texts[1] + texts[2] == texts[0]


def test_a_picture_that_fits_is_one(grid: Source) -> None:
    for name, kind in PICTURES.items():
        picture = build(name, grid, groups(grid.data)[0] if kind.is_per_group else None)
        assert parts_of(picture, 21) == [picture]


def test_no_picture_of_a_page_is_higher_than_a_sheet(twelve: Source, grid: Source, tmp_path: Path) -> None:
    for source in (twelve, grid):
        for name, kind in PICTURES.items():
            parts = framed_parts(name, build(name, source, groups(source.data)[0] if kind.is_per_group else None))
            assert all(part.height <= MOST_HEIGHT for part in parts)
            assert len({part.place for part in parts}) == len(parts)
    report = analysis.write_report(source_comparison(grid), tmp_path / "report.html", "Grid").read_text()
    for place in ("figure-speedup", "figure-speedup-2", "figure-quality_difference-2"):
        assert f'id="{place}"' in report
    assert "figure-speedup-3" not in report


def source_comparison(source: Source) -> analysis.Comparison:
    assert source.comparison is not None
    return source.comparison
