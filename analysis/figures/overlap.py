"""Lines that lie under others, drawn so that both are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.figures.marks import Line

COINCIDE = "where lines coincide, the lower ones are wider"
#: Lines closer than this share of the axis lie on each other; if they do so in this share of a line, it is widened.
_NEAR, _FEWEST = 0.01, 0.25
#: Markers of a line that tell it from others without colour.
_MARKERS_OF_A_LINE = 5
#: In points, for each line above, up to a number of lines.
_STEP, _MOST = 1.75, 3


def widened(lines: Sequence[Line], is_log: bool) -> list[Line]:
    """Return lines of which each is wider than those above it that lie on it; later lines are above earlier ones."""
    heights = [_heights(line.y, is_log) for line in lines]
    known = np.concatenate([values[np.isfinite(values)] for values in heights] or [np.array([])])
    span = float(np.ptp(known)) if len(known) else 0.0
    found = []
    for place, line in enumerate(lines):
        above = range(place + 1, len(lines))
        hidden = sum(_coincide(lines, heights, place, other, span) for other in above)
        found.append(replace(line, width=line.width + _STEP * min(hidden, _MOST)))
    return found


def _heights(y: Sequence[float], is_log: bool) -> np.ndarray:
    values = np.asarray(y, dtype=float)
    return np.log(np.where(values > 0, values, math.nan)) if is_log else values


def _coincide(lines: Sequence[Line], heights: Sequence[np.ndarray], one: int, other: int, span: float) -> bool:
    """Return whether two lines lie on each other in a part of their common stretch."""
    ends = [(line.x[0], line.x[-1]) for line in (lines[one], lines[other]) if len(line.x)]
    if len(ends) < 2:
        return False
    low, high = max(first for first, _ in ends), min(last for _, last in ends)
    if low > high:
        return False
    places = np.linspace(low, high, 60)
    first, second = (np.interp(places, lines[place].x, heights[place]) for place in (one, other))
    return bool(np.mean(np.abs(first - second) <= _NEAR * span) >= _FEWEST)


def marked_points(count: int, place: int, num_lines: int) -> list[int]:
    """Return which of a line's points carry a marker, so that lines on each other are marked at different points."""
    first = (place + 0.5) / num_lines / _MARKERS_OF_A_LINE
    wanted = (first + step / _MARKERS_OF_A_LINE for step in range(_MARKERS_OF_A_LINE))
    return sorted({min(count - 1, int(share * count)) for share in wanted})
