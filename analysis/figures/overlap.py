"""Lines and points that lie on others, drawn so that all are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.figures.marks import Line

COINCIDE = "where lines coincide, the lower ones are wider"
POINTS_COINCIDE = "where points coincide, they are drawn side by side around their place"
#: Lines closer than this share of the axis lie on each other; if they do so in this share of a line, it is widened.
_NEAR, _FEWEST = 0.01, 0.25
#: Markers of a line that tell it from others without colour.
_MARKERS_OF_A_LINE = 5
#: In points, for each line above, up to a number of lines.
_STEP, _MOST = 1.75, 3
#: Points at one x hide each other if they are closer than this share of the other axis.
_HIDES = 0.04
#: They are then drawn so far apart: at most and at least these shares of the axis; between them what lets all of them
#: stay within this share of the distance to the neighbouring place.
_FARTHEST, _CLOSEST, _OF_GAP = 0.03, 0.012, 0.7


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


def side_by_side(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Return how far each point is moved along x, so that those which would hide each other lie side by side.

    Args:
        x: places, of which many points share one; their logarithms on a logarithmic axis.
        y: heights on an axis that begins at 0.
    """
    shifts = [0.0] * len(x)
    places = np.unique(x)
    span = float(np.ptp(places)) or 1.0
    for place in places:
        gap = float(min((abs(other - place) for other in places if other != place), default=span))
        for hidden in _clusters(np.flatnonzero(x == place), y):
            step = max(_CLOSEST * span, min(_FARTHEST * span, _OF_GAP * gap / len(hidden)))
            for number, point in enumerate(sorted(hidden)):
                shifts[point] = step * (number - (len(hidden) - 1) / 2)
    return shifts


def _clusters(points: np.ndarray, y: np.ndarray) -> list[list[int]]:
    """Return the points in parts, by height: in each a point is near the next one."""
    found: list[list[int]] = []
    for point in sorted(map(int, points), key=lambda one: y[one]):
        is_near = found and y[point] - y[found[-1][-1]] <= _HIDES * float(np.max(y))
        found = [*found[:-1], [*found[-1], point]] if is_near else [*found, [point]]
    return found
