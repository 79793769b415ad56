"""Throughput against batch size: what each stage reached, and what was forecast."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from adabatch.terminal import counted
from analysis.figures.arm_styles import ArmStyle
from analysis.figures.device_series import (
    GRAPHS,
    GRAPHS_WORDS,
    NO_GRAPHS,
    SERIES,
    UNKNOWN_DEVICE,
    series_of,
    suffixes,
)
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Line, Mark, Picture, Points, nothing
from analysis.figures.overlap import POINTS_COINCIDE, side_by_side
from analysis.figures.source import Source
from analysis.figures.stages import stages
from analysis.frames import Data, tuples
from analysis.run_files import FORECAST_LINE

COLUMNS = [*SERIES, "batch_size", "rate", "low", "high", "n"]
LINE_COLUMNS = ["device", "graphs", *FORECAST_LINE, "cap", "world_size"]
_NAME, _TITLE = "throughput", "Throughput against batch size"
#: Forecasts are of no arm: grey, dashed with CUDA graphs and solid without.
_FORECAST = {
    graphs: ArmStyle("#6A6F77", "#9AA1AA", "dash" if graphs == GRAPHS else "solid", "")
    for graphs in (GRAPHS, NO_GRAPHS, "")
}
#: Batch sizes at which a forecast's line is computed.
_POINTS_OF_A_LINE = 60


def throughput(data: Data, group: str) -> pd.DataFrame:
    """Return one row an arm, device, use of CUDA graphs and batch size.

    ``rate`` is in samples per second of training, without growth and tests: the geometric mean over ``n`` runs of the
    samples of all its stages with this batch size by their seconds, ``low`` and ``high`` the slowest and the fastest
    run. ``device`` is the model; ``graphs`` says "CUDA graphs" or "no CUDA graphs", and
    nothing where that is unknown.
    """
    runs = data.runs[data.runs.group == group]
    table = stages(data.select_runs(set(runs.index)))
    table = table[(table.samples > 0) & (table.train_seconds > 0)]
    sums = table.groupby(["run", "batch_size"])[["samples", "train_seconds"]].sum().reset_index()
    known = series_of(runs, sums.run).assign(
        batch_size=sums.batch_size, log_rate=np.log(sums.samples / sums.train_seconds)
    )
    parts = known.groupby(COLUMNS[:4], sort=True).log_rate
    frame = parts.agg(rate="mean", low="min", high="max", n="size").reset_index()
    return frame.assign(**{name: np.exp(frame[name]) for name in ("rate", "low", "high")})


def forecast_lines(data: Data, group: str) -> pd.DataFrame:
    """Return by device and use of CUDA graphs the line that was forecast, of the first run of each; maybe no row.

    A micro-batch of m samples takes ``fixed_seconds`` + m * ``seconds_per_sample``, and an optimizer step
    ``update_seconds``; ``cap`` is the largest micro-batch (infinite if there is none), ``world_size`` the ranks.
    """
    runs = data.runs[data.runs.group == group]
    rows = []
    for row in tuples(runs):
        limits = [_positive(getattr(row, "max_micro_batch_size", None), math.inf), _positive(row.world_size, 1.0)]
        device = row.device_model if isinstance(row.device_model, str) else UNKNOWN_DEVICE
        for prefix, has_graphs in (("forecast", row.forecast_uses_graphs), ("forecast_counterpart", _other(row))):
            line = [getattr(row, f"{prefix}_{name}") for name in FORECAST_LINE]
            if not any(pd.isna(value) for value in line):
                rows.append([device, GRAPHS_WORDS.get(has_graphs, ""), *map(float, line), *limits])
    return pd.DataFrame(rows, columns=LINE_COLUMNS).drop_duplicates(["device", "graphs"], ignore_index=True)


def _other(row: Any) -> bool | None:
    """Return whether the counterpart of a run's forecast is with CUDA graphs."""
    return not row.forecast_uses_graphs if isinstance(row.forecast_uses_graphs, bool) else None


def _positive(value: Any, otherwise: float) -> float:
    number = pd.to_numeric(value, errors="coerce")
    return float(number) if number > 0 else otherwise


def forecast_rates(line: Any, sizes: np.ndarray) -> np.ndarray:
    """Return the forecast's samples per second at some batch sizes.

    A rank gets s = B / ranks samples in k = s / cap micro-batches, both rounded up; the rate is
    B / (k * fixed + s * per sample + update).

    Args:
        line: a row of `forecast_lines`.
        sizes: batch sizes B, over all ranks.
    """
    share = np.ceil(sizes / line.world_size)
    count = np.ceil(share / line.cap) if math.isfinite(line.cap) else np.ones_like(share)
    rates: np.ndarray = sizes / (count * line.fixed_seconds + share * line.seconds_per_sample + line.update_seconds)
    return rates


def throughput_picture(source: Source, group: str | None) -> Picture:
    """Return samples per second against batch size: a point for each arm and batch size, a line for each forecast."""
    frame = source.drawn(throughput(source.data, str(group)))
    if not len(frame):
        return nothing(_NAME, _TITLE, "No run of this group logged samples and seconds epoch by epoch.")
    lines = forecast_lines(source.data, str(group))
    has_devices = len({*frame.device, *lines.device}) > 1
    has_graphs = len({*frame.graphs, *lines.graphs} - {""}) > 1
    ends = math.log2(frame.batch_size.min()), math.log2(frame.batch_size.max())
    sizes = np.unique(np.round(np.logspace(ends[0] - 0.5, ends[1] + 0.5, _POINTS_OF_A_LINE, base=2)))
    marks: list[Mark] = []
    for line in tuples(lines):
        name = ", ".join(["forecast", *suffixes(line, has_devices, has_graphs)])
        marks.append(
            Line(sizes.tolist(), forecast_rates(line, sizes).tolist(), name, _FORECAST[line.graphs], width=1.5)
        )
    series = [
        (arm, part)
        for arm in source.arms(str(group))
        for _, part in frame[frame.arm == arm].groupby(["device", "graphs"], sort=False)
    ]
    points = pd.concat([part for _, part in series])
    shifts = side_by_side(np.log2(points.batch_size.to_numpy(dtype=float)), points.rate.to_numpy())
    frame["x"] = points.batch_size * 2 ** pd.Series(shifts, index=points.index)
    for arm, part in series:
        label = ", ".join([source.label(arm), *suffixes(part.iloc[0], has_devices, has_graphs)])
        marks += _points(frame.loc[part.index], source, arm, label)
    notes = ["Samples by seconds of training, without growth and tests; geometric mean over runs, lines: their range."]
    if any(shifts):
        notes.append(POINTS_COINCIDE)
    if len(lines):
        notes.append("Forecast: of micro-batches that were timed before the first run started.")
    x = Axis("batch size, samples", "log2", places=tuple(sorted({float(size) for size in frame.batch_size})))
    return Picture(_NAME, _TITLE, x, Axis("samples per second", from_zero=True), tuple(marks), tuple(notes))


def _points(part: pd.DataFrame, source: Source, arm: str, label: str) -> list[Mark]:
    """Return an arm's points on one device, hollow without CUDA graphs, and behind them the ranges over runs.

    Args:
        part: rows of `throughput`, and as ``x`` where each is drawn.
    """
    marks: list[Mark] = [
        Line([row.x] * 2, [row.low, row.high], width=1.0) for row in tuples(part) if row.low < row.high
    ]
    hover = [
        f"{row.rate:,.0f} samples/s at batch {row.batch_size:,.0f}<br>n = {counted(row.n, 'run')}"
        for row in tuples(part)
    ]
    is_filled = part.graphs.iloc[0] != NO_GRAPHS
    points = Points(list(part.x), list(part.rate), label, source.style(arm), is_filled, hover=hover)
    return [*marks, points]


KINDS = (Kind(_NAME, _TITLE, throughput_picture),)
