"""Heat maps over a grid of swept values: each level in a row, each arm in a column."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.cells import signed, times
from analysis.figures.effect_frames import quality_effects, speed_effects
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Cell, ColourScale, Picture, nothing
from analysis.figures.source import Source, groups, level_names
from analysis.frames import tuples
from analysis.overall import plain_arm


def speedup_grid(source: Source, group: str | None = None) -> Picture:
    """Return the speedup of each arm at each point of the grid."""
    assert source.comparison is not None
    frame = speed_effects(source.comparison)
    reach = max([max(value, 1 / value) for value in frame.value.dropna()], default=1.0)
    colours = _colours("speedup", 1 / reach, 1.0, reach)
    return _grid(source, "speedup_grid", "Speedup over the grid", colours, frame, lambda value: value, times)


def quality_grid(source: Source, group: str | None = None) -> Picture:
    """Return the difference in quality of each arm at each point of the grid."""
    assert source.comparison is not None
    quality = source.comparison.measure.quality
    title = f"Difference in {quality.name} over the grid"
    sign = 1.0 if quality.higher_is_better else -1.0
    frame = quality_effects(source.comparison)
    reach = float(frame.value.abs().max()) if frame.value.notna().any() else 0.0
    colours = _colours(f"gain, {quality.unit}s" if quality.unit else "gain", -reach, 0.0, reach)
    return _grid(source, "quality_grid", title, colours, frame, lambda value: sign * value, signed)


def _colours(label: str, low: float, middle: float, high: float) -> ColourScale:
    """Return a scale of colours; of effects that are all nothing it reaches a little to both sides."""
    if low == high:
        low, high = low - 0.1, high + 0.1
    return ColourScale(label, low, middle, high)


def _grid(
    source: Source,
    name: str,
    title: str,
    colours: ColourScale,
    frame: pd.DataFrame,
    place: Callable[[float], float],
    shown: Callable[[float], str],
) -> Picture:
    """Return a heat map of effects against the sweeps' own baselines.

    Args:
        place: what a field's colour says of a value; more is better.
    """
    comparison = source.comparison
    assert comparison is not None
    frame = frame[(frame.baseline == frame.group.map(comparison.matching.baselines)) & frame.arm.map(source.is_drawn)]
    names = [group for group in groups(comparison.data) if group in set(frame.group)]
    if len(names) < 2:
        return nothing(name, title, "There is no grid: all compared runs have the same swept values.")
    found = {(row.group, plain_arm(row.arm)): row for row in tuples(frame)}
    arms = [arm for arm in source.styles if any(arm == plain for _, plain in found)]
    levels = level_names(names)
    cells = []
    for row, group in enumerate(names):
        for column, arm in enumerate(arms):
            cells.append(_cell(row, column, found.get((group, arm)), place, shown))
    x = Axis("", "categories", tuple(source.label(arm) for arm in arms))
    y = Axis("", "categories", tuple(levels[group] for group in names))
    notes = ["Against the baseline of the same row. In brackets: undecided, or it does not count beside its quality."]
    return Picture(name, title, x, y, tuple(cells), tuple(notes), colours=colours)


def _cell(row: int, column: int, effect: Any, place: Callable[[float], float], shown: Callable[[float], str]) -> Cell:
    if effect is None:
        return Cell(column, row, math.nan, "", "no run")
    if math.isnan(effect.value):
        return Cell(column, row, math.nan, effect.verdict, effect.verdict)
    ends = "" if math.isnan(effect.low) else f"<br>95 % interval {shown(effect.low)} to {shown(effect.high)}"
    remark = f"<br>{effect.remark}" if effect.remark else ""
    text = shown(effect.value) if effect.is_decided else f"({shown(effect.value)})"
    return Cell(column, row, place(effect.value), text, f"{shown(effect.value)} {effect.verdict}{ends}{remark}")


KINDS = (
    Kind("speedup_grid", "Speedup over the grid", speedup_grid, is_per_group=False, needs_comparison=True),
    Kind(
        "quality_grid", "Difference in quality over the grid", quality_grid, is_per_group=False, needs_comparison=True
    ),
)
