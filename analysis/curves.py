"""What the figures draw, the same on screen and on paper: means over seeds, colours of arms, axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from adabatch.rundir.columns import TRAIN_SPANS
from adabatch.schedules.trajectory import EXPONENT_KEY, rate_per_sample
from analysis.frames import Data

#: Okabe and Ito's colours, told apart by the colour-blind too; the baseline is black.
PALETTE = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
SPANS = (*TRAIN_SPANS, "growth", "test")


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
    """Return by arm and epoch the mean over seeds of x and y, with the smallest and largest y.

    Columns ``arm``, ``epoch``, ``x``, ``y``, ``low``, ``high``, ``n``. An epoch that not all seeds have finished yet
    is the mean over those that have. x is the sum of each epoch's mean step, which is the mean where all seeds have
    finished, and does not jump back where the slower ones have not. Runs of which only the end is known are left out.
    """
    runs = data.runs[data.runs.group == group]
    followed = data.followed
    epochs = followed[followed.run.isin(runs.index)].sort_values(["run", "epoch"], kind="stable")
    x = epochs[curve.x].astype(float)
    steps = x.groupby(epochs.run, observed=True).diff().fillna(x)
    y = _rate_per_sample(epochs, runs) if curve.y == "rate_per_sample" else epochs[curve.y]
    values = pd.DataFrame(
        {
            "arm": epochs.arm.astype(object),
            "epoch": epochs.epoch,
            "step": steps,
            "y": y.astype(float) * (100 if curve.percent else 1),
        }
    ).dropna()
    frame = values.groupby(["arm", "epoch"], sort=True).agg(
        x=("step", "mean"), y=("y", "mean"), low=("y", "min"), high=("y", "max"), n=("y", "size")
    )
    frame["x"] = frame.x.groupby("arm").cumsum()
    return frame.reset_index()


def _rate_per_sample(epochs: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
    exponent = runs[EXPONENT_KEY].fillna(1.0) if EXPONENT_KEY in runs else pd.Series(1.0, index=runs.index)
    power = exponent.reindex(epochs.run.astype(object)).to_numpy(dtype=float)
    rates: pd.Series = rate_per_sample(epochs.learning_rate, epochs.batch_size.astype(float), power)
    return rates


def time_by_span(data: Data, group: str) -> pd.DataFrame:
    """Return mean seconds by arm (rows) and span (columns of `SPANS`) over the done runs."""
    runs = data.done[data.done.group == group]
    means = runs.groupby("arm")[[f"{span}_seconds" for span in SPANS]].mean()
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
