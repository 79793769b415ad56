"""What the figures draw, the same on screen and on paper: means over seeds, colours of arms, axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adabatch.rundir.columns import TRAIN_SPANS
from adabatch.schedules.trajectory import EXPONENT_KEY, rate_per_sample
from analysis.bands import FEWEST_SEEDS, MOST_POINTS, drawn_points, mean_band
from analysis.frames import Data
from analysis.replicates import curve_ids, distinct_runs, replicate_ids

#: Okabe and Ito's colours, told apart by the colour-blind too; the baseline is black.
PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
SPANS = (*TRAIN_SPANS, "growth", "test")
_LINE_COLUMNS = ["arm", "epoch", "x", "y", "low", "high", "n", "num_epochs"]


@dataclass(frozen=True)
class Curve:
    """A figure of lines, one an arm.

    Attributes:
        x, y: columns of ``epochs``, or ``rate_per_sample``.
        log_y: 2 or 10 for a logarithmic axis, 0 for a linear one.
        steps: drawn as steps, each value holding from the end of the epoch before; never smoothed.
        percent: y is a fraction and shown in percent.
    """

    title: str
    x: str
    y: str
    x_label: str
    y_label: str
    log_y: int = 0
    steps: bool = False
    percent: bool = False


def _accuracy(x: str, x_label: str) -> Curve:
    title = f"Accuracy by {x_label.split()[0]}"
    return Curve(title, x, "test_accuracy", x_label, "test accuracy, %", percent=True)


CURVES: Mapping[str, Curve] = {
    "accuracy_by_epoch": _accuracy("epoch", "epoch"),
    "accuracy_by_samples": _accuracy("samples", "samples"),
    "accuracy_by_updates": _accuracy("updates", "updates"),
    "accuracy_by_seconds": _accuracy("elapsed_seconds", "seconds of training and growth"),
    "batch_size": Curve("Batch size", "epoch", "batch_size", "epoch", "batch size", log_y=2, steps=True),
    "learning_rate": Curve("Learning rate", "epoch", "learning_rate", "epoch", "learning rate", log_y=10, steps=True),
    "rate_per_sample": Curve(
        "Learning rate per sample", "epoch", "rate_per_sample", "epoch", "learning rate / batch size**p", 10, True
    ),
    "train_loss": Curve("Training loss", "epoch", "train_loss", "epoch", "training loss", log_y=10),
}


def groups(data: Data) -> list[str]:
    """Return the groups (data set, network, other swept values), each a figure of its own."""
    return [str(group) for group in data.runs.group.unique()]


def colours(data: Data) -> dict[str, str]:
    """Return a colour by arm, the same in all figures of these runs; baselines come first."""
    arms = list(dict.fromkeys([*data.runs.baseline.dropna(), *sorted(data.runs.arm.unique())]))
    known = set(data.runs.arm)
    return {arm: PALETTE[place % len(PALETTE)] for place, arm in enumerate(arm for arm in arms if arm in known)}


def arms_in_order(data: Data, group: str) -> list[str]:
    """Return a group's arms in the order of `colours`."""
    present = set(data.runs[data.runs.group == group].arm)
    return [arm for arm in colours(data) if arm in present]


def curve_frame(data: Data, group: str, curve: Curve) -> pd.DataFrame:
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
    x = epochs[curve.x].astype(float)
    y = _rate_per_sample(epochs, runs) if curve.y == "rate_per_sample" else epochs[curve.y]
    values = pd.DataFrame(
        {
            "arm": epochs.arm.astype(object),
            "epoch": epochs.epoch,
            "replicate": replicates.reindex(epochs.run.astype(object)).to_numpy(),
            "step": x.groupby(epochs.run, observed=True).diff().fillna(x),
            "y": y.astype(float) * (100 if curve.percent else 1),
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


def _rate_per_sample(epochs: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    exponent = runs[EXPONENT_KEY].fillna(1.0) if EXPONENT_KEY in runs else pd.Series(1.0, index=runs.index)
    power = exponent.reindex(epochs.run.astype(object)).to_numpy(dtype=float)
    rates: pd.Series = rate_per_sample(epochs.learning_rate, epochs.batch_size.astype(float), power)
    return rates


def time_by_span(data: Data, group: str) -> pd.DataFrame:
    """Return mean seconds by arm (rows) and span (columns of `SPANS`) over the seeds of done runs, without copies."""
    runs = data.done[data.done.group == group]
    runs = distinct_runs(curve_ids(data.select_runs(set(runs.index)), "test_accuracy"), runs)
    by_seed = runs.groupby(["arm", "seed"], dropna=False)[[f"{span}_seconds" for span in SPANS]].mean()
    means = by_seed.groupby("arm").mean()
    means.columns = pd.Index(SPANS)
    return means.reindex([arm for arm in arms_in_order(data, group) if arm in means.index])


def accuracy_and_time(data: Data, group: str) -> pd.DataFrame:
    """Return one row a done run: ``arm``, ``seed``, ``elapsed_seconds``, ``accuracy`` in percent."""
    runs = data.done[data.done.group == group]
    return pd.DataFrame(
        {
            "arm": runs.arm,
            "seed": runs.seed,
            "elapsed_seconds": runs.elapsed_seconds,
            "accuracy": 100 * runs.final_test_accuracy,
        }
    )
