"""The marks of pictures on the screen: the traces, shapes and texts of which plotly makes a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from analysis.figures.arm_styles import ArmStyle, PartStyle, Style, has_marker
from analysis.figures.labels import anchor, bar_text_place, end_of, rule_label, start_of
from analysis.figures.marks import Bar, Cell, Interval, Line, Picture, Points, Rule, legend
from analysis.figures.overlap import marked_points
from analysis.figures.themes import THEMES, Theme, colour_of, faint

#: The name of texts beside marks, which a page shortens where they have no room.
BESIDE = "beside"


class Drawing:
    """What is drawn, in plotly's words.

    They are collected, since a figure of plotly checks all it holds whenever something is added to it.
    """

    def __init__(self) -> None:
        self.traces: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.shapes: list[dict[str, Any]] = []

    def trace(self, kind: str, **values: Any) -> None:
        """Add a trace: ``scatter``, ``bar`` or ``heatmap``."""
        self.traces.append({"type": kind, **values})

    def annotate(self, **values: Any) -> None:
        """Add a text without an arrow."""
        self.annotations.append({"showarrow": False, **values})

    def shape(self, axis: str, start: float, end: float, **values: Any) -> None:
        """Add a shape below the marks, from a value of an axis to another one, over all of the other axis."""
        along, across = ("x", "y") if axis == "x" else ("y", "x")
        place = {f"{along}0": start, f"{along}1": end, f"{along}ref": along}
        place |= {f"{across}0": 0, f"{across}1": 1, f"{across}ref": f"{across} domain"}
        self.shapes.append({**place, "layer": "below", **values})


def drawing_of(picture: Picture, theme: Theme) -> Drawing:
    """Return what is drawn for a picture's marks and its legend."""
    drawing = Drawing()
    for mark in picture.marks:
        _DRAWERS[type(mark)](drawing, mark, picture, theme)
    _add_legend_samples(drawing, picture, theme)
    return drawing


def _line(drawing: Drawing, mark: Line, picture: Picture, theme: Theme) -> None:
    colour = colour_of(mark.style, theme)
    style: dict[str, Any] = {"shape": {"": "linear", "before": "vh", "after": "hv"}[mark.steps]}
    if len(mark.low):
        edge = {"mode": "lines", "line": {**style, "width": 0}, "showlegend": False, "hoverinfo": "skip"}
        drawing.trace("scatter", x=list(mark.x), y=list(mark.high), legendgroup=mark.label, **edge)
        drawing.trace(
            "scatter",
            x=list(mark.x),
            y=list(mark.low),
            legendgroup=mark.label,
            fill="tonexty",
            fillcolor=faint(colour),
            **edge,
        )
    dash = mark.style.dash if isinstance(mark.style, ArmStyle) else "dash" if mark.label else "solid"
    x, y = mark.places
    # What is said of a point is its value, wherever it is drawn.
    values = [f"{value:.4g}" for value in mark.y] if mark.drawn_y else None
    drawing.trace(
        "scatter",
        x=list(x),
        y=list(y),
        mode="lines" if len(mark.x) > 1 else "markers",
        name=mark.label,
        legendgroup=mark.label,
        showlegend=False,
        line={**style, "color": colour, "width": mark.width, "dash": dash},
        marker=_marker(mark.style, theme, 8),
        text=values,
        customdata=list(mark.hover) or None,
        hovertemplate=_hover(mark.label, "%{text}" if values else "%{y:.4g}", "%{customdata}" if mark.hover else ""),
    )
    if has_marker(mark.style) and len(mark.x) > 1:
        _add_markers(drawing, mark, picture, theme)


def _add_markers(drawing: Drawing, mark: Line, picture: Picture, theme: Theme) -> None:
    """Mark a few points of a line; those of another line are marked elsewhere."""
    lines = [other for other in picture.marks if isinstance(other, Line)]
    places = marked_points(len(mark.x), lines.index(mark), len(lines))
    drawing.trace(
        "scatter",
        x=[mark.places[0][place] for place in places],
        y=[mark.places[1][place] for place in places],
        mode="markers",
        legendgroup=mark.label,
        showlegend=False,
        hoverinfo="skip",
        marker=_marker(mark.style, theme, 7),
    )


def _marker(style: Style | None, theme: Theme, size: float, filled: bool = True) -> dict[str, Any]:
    colour = colour_of(style, theme)
    symbol = (style.marker if isinstance(style, ArmStyle) else "") or "circle"
    edge = {"color": THEMES[theme].paper if filled else colour, "width": 1 if filled else 1.5}
    return {"color": colour, "symbol": symbol if filled else f"{symbol}-open", "size": size, "line": edge}


def _hollow(style: Style | None, theme: Theme) -> dict[str, Any]:
    """Return what makes a marker hollow that hides what is below it, such as its own interval."""
    return {"color": THEMES[theme].paper, "line": {"color": colour_of(style, theme), "width": 1.5}}


def _hover(*parts: str) -> str:
    return "<br>".join(part for part in parts if part) + "<extra></extra>"


def _points(drawing: Drawing, mark: Points, picture: Picture, theme: Theme) -> None:
    drawing.trace(
        "scatter",
        x=list(mark.x),
        y=list(mark.y),
        mode="markers+text" if mark.texts else "markers",
        name=mark.label,
        legendgroup=mark.label,
        showlegend=False,
        text=list(mark.texts) or None,
        textposition="top center",
        cliponaxis=False,
        marker=_marker(mark.style, theme, 9, mark.filled),
        customdata=list(mark.hover) or None,
        hovertemplate=_hover(mark.label, "%{customdata}" if mark.hover else "%{y:.4g} at %{x:.4g}"),
    )


def _interval(drawing: Drawing, mark: Interval, picture: Picture, theme: Theme) -> None:
    if math.isnan(mark.value):
        _write_without_mark(drawing, mark, theme)
        return
    ends = None
    if not math.isnan(mark.low):
        ends = {"type": "data", "symmetric": False, "array": [mark.high - mark.value]}
        ends |= {
            "arrayminus": [mark.value - mark.low],
            "thickness": 2,
            "width": 7,
            "color": colour_of(mark.style, theme),
        }
    drawing.trace(
        "scatter",
        x=[mark.value],
        y=[mark.row],
        mode="markers",
        name=mark.label,
        legendgroup=mark.label,
        showlegend=False,
        error_x=ends,
        marker=_marker(mark.style, theme, 10) | ({} if mark.filled else _hollow(mark.style, theme)),
        hovertemplate=_hover(mark.label, mark.hover),
    )
    if mark.text:
        _write_above(drawing, mark.value, mark.row, mark.text, picture, theme, shift=8)


def _write_without_mark(drawing: Drawing, mark: Interval, theme: Theme) -> None:
    """Write in the middle of a row why it has no number."""
    colours = THEMES[theme]
    drawing.annotate(
        name=BESIDE,
        x=0.5,
        xref="x domain",
        y=mark.row,
        text=mark.text,
        hovertext=mark.hover,
        font={"size": 11, "color": colours.quiet},
        bgcolor=colours.paper,
    )


def _write_above(drawing: Drawing, x: float, row: float, text: str, picture: Picture, theme: Theme, shift: int) -> None:
    """Write above a place, to the side that has room; lines end at the text."""
    is_log = picture.x.scale in ("log2", "log10")
    place = math.log10(x) if is_log else x
    font = {"size": 11, "color": THEMES[theme].quiet}
    drawing.annotate(
        name=BESIDE,
        x=place,
        y=row,
        text=text,
        xanchor=anchor(picture, x, text),
        yanchor="bottom",
        yshift=shift,
        font=font,
        bgcolor=THEMES[theme].paper,
    )


def _bar(drawing: Drawing, mark: Bar, picture: Picture, theme: Theme) -> None:
    width = 0.56 / mark.lanes
    colours = THEMES[theme]
    drawing.trace(
        "bar",
        x=[mark.length],
        y=[mark.row],
        base=[mark.start],
        width=[width],
        offset=[width * (mark.lane - mark.lanes / 2)],
        orientation="h",
        name=mark.label,
        legendgroup=mark.label,
        showlegend=False,
        marker={
            "color": colour_of(mark.style, theme),
            "line": {"color": colours.paper, "width": 0.5},
            "pattern": _pattern(mark.style, theme),
        },
        hovertemplate=_hover(mark.label, mark.hover or f"{mark.length:.4g}"),
    )
    if mark.text:
        middle = mark.row + width * (mark.lane - (mark.lanes - 1) / 2)
        place = bar_text_place(picture, mark)
        end = start_of(mark) if place == "before" else end_of(mark)
        drawing.annotate(
            name=BESIDE,
            x=math.log10(end) if picture.x.scale in ("log2", "log10") else end,
            y=middle - (width / 2 if place == "above" else 0),
            text=mark.text,
            xanchor="left" if place == "behind" else "right",
            yanchor="bottom" if place == "above" else "middle",
            xshift={"behind": 4, "before": -4, "above": 0}[place],
            font={"size": 11, "color": colours.quiet},
        )


def _pattern(style: Style | None, theme: Theme) -> dict[str, Any]:
    """Return the lines over a bar, in the colour of the page."""
    hatch = style.hatch if isinstance(style, PartStyle) else ""
    lines = {"fgcolor": THEMES[theme].paper, "bgcolor": colour_of(style, theme), "size": 6, "solidity": 0.25}
    return {"shape": hatch, **(lines if hatch else {})}


def _cells(drawing: Drawing, cells: Sequence[Cell], picture: Picture, theme: Theme) -> None:
    scale, colours = picture.colours, THEMES[theme]
    assert scale is not None
    values = [[math.nan] * len(picture.x.categories) for _ in picture.y.categories]
    texts = [[""] * len(picture.x.categories) for _ in picture.y.categories]
    hovers = [[""] * len(picture.x.categories) for _ in picture.y.categories]
    for cell in cells:
        values[cell.row][cell.column] = cell.value
        texts[cell.row][cell.column] = cell.text
        hovers[cell.row][cell.column] = cell.hover or cell.text
    middle = (scale.middle - scale.low) / (scale.high - scale.low)
    drawing.trace(
        "heatmap",
        z=[[None if math.isnan(value) else value for value in row] for row in values],
        x=list(range(len(picture.x.categories))),
        y=list(range(len(picture.y.categories))),
        text=texts,
        texttemplate="%{text}",
        textfont={"color": colours.text},
        customdata=hovers,
        hovertemplate="%{customdata}<extra></extra>",
        zmin=scale.low,
        zmax=scale.high,
        colorscale=[[0, colours.low], [middle, colours.middle], [1, colours.high]],
        colorbar={"title": {"text": scale.label, "side": "right"}, "thickness": 12, "outlinewidth": 0},
        xgap=2,
        ygap=2,
    )


def _cell(drawing: Drawing, mark: Cell, picture: Picture, theme: Theme) -> None:
    """Draw all fields when the first is met."""
    cells = [other for other in picture.marks if isinstance(other, Cell)]
    if mark is cells[0]:
        _cells(drawing, cells, picture, theme)


def _rule(drawing: Drawing, mark: Rule, picture: Picture, theme: Theme) -> None:
    colours = THEMES[theme]
    axis = picture.x if mark.axis == "x" else picture.y
    is_log = axis.scale in ("log2", "log10")
    value = math.log10(mark.value) if is_log else mark.value
    if mark.end is not None:
        zone = {"fillcolor": colours.shade, "line": {"width": 0}}
        drawing.shape(mark.axis, mark.value, mark.end, type="rect", **zone)
    else:
        line = {"color": colours.quiet, "width": 1.2, "dash": mark.dash}
        drawing.shape(mark.axis, mark.value, mark.value, type="line", line=line)
    if not mark.label:
        return
    font = {"size": 11, "color": colours.quiet}
    if mark.axis == "y":
        place: dict[str, Any] = {"x": 1, "xref": "paper", "y": value, "xanchor": "right", "yanchor": "bottom"}
        drawing.annotate(text=mark.label, font=font, **place)
        return
    label = rule_label(picture, mark)
    place = {"x": math.log10(label.x) if is_log else label.x, "y": 1, "yref": "paper", "yanchor": "bottom"}
    drawing.annotate(text=mark.label, font=font, xanchor=label.anchor, yshift=2 + 15 * label.line, **place)


_DRAWERS: dict[type, Callable[[Drawing, Any, Picture, Theme], None]] = {
    Line: _line,
    Points: _points,
    Interval: _interval,
    Bar: _bar,
    Cell: _cell,
    Rule: _rule,
}


def _add_legend_samples(drawing: Drawing, picture: Picture, theme: Theme) -> None:
    """Add a trace without points for each entry of the legend, which shows line and marker together."""
    for entry in legend(picture):
        if entry.kinds <= {Bar}:
            marker = {"color": colour_of(entry.style, theme), "pattern": _pattern(entry.style, theme)}
            drawing.trace("bar", x=[None], y=[None], name=entry.label, legendgroup=entry.label, marker=marker)
            continue
        dash = entry.style.dash if isinstance(entry.style, ArmStyle) else "dash"
        is_marked = has_marker(entry.style) or Line not in entry.kinds
        mode = "+".join(["lines"] * (Line in entry.kinds) + ["markers"] * is_marked)
        drawing.trace(
            "scatter",
            x=[None],
            y=[None],
            mode=mode,
            name=entry.label,
            legendgroup=entry.label,
            line={"color": colour_of(entry.style, theme), "dash": dash, "width": 2},
            marker=_marker(entry.style, theme, 8),
        )
