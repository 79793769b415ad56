"""Where an axis has its ticks and what they say, the same on screen and on paper."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from analysis.figures.marks import Axis, Bar, Cell, Interval, Line, Mark, Picture, Points, Rule

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: More ticks than these of one axis are thinned.
_MOST_TICKS = 8
#: Neighbours of which one is less than so many times the other have no room for their texts.
_APART = 1.25
#: An axis of powers of two whose ends are less than so many times apart has a tick between any two of them.
_FEW_POWERS = 8
#: Ratios that reach below this are read in powers of ten: 0.01x, not 0.0078125x.
_SMALL_RATIO = 0.25
#: The room behind the last mark of an axis that begins at 0, as a share of the axis.
_BEHIND = 0.05


def number_text(value: float) -> str:
    """Return a number as a tick says it: 0.001, 32,768, 10⁻⁶; never with a prefix such as the µ of 100µ."""
    if _needs_power(value):
        return _power_text(value)
    text = f"{value:,.10f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def number_texts(values: Sequence[float]) -> list[str]:
    """Return numbers as the ticks of one axis say them: if one needs a power of ten, all are written so."""
    if any(map(_needs_power, values)):
        return [_power_text(value) if value else "0" for value in values]
    return [number_text(value) for value in values]


def _needs_power(value: float) -> bool:
    return bool(value) and not 1e-4 <= abs(value) < 1e6


def _power_text(value: float) -> str:
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    factor = value / 10**exponent
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return power if abs(factor - 1) < 1e-6 else f"{factor:.3g}·{power}"


def log_ticks(low: float, high: float, base: int) -> list[float]:
    """Return the ticks of a logarithmic axis around two positive ends: powers of its base, or finer where few fit."""
    ratio = high / low
    base = 10 if low < _SMALL_RATIO else base
    if ratio < (2 if base == 2 else 5):
        return [tick for tick in linear_ticks(low, high) if tick > 0]
    first, last = math.floor(math.log(low, base) + 1e-9), math.ceil(math.log(high, base) - 1e-9)
    if base == 10 and ratio < 50:
        return [part * 10.0**power for power in range(first, last + 1) for part in (1, 2, 5)]
    if base == 2 and ratio < _FEW_POWERS:
        return [part * 2.0**power for power in range(first, last + 1) for part in (1, 1.5)]
    step = max(1, math.ceil((last - first + 1) / _MOST_TICKS))
    # The power 0 is among them: a ratio of 1 says that there is no difference.
    return [float(base) ** power for power in range(first - first % step, last + 1, step)]


def linear_ticks(low: float, high: float, integer: bool = False) -> list[float]:
    """Return round numbers around two ends, at most about six between them."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if span / (part * power) <= 6)
    if integer:
        step = max(1, math.ceil(step))
    return [round(place * step, 12) for place in range(math.floor(low / step), math.ceil(high / step) + 1)]


def axis_values(picture: Picture, name: str) -> list[float]:
    """Return the finite values that marks have on an axis, "x" or "y"."""
    found: list[float] = []
    for mark in picture.marks:
        found += _values(mark, name)
    axis = picture.x if name == "x" else picture.y
    found += [end for end in (axis.low, axis.high) if end is not None]
    return [value for value in found if math.isfinite(value)]


def _values(mark: Mark, name: str) -> Sequence[float]:
    if isinstance(mark, Line):
        return list(mark.x) if name == "x" else [*mark.y, *mark.low, *mark.high]
    if isinstance(mark, Points):
        return list(mark.x if name == "x" else mark.y)
    if isinstance(mark, Rule):
        ends = [mark.value] if mark.end is None else [mark.value, mark.end]
        return ends if mark.axis == name else []
    if isinstance(mark, Interval):
        return [mark.value, mark.low, mark.high] if name == "x" else [mark.row]
    if isinstance(mark, Bar):
        return [mark.start, mark.start + mark.length] if name == "x" else [mark.row]
    assert isinstance(mark, Cell)
    return [mark.column if name == "x" else mark.row]


def ticks(axis: Axis, values: Sequence[float]) -> tuple[list[float], list[str]] | None:
    """Return places and texts of an axis' ticks; None for a linear axis, of which the library finds its own."""
    if axis.scale == "categories":
        return list(map(float, range(len(axis.categories)))), list(axis.categories)
    if axis.scale == "linear":
        if axis.integer and values and max(values) - min(values) < 5:
            places = linear_ticks(min(values), max(values), integer=True)
            return places, [text + axis.suffix for text in number_texts(places)]
        return None
    positive = [value for value in values if value > 0]
    if not positive:
        return None
    places = _own_places(axis) or log_ticks(min(positive), max(positive), 2 if axis.scale == "log2" else 10)
    return places, [text + axis.suffix for text in number_texts(places)]


def _own_places(axis: Axis) -> list[float]:
    """Return the places that the axis names itself; nothing where their texts would have no room."""
    places = sorted(place for place in axis.places if place > 0)
    is_apart = all(high / low >= _APART for low, high in itertools.pairwise(places))
    return places if len(places) <= _MOST_TICKS and is_apart else []


def end_from_zero(picture: Picture, name: str) -> float:
    """Return up to where an axis that begins at 0 is drawn at least, so that the last mark is seen whole."""
    return (1 + _BEHIND) * max([0.0, *axis_values(picture, name)]) or 1.0


def limits(picture: Picture, name: str) -> tuple[float, float] | None:
    """Return where an axis with texts beside its marks, or with rows, begins and ends; None if the marks say so."""
    axis = picture.x if name == "x" else picture.y
    if axis.scale == "categories":
        return (-0.5, len(axis.categories) - 0.5)
    values = axis_values(picture, name)
    is_tight = name == "x" and any(isinstance(mark, (Interval, Bar)) for mark in picture.marks)
    if not values or not (is_tight or axis.low is not None or axis.high is not None):
        return None
    if axis.scale in ("log2", "log10"):
        values = [math.log(value) for value in values if value > 0]
    low, high = min(values), max(values)
    room = 0.12 * (high - low) or 0.5
    has_zero = axis.from_zero or (low == 0 and all(isinstance(mark, (Bar, Rule)) for mark in picture.marks))
    low, high = (0.0 if has_zero and axis.scale == "linear" else low - room), high + room
    if axis.scale in ("log2", "log10"):
        low, high = math.exp(low), math.exp(high)
    return (low if axis.low is None else axis.low, high if axis.high is None else axis.high)
