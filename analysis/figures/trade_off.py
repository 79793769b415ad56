"""Final quality against time: which arms no other one beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from adabatch.terminal import counted
from analysis.comparison import Comparison
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Line, Mark, Picture, Points, nothing
from analysis.figures.source import Source, of_group
from analysis.figures.units import time_unit
from analysis.frames import tuples
from analysis.quality import Measure
from analysis.replicates import curve_ids
from analysis.speedup import timed_runs

COLUMNS = [
    "arm",
    "seconds",
    "low_seconds",
    "high_seconds",
    "quality",
    "low_quality",
    "high_quality",
    "n",
    "is_on_front",
]
#: The time begins at 0 if the fastest run took less than this share of the slowest one's; else arms would crowd.
_FROM_ZERO = 0.25
_NAME, _TITLE = "quality_by_time", "Final quality against time"
_ERROR_NAME, _ERROR_TITLE = "error_by_time", "Final test error against time"


def arm_means(comparison: Comparison, group: str) -> pd.DataFrame:
    """Return one row an arm of a group: its mean final quality in the measure's unit, and its seconds.

    ``seconds`` is the geometric mean over the ``n`` seeds of training and growth, without tests, repeats of a seed
    averaged and copies of a run left out, so that ratios are the speedups; ``quality`` is the mean of the tables. The
    ends are those of single runs. An arm ``is_on_front`` if no other arm is at least as good and as fast, and better or
    faster. Arms without a final quality, or whose seconds are in no number, have NaN and are on no front.
    """
    measure, data = comparison.measure, comparison.data.select(group=group)
    curves = curve_ids(data.select_runs(comparison.matching.counted), measure.column)
    timed = timed_runs(data, comparison.matching, curves)
    final = measure.scale * data.runs[f"final_{measure.column}"].astype(float)
    rows = []
    for row in tuples(of_group(comparison.quality, group).drop_duplicates("arm")):
        own = timed[timed.arm == row.arm]
        seconds = own.elapsed_seconds.astype(float)
        by_seed = np.log(seconds).groupby(data.runs.seed.reindex(own.index)).mean()
        ends = final.reindex(row.runs)
        rows.append(
            [row.arm, math.exp(by_seed.mean()), seconds.min(), seconds.max(),
             measure.scale * row.final_mean, ends.min(), ends.max(), len(by_seed), False]
        )  # fmt: skip
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.loc[_front(frame, measure.quality.higher_is_better), "is_on_front"] = True
    return frame


def _front(cell: pd.DataFrame, higher_is_better: bool) -> list[Any]:
    """Return the labels of the rows that no other row beats."""
    known = cell[cell.seconds.notna() & cell.quality.notna()]
    losses = known.quality * (-1 if higher_is_better else 1)
    found = []
    for label in known.index:
        as_good = (known.seconds <= known.seconds[label]) & (losses <= losses[label])
        better = (known.seconds < known.seconds[label]) | (losses < losses[label])
        if not (as_good & better).any():
            found.append(label)
    return found


def quality_picture(source: Source, group: str | None) -> Picture:
    """Return the final quality of a group's arms against their time."""
    assert source.comparison is not None
    quality = source.comparison.measure.quality
    axis = Axis(_value_label(source.comparison.measure))
    return _picture(source, group, _NAME, f"Final {quality.name} against time", axis, _frame(source, group))


def error_picture(source: Source, group: str | None) -> Picture:
    """Return the same for the share of wrong samples, on a logarithmic axis, which tells 99.2 from 99.3 %."""
    assert source.comparison is not None
    measure = source.comparison.measure
    if measure.num_samples_key is None:
        sentence = f"{measure.quality.name} is no share of correct samples, so there is no error to draw."
        return nothing(_ERROR_NAME, _ERROR_TITLE, sentence)
    frame = _frame(source, group)
    least = measure.resolution(of_group(source.data.runs, str(group)))
    names = ("quality", "low_quality", "high_quality")
    errors = {name: _errors(frame[name], measure.scale, least) for name in names}
    has_none = bool((frame.high_quality == measure.scale).any())
    frame = frame.assign(**errors)
    notes = ["An arm without errors is drawn at half a test sample."] if has_none and least else []
    return _picture(source, group, _ERROR_NAME, _ERROR_TITLE, Axis("final test error, %", "log10"), frame, notes)


def _errors(quality: pd.Series, scale: float, least: float | None) -> pd.Series:
    """Return what a quality lacks, at least half of what one test sample adds; NaN for none where that is unknown."""
    missing = scale - quality
    return missing.where(missing > 0, least / 2 if least else math.nan).where(quality.notna())


def _frame(source: Source, group: str | None) -> pd.DataFrame:
    assert source.comparison is not None
    return source.drawn(arm_means(source.comparison, str(group)))


def _picture(
    source: Source, group: str | None, name: str, title: str, axis: Axis, frame: pd.DataFrame, notes: Sequence[str] = ()
) -> Picture:
    known = frame[frame.seconds.notna() & frame.quality.notna()].set_index("arm")
    if not len(known):
        return nothing(name, title, "No arm has both a final quality and seconds that may be compared.")
    unit = time_unit(known.high_seconds)
    rows: list[tuple[str, Any]] = [(arm, known.loc[arm]) for arm in source.arms(str(group)) if arm in known.index]
    marks: list[Mark] = _spreads(rows, unit.seconds)
    front = sorted((row.seconds / unit.seconds, row.quality) for _, row in rows if row.is_on_front)
    if len(front) > 1:
        x, y = [seconds for seconds, _ in front], [quality for _, quality in front]
        marks.insert(0, Line(x, y, "Pareto front", steps="after", width=1.2))
    for arm, row in rows:
        seconds = row.seconds / unit.seconds
        hover = f"{row.quality:.4g} after {seconds:.4g} {unit.name}"
        seeds = f"n = {counted(row.n, 'seed')}"
        label, style = source.label(arm), source.style(arm)
        marks.append(Points([seconds], [row.quality], label, style, bool(row.is_on_front), hover=[f"{hover}, {seeds}"]))
    said = ["Means over seeds; thin lines reach to the best and the worst run."]
    said += ["Hollow: another arm is at least as good and as fast."] if not known.is_on_front.all() else []
    left_out = [source.label(arm) for arm in source.arms(str(group)) if arm not in known.index]
    said += (
        [f"Not drawn, since its seconds or its quality are in no number: {', '.join(left_out)}."] if left_out else []
    )
    from_zero = known.low_seconds.min() < _FROM_ZERO * known.high_seconds.max()
    said += [] if from_zero else ["The axis of the time does not begin at 0."]
    along = Axis(f"time of training and growth, {unit.name}", from_zero=bool(from_zero))
    return Picture(name, title, along, axis, tuple(marks), (*said, *notes))


def _spreads(rows: Sequence[tuple[str, Any]], unit_seconds: float) -> list[Mark]:
    """Return a cross for each arm, from its least run to its largest in both directions."""
    marks: list[Mark] = []
    for _, row in rows:
        x = [row.low_seconds / unit_seconds, row.high_seconds / unit_seconds]
        y = [row.low_quality, row.high_quality]
        for along in (Line(x, [row.quality] * 2, width=1.0), Line([row.seconds / unit_seconds] * 2, y, width=1.0)):
            if (along.x[0], along.y[0]) != (along.x[1], along.y[1]):
                marks.append(along)
    return marks


def _value_label(measure: Measure) -> str:
    """Return quality and unit of a value; differences are in points where values are in percent."""
    unit = "%" if measure.quality.unit == "point" else measure.quality.unit
    return f"final {measure.quality.name}" + (f", {unit}" if unit else "")


KINDS = (
    Kind(_NAME, _TITLE, quality_picture, needs_comparison=True),
    Kind(_ERROR_NAME, _ERROR_TITLE, error_picture, needs_comparison=True),
)
