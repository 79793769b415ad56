"""Curves: by arm the mean over seeds with a band, over epochs, samples, updates or time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from adabatch.schedules.trajectory import EXPONENT_KEY, rate_per_sample
from adabatch.terminal import counted
from analysis.bands import FEWEST_SEEDS, MOST_POINTS, drawn_points, mean_band
from analysis.figures.kinds import Kind
from analysis.figures.marks import Axis, Line, Picture, nothing
from analysis.figures.parallel import COINCIDE, flat_ends, side_by_side
from analysis.figures.source import Source
from analysis.figures.units import TimeUnit, time_unit
from analysis.frames import Data
from analysis.replicates import curve_ids, replicate_ids

_LINE_COLUMNS = ["arm", "epoch", "x", "y", "low", "high", "n", "num_epochs"]
_SECONDS = "elapsed_seconds"


@dataclass(frozen=True)
class Curve:
    """What a curve draws.

    Attributes:
        x: a column of ``epochs``.
        y: a column of ``epochs``, ``rate_per_sample`` or ``test_error``.
        x_axis, y_axis: the unit of a time is added to the label.
        steps: each value holds from the end of the epoch before.
        percent: y is a fraction and shown in percent.
    """

    title: str
    x: str
    y: str
    x_axis: Axis
    y_axis: Axis
    steps: bool = False
    percent: bool = False


_EPOCHS = Axis("epoch", integer=True, from_zero=True)
_X_AXES = {
    "epoch": ("epoch", _EPOCHS, "epoch"),
    "samples": ("samples", Axis("samples seen", from_zero=True), "samples"),
    "updates": ("updates", Axis("updates", from_zero=True), "updates"),
    "seconds": (_SECONDS, Axis("time of training and growth", from_zero=True), "time"),
}


def _quality(by: str, is_error: bool = False) -> Curve:
    column, axis, word = _X_AXES[by]
    if is_error:
        return Curve(f"Test error by {word}", column, "test_error", axis, Axis("test error, %", "log10"), percent=True)
    return Curve(f"Accuracy by {word}", column, "test_accuracy", axis, Axis("test accuracy, %"), percent=True)


def _schedule(title: str, column: str, axis: Axis) -> Curve:
    return Curve(title, "epoch", column, _EPOCHS, axis, steps=True)


CURVES: Mapping[str, Curve] = {
    "accuracy_by_epoch": _quality("epoch"),
    "accuracy_by_samples": _quality("samples"),
    "accuracy_by_updates": _quality("updates"),
    "accuracy_by_seconds": _quality("seconds"),
    "error_by_epoch": _quality("epoch", is_error=True),
    "error_by_seconds": _quality("seconds", is_error=True),
    "batch_size": _schedule("Batch size", "batch_size", Axis("batch size, samples", "log2")),
    "learning_rate": _schedule("Learning rate", "learning_rate", Axis("learning rate", "log10")),
    "rate_per_sample": _schedule(
        "Learning rate per sample", "rate_per_sample", Axis("learning rate per sample", "log10")
    ),
    "train_loss": Curve("Training loss", "epoch", "train_loss", _EPOCHS, Axis("training loss", "log10")),
}


def curve(name: str, source: Source, group: str | None) -> Picture:
    """Return one of `CURVES` for a group: by arm the mean over seeds with its band."""
    assert group is not None
    drawn = CURVES[name]
    frame = source.drawn(curve_frame(source.data, group, drawn))
    is_log = drawn.y_axis.scale != "linear"
    if not (frame.y > 0 if is_log else frame.y.notna()).any():
        return nothing(name, drawn.title, f"No run of these has logged {_wanted(drawn)} epoch by epoch.")
    unit = time_unit(source.data.followed[_SECONDS].dropna()) if drawn.x == _SECONDS else None
    arms = [arm for arm in source.arms(group) if (frame.arm == arm).any()]
    lines = [_marks(drawn, frame[frame.arm == arm], unit, source, arm) for arm in arms]
    beside = side_by_side(lines, is_log)
    said = [*notes(frame), *_exponent_notes(drawn, source.data, group)]
    if any(line.drawn_y for line in beside):
        said.append(COINCIDE)
    x_axis = drawn.x_axis if unit is None else replace(drawn.x_axis, label=f"{drawn.x_axis.label}, {unit.name}")
    y_axis = replace(drawn.y_axis, places=_places(lines)) if drawn.y == "batch_size" else drawn.y_axis
    ends = flat_ends(lines, is_log)
    if ends is not None:
        y_axis = replace(y_axis, low=ends[0], high=ends[1])
    return Picture(name, drawn.title, x_axis, y_axis, tuple(beside), tuple(said))


def _places(lines: Sequence[Line]) -> tuple[float, ...]:
    """Return the values that lines have, which a reader wants to read off."""
    return tuple(sorted({value for line in lines for value in line.y if math.isfinite(value)}))


def _wanted(drawn: Curve) -> str:
    return drawn.y_axis.label.partition(",")[0]


def _marks(drawn: Curve, frame: pd.DataFrame, unit: TimeUnit | None, source: Source, arm: str) -> Line:
    """Return the line of one arm; one of steps begins at 0, so that its first epoch is seen."""
    first = frame.iloc[:1].assign(x=0.0) if drawn.steps else frame.iloc[:0]
    points = pd.concat([first, frame], ignore_index=True) if len(first) else frame
    x, y, low, high = (shown(points[name]) for name in ("x", "y", "low", "high"))
    if unit is not None:
        x = shown(points.x / unit.seconds)
    ends = [_hover(*point) for point in zip(points.epoch, points.low, points.high, points.n, strict=True)]
    has_band = low != high
    return Line(
        x,
        y,
        source.label(arm),
        source.style(arm),
        low if has_band else (),
        high if has_band else (),
        "before" if drawn.steps else "",
        hover=ends,
    )


def shown(values: Iterable[float]) -> list[float]:
    """Return values to six digits: more cannot be seen, and would be most of a figure's size."""
    return [float(f"{value:.6g}") for value in values]


def _hover(epoch: int, low: float, high: float, n: int) -> str:
    seeds = f"n = {counted(n, 'seed')}"
    band = "" if n < 2 or low == high else f"{band_name(n)} {low:.4g} to {high:.4g}, "
    return f"epoch {int(epoch)}: {band}{seeds}"


def _exponent_notes(drawn: Curve, data: Data, group: str) -> list[str]:
    """Return what "per sample" means, where the exponent by which the rate follows the batch is not 1 for all runs."""
    if drawn.y != "rate_per_sample":
        return []
    powers = sorted(set(_exponents(data.runs[data.runs.group == group])))
    if powers == [1.0]:
        return ["learning rate / batch size"]
    said = " or ".join(f"{power:g}" for power in powers)
    return [f"learning rate / batch size to the power p, of the schedule's exponent p = {said}"]


def curve_frame(data: Data, group: str, drawn: Curve) -> pd.DataFrame:
    """Return by arm and epoch the mean over seeds of x and y, with a band around y.

    Columns ``arm``, ``epoch``, ``x``, ``y``, ``low``, ``high``, ``n`` (seeds behind the point; copies of a run count as
    one, repeats of a seed are averaged), ``num_epochs`` (of the arm; of more than `MOST_POINTS` only some are rows) and
    ``has_copies`` (of the arm). ``low`` and ``high`` are the ends of `analysis.bands.mean_band`, of two seeds their
    range, of one seed y. An epoch that not all seeds have finished yet is the mean over those that have. x is the sum
    of each epoch's mean step, which is the mean where all seeds have finished, and does not jump back where the slower
    ones have not. Runs of which only the end is known are left out.
    """
    followed = data.followed
    runs = data.runs[(data.runs.group == group) & data.runs.index.isin(followed.run.unique())]
    epochs = followed[followed.run.isin(runs.index)].sort_values(["run", "epoch"], kind="stable")
    replicates = replicate_ids(curve_ids(Data(runs, epochs), "test_accuracy"), runs)
    x = epochs[drawn.x].astype(float)
    y = _values(epochs, runs, drawn.y)
    values = pd.DataFrame(
        {
            "arm": epochs.arm.astype(object),
            "epoch": epochs.epoch,
            "replicate": replicates.reindex(epochs.run.astype(object)).to_numpy(),
            "step": x.groupby(epochs.run, observed=True).diff().fillna(x),
            "y": y.astype(float) * (100 if drawn.percent else 1),
            "batch_size": epochs.batch_size.astype(float),
            "learning_rate": epochs.learning_rate.astype(float),
        }
    )
    lines = [_line(str(arm), table) for arm, table in values.groupby("arm", sort=True)]
    seeds = runs.groupby("arm").seed.nunique()
    frame = pd.concat([line for line in lines if len(line)] or [pd.DataFrame(columns=_LINE_COLUMNS)], ignore_index=True)
    return frame.assign(has_copies=frame.arm.map(replicates.groupby(runs.arm).nunique() < seeds))


def _line(arm: str, values: pd.DataFrame) -> pd.DataFrame:
    """Return the points of one arm, those of a long line thinned."""
    averages = values.drop(columns="arm").groupby(["epoch", "replicate"]).mean()
    x = averages.step.unstack().mean(axis=1).cumsum()
    y = averages.y.unstack()[x.notna()].dropna(how="all")
    stages = (averages[name].unstack().mean(axis=1)[y.index].to_numpy() for name in ("batch_size", "learning_rate"))
    drawn = y.iloc[drawn_points(*stages)] if len(y) else y
    low, high = _ends(drawn.to_numpy())
    points = {"epoch": drawn.index, "x": x[drawn.index], "y": drawn.mean(axis=1), "low": low, "high": high}
    line = pd.DataFrame({"arm": arm, **points, "n": drawn.count(axis=1), "num_epochs": len(y)})
    return line.reset_index(drop=True)


def _ends(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the band by point; seeds that lack a point, since they are not there yet, are not in it."""
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    patterns, pattern = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    for place, known in enumerate(patterns):
        points = np.flatnonzero(pattern.ravel() == place)
        part = values[np.ix_(points, known.nonzero()[0])]
        if known.sum() < FEWEST_SEEDS:
            low[points], high[points] = part.min(axis=1), part.max(axis=1)
        else:
            low[points], high[points] = mean_band(part)
    return low, high


def band_name(n: int) -> str:
    """Return what the band around the mean over n seeds is."""
    return "95 % bootstrap interval" if n >= FEWEST_SEEDS else "range"


def notes(*frames: pd.DataFrame) -> list[str]:
    """Return in a few words each what the lines and bands of some `curve_frame` are made of, the main thing first."""
    counts = [int(count) for frame in frames for count in frame.groupby("arm").n.max()]
    if not counts:
        return []
    fewest, most = min(counts), max(counts)
    if most == 1:
        found = ["n = 1 seed, no band"]
    else:
        seeds = f"{most}" if fewest == most else f"{fewest} to {most}"
        found = [f"Mean over n = {seeds} seeds; band: {band_name(most)} at each epoch"]
    if most >= FEWEST_SEEDS and 2 in counts:
        found.append(f"where n = 2 the {band_name(2)}")
    if any(frame.has_copies.any() for frame in frames):
        found.append("copies of a run count once")
    longest = max(int(frame.num_epochs.max()) for frame in frames if len(frame))
    if longest > MOST_POINTS:
        found.append(f"{MOST_POINTS} of {longest:,} epochs are drawn")
    return found


def _values(epochs: pd.DataFrame, runs: pd.DataFrame, name: str) -> pd.Series:
    if name == "test_error":
        return 1 - epochs.test_accuracy.astype(float)
    return _rate_per_sample(epochs, runs) if name == "rate_per_sample" else epochs[name]


def _exponents(runs: pd.DataFrame) -> pd.Series:
    return runs[EXPONENT_KEY].fillna(1.0) if EXPONENT_KEY in runs else pd.Series(1.0, index=runs.index)


def _rate_per_sample(epochs: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    power = _exponents(runs).reindex(epochs.run.astype(object)).to_numpy(dtype=float)
    rates: pd.Series = rate_per_sample(epochs.learning_rate, epochs.batch_size.astype(float), power)
    return rates


#: Every curve needs runs only, so that it is drawn while they train, too.
KINDS = tuple(Kind(name, drawn.title, partial(curve, name)) for name, drawn in CURVES.items())
