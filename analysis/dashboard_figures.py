"""The dashboard's figures: what is known of finished epochs, and where the running runs are within theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from dash import Patch

from adabatch.rundir.heartbeat import Beat
from adabatch.rundir.states import State
from analysis.curves import CURVES
from analysis.frames import Data, tuples
from analysis.live import last_epochs, seconds_now
from analysis.plots import curve_plot, time_plot

FIGURES = (
    "accuracy_by_epoch", "accuracy_by_seconds", "batch_size", "accuracy_by_samples", "learning_rate", "time_by_span",
)  # fmt: skip
_EMPTY: dict[str, Any] = {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}}
#: The place of the trace with the running runs among a figure's traces: below the lines.
_NOW = 0


@dataclass(frozen=True)
class Theme:
    """The colours of a figure besides those of its arms."""

    ink: str
    quiet: str
    line: str
    paper: str


THEMES = {
    "light": Theme("#1f2933", "#55606e", "#d5dbe2", "#ffffff"),
    "dark": Theme("#e6eaef", "#a3aebb", "#3a444f", "#1b2127"),
}


@dataclass(frozen=True)
class Now:
    """Where one running run is within its epoch: its curve goes on to there, at the last value known."""

    arm: str
    seed: str
    x: tuple[float, float]
    y: tuple[float, float]


def empty_figure() -> dict[str, Any]:
    """Return what stands for a figure while there is nothing to draw."""
    return _EMPTY


def figure_part(data: Data, group: str, arms: Sequence[str], name: str, theme: str, now: Sequence[Now]) -> go.Figure:
    """Return one of `FIGURES` for some arms of a group, in the colours that they have among all runs."""
    if name == "time_by_span":
        figure = time_plot(data.select(group=group, arm=list(arms)), group)
    else:
        # All runs, for the colours; the group's epochs only, for speed.
        figure = curve_plot(Data(data.runs, data.epochs[data.epochs.run.isin(_runs_of(data, group))]), group, name)
        figure.data = [trace for trace in figure.data if trace.legendgroup in arms]
        # A line of one point would not be seen.
        figure.update_traces({"mode": "markers"}, lambda trace: len(trace.x) == 1 and trace.name is not None)
    if not any(trace.x for trace in figure.data):
        said = "no run is done yet" if name == "time_by_span" else "no epoch is finished yet"
        figure.add_annotation(text=said, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    # Zoom and hidden lines survive a refresh, but not the change to another group.
    figure.update_layout(uirevision=group, showlegend=True, autosize=True, height=None)
    if name in CURVES:
        figure.add_scatter(**_now_style(theme), **_now_values(now))
        figure.data = (figure.data[-1], *figure.data[:-1])
    return _themed(figure, THEMES[theme])


def _runs_of(data: Data, group: str) -> Sequence[str]:
    return list(data.runs.index[data.runs.group == group])


def running_now(data: Data, group: str, arms: Sequence[str], beats: Mapping[str, Beat]) -> dict[str, list[Now]]:
    """Return by figure of `FIGURES` where the running runs of a group are."""
    runs = data.runs[(data.runs.group == group) & data.runs.arm.isin(arms) & (data.runs.state == State.RUNNING.value)]
    last = {str(row.Index): row for row in tuples(last_epochs(data, runs))}
    found: dict[str, list[Now]] = {name: [] for name in FIGURES}
    for run in tuples(runs[["arm", "seed"]]):
        beat, row = beats.get(str(run.Index)), last.get(str(run.Index))
        for name in FIGURES:
            if name in CURVES and beat is not None and row is not None:
                line = _line_to_now(name, beat, row)
                found[name] += [] if line is None else [Now(str(run.arm), str(run.seed), *line)]
    return found


def _line_to_now(name: str, beat: Beat, last: Any) -> tuple[tuple[float, float], tuple[float, float]] | None:
    curve = CURVES[name]
    x = {
        "epoch": beat.epochs_done,
        "samples": beat.samples,
        "updates": beat.updates,
        "elapsed_seconds": seconds_now(beat, last),
    }.get(curve.x)
    y = getattr(last, curve.y, math.nan) * (100 if curve.percent else 1)
    start = float(getattr(last, curve.x, math.nan))
    now = float(beat.batch_size or y) if curve.y == "batch_size" else float(y)
    if x is None or not x > start or math.isnan(y):
        return None
    return (start, float(f"{x:.6g}")), (float(y), now)


def now_patch(now: Sequence[Now]) -> Patch:
    """Return the change of a figure that moves the running runs, and leaves all else."""
    patch = Patch()
    for key, values in _now_values(now).items():
        patch["data"][_NOW][key] = values
    return patch


def _now_values(now: Sequence[Now]) -> dict[str, Any]:
    # One trace for all of them, so that a refresh has one place to change; None ends a line.
    x = [value for one in now for value in (*one.x, None)]
    y = [value for one in now for value in (one.y[1], one.y[1], None)]
    said = [text for one in now for text in ("", f"{one.arm}, seed {one.seed}: within the epoch", "")]
    return {"x": x, "y": y, "text": said}


def _now_style(theme: str) -> dict[str, Any]:
    quiet = THEMES[theme].quiet
    return {
        "mode": "lines+markers",
        "line": {"color": quiet, "width": 1.5, "dash": "dot"},
        "marker": {"color": quiet, "symbol": "line-ns-open", "size": 9, "maxdisplayed": 0},
        "name": "running now",
        "showlegend": False,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _themed(figure: go.Figure, theme: Theme) -> go.Figure:
    axis = {"color": theme.ink, "linecolor": theme.quiet, "tickcolor": theme.quiet, "title_font_color": theme.ink}
    clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    hover = {"bgcolor": theme.paper, "font_color": theme.ink, "bordercolor": theme.quiet}
    figure.update_layout(**clear, font_color=theme.ink, hoverlabel=hover, title_subtitle_font_color=theme.quiet)
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    black = [trace for trace in figure.data if trace.type == "scatter" and trace.line.color == "#000000"]
    for trace in black:
        trace.line.color = theme.ink
    return figure


def alternative(figure: Mapping[str, Any], group: str) -> str:
    """Return in words what a figure shows: its title, and of each line the last point."""
    title = figure["layout"].get("title", {}).get("text", "")
    lines = [trace for trace in figure["data"] if trace.get("name") and trace.get("showlegend") is not False]
    ends = [f"{trace['name']}: {_last(trace)}" for trace in lines]
    return f"{title}, {group}. {'; '.join(ends) or 'Nothing to draw yet'}."


def _last(trace: Mapping[str, Any]) -> str:
    x, y = (list(trace.get(name) or ()) for name in ("x", "y"))
    if not x or not y:
        return "no point"
    if trace.get("type") == "bar":
        pairs = zip(y, x, strict=False) if trace.get("orientation") == "h" else zip(x, y, strict=False)
        return ", ".join(f"{name} {value:.3g}" for name, value in pairs)
    return f"{y[-1]:.4g} at {x[-1]:,.4g}"
