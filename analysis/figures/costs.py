"""What time goes into: the parts of a speedup, and seconds by span of each arm and of each stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from adabatch.terminal import noun_for
from analysis.cells import times
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Bar, Mark, Picture, Rule, nothing
from analysis.figures.part_styles import GAIN, LOSS, SPAN_STYLES
from analysis.figures.source import Source, of_group
from analysis.figures.stages import SPANS, stages
from analysis.figures.units import time_unit
from analysis.frames import Data, tuples
from analysis.replicates import curve_ids, distinct_runs

#: The factors of `analysis.speedup.split` in their order, and what they are called.
PARTS = {"updates": "fewer updates", "throughput": "throughput", "growth": "growth", "rest": "rest"}
_PARTS_NOTE = (
    "In an arm's own row its speedup; below it the factors that multiply to it, each from where the one above ends. "
    "Fewer updates: optimizer steps; throughput: forward and backward per sample; growth: compiling and tuning for "
    "larger batches; rest: data and all else."
)
#: What the spans are called.
SPAN_LABELS = {"other": "training, not divided", "test": "tests", "save": "saving"}
#: Stages of an arm in a picture; of more, those within a factor of two in batch size are one.
_MOST_STAGES = 6


def waterfall(source: Source, group: str | None) -> Picture:
    """Return what each arm's speedup is made of: the factors one after another, and the total."""
    comparison = source.comparison
    assert comparison is not None
    name, title = "speedup_parts", "What the speedup is made of"
    frame = of_group(comparison.split, str(group))
    frame = frame[(frame.n > 0) & (frame.baseline == comparison.matching.baselines.get(str(group)))]
    by_arm = {row.arm: row for row in tuples(frame)}
    arms = [arm for arm in source.arms(str(group)) if arm in by_arm]
    if not arms:
        return nothing(name, title, "No speedup can be divided: spans of time were not measured, or none is compared.")
    names: list[str] = []
    headings: set[int] = set()
    marks: list[Mark] = [Rule(1.0, "x", "as fast", dash="solid")]
    for arm in arms:
        row, place = by_arm[arm], len(names)
        headings.add(place)
        marks.append(Bar(*_stretch(1.0, row.total), place, "", source.style(arm), times(row.total)))
        marks += _factors(row, place + 1)
        names += [source.label(arm), *PARTS.values()]
    y = Axis("", "categories", tuple(names), frozenset(headings))
    return Picture(name, title, Axis("speedup", "log2", suffix="x"), y, tuple(marks), (_PARTS_NOTE,))


def _factors(row: Any, first: int) -> list[Mark]:
    """Return the bars of an arm's factors, from a row on, each from where the one before it ends."""
    marks: list[Mark] = []
    reached = 1.0
    for place, (part, label) in enumerate(PARTS.items()):
        factor = getattr(row, part)
        style = GAIN if factor >= 1 else LOSS
        hover = f"{label}: {times(factor)}, from {times(reached)} to {times(reached * factor)}"
        legend = "faster" if factor >= 1 else "slower"
        marks.append(Bar(*_stretch(reached, reached * factor), first + place, legend, style, times(factor), hover))
        reached *= factor
    return marks


def _stretch(one: float, other: float) -> tuple[float, float]:
    """Return where a bar between two values starts, and its length."""
    return min(one, other), abs(other - one)


def time_by_span(data: Data, group: str) -> pd.DataFrame:
    """Return mean seconds of a run by arm (rows) and span (columns of `SPANS`), of done runs without copies.

    Repeats of a seed are averaged first. A span that no run measured is NaN; of runs whose training is not divided, as
    in CUDA graphs, that is ``other``.
    """
    runs = data.done[data.done.group == group]
    runs = distinct_runs(curve_ids(data.select_runs(set(runs.index)), "test_accuracy"), runs)
    table = stages(data.select_runs(set(runs.index)))
    by_run = table.groupby("run")[list(SPANS)].sum(min_count=1)
    by_seed = by_run.groupby([runs.arm.reindex(by_run.index), runs.seed.reindex(by_run.index)], dropna=False).mean()
    return by_seed.groupby(level=0).mean()


def time_by_stage(data: Data, group: str) -> pd.DataFrame:
    """Return mean seconds of an epoch by arm and stage (rows) and span (columns), of done runs.

    Rows have ``arm``, ``stage``, ``label`` and the columns of `SPANS`. Of an arm with more than six stages, such as a
    ramp, those whose batch sizes lie between the same two powers of two are one. Growth is divided by the stage's
    epochs, too.
    """
    runs = data.done[data.done.group == group]
    table = stages(data.select_runs(set(runs.index)))
    rows = []
    for arm, own in table.groupby("arm", sort=False):
        many = own.stage.max() > _MOST_STAGES
        key = own.batch_size.map(_power_below) if many else own.stage
        for place, (_, part) in enumerate(own.groupby(key), start=1):
            by_run = part.groupby("run")[["epochs", *SPANS]].sum(min_count=1)
            means = by_run[list(SPANS)].div(by_run.epochs, axis=0).mean()
            rows.append({"arm": arm, "stage": place, "label": _stage_label(part), **means})
    return pd.DataFrame(rows, columns=["arm", "stage", "label", *SPANS])


def _power_below(size: float) -> int:
    return int(math.log2(size) + 1e-9)


def _stage_label(part: pd.DataFrame) -> str:
    sizes = [f"{size:,.0f}" for size in sorted({part.batch_size.min(), part.batch_size.max()})]
    epochs = sorted({int(part.first_epoch.min()), int(part.last_epoch.max())})
    return f"{' to '.join(sizes)} ({noun_for(len(epochs), 'epoch')} {' to '.join(map(str, epochs))})"


def spans_by_arm(source: Source, group: str | None) -> Picture:
    """Return the mean seconds of a run by arm, divided into spans."""
    name, title = "time_by_span", "Time by span"
    frame = time_by_span(source.data, str(group))
    arms = [arm for arm in source.arms(str(group)) if arm in frame.index]
    spans = _measured(frame)
    if not arms or not spans:
        return nothing(name, title, "No run of this group is done, or none measured its spans of time.")
    unit = time_unit(frame[spans].sum(axis=1))
    marks = [bar for row, arm in enumerate(arms) for bar in _stack(frame.loc[arm], spans, row, unit.seconds)]
    y = Axis("", "categories", tuple(source.label(arm) for arm in arms))
    x = Axis(f"mean time of a run, {unit.name}", from_zero=True)
    return Picture(name, title, x, y, tuple(marks), _span_notes(frame, spans, "Mean over the seeds of done runs."))


def spans_by_stage(source: Source, group: str | None) -> Picture:
    """Return the mean seconds of an epoch by arm and stage, divided into spans."""
    name, title = "time_by_stage", "Time of an epoch by stage"
    frame = time_by_stage(source.data, str(group))
    spans = _measured(frame)
    if not len(frame) or not spans:
        return nothing(name, title, "No run of this group is done, or none measured its spans of time.")
    unit = time_unit(frame[spans].sum(axis=1))
    names: list[str] = []
    headings, marks = set(), []
    for arm in source.arms(str(group)):
        for place, stage in enumerate(tuples(frame[frame.arm == arm])):
            if place == 0:
                headings.add(len(names))
                names.append(source.label(arm))
            marks += _stack(frame.loc[stage.Index], spans, len(names), unit.seconds)
            names.append(stage.label)
    y = Axis("batch size", "categories", tuple(names), frozenset(headings))
    x = Axis(f"mean time of an epoch, {unit.name}", from_zero=True)
    said = "Mean over the stage's epochs and over done runs; growth is divided by the epochs, too."
    return Picture(name, title, x, y, tuple(marks), _span_notes(frame, spans, said))


def _measured(frame: pd.DataFrame) -> list[str]:
    """Return the spans into which any time went."""
    return [span for span in SPANS if (frame[span] > 0).any()]


def _stack(seconds: Any, spans: Sequence[str], row: int, unit_seconds: float) -> list[Mark]:
    marks: list[Mark] = []
    start = 0.0
    for span in spans:
        length = float(seconds[span]) / unit_seconds
        if length > 0:
            label = SPAN_LABELS.get(span, span)
            marks.append(Bar(start, length, row, label, SPAN_STYLES[span], hover=f"{label}: {length:.4g}"))
            start += length
    return marks


def _span_notes(frame: pd.DataFrame, spans: Sequence[str], first: str) -> tuple[str, ...]:
    if "other" not in spans:
        return (first,)
    return (first, "Not divided: in CUDA graphs, or in logs without spans.")


KINDS = (
    Kind("speedup_parts", "What the speedup is made of", waterfall, needs_comparison=True),
    Kind("time_by_span", "Time by span", spans_by_arm),
    Kind("time_by_stage", "Time of an epoch by stage", spans_by_stage),
)
