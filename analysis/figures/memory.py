"""Memory against batch size: the most that each arm held on its GPU."""

from __future__ import annotations

import numpy as np
import pandas as pd

from adabatch.terminal import counted
from analysis.figures.device_series import NO_GRAPHS, SERIES, series_of, suffixes
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Line, Mark, Picture, Points, Rule, nothing
from analysis.figures.overlap import POINTS_COINCIDE, side_by_side
from analysis.figures.source import Source
from analysis.figures.units import MemoryUnit, memory_unit
from analysis.frames import Data, tuples

COLUMNS = [*SERIES, "batch_size", "peak_bytes", "low_bytes", "micro_batch_size", "is_accumulated", "n"]
_NAME, _TITLE = "memory", "Peak memory against batch size"
#: The GPU's own memory is drawn if that is at most so many times the largest peak; else a note tells it.
_IN_SIGHT = 3.0


def memory(data: Data, group: str) -> pd.DataFrame:
    """Return one row an arm, device, use of CUDA graphs and batch size, of epochs whose memory is known.

    A run's peak is the largest ``peak_memory_bytes`` of its epochs with the batch size; ``peak_bytes`` is the largest
    and ``low_bytes`` the smallest of ``n`` runs. ``micro_batch_size`` is the largest micro-batch, NaN where it is not
    known, and ``is_accumulated`` whether a rank computes a batch in several. ``device`` and ``graphs`` are as in
    `analysis.figures.throughput.throughput`.
    """
    runs = data.runs[data.runs.group == group]
    epochs = data.select_runs(set(runs.index)).followed
    epochs = epochs[epochs.peak_memory_bytes.notna()].astype({"run": str})
    by_run = epochs.groupby(["run", "batch_size"], sort=True).agg(
        peak=("peak_memory_bytes", "max"), micro=("micro_batch_size", "max"), steps=("accumulation_steps", "max")
    )
    table = by_run.reset_index()
    table = table.join(series_of(runs, table.run))
    frame = table.groupby([*SERIES, "batch_size"], sort=True).agg(
        peak_bytes=("peak", "max"), low_bytes=("peak", "min"), micro_batch_size=("micro", "max"),
        is_accumulated=("steps", lambda steps: bool((steps > 1).any())), n=("run", "size"),
    )  # fmt: skip
    return frame.reset_index()[COLUMNS]


def device_memory(data: Data, group: str) -> dict[str, float]:
    """Return the bytes of each GPU model of a group whose memory is known."""
    runs = data.runs[data.runs.group == group]
    known = pd.to_numeric(runs.device_memory_bytes, errors="coerce").groupby(runs.device_model).min().dropna()
    return {str(model): float(value) for model, value in known.items()}


def memory_picture(source: Source, group: str | None) -> Picture:
    """Return peak memory against batch size: a point for each arm and batch size."""
    frame = source.drawn(memory(source.data, str(group)))
    if not len(frame):
        return nothing(_NAME, _TITLE, "No run of this group recorded memory: runs on GPUs do, since 0.2.0.")
    unit = memory_unit(frame.peak_bytes.max())
    has_devices, has_graphs = frame.device.nunique() > 1, len({*frame.graphs} - {""}) > 1
    series = [
        (arm, part)
        for arm in source.arms(str(group))
        for _, part in frame[frame.arm == arm].groupby(["device", "graphs"], sort=False)
    ]
    points = pd.concat([part for _, part in series])
    shifts = side_by_side(np.log2(points.batch_size.to_numpy(dtype=float)), points.peak_bytes.to_numpy(dtype=float))
    frame["x"] = points.batch_size * 2 ** pd.Series(shifts, index=points.index)
    totals = {
        device: size for device, size in device_memory(source.data, str(group)).items() if device in {*frame.device}
    }
    marks, notes = _limits(totals, float(frame.peak_bytes.max()), unit)
    for arm, part in series:
        label = ", ".join([source.label(arm), *suffixes(part.iloc[0], has_devices, has_graphs)])
        marks += _points(frame.loc[part.index], source, arm, label, unit)
    notes = ["Most memory that a process held on its GPU; of several runs the largest, lines: their range.", *notes]
    if frame.is_accumulated.any():
        largest = frame.micro_batch_size[frame.is_accumulated].max()
        notes.append(f"Larger batches are accumulated from micro-batches of at most {largest:,.0f}, and need no more.")
    if any(shifts):
        notes.append(POINTS_COINCIDE)
    x = Axis("batch size, samples", "log2", places=tuple(sorted({float(size) for size in frame.batch_size})))
    y = Axis(f"peak memory, {unit.name}", from_zero=True)
    said = "; ".join(_said(source.label(arm), part, unit) for arm, part in series)
    return Picture(_NAME, _TITLE, x, y, tuple(marks), tuple(notes), summary=said)


def _limits(totals: dict[str, float], largest: float, unit: MemoryUnit) -> tuple[list[Mark], list[str]]:
    """Return what the GPUs have: lines where the peaks come near them, sentences where they do not."""
    marks: list[Mark] = []
    notes = []
    for device, total in totals.items():
        if total <= _IN_SIGHT * largest:
            marks.append(Rule(total / unit.num_bytes, "y", "memory of the GPU" if len(totals) == 1 else device))
        else:
            notes.append(f"{device} has {memory_unit(total).text(total)}.")
    return marks, notes


def _said(label: str, part: pd.DataFrame, unit: MemoryUnit) -> str:
    """Return the memory of an arm's smallest and largest batch, for those who do not see the picture."""
    ends = part.iloc[[0, -1]] if len(part) > 1 else part
    texts = [f"{unit.text(row.peak_bytes)} at batch {row.batch_size:,.0f}" for row in tuples(ends)]
    return f"{label}: {', '.join(texts)}"


def _points(part: pd.DataFrame, source: Source, arm: str, label: str, unit: MemoryUnit) -> list[Mark]:
    """Return an arm's points on one device, hollow without CUDA graphs, and behind them the ranges over runs.

    Args:
        part: rows of `memory`, and as ``x`` where each is drawn.
    """
    peaks, lows = part.peak_bytes / unit.num_bytes, part.low_bytes / unit.num_bytes
    marks: list[Mark] = [
        Line([x] * 2, [low, peak], width=1.0) for x, low, peak in zip(part.x, lows, peaks, strict=True) if low < peak
    ]
    hover = [
        f"{unit.text(row.peak_bytes)} at batch {row.batch_size:,.0f}<br>n = {counted(row.n, 'run')}"
        for row in tuples(part)
    ]
    is_filled = part.graphs.iloc[0] != NO_GRAPHS
    return [*marks, Points(list(part.x), list(peaks), label, source.style(arm), is_filled, hover=hover)]


KINDS = (Kind(_NAME, _TITLE, memory_picture),)
