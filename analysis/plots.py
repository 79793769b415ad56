"""Figures for the screen (plotly): report, dashboard, notebook."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.bands import FEWEST_SEEDS
from analysis.comparison import Comparison
from analysis.curves import (
    CURVES,
    PALETTE,
    SPANS,
    Curve,
    accuracy_and_time,
    arms_in_order,
    band_name,
    colours,
    curve_frame,
    notes,
    time_by_span,
)
from analysis.frames import Data
from analysis.target import performance_profile

_LAYOUT = {
    "template": "simple_white",
    "height": 360,
    "margin": {"l": 60, "r": 20, "t": 78, "b": 80},
    "legend": {"orientation": "h", "y": -0.28, "yanchor": "top", "x": 0, "xanchor": "left"},
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "uirevision": "kept",
}


def curve_plot(data: Data, group: str, name: str) -> go.Figure:
    """Return one of `analysis.curves.CURVES` for a group: by arm the mean over seeds with its band.

    Example:
        >>> analysis.curve_plot(data, "digits-tiny_cnn", "accuracy_by_seconds")
    """
    curve = CURVES[name]
    frame = curve_frame(data, group, curve)
    figure = go.Figure(layout=_LAYOUT)
    palette = colours(data)
    for arm in arms_in_order(data, group):
        line = frame[frame.arm == arm]
        if len(line):
            _add_arm(figure, curve, arm, palette[arm], line)
    figure.update_layout(title=_title(curve.title, notes(frame)), hovermode="closest")
    figure.update_xaxes(title=curve.x_label)
    figure.update_yaxes(title=curve.y_label)
    if curve.log_y:
        figure.update_yaxes(type="log", dtick=0.30103 if curve.log_y == 2 else 1)
    return figure


def _title(title: str, below: Sequence[str]) -> dict[str, object]:
    """Return a title with notes below it: the first on a line of its own, since a figure may be narrow."""
    text = "<br>".join(["; ".join(part) for part in (below[:1], below[1:]) if part])
    place = {"y": 0.98, "yref": "container", "yanchor": "top"}
    return {"text": title, **place, "subtitle": {"text": text, "font": {"size": 11, "color": "#666"}}}


def _add_arm(figure: go.Figure, curve: Curve, arm: str, colour: str, line: pd.DataFrame) -> None:
    shape = "vh" if curve.steps else "linear"
    x, y, low, high = (_shown(line[name]) for name in ("x", "y", "low", "high"))
    if low != high:
        _add_band(figure, arm, colour, shape, x, low, high)
    ends = [_ends_text(*point) for point in zip(low, high, line.n, strict=True)]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=arm,
        legendgroup=arm,
        line={"color": colour, "shape": shape, "width": 2},
        customdata=list(zip(line.epoch.astype(int).tolist(), ends, strict=True)),
        hovertemplate=f"{arm}: %{{y:.4g}}%{{customdata[1]}}<br>epoch %{{customdata[0]}}<extra></extra>",
    )


def _shown(values: pd.Series) -> list[float]:
    """Return values to six digits: more cannot be seen, and would be most of a figure's size."""
    return [float(f"{value:.6g}") for value in values]


def _ends_text(low: float, high: float, n: int) -> str:
    seeds = f"n = {n} seed{'' if n == 1 else 's'}"
    if n < 2 or low == high:
        return f"<br>{seeds}"
    return f"<br>{band_name(n)} {low:.4g} to {high:.4g}, {seeds}"


def _add_band(
    figure: go.Figure, arm: str, colour: str, shape: str, x: list[float], low: list[float], high: list[float]
) -> None:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    style = {"line": {"width": 0, "shape": shape}, "showlegend": False, "hoverinfo": "skip", "legendgroup": arm}
    figure.add_scatter(x=x, y=high, mode="lines", **style)
    figure.add_scatter(
        x=x, y=low, mode="lines", fill="tonexty", fillcolor=f"rgba({red},{green},{blue},0.18)", **style
    )  # fmt: skip


def time_plot(data: Data, group: str) -> go.Figure:
    """Return bars of mean seconds by arm, made of the stopwatch's spans; tests beside training."""
    frame = time_by_span(data, group)
    figure = go.Figure(layout={**_LAYOUT, "barmode": "stack", "title": _title("Time by span", [])})
    for place, span in enumerate(SPANS):
        colour = PALETTE[(place + 1) % len(PALETTE)]
        figure.add_bar(x=list(frame[span]), y=list(frame.index), name=span, orientation="h", marker_color=colour)
    figure.update_xaxes(title="mean seconds over the seeds of done runs")
    figure.update_yaxes(autorange="reversed")
    return figure


def accuracy_time_plot(data: Data, group: str) -> go.Figure:
    """Return final accuracy against seconds, a point a done run: up and to the left is better."""
    frame = accuracy_and_time(data, group)
    figure = go.Figure(layout={**_LAYOUT, "title": _title("Accuracy against time", [])})
    palette = colours(data)
    for arm in arms_in_order(data, group):
        points = frame[frame.arm == arm]
        figure.add_scatter(
            x=list(points.elapsed_seconds),
            y=list(points.accuracy),
            mode="markers",
            name=arm,
            marker={"color": palette[arm], "size": 9},
            customdata=list(points.seed),
            hovertemplate=f"{arm}, seed %{{customdata}}: %{{y:.2f}} % after %{{x:.4g}} s<extra></extra>",
        )
    figure.update_xaxes(title="seconds of training and growth", rangemode="tozero")
    figure.update_yaxes(title="final test accuracy, %")
    return figure


def profile_plot(comparison: Comparison) -> go.Figure:
    """Return the performance profile of the time to the target: up and to the left is better, an arm's height at the
    right end is how often it reached the target at all."""
    data = comparison.data
    frame = performance_profile(data, comparison.matching, comparison.targets, comparison.measure)
    title = _title("Time to the target, all data sets, networks and seeds", _profile_notes(frame))
    figure = go.Figure(layout={**_LAYOUT, "title": title})
    frame = frame[frame.factor.notna()]
    end = max(2.0, 1.1 * frame.factor.max()) if len(frame) else 2.0
    for arm, colour in colours(data).items():
        line = frame[frame.arm == arm]
        x = [1.0, *_shown(line.factor), end]
        share, low, high = (_steps(100 * line[name]) for name in ("share", "low", "high"))
        if line.low.notna().any() and low != high:
            _add_band(figure, arm, colour, "hv", x, low, high)
        style = {"color": colour, "shape": "hv", "width": 2}
        figure.add_scatter(x=x, y=share, mode="lines", name=arm, legendgroup=arm, line=style)
    figure.update_xaxes(title="seconds to the target / those of the fastest arm")
    figure.update_yaxes(title="share that reached it, %", range=[0, 102])
    return figure


def _steps(percents: pd.Series) -> list[float]:
    """Return the heights of a profile from a factor of 1, before the first step, to the right end."""
    shown = _shown(percents)
    return [0.0, *shown, shown[-1] if shown else 0.0]


def _profile_notes(frame: pd.DataFrame) -> list[str]:
    if not len(frame):
        return []
    fewest, most = int(frame.n.min()), int(frame.n.max())
    found = [f"n = {most if fewest == most else f'{fewest} to {most}'} groups x seeds an arm"]
    if frame.low.notna().any():
        found[0] += "; band: 95 % bootstrap interval, by group"
    if frame.low.isna().any():
        found.append(f"no band where a group has fewer than {FEWEST_SEEDS} seeds")
    return found


def all_plots(data: Data, group: str) -> dict[str, go.Figure]:
    """Return every figure of a group by name.

    Example:
        >>> analysis.all_plots(data, "digits-tiny_cnn")["time_by_span"]
    """
    plots = {name: curve_plot(data, group, name) for name in CURVES}
    return {**plots, "time_by_span": time_plot(data, group), "accuracy_against_time": accuracy_time_plot(data, group)}
