"""The axes of panels on paper: ends, ticks and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.figures.marks import Axis, Picture
from analysis.figures.paper_marks import panel_inches, plain
from analysis.figures.ticks import axis_values, end_from_zero, limits, number_text, ticks
from analysis.figures.words import balanced, name_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Panels of this width have room for more ticks.
_WIDE_INCHES = 3.0
#: And those of this one for labels of twice the length.
_WIDE_LABEL_INCHES = 5.5
#: In letters: of the name of a row, and of an axis' label.
NAME_WIDTH, _LABEL_WIDTH = 24, 36


def set_axis(axes: Axes, picture: Picture, name: str) -> None:
    """Set label, ticks and ends of an axis, "x" or "y", whose scale is set and whose marks are drawn."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axis = picture.x if name == "x" else picture.y
    drawn = axes.xaxis if name == "x" else axes.yaxis
    set_limits = axes.set_xlim if name == "x" else axes.set_ylim
    is_wide = name == "x" and panel_inches(axes) >= _WIDE_LABEL_INCHES
    label = "\n".join(balanced(axis.label, _LABEL_WIDTH * (1 + is_wide)))
    (axes.set_xlabel if name == "x" else axes.set_ylabel)(label)
    ends = limits(picture, name)
    before = (axes.get_xlim if name == "x" else axes.get_ylim)()
    if ends is None:
        ends = (0.0, end_from_zero(picture, name)) if axis.from_zero else before
    places = ticks(axis, axis_values(picture, name))
    if places is None:
        drawn.set_major_locator(MaxNLocator(_most_ticks(axes, name), integer=axis.integer, steps=[1, 2, 2.5, 5, 10]))
        drawn.set_major_formatter(FuncFormatter(lambda value, _: _number(value) + axis.suffix))
    else:
        inside = [(place, text) for place, text in zip(*places, strict=True) if min(ends) <= place <= max(ends)]
        drawn.set_major_locator(FixedLocator([place for place, _ in inside]))
        drawn.set_minor_locator(NullLocator())
        drawn.set_major_formatter(FixedFormatter([_tick_text(axis, text) for _, text in inside]))
    if axis.scale == "categories":
        _show_categories(axes, axis, name)
    is_reversed = (axis.scale == "categories" and name == "y") != axis.reverse
    set_limits(*(reversed(ends) if is_reversed else ends))


def _most_ticks(axes: Axes, name: str) -> int:
    """Return how many intervals an axis is divided into at most, so that the texts of its ticks have room."""
    return 5 if name == "y" or panel_inches(axes) < _WIDE_INCHES else 7


def _number(value: float) -> str:
    """Return a number of an axis with the minus of print, as on the screen."""
    return number_text(round(value, 9)).replace("-", "\N{MINUS SIGN}")


def _tick_text(axis: Axis, text: str) -> str:
    return in_lines(text, NAME_WIDTH) if axis.scale == "categories" else text


def in_lines(text: str, width: int) -> str:
    """Return a name broken into lines of at most so many letters."""
    return "\n".join(map(plain, name_lines(text, width)))


def _show_categories(axes: Axes, axis: Axis, name: str) -> None:
    axes.tick_params(axis="x" if name == "x" else "y", length=0)
    labels = axes.get_xticklabels() if name == "x" else axes.get_yticklabels()
    for place, label in enumerate(labels):
        if place in axis.headings:
            label.set_fontweight("bold")
