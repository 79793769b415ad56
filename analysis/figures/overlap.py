"""Points that lie on others, drawn so that all are seen; for lines see `parallel`."""

from __future__ import annotations

import numpy as np

POINTS_COINCIDE = "where points coincide, they are drawn side by side around their place"
#: Markers of a line that tell it from others without colour.
_MARKERS_OF_A_LINE = 5
#: Points at one x hide each other if they are closer than this share of the other axis.
_HIDES = 0.04
#: They are then drawn so far apart: at most and at least these shares of the axis; between them what lets all of them
#: stay within this share of the distance to the neighbouring place.
_FARTHEST, _CLOSEST, _OF_GAP = 0.03, 0.012, 0.7


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
