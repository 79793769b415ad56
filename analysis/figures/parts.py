"""A picture with more rows than a sheet has room for, in several pictures with the same axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from analysis.figures.marks import Axis, Bar, Cell, Interval, Mark, Picture
from analysis.figures.ticks import end_from_zero, limits

_CONTINUED = " (continued)"


def parts_of(picture: Picture, most_rows: int) -> list[Picture]:
    """Return a picture in parts of at most so many rows, about equal; one that has no more is its only part.

    Rows below one heading stay together, if they fit. Each part has the whole picture's axis along x and its reference
    lines; what holds of all of them is noted below the last.
    """
    num_rows = len(picture.y.categories)
    if picture.empty or picture.y.scale != "categories" or num_rows <= most_rows:
        return [picture]
    groups = _row_groups(picture.y, most_rows)
    x = _whole_axis(picture)
    found = []
    for number, rows in enumerate(groups, start=1):
        title = f"{picture.title} ({number} of {len(groups)})"
        notes = picture.notes if number == len(groups) else ()
        found.append(_part(replace(picture, title=title, x=x, notes=notes), rows))
    return found


def _row_groups(axis: Axis, most_rows: int) -> list[list[int]]:
    """Return the rows of each part; one that begins within a heading's rows has the heading first, once more."""
    num_parts = math.ceil(len(axis.categories) / most_rows)
    wanted = math.ceil(len(axis.categories) / num_parts)
    found: list[list[int]] = [[]]
    for block in _blocks(axis):
        if found[-1] and len(found[-1]) + len(block) > (wanted if len(found) < num_parts else most_rows):
            found.append([])
        while len(found[-1]) + len(block) > most_rows:
            room = most_rows - len(found[-1])
            found[-1] += block[:room]
            has_heading = block[0] in axis.headings
            block = [*block[:has_heading], *block[room:]]
            found.append([])
        found[-1] += block
    return found


def _blocks(axis: Axis) -> list[list[int]]:
    """Return the rows of each heading with it; without headings each row by itself."""
    found: list[list[int]] = []
    for row in range(len(axis.categories)):
        if row in axis.headings or not axis.headings or not found:
            found.append([])
        found[-1].append(row)
    return found


def _whole_axis(picture: Picture) -> Axis:
    """Return the axis along x with the ends that the whole picture has."""
    if picture.x.scale == "categories":
        return picture.x
    if picture.x.from_zero:
        return replace(picture.x, low=0.0, high=end_from_zero(picture, "x"))
    ends = limits(picture, "x")
    return picture.x if ends is None else replace(picture.x, low=ends[0], high=ends[1])


def _part(picture: Picture, rows: Sequence[int]) -> Picture:
    axis = picture.y
    places = {row: place for place, row in enumerate(rows)}
    names = [axis.categories[row] for row in rows]
    if rows[0] in axis.headings and len(rows) > 1 and rows[1] != rows[0] + 1:
        names[0] += _CONTINUED
    headings = frozenset(place for row, place in places.items() if row in axis.headings)
    marks = tuple(_placed(mark, places) for mark in picture.marks if _is_in(mark, places))
    return replace(picture, y=replace(axis, categories=tuple(names), headings=headings), marks=marks)


def _is_in(mark: Mark, places: dict[int, int]) -> bool:
    return not isinstance(mark, (Interval, Bar, Cell)) or mark.row in places


def _placed(mark: Mark, places: dict[int, int]) -> Mark:
    return replace(mark, row=places[mark.row]) if isinstance(mark, (Interval, Bar, Cell)) else mark
