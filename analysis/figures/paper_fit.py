"""Texts on paper that the layout leaves no room: ticks, names of columns, texts beside marks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from analysis.figures.marks import Axis, Picture
from analysis.figures.paper_axes import NAME_WIDTH, in_lines
from analysis.figures.paper_marks import BESIDE
from analysis.figures.paper_style import font_size
from analysis.figures.words import balanced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation, Text

#: Names below columns take at most so many lines; else they are turned.
_MOST_LINES = 5
#: As shares of the size of texts: between two ticks, a letter's width, and a line's height.
_GAP, _LETTER, _LINE = 0.4, 0.6, 1.2
#: A text beside a mark may stand out of its panel at the right by this share of its width.
_BEYOND = 0.05
#: In letters: of a line of an axis' label, where there is less and less room.
_LABEL_WIDTHS = (26, 20, 14)
#: Without room for all of it, only the number of a longer text is left; the tables have the rest.
_WORD = 14


def fit(figure: Figure, panels: Sequence[tuple[Axes, Picture]]) -> float:
    """Leave out ticks, break or turn names, and move or shorten texts beside marks, so that none lies on another.

    Returns:
        what the names of columns are higher than one line, in inches, the most of all panels.
    """
    figure.draw_without_rendering()
    extra = 0.0
    for axes, picture in panels:
        if picture.empty:
            continue
        if picture.x.scale == "categories":
            extra = max(extra, _fit_columns(axes, picture.x))
        else:
            _thin(axes)
        _fit_beside(axes)
        _fit_label(axes, picture.x.label)
    return extra


def _fit_label(axes: Axes, label: str) -> None:
    """Break the label along x into more lines, if it is longer than its axis: beside long names it would be cut."""
    for letters in _LABEL_WIDTHS:
        if axes.xaxis.label.get_window_extent().width <= axes.get_window_extent().width:
            return
        axes.set_xlabel("\n".join(balanced(label, letters)))


def _touch(axes: Axes) -> bool:
    """Return whether the texts of two ticks in the panel are too near."""
    low, high = sorted(axes.get_xlim())
    shown = [text for text in axes.get_xticklabels() if text.get_text() and low <= text.get_position()[0] <= high]
    boxes = sorted((box.x0, box.x1) for box in (text.get_window_extent() for text in shown))
    gap = _GAP * font_size() / 72 * axes.figure.dpi
    return any(other[0] - one[1] < gap for one, other in pairwise(boxes))


def _thin(axes: Axes) -> None:
    """Leave out every second tick until there is room; that at 1, of no difference, stays."""
    from matplotlib.ticker import FixedFormatter, FixedLocator

    while _touch(axes):
        low, high = sorted(axes.get_xlim())
        labels = [text.get_text() for text in axes.get_xticklabels()]
        ticks = [tick for tick in zip(axes.get_xticks(), labels, strict=True) if low <= tick[0] <= high]
        first = next((number for number, (place, _) in enumerate(ticks) if place == 1), 0) % 2
        axes.xaxis.set_major_locator(FixedLocator([place for place, _ in ticks[first::2]]))
        axes.xaxis.set_major_formatter(FixedFormatter([text for _, text in ticks[first::2]]))


def _fit_columns(axes: Axes, axis: Axis) -> float:
    """Break names into lines as wide as a column, or turn them upright; return what they are higher than one line."""
    size = font_size() / 72
    column = axes.get_window_extent().width / axes.figure.dpi / len(axis.categories)
    broken = [in_lines(name, max(1, int(column / (_LETTER * size)))) for name in axis.categories]
    num_lines = max(map(_num_lines, broken))
    _name_columns(axes, broken, 0)
    if num_lines <= _MOST_LINES and not _touch(axes):
        higher = _LINE * size * (num_lines - 1)
    else:
        has_two_lines = column > 2 * _LINE * size
        broken = [in_lines(name, NAME_WIDTH if has_two_lines else len(name)) for name in axis.categories]
        _name_columns(axes, broken, 90)
        higher = max(text.get_window_extent().height for text in axes.get_xticklabels()) / axes.figure.dpi - size
    if any(text.get_window_extent().width > column * axes.figure.dpi for text in axes.texts):
        for text in axes.texts:
            text.set_rotation(90)
    return higher


def _num_lines(text: str) -> int:
    return text.count("\n") + 1


def _name_columns(axes: Axes, names: Sequence[str], degrees: int) -> None:
    from matplotlib.ticker import FixedFormatter

    axes.xaxis.set_major_formatter(FixedFormatter(list(names)))
    axes.tick_params(axis="x", labelrotation=degrees)


def _fit_beside(axes: Axes) -> None:
    """Keep texts beside marks off the names of their rows; the number of one that is too long is left."""
    panel = axes.get_window_extent()
    for text in axes.texts:
        if text.get_gid() != BESIDE:
            continue
        if text.get_window_extent().width > (1 + _BEYOND) * panel.width:
            text.set_text(_shortened(text))
        box = text.get_window_extent()
        move = max(panel.x0 - box.x0, 0.0) or min(panel.x0 + (1 + _BEYOND) * panel.width - box.x1, 0.0)
        _move(text, move * 72 / axes.figure.dpi)


def _shortened(text: Text) -> str:
    said = text.get_text()
    is_number = said[:1].isdigit() or said[:1] in ("-", "+")
    if not is_number and len(said) <= _WORD:
        return said
    return said.split(" ")[0].rstrip(":,*") + ("*" if "*" in said else "")


def _move(text: Annotation | Text, points: float) -> None:
    if points and hasattr(text, "xyann"):
        text.xyann = (text.xyann[0] + points, text.xyann[1])
