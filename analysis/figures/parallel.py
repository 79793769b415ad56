"""Lines that lie on each other, drawn side by side so that all are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.figures.marks import Line

COINCIDE = "where lines coincide, they are drawn side by side around their place"
#: Heights closer than these shares of the axis are on each other. Curves must be equal: a curve that was moved beside
#: one that is a little better would look worse than it is, or better.
_NEAR_STEPS, _NEAR_CURVES = 0.004, 1e-5
#: Shorter stretches at which a curve meets another one are crossings.
_FEWEST_POINTS = 3
#: Neighbours are so far apart, in shares of the height and of the width: about the width of a line.
_STEP, _STEP_ALONG = 0.0125, 0.008
#: All of a bundle stay within shares of the height and of the distance to the next level; the least distance of two.
_MOST, _OF_GAP, _CLOSEST = 0.12, 0.7, 0.005
#: The height of an axis on which all lines are at one level: a factor of about four, or a tenth of the level.
_FLAT_LOG, _FLAT = math.log(4.1), 0.1


@dataclass(frozen=True)
class _Stretch:
    """Neighbouring points of a line that move together: a step of it, or where its curve is that of another line.

    Attributes:
        line: its place among the lines.
        first, last: its points.
        start, end: along x.
        level: the height of a step; NaN of a curve.
    """

    line: int
    first: int
    last: int
    start: float
    end: float
    level: float


def side_by_side(lines: Sequence[Line], is_log: bool) -> list[Line]:
    """Return lines with the places at which they are drawn; where none lies on another one, these are its points.

    Lines that coincide in a stretch are drawn beside each other there, the first one at the top, all around their
    place. A stretch is moved as a whole, so that it stays as level as it is.
    """
    heights = [_heights(line.y, is_log) for line in lines]
    span = _span(lines, heights, is_log)
    stretches = [part for place, line in enumerate(lines) for part in _stretches(place, line, lines, heights, span)]
    neighbours = _neighbours(stretches, lines, heights, span)
    offsets = _offsets(stretches, neighbours, span)
    return [
        _moved(line, heights[place], is_log, [(part, offsets[number]) for number, part in enumerate(stretches)
                                              if part.line == place])
        for place, line in enumerate(lines)
    ]  # fmt: skip


def flat_ends(lines: Sequence[Line], is_log: bool) -> tuple[float, float] | None:
    """Return the ends of an axis on which all lines are at one level; None if they are at several."""
    known = _known([_heights(line.y, is_log) for line in lines])
    if not len(known) or np.ptp(known) > 1e-9 * max(1.0, float(np.max(np.abs(known)))):
        return None
    half = _flat(known, is_log) / 2
    low, high = float(known[0]) - half, float(known[0]) + half
    return (math.exp(low), math.exp(high)) if is_log else (low, high)


def _heights(y: Sequence[float], is_log: bool) -> np.ndarray:
    values = np.asarray(y, dtype=float)
    return np.log(np.where(values > 0, values, math.nan)) if is_log else values


def _known(heights: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([values[np.isfinite(values)] for values in heights] or [np.array([])])


def _flat(known: np.ndarray, is_log: bool) -> float:
    return _FLAT_LOG if is_log else _FLAT * abs(float(known[0])) or 1.0


def _span(lines: Sequence[Line], heights: Sequence[np.ndarray], is_log: bool) -> float:
    """Return the height of the axis, with the bands."""
    bands = [_heights(ends, is_log) for line in lines for ends in (line.low, line.high)]
    known = _known([*heights, *bands])
    if not len(known):
        return 1.0
    return float(np.ptp(known)) or _flat(known, is_log)


def _stretches(
    place: int, line: Line, lines: Sequence[Line], heights: Sequence[np.ndarray], span: float
) -> list[_Stretch]:
    if line.steps:
        return _steps(place, line, heights[place])
    is_met = np.zeros(len(line.x), dtype=bool)
    for number, other in enumerate(lines):
        if number != place and not other.steps and len(other.x):
            across = np.interp(line.x, other.x, heights[number], left=math.nan, right=math.nan)
            is_met |= np.abs(across - heights[place]) <= _NEAR_CURVES * span
    runs = _runs(is_met.astype(float))
    return [
        _Stretch(place, first, last, line.x[first], line.x[last], math.nan)
        for first, last in runs
        if is_met[first] and last - first + 1 >= min(_FEWEST_POINTS, len(line.x))
    ]


def _steps(place: int, line: Line, heights: np.ndarray) -> list[_Stretch]:
    found = []
    for first, last in _runs(heights):
        start = line.x[max(0, first - 1)] if line.steps == "before" else line.x[first]
        end = line.x[min(last + 1, len(line.x) - 1)] if line.steps == "after" else line.x[last]
        if math.isfinite(heights[first]):
            found.append(_Stretch(place, first, last, start, end, float(heights[first])))
    return found


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and the last place of each run of equal values."""
    if not len(values):
        return []
    breaks = np.flatnonzero(values[1:] != values[:-1]) + 1
    return list(zip([0, *breaks.tolist()], [*(breaks - 1).tolist(), len(values) - 1], strict=True))


def _neighbours(
    stretches: Sequence[_Stretch], lines: Sequence[Line], heights: Sequence[np.ndarray], span: float
) -> list[list[int]]:
    """Return by stretch those of other lines that lie on it."""
    start = np.array([part.start for part in stretches])
    end = np.array([part.end for part in stretches])
    level = np.array([part.level for part in stretches])
    line = np.array([part.line for part in stretches])
    found = []
    for part in stretches:
        shared = np.minimum(end, part.end) - np.maximum(start, part.start)
        is_point = (end == start) & (part.end == part.start) & (start == part.start)
        is_beside = (line != part.line) & ((shared > 0) | is_point)
        if math.isnan(part.level):
            candidates = np.flatnonzero(is_beside & np.isnan(level)).tolist()
            near = [other for other in candidates if _is_on(part, stretches[other], lines, heights, span)]
        else:
            near = np.flatnonzero(is_beside & (np.abs(level - part.level) <= _NEAR_STEPS * span)).tolist()
        found.append(near)
    return found


def _is_on(one: _Stretch, other: _Stretch, lines: Sequence[Line], heights: Sequence[np.ndarray], span: float) -> bool:
    """Return whether two curves are at equal heights where they share a stretch."""
    places = np.linspace(max(one.start, other.start), min(one.end, other.end), 9)
    first, second = (np.interp(places, lines[part.line].x, heights[part.line]) for part in (one, other))
    # Between the points of one line the other one may have a corner.
    return bool(np.median(np.abs(first - second)) <= _NEAR_CURVES * span)


def _offsets(
    stretches: Sequence[_Stretch], neighbours: Sequence[Sequence[int]], span: float
) -> list[tuple[float, float]]:
    """Return by stretch how far it is moved: upwards, and in places counted from the middle of its bundle."""
    found = [(0.0, 0.0)] * len(stretches)
    levels = np.unique([part.level for part in stretches if not math.isnan(part.level)])
    for bundle in _bundles(neighbours):
        lanes = _lanes(bundle, neighbours)
        num_lanes = max(lanes.values()) + 1
        step = _step(num_lanes, stretches[bundle[0]].level, levels, span)
        for part, lane in lanes.items():
            place = (num_lanes - 1) / 2 - lane
            found[part] = (step * place, place)
    return found


def _step(num_lanes: int, level: float, levels: np.ndarray, span: float) -> float:
    gaps = np.abs(levels - level)
    gap = float(np.min(gaps[gaps > _NEAR_STEPS * span], initial=math.inf)) if not math.isnan(level) else math.inf
    widest = min(_STEP * span, _MOST * span / num_lanes, _OF_GAP * gap / num_lanes)
    return max(_CLOSEST * span, widest)


def _bundles(neighbours: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the stretches that lie on each other, directly or through others."""
    seen: set[int] = set()
    found = []
    for first, beside in enumerate(neighbours):
        if first in seen or not beside:
            continue
        bundle, waiting = [], [first]
        seen.add(first)
        while waiting:
            part = waiting.pop()
            bundle.append(part)
            fresh = [other for other in neighbours[part] if other not in seen]
            seen.update(fresh)
            waiting += fresh
        found.append(sorted(bundle))
    return found


def _lanes(bundle: Sequence[int], neighbours: Sequence[Sequence[int]]) -> dict[int, int]:
    """Return by stretch its lane, counted from the top: the first that none has which lies on it."""
    found: dict[int, int] = {}
    for part in bundle:
        taken = {found[other] for other in neighbours[part] if other in found}
        found[part] = next(lane for lane in range(len(bundle)) if lane not in taken)
    return found


def _moved(
    line: Line, heights: np.ndarray, is_log: bool, parts: Sequence[tuple[_Stretch, tuple[float, float]]]
) -> Line:
    """Return a line with its places, if some of its stretches are moved."""
    if not any(rise for _, (rise, _) in parts):
        return line
    x, moved = np.asarray(line.x, dtype=float), heights.copy()
    along = _STEP_ALONG * (x[-1] - x[0])
    for part, (rise, place) in parts:
        moved[part.first : part.last + 1] += rise
        corner = part.first - (line.steps == "before")
        if line.steps and 0 < corner < len(x) - 1:
            # Of a bundle that climbs, the upper lines climb first, so that they do not cross.
            climbs = math.copysign(1.0, heights[part.first] - heights[part.first - 1])
            room = 0.25 * (part.end - part.start)
            x[corner] -= climbs * math.copysign(min(abs(place) * along, room), place)
    y = np.exp(moved) if is_log else moved
    return replace(line, drawn_x=tuple(x.tolist()), drawn_y=tuple(float(f"{value:.6g}") for value in y))
