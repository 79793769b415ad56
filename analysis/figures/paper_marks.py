"""The marks of pictures on paper: what matplotlib draws into a panel for each of them, and in a legend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adabatch.reading import printable
from analysis.figures.arm_styles import ArmStyle, PartStyle, Style, has_marker
from analysis.figures.labels import anchor, bar_text_place, end_of, rule_label, start_of
from analysis.figures.marks import Bar, Cell, Entry, Interval, Line, Picture, Points, Rule
from analysis.figures.overlap import marked_points
from analysis.figures.paper_style import font_size, heat_colours, ink, page_colours
from analysis.figures.themes import Theme

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (4, 1.6)),
    "dot": (0, (1, 1.2)),
    "dashdot": (0, (4, 1.4, 1, 1.4)),
    "longdash": (0, (8, 2)),
    "longdashdot": (0, (8, 1.6, 1, 1.6)),
}
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "P",
    "x": "X",
    "star": "*",
    "pentagon": "p",
}

#: The name of texts beside marks, which are moved or shortened where they have no room.
BESIDE = "beside"
#: A heat map in a narrower panel has its scale below it.
_NARROW_INCHES = 4.5


def plain(name: str) -> str:
    """Return a name as matplotlib draws it: a dollar sign begins no formula, and control characters are written out."""
    return printable(name).replace("$", "\\$")


def draw_marks(axes: Axes, picture: Picture, theme: Theme) -> None:
    """Draw all marks of a picture into its panel, whose scales are set."""
    for mark in picture.marks:
        _DRAWERS[type(mark)](axes, mark, picture, theme)


def _dash(style: Style | None) -> Any:
    return _DASHES[style.dash if isinstance(style, ArmStyle) else "dash"]


def _marker(style: Style | None) -> str:
    return _MARKERS[(style.marker if isinstance(style, ArmStyle) else "") or "circle"]


def _line(axes: Axes, mark: Line, picture: Picture, theme: Theme) -> None:
    colour = ink(mark.style, theme)
    step: Any = {"": None, "before": "pre", "after": "post"}[mark.steps]
    lines = [other for other in picture.marks if isinstance(other, Line)]
    dash = _dash(mark.style) if mark.style or mark.label else "-"
    style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 0.6 * mark.width}
    if has_marker(mark.style):
        marked = marked_points(len(mark.x), lines.index(mark), len(lines))
        style |= {"marker": _marker(mark.style), "markersize": 3.4, "markevery": marked, "markeredgewidth": 0}
    drawstyle = {"": "default", "before": "steps-pre", "after": "steps-post"}[mark.steps]
    axes.plot(*map(list, mark.places), drawstyle=drawstyle, **style)
    if len(mark.low):
        axes.fill_between(
            list(mark.x), list(mark.low), list(mark.high), step=step, color=colour, alpha=0.18, linewidth=0
        )


def _points(axes: Axes, mark: Points, picture: Picture, theme: Theme) -> None:
    colour = ink(mark.style, theme)
    face = colour if mark.filled else "none"
    axes.plot(
        list(mark.x), list(mark.y), linestyle="none", marker=_marker(mark.style), markersize=4.5, color=colour,
        markerfacecolor=face, markeredgewidth=0.8,
    )  # fmt: skip
    for x, y, text in zip(mark.x, mark.y, mark.texts, strict=False):
        _write(axes, x, y, text, 4, "center", theme)


def _write(axes: Axes, x: float, y: float, text: str, shift: float, side: Any, theme: Theme) -> None:
    """Write above a place; lines end at the text."""
    axes.annotate(
        plain(text), (x, y), xytext=(0, shift), textcoords="offset points", ha=side, va="bottom", fontsize="x-small",
        color=page_colours(theme).quiet, annotation_clip=False, bbox=_behind(axes), gid=BESIDE,
    )  # fmt: skip


def _write_without_mark(axes: Axes, mark: Interval, theme: Theme) -> None:
    """Write in the middle of a row why it has no number."""
    axes.text(
        0.5, mark.row, plain(mark.text), transform=axes.get_yaxis_transform(), ha="center", va="center",
        fontsize="x-small", color=page_colours(theme).quiet, bbox=_behind(axes),
    )  # fmt: skip


def _behind(axes: Axes) -> dict[str, Any]:
    """Return the background of a text, at which lines end."""
    return {"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.3}


def _interval(axes: Axes, mark: Interval, picture: Picture, theme: Theme) -> None:
    if math.isnan(mark.value):
        _write_without_mark(axes, mark, theme)
        return
    colour = ink(mark.style, theme)
    if not math.isnan(mark.low):
        axes.plot([mark.low, mark.high], [mark.row] * 2, color=colour, linewidth=1.2, marker="|", markersize=4)
    face = colour if mark.filled else axes.get_facecolor()
    axes.plot(
        [mark.value], [mark.row], marker=_marker(mark.style), markersize=5, color=colour, markerfacecolor=face,
        markeredgewidth=0.9,
    )  # fmt: skip
    if mark.text:
        _write(axes, mark.value, mark.row, mark.text, 5, anchor(picture, mark.value, mark.text), theme)


def _bar(axes: Axes, mark: Bar, picture: Picture, theme: Theme) -> None:
    width = 0.56 / mark.lanes
    middle = mark.row + width * (mark.lane - (mark.lanes - 1) / 2)
    hatch = _hatch(mark.style)
    paper = page_colours(theme).paper
    axes.barh(
        [middle], [mark.length], height=width, left=[mark.start], color=ink(mark.style, theme), hatch=hatch,
        edgecolor=paper, linewidth=0.4,
    )  # fmt: skip
    if mark.text:
        place = bar_text_place(picture, mark)
        end = start_of(mark) if place == "before" else end_of(mark)
        axes.annotate(
            plain(mark.text), (end, middle - (width / 2 if place == "above" else 0)),
            xytext=({"behind": 3, "before": -3, "above": 0}[place], 0), textcoords="offset points",
            ha="left" if place == "behind" else "right", va="bottom" if place == "above" else "center",
            fontsize="x-small", color=page_colours(theme).quiet,
        )  # fmt: skip


def _hatch(style: Style | None) -> str:
    return 3 * style.hatch if isinstance(style, PartStyle) else ""


def _cell(axes: Axes, mark: Cell, picture: Picture, theme: Theme) -> None:
    """Draw all fields when the first is met."""
    import numpy as np
    from matplotlib.colors import TwoSlopeNorm, to_rgb

    cells = [other for other in picture.marks if isinstance(other, Cell)]
    scale = picture.colours
    if mark is not cells[0] or scale is None:
        return
    values = np.full((len(picture.y.categories), len(picture.x.categories)), math.nan)
    for cell in cells:
        values[cell.row, cell.column] = cell.value
    shades = heat_colours(theme)
    norm = TwoSlopeNorm(scale.middle, scale.low, scale.high)
    drawn = axes.imshow(values, cmap=shades, norm=norm, aspect="auto")
    for cell in cells:
        red, green, blue = to_rgb(shades(norm(cell.value))) if not math.isnan(cell.value) else (1.0, 1.0, 1.0)
        is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
        colour = "white" if is_dark else "black"
        axes.text(cell.column, cell.row, plain(cell.text), ha="center", va="center", fontsize="x-small", color=colour)
    _add_scale(axes, drawn, scale.label)


def _add_scale(axes: Axes, drawn: Any, label: str) -> None:
    """Add what the colours mean: beside the fields, or below them in a panel that has not the width."""
    if panel_inches(axes) < _NARROW_INCHES:
        axes.figure.colorbar(drawn, ax=axes, label=label, location="bottom", aspect=30, pad=0.04)
    else:
        axes.figure.colorbar(drawn, ax=axes, label=label, pad=0.02)


def panel_inches(axes: Axes) -> float:
    """Return the width of a panel's share of the figure, with its texts."""
    spec = axes.get_subplotspec()
    share = 1.0 if spec is None else len(spec.colspan) / spec.get_gridspec().ncols
    return float(axes.figure.bbox.width / axes.figure.dpi) * share


def _rule(axes: Axes, mark: Rule, picture: Picture, theme: Theme) -> None:
    colours = page_colours(theme)
    if mark.end is not None:
        (axes.axvspan if mark.axis == "x" else axes.axhspan)(mark.value, mark.end, color=colours.shade, zorder=0)
    else:
        draw = axes.axvline if mark.axis == "x" else axes.axhline
        draw(mark.value, color=colours.quiet, linewidth=0.8, linestyle=_DASHES[mark.dash], zorder=0.5)
    if not mark.label:
        return
    style: dict[str, Any] = {"fontsize": "x-small", "color": colours.quiet, "va": "bottom"}
    if mark.axis == "y":
        axes.text(1, mark.value, plain(mark.label), transform=axes.get_yaxis_transform(), ha="right", **style)
        return
    place = rule_label(picture, mark)
    shift = 1 + font_size() * place.line
    axes.annotate(
        plain(mark.label), (place.x, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, shift),
        textcoords="offset points", ha=place.anchor, **style,
    )  # fmt: skip


_DRAWERS: dict[type, Callable[[Axes, Any, Picture, Theme], None]] = {
    Line: _line,
    Points: _points,
    Interval: _interval,
    Bar: _bar,
    Cell: _cell,
    Rule: _rule,
}


def sample(entry: Entry, theme: Theme) -> Artist:
    """Return how an entry of the legend looks."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colour = ink(entry.style, theme)
    if entry.kinds <= {Bar}:
        return Patch(facecolor=colour, hatch=_hatch(entry.style), edgecolor=page_colours(theme).paper, linewidth=0.4)
    has_line = Line in entry.kinds
    is_marked = has_marker(entry.style) or not has_line
    return Line2D(
        [], [], color=colour, linestyle=_dash(entry.style) if has_line else "none",
        marker=_marker(entry.style) if is_marked else "", markersize=3.4 if has_line else 5, markeredgewidth=0,
    )  # fmt: skip
