"""Figures for the screen (plotly): report, dashboard, notebook."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from analysis.comparison import Comparison
from analysis.curves import (
    CURVES,
    PALETTE,
    SPANS,
    Curve,
    accuracy_and_time,
    arms_in_order,
    colours,
    curve_frame,
    time_by_span,
)
from analysis.frames import Data
from analysis.target import performance_profile

_LAYOUT = {
    "template": "simple_white",
    "height": 360,
    "margin": {"l": 60, "r": 20, "t": 40, "b": 80},
    "legend": {"orientation": "h", "y": -0.28, "yanchor": "top", "x": 0, "xanchor": "left"},
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "uirevision": "kept",
}


def curve_plot(data: Data, group: str, name: str) -> go.Figure:
    """Return one of `analysis.curves.CURVES` for a group: by arm the mean and the range over seeds.

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
    figure.update_layout(title=curve.title, hovermode="closest")
    figure.update_xaxes(title=curve.x_label)
    figure.update_yaxes(title=curve.y_label)
    if curve.log_y:
        figure.update_yaxes(type="log", dtick=0.30103 if curve.log_y == 2 else 1)
    return figure


def _add_arm(figure: go.Figure, curve: Curve, arm: str, colour: str, line: pd.DataFrame) -> None:
    shape = "vh" if curve.steps else "linear"
    if (line.low < line.high).any():
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        band = {"line": {"width": 0, "shape": shape}, "showlegend": False, "hoverinfo": "skip", "legendgroup": arm}
        x = list(line.x)
        figure.add_scatter(x=x, y=list(line.high), mode="lines", **band)
        figure.add_scatter(
            x=x, y=list(line.low), mode="lines", fill="tonexty", fillcolor=f"rgba({red},{green},{blue},0.18)", **band
        )  # fmt: skip
    figure.add_scatter(
        x=list(line.x),
        y=list(line.y),
        mode="lines",
        name=arm,
        legendgroup=arm,
        line={"color": colour, "shape": shape, "width": 2},
        customdata=list(zip(line.epoch, line.n, strict=True)),
        hovertemplate=f"{arm}: %{{y:.4g}}<br>epoch %{{customdata[0]}}, %{{customdata[1]}} seeds<extra></extra>",
    )


def time_plot(data: Data, group: str) -> go.Figure:
    """Return bars of mean seconds by arm, made of the stopwatch's spans; tests beside training."""
    frame = time_by_span(data, group)
    figure = go.Figure(layout={**_LAYOUT, "barmode": "stack", "title": "Time by span"})
    for place, span in enumerate(SPANS):
        colour = PALETTE[(place + 1) % len(PALETTE)]
        figure.add_bar(x=list(frame[span]), y=list(frame.index), name=span, orientation="h", marker_color=colour)
    figure.update_xaxes(title="mean seconds of done runs")
    figure.update_yaxes(autorange="reversed")
    return figure


def accuracy_time_plot(data: Data, group: str) -> go.Figure:
    """Return final accuracy against seconds, a point a done run: up and to the left is better."""
    frame = accuracy_and_time(data, group)
    figure = go.Figure(layout={**_LAYOUT, "title": "Accuracy against time"})
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
    figure = go.Figure(layout={**_LAYOUT, "title": "Time to the target, all data sets, networks and seeds"})
    frame = frame[frame.factor.notna()]
    end = max(2.0, 1.1 * frame.factor.max()) if len(frame) else 2.0
    for arm, colour in colours(data).items():
        line = frame[frame.arm == arm]
        x, y = [1.0, *line.factor, end], [0.0, *line.share, line.share.max() if len(line) else 0.0]
        style = {"color": colour, "shape": "hv", "width": 2}
        figure.add_scatter(x=x, y=[100 * share for share in y], mode="lines", name=arm, line=style)
    figure.update_xaxes(title="seconds to the target / those of the fastest arm")
    figure.update_yaxes(title="share that reached it, %", range=[0, 102])
    return figure


def all_plots(data: Data, group: str) -> dict[str, go.Figure]:
    """Return every figure of a group by name.

    Example:
        >>> analysis.all_plots(data, "digits-tiny_cnn")["time_by_span"]
    """
    plots = {name: curve_plot(data, group, name) for name in CURVES}
    return {**plots, "time_by_span": time_plot(data, group), "accuracy_against_time": accuracy_time_plot(data, group)}
