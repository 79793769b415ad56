"""The dashboard's figures: what is known of finished epochs, and where the running runs are within theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from dash import Patch, html

from adabatch.rundir.heartbeat import Beat
from adabatch.rundir.states import State
from analysis.comparison import Comparison
from analysis.dashboard_runs import breakable
from analysis.figures.arm_styles import styles_of
from analysis.figures.curves import CURVES, Curve
from analysis.figures.page import Framed, framed
from analysis.figures.registry import PICTURES, build
from analysis.figures.screen import draw
from analysis.figures.source import Source
from analysis.figures.themes import THEMES, Theme
from analysis.figures.units import time_unit
from analysis.frames import Data, tuples
from analysis.live import last_epochs, seconds_now
from analysis.names import plain_arm
from analysis.order import arm_names

#: Of all groups: what came out.
RESULTS = ("speedup", "quality_difference")
#: Of one group: how it came about.
CURVES_OF_GROUP = (
    "accuracy_by_epoch", "accuracy_by_seconds", "error_by_seconds", "batch_size", "learning_rate", "rate_per_sample",
    "time_by_span", "throughput", "memory",
)  # fmt: skip
#: Hidden while there is nothing to draw, since most runs on CPUs never have it.
OPTIONAL = frozenset({"memory"})
FIGURES = (*RESULTS, *CURVES_OF_GROUP)
#: What stands around a figure: the part of the page, with the property that holds it; see `around`.
AROUND = {
    "title": "children", "legend": "children", "notes": "children", "said": "children", "size": "style",
    "card": "hidden",
}  # fmt: skip
_SECONDS = "elapsed_seconds"
#: The place of the trace with the running runs among a figure's traces: below the lines.
_NOW = 0
_CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True)
class Shown:
    """What a figure is drawn of.

    Attributes:
        data: all runs, since they decide how arms look.
        comparison: of the runs and arms that are shown; None while there is none.
        arms: those that are shown.
        group: whose curves are drawn.
    """

    data: Data
    comparison: Comparison | None
    arms: Sequence[str]
    group: str

    def source(self, name: str) -> Source:
        """Return what the picture of that name is made of."""
        styles = styles_of(arm_names(self.data))
        shown = {plain_arm(arm) for arm in self.arms}
        drawn = {arm: style for arm, style in styles.items() if arm in shown}
        return Source(self._data_of(name), self.comparison, drawn)

    def _data_of(self, name: str) -> Data:
        """Return all runs for a picture of all; for one of a group its epochs only, for speed."""
        if not PICTURES[name].is_per_group:
            return self.data
        return of_group(self.data, self.group)


@dataclass(frozen=True)
class Now:
    """Where one running run is within its epoch: its curve goes on to there, at the last value known."""

    arm: str
    seed: str
    x: tuple[float, float]
    y: float


def of_group(data: Data, group: str) -> Data:
    """Return the runs of a group and their epochs."""
    return data.select_runs(set(data.runs.index[data.runs.group == group]))


def empty_figure() -> dict[str, Any]:
    """Return what stands for a figure while there is nothing to draw."""
    meta = {"title": "", "notes": "", "samples": [], "said": "", "height": 120, "is_empty": True}
    return {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}, "meta": meta}}


def figure_part(shown: Shown, name: str, theme: Theme, now: Sequence[Now] = ()) -> dict[str, Any]:
    """Return one of `FIGURES` as plotly's JSON; ``layout.meta`` holds what stands around it, for `around`."""
    picture = build(name, shown.source(name), shown.group if PICTURES[name].is_per_group else None)
    figure = draw(picture, theme, framed=False)
    # Zoom and hidden lines survive a refresh, but not the change to another group.
    figure.update_layout(uirevision=shown.group, paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR)
    figure.update_layout(meta=_meta(framed(name, picture), shown.group, theme), height=None)
    if name in CURVES and not picture.empty:
        figure.add_scatter(**_now_style(theme), **_now_values(now))
        figure.data = (figure.data[-1], *figure.data[:-1])
    found: dict[str, Any] = figure.to_plotly_json()
    return found


def _meta(frame: Framed, group: str, theme: Theme) -> dict[str, Any]:
    is_per_group = PICTURES[frame.place].is_per_group
    return {
        "title": frame.picture.title,
        "notes": frame.notes,
        "samples": [[label, _image(sample, theme)] for label, sample in frame.samples],
        "said": f"{frame.alternative} {group}." if is_per_group else frame.alternative,
        "height": frame.height,
        "is_empty": bool(frame.picture.empty),
    }


def _image(sample: str, theme: Theme) -> str:
    """Return a sample of a legend as an image, since Dash's components cannot hold SVG."""
    svg = str(sample).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    colours = THEMES[theme]
    svg = svg.replace("currentColor", f"var(--{theme},{colours.quiet})").replace("var(--paper)", colours.paper)
    return f"data:image/svg+xml,{quote(svg)}"


def around(name: str, figure: dict[str, Any]) -> dict[str, object]:
    """Return what stands around a figure, by part of the page."""
    meta = figure["layout"]["meta"]
    legend = [html.Li([html.Img(src=image, alt=""), html.Span(breakable(label))]) for label, image in meta["samples"]]
    return {
        f"{name}_title": meta["title"],
        f"{name}_legend": legend,
        f"{name}_notes": breakable(meta["notes"]),
        f"{name}_said": meta["said"],
        f"{name}_size": {"height": f"{meta['height']}px"},
        f"{name}_card": name in OPTIONAL and meta["is_empty"],
    }


def running_now(shown: Shown, beats: Mapping[str, Beat]) -> dict[str, list[Now]]:
    """Return by figure where the running runs of the group are."""
    data = of_group(shown.data, shown.group)
    runs = data.runs[data.runs.arm.isin(list(shown.arms)) & (data.runs.state == State.RUNNING.value)]
    last = {str(row.Index): row for row in tuples(last_epochs(data, runs))}
    unit = time_unit(data.followed[_SECONDS].dropna()).seconds
    found: dict[str, list[Now]] = {name: [] for name in FIGURES}
    for run in tuples(runs[["arm", "seed"]]):
        beat, row = beats.get(str(run.Index)), last.get(str(run.Index))
        if beat is None or row is None:
            continue
        for name in CURVES_OF_GROUP:
            line = _line_to_now(CURVES[name], beat, row, unit) if name in CURVES else None
            found[name] += [] if line is None else [Now(plain_arm(run.arm), str(run.seed), *line)]
    return found


def _line_to_now(curve: Curve, beat: Beat, last: Any, unit: float) -> tuple[tuple[float, float], float] | None:
    """Return from where to where along x, and at which y; None where a heartbeat does not tell."""
    now = {
        "epoch": beat.epochs_done,
        "samples": beat.samples,
        "updates": beat.updates,
        _SECONDS: seconds_now(beat, last),
    }.get(curve.x)
    start = float(getattr(last, curve.x, math.nan))
    y = _last_value(curve, beat, last)
    if now is None or not now > start or math.isnan(y):
        return None
    scale = unit if curve.x == _SECONDS else 1.0
    return (start / scale, float(f"{now / scale:.6g}")), y


def _last_value(curve: Curve, beat: Beat, last: Any) -> float:
    if curve.y == "batch_size":
        return float(beat.batch_size or last.batch_size)
    value = 1 - last.test_accuracy if curve.y == "test_error" else getattr(last, curve.y, math.nan)
    return float(value) * (100 if curve.percent else 1)


def now_patch(now: Sequence[Now]) -> Patch:
    """Return the change of a figure that moves the running runs, and leaves all else."""
    patch = Patch()
    for key, values in _now_values(now).items():
        patch["data"][_NOW][key] = values
    return patch


def _now_values(now: Sequence[Now]) -> dict[str, Any]:
    # One trace for all of them, so that a refresh has one place to change; None ends a line.
    x = [value for one in now for value in (*one.x, None)]
    y = [value for one in now for value in (one.y, one.y, None)]
    said = [text for one in now for text in ("", f"{one.arm}, seed {one.seed}: within the epoch", "")]
    return {"x": x, "y": y, "text": said}


def _now_style(theme: Theme) -> dict[str, Any]:
    quiet = THEMES[theme].quiet
    return {
        "mode": "lines+markers",
        "line": {"color": quiet, "width": 1.5, "dash": "dot"},
        "marker": {"color": quiet, "symbol": "line-ns-open", "size": 9},
        "name": "running now",
        "showlegend": False,
        "hovertemplate": "%{text}<extra></extra>",
    }
