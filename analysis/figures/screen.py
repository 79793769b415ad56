"""Pictures on the screen, drawn by plotly: report, dashboard, notebook."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.figures.labels import bar_text_place
from analysis.figures.marks import Axis, Bar, Interval, Picture, Rule, legend, notes_text
from analysis.figures.screen_marks import drawing_of
from analysis.figures.themes import THEMES, Theme, colour_of, faint
from analysis.figures.ticks import axis_values, end_from_zero, limits, ticks
from analysis.figures.words import balanced, name_lines, wrapped

#: In pixels: of a picture without rows, and of what is around rows.
_HEIGHT, _AROUND = 340, 110
#: In pixels: of a row, of one without texts above its marks, of a line of a row's name, and of the highest picture.
_ROW, _LOW_ROW, _LINE, _LARGEST = 44, 30, 16, 6000
_NAME_WIDTH = 22
#: In letters of an axis' label, beside names of rows and without them: a phone has no room for more.
_LABEL_WIDTHS = (24, 44)


def draw(picture: Picture, theme: Theme = "light", framed: bool = True) -> go.Figure:
    """Return a picture as a figure of plotly.

    Args:
        framed: with title, notes and legend; a page that has these as text of its own leaves them out.

    Example:
        >>> draw(build("batch_size", source_of(data), "digits-tiny_cnn"))
    """
    layout = _layout(picture, theme)
    if picture.empty:
        figure = go.Figure(layout={**layout, **_sentence(picture.empty, theme)})
    else:
        drawing = drawing_of(picture, theme)
        layout |= {"annotations": drawing.annotations, "shapes": drawing.shapes}
        layout |= {"xaxis": _axis(picture, "x", theme), "yaxis": _axis(picture, "y", theme)}
        figure = go.Figure(data=drawing.traces, layout=layout)
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


def rows_within(picture: Picture, height: int) -> int:
    """Return how many of a picture's rows fit into a height in pixels."""
    return (height - _AROUND) // _row_height(picture) if picture.y.categories else 1


def _row_height(picture: Picture) -> int:
    """Return a row's height in pixels, which the longest name fits, and a text above a mark."""
    lines = max(len(name_lines(name, _NAME_WIDTH)) for name in picture.y.categories)
    has_text_above = any(
        mark.text and (isinstance(mark, Interval) or bar_text_place(picture, mark) == "above")
        for mark in picture.marks
        if isinstance(mark, (Interval, Bar))
    )
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


def _sentence(sentence: str, theme: Theme) -> dict[str, Any]:
    """Return the layout of a figure that is a sentence."""
    middle = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    text = {"text": "<br>".join(wrapped(sentence, 48)), "font": {"color": THEMES[theme].quiet}}
    hidden = {"visible": False}
    return {"xaxis": hidden, "yaxis": hidden, "annotations": [{**middle, **text}]}


def _axis(picture: Picture, name: str, theme: Theme) -> dict[str, Any]:
    axis = picture.x if name == "x" else picture.y
    colours = THEMES[theme]
    found: dict[str, Any] = {
        "title": {
            "text": "<br>".join(balanced(axis.label, _LABEL_WIDTHS[picture.y.scale != "categories"])),
            "font": {"size": 13},
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
        found |= {"rangemode": "tozero", "autorangeoptions": {"include": [end_from_zero(picture, name)]}}
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
    texts = ["<br>".join(name_lines(text, _NAME_WIDTH)) for text in places[1]] if name == "y" else places[1]
    if axis.scale == "categories":
        texts = [f"<b>{text}</b>" if place in axis.headings else text for place, text in enumerate(texts)]
        return {"tickmode": "array", "tickvals": places[0], "ticktext": texts, "ticks": ""}
    return {"tickmode": "array", "tickvals": places[0], "ticktext": texts}


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
