"""Pictures on the screen, drawn by plotly: report, dashboard, notebook."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.figures.arm_styles import ArmStyle, PartStyle, Style
from analysis.figures.marks import Axis, Bar, Cell, Interval, Line, Picture, Points, Rule, legend, notes_text
from analysis.figures.overlap import marked_points
from analysis.figures.themes import THEMES, Theme, colour_of, faint
from analysis.figures.ticks import axis_values, limits, share_of, ticks
from analysis.figures.words import balanced, wrapped

#: In pixels: of a picture without rows, of a row, and of what is around the rows.
_HEIGHT, _ROW, _AROUND = 340, 44, 110
#: In pixels: of a row without texts above its marks, of a line of a row's name, and of the highest picture.
_LOW_ROW, _LINE, _LARGEST = 30, 16, 6000
_NAME_WIDTH = 22
#: In letters of an axis' label, beside names of rows and without them: a phone has no room for more.
_LABEL_WIDTHS = (20, 38)
#: The name of texts beside marks, which a page shortens where they have no room.
BESIDE = "beside"


def draw(picture: Picture, theme: Theme = "light", framed: bool = True) -> go.Figure:
    """Return a picture as a figure of plotly.

    Args:
        framed: with title, notes and legend; a page that has these as text of its own leaves them out.

    Example:
        >>> draw(build("batch_size", source_of(data), "digits-tiny_cnn"))
    """
    figure = go.Figure(layout=_layout(picture, theme))
    if picture.empty:
        _say(figure, picture.empty, theme)
    else:
        for mark in picture.marks:
            _DRAWERS[type(mark)](figure, mark, picture, theme)
        _add_legend_samples(figure, picture, theme)
        figure.update_xaxes(**_axis(picture, "x", theme))
        figure.update_yaxes(**_axis(picture, "y", theme))
    if framed:
        _frame(figure, picture, theme)
    return figure


def height_of(picture: Picture) -> int:
    """Return a picture's height in pixels: rows have equal heights, however many there are."""
    if picture.empty:
        return 120
    if picture.y.scale == "categories":
        return min(_LARGEST, max(200, _AROUND + _row_height(picture) * len(picture.y.categories)))
    return _HEIGHT


def _row_height(picture: Picture) -> int:
    """Return a row's height in pixels, which the longest name fits, and a text above a mark."""
    lines = max(len(wrapped(name, _NAME_WIDTH)) for name in picture.y.categories)
    has_text_above = any(isinstance(mark, Interval) and mark.text for mark in picture.marks)
    return max(_ROW if has_text_above or lines > 1 else _LOW_ROW, _LINE * lines + 6)


def _layout(picture: Picture, theme: Theme) -> dict[str, Any]:
    colours = THEMES[theme]
    num_rules = sum(isinstance(mark, Rule) and mark.axis == "x" and bool(mark.label) for mark in picture.marks)
    return {
        # plotly's own template would be most of a figure's size.
        "template": go.layout.Template(),
        "height": height_of(picture),
        "margin": {"l": 56, "r": 28, "t": 14 + 16 * num_rules, "b": 42},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": colours.text},
        "paper_bgcolor": colours.paper,
        "plot_bgcolor": colours.paper,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": colours.paper, "font": {"color": colours.text}, "align": "left"},
        "barmode": "overlay",
        "showlegend": False,
        "uirevision": "kept",
    }


def _say(figure: go.Figure, sentence: str, theme: Theme) -> None:
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    text = "<br>".join(wrapped(sentence, 48))
    font = {"color": THEMES[theme].quiet}
    figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font=font)


def _axis(picture: Picture, name: str, theme: Theme) -> dict[str, Any]:
    axis = picture.x if name == "x" else picture.y
    colours = THEMES[theme]
    found: dict[str, Any] = {
        "title": {
            "text": "<br>".join(balanced(axis.label, _LABEL_WIDTHS[picture.y.scale != "categories"])),
            "standoff": 8,
        },
        "showgrid": axis.scale != "categories",
        "gridcolor": colours.grid,
        "zeroline": False,
        "showline": True,
        "linecolor": colours.quiet,
        "ticks": "outside",
        "tickcolor": colours.quiet,
        "automargin": True,
        "exponentformat": "none",
        "nticks": 7,
        "separatethousands": True,
        "ticksuffix": axis.suffix,
    }
    if axis.scale in ("log2", "log10"):
        found["type"] = "log"
    if axis.integer:
        found["tickformat"] = ",d"
    if axis.from_zero:
        found["rangemode"] = "tozero"
    found |= _tick_texts(axis, name, axis_values(picture, name))
    ends = limits(picture, name)
    if ends is not None:
        is_log = axis.scale in ("log2", "log10")
        low, high = (math.log10(end) for end in ends) if is_log else ends
        found["range"] = [high, low] if (axis.scale == "categories" and name == "y") != axis.reverse else [low, high]
    elif axis.reverse:
        found["autorange"] = "reversed"
    return found


def _tick_texts(axis: Axis, name: str, values: Sequence[float]) -> dict[str, Any]:
    places = ticks(axis, values)
    if places is None:
        return {}
    texts = ["<br>".join(wrapped(text, _NAME_WIDTH)) for text in places[1]] if name == "y" else places[1]
    if axis.scale == "categories":
        texts = [f"<b>{text}</b>" if place in axis.headings else text for place, text in enumerate(texts)]
        return {"tickmode": "array", "tickvals": places[0], "ticktext": texts, "ticks": ""}
    return {"tickmode": "array", "tickvals": places[0], "ticktext": texts}


def _line(figure: go.Figure, mark: Line, picture: Picture, theme: Theme) -> None:
    colour = colour_of(mark.style, theme)
    style: dict[str, Any] = {"shape": {"": "linear", "before": "vh", "after": "hv"}[mark.steps]}
    if len(mark.low):
        edge = {"mode": "lines", "line": {**style, "width": 0}, "showlegend": False, "hoverinfo": "skip"}
        figure.add_scatter(x=list(mark.x), y=list(mark.high), legendgroup=mark.label, **edge)
        figure.add_scatter(
            x=list(mark.x), y=list(mark.low), legendgroup=mark.label, fill="tonexty", fillcolor=faint(colour), **edge
        )
    dash = mark.style.dash if isinstance(mark.style, ArmStyle) else "dash" if mark.label else "solid"
    figure.add_scatter(
        x=list(mark.x),
        y=list(mark.y),
        mode="lines" if len(mark.x) > 1 else "markers",
        name=mark.label,
        legendgroup=mark.label,
        showlegend=False,
        line={**style, "color": colour, "width": mark.width, "dash": dash},
        marker=_marker(mark.style, theme, 8),
        customdata=list(mark.hover) or None,
        hovertemplate=_hover(mark.label, "%{y:.4g}", "%{customdata}" if mark.hover else ""),
    )
    if isinstance(mark.style, ArmStyle) and len(mark.x) > 1:
        _add_markers(figure, mark, picture, theme)


def _add_markers(figure: go.Figure, mark: Line, picture: Picture, theme: Theme) -> None:
    """Mark a few points of a line; those of another line are marked elsewhere."""
    lines = [other for other in picture.marks if isinstance(other, Line)]
    places = marked_points(len(mark.x), lines.index(mark), len(lines))
    figure.add_scatter(
        x=[mark.x[place] for place in places],
        y=[mark.y[place] for place in places],
        mode="markers",
        legendgroup=mark.label,
        showlegend=False,
        hoverinfo="skip",
        marker=_marker(mark.style, theme, 7),
    )


def _marker(style: Style | None, theme: Theme, size: float, filled: bool = True) -> dict[str, Any]:
    colour = colour_of(style, theme)
    symbol = style.marker if isinstance(style, ArmStyle) else "circle"
    edge = {"color": THEMES[theme].paper if filled else colour, "width": 1 if filled else 1.5}
    return {"color": colour, "symbol": symbol if filled else f"{symbol}-open", "size": size, "line": edge}


def _hover(*parts: str) -> str:
    return "<br>".join(part for part in parts if part) + "<extra></extra>"


def _points(figure: go.Figure, mark: Points, picture: Picture, theme: Theme) -> None:
    figure.add_scatter(
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


def _interval(figure: go.Figure, mark: Interval, picture: Picture, theme: Theme) -> None:
    ends = None
    if not math.isnan(mark.low):
        ends = {"type": "data", "symmetric": False, "array": [mark.high - mark.value]}
        ends |= {
            "arrayminus": [mark.value - mark.low],
            "thickness": 2,
            "width": 5,
            "color": colour_of(mark.style, theme),
        }
    said = f"{mark.value:.4g}" + ("" if ends is None else f" ({mark.low:.4g} to {mark.high:.4g})")
    figure.add_scatter(
        x=[mark.value],
        y=[mark.row],
        mode="markers",
        name=mark.label,
        legendgroup=mark.label,
        showlegend=False,
        error_x=ends,
        marker=_marker(mark.style, theme, 10, mark.filled),
        hovertemplate=_hover(mark.label, mark.hover or said),
    )
    if mark.text:
        _write_above(figure, mark.value, mark.row, mark.text, picture, theme, shift=8)


def _write_above(
    figure: go.Figure, x: float, row: float, text: str, picture: Picture, theme: Theme, shift: int
) -> None:
    """Write above a place, to the side that has room."""
    share = share_of(picture, x)
    anchor = "left" if share < 0.3 else "right" if share > 0.7 else "center"
    is_log = picture.x.scale in ("log2", "log10")
    place = math.log10(x) if is_log else x
    font = {"size": 11, "color": THEMES[theme].quiet}
    figure.add_annotation(
        name=BESIDE,
        x=place,
        y=row,
        text=text,
        showarrow=False,
        xanchor=anchor,
        yanchor="bottom",
        yshift=shift,
        font=font,
    )


def _bar(figure: go.Figure, mark: Bar, picture: Picture, theme: Theme) -> None:
    width = 0.56 / mark.lanes
    colours = THEMES[theme]
    figure.add_bar(
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
        end = max(mark.start, mark.start + mark.length)
        is_inside = share_of(picture, end) > 0.75
        figure.add_annotation(
            name=BESIDE,
            x=math.log10(end) if picture.x.scale in ("log2", "log10") else end,
            y=middle,
            text=mark.text,
            showarrow=False,
            xanchor="right" if is_inside else "left",
            yanchor="bottom" if is_inside else "middle",
            xshift=0 if is_inside else 4,
            yshift=round(_ROW * width / 2) - 1 if is_inside else 0,
            font={"size": 11, "color": colours.quiet},
        )


def _pattern(style: Style | None, theme: Theme) -> dict[str, Any]:
    """Return the lines over a bar, in the colour of the page."""
    hatch = style.hatch if isinstance(style, PartStyle) else ""
    lines = {"fgcolor": THEMES[theme].paper, "bgcolor": colour_of(style, theme), "size": 6, "solidity": 0.25}
    return {"shape": hatch, **(lines if hatch else {})}


def _cells(figure: go.Figure, cells: Sequence[Cell], picture: Picture, theme: Theme) -> None:
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
    figure.add_heatmap(
        z=[[None if math.isnan(value) else value for value in row] for row in values],
        x=list(range(len(picture.x.categories))),
        y=list(range(len(picture.y.categories))),
        text=texts,
        texttemplate="%{text}",
        customdata=hovers,
        hovertemplate="%{customdata}<extra></extra>",
        zmin=scale.low,
        zmax=scale.high,
        colorscale=[[0, colours.low], [middle, colours.middle], [1, colours.high]],
        colorbar={"title": {"text": scale.label, "side": "right"}, "thickness": 12, "outlinewidth": 0},
        xgap=2,
        ygap=2,
    )


def _cell(figure: go.Figure, mark: Cell, picture: Picture, theme: Theme) -> None:
    """Draw all fields when the first is met."""
    cells = [other for other in picture.marks if isinstance(other, Cell)]
    if mark is cells[0]:
        _cells(figure, cells, picture, theme)


def _rule(figure: go.Figure, mark: Rule, picture: Picture, theme: Theme) -> None:
    colours = THEMES[theme]
    axis = picture.x if mark.axis == "x" else picture.y
    is_log = axis.scale in ("log2", "log10")
    value = math.log10(mark.value) if is_log else mark.value
    add_line, add_zone = (
        (figure.add_vline, figure.add_vrect) if mark.axis == "x" else (figure.add_hline, figure.add_hrect)
    )
    if mark.end is not None:
        ends = {f"{mark.axis}0": mark.value, f"{mark.axis}1": mark.end}
        add_zone(**ends, fillcolor=colours.shade, line_width=0, layer="below")
    else:
        line = {"color": colours.quiet, "width": 1.2, "dash": mark.dash}
        add_line(**{mark.axis: mark.value}, line=line, layer="below")
    if not mark.label:
        return
    font = {"size": 11, "color": colours.quiet}
    if mark.axis == "y":
        place: dict[str, Any] = {"x": 1, "xref": "paper", "y": value, "xanchor": "right", "yanchor": "bottom"}
        figure.add_annotation(text=mark.label, showarrow=False, font=font, **place)
        return
    labelled = [other for other in picture.marks if isinstance(other, Rule) and other.axis == "x" and other.label]
    middle = mark.value if mark.end is None else (mark.value + mark.end) / 2
    share = share_of(picture, middle)
    place = {"x": math.log10(middle) if is_log else middle, "y": 1, "yref": "paper", "yanchor": "bottom"}
    place["xanchor"] = "left" if share < 0.3 else "right" if share > 0.7 else "center"
    figure.add_annotation(text=mark.label, showarrow=False, font=font, yshift=2 + 15 * labelled.index(mark), **place)


_DRAWERS: dict[type, Callable[[go.Figure, Any, Picture, Theme], None]] = {
    Line: _line,
    Points: _points,
    Interval: _interval,
    Bar: _bar,
    Cell: _cell,
    Rule: _rule,
}


def _add_legend_samples(figure: go.Figure, picture: Picture, theme: Theme) -> None:
    """Add a trace without points for each entry of the legend, which shows line and marker together."""
    for entry in legend(picture):
        if entry.kinds <= {Bar}:
            marker = {"color": colour_of(entry.style, theme), "pattern": _pattern(entry.style, theme)}
            figure.add_bar(x=[None], y=[None], name=entry.label, legendgroup=entry.label, marker=marker)
            continue
        dash = entry.style.dash if isinstance(entry.style, ArmStyle) else "dash"
        has_marker = isinstance(entry.style, ArmStyle) or Line not in entry.kinds
        mode = "+".join(["lines"] * (Line in entry.kinds) + ["markers"] * has_marker)
        figure.add_scatter(
            x=[None],
            y=[None],
            mode=mode,
            name=entry.label,
            legendgroup=entry.label,
            line={"color": colour_of(entry.style, theme), "dash": dash, "width": 2},
            marker=_marker(entry.style, theme, 8),
        )


def _frame(figure: go.Figure, picture: Picture, theme: Theme) -> None:
    """Add title, notes and legend; plotly keeps room for a legend at the page's lower end, however long it is."""
    notes = "<br>".join(wrapped(notes_text(picture.notes), 90)) if picture.notes else ""
    num_lines = notes.count("<br>") + bool(notes)
    margin = figure.layout.margin.t + 34 + 15 * num_lines
    figure.update_layout(
        title={
            "text": picture.title,
            "x": 0.01,
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 8},
            "subtitle": {"text": notes, "font": {"size": 11, "color": THEMES[theme].quiet}},
        },
        margin={"t": margin},
        height=figure.layout.height + 34 + 15 * num_lines + 22 * math.ceil(len(legend(picture)) / 3),
        showlegend=not picture.empty and bool(legend(picture)),
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
    )


def dark_colours(pictures: Sequence[Picture]) -> dict[str, str]:
    """Return by colour of the light theme that of the dark one, for a page that changes with its reader's wish."""
    found = dict(zip(dataclasses.astuple(THEMES["light"]), dataclasses.astuple(THEMES["dark"]), strict=True))
    for picture in pictures:
        for mark in picture.marks:
            style = getattr(mark, "style", None)
            light, dark = colour_of(style, "light"), colour_of(style, "dark")
            found |= {light: dark, faint(light): faint(dark)}
    return found
