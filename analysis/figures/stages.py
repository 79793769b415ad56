"""Runs cut into stages: consecutive epochs with one batch size, with their samples and seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from adabatch.rundir.columns import TRAIN_SPANS
from analysis.frames import Data

#: What a second may have gone into; ``other`` is training that is not divided, as in CUDA graphs.
SPANS = (*TRAIN_SPANS, "other", "growth", "test", "save")
_SECONDS = [f"{span}_seconds" for span in SPANS if span != "other"]
STAGE_COLUMNS = [
    "run", "group", "arm", "seed", "stage", "batch_size", "first_epoch", "last_epoch", "epochs", "samples",
    "train_seconds", *SPANS,
]  # fmt: skip


def stages(data: Data) -> pd.DataFrame:
    """Return one row a run and stage, of runs that were logged epoch by epoch.

    ``stage`` counts from 1; ``samples`` and seconds are sums over its ``epochs``: ``train_seconds`` and those of
    `SPANS`. What is blank in one of the epochs is NaN. Where the seconds of training were not logged, ``train_seconds``
    are those of training and growth without the growth.
    """
    epochs = data.followed.sort_values(["run", "epoch"], kind="stable")
    if not len(epochs):
        return pd.DataFrame(columns=STAGE_COLUMNS)
    run = epochs.run.astype(object).to_numpy()
    is_first = np.append(True, run[1:] != run[:-1])
    batch = epochs.batch_size.to_numpy(dtype=float)
    begins = is_first | np.append(True, batch[1:] != batch[:-1])
    stage = np.cumsum(begins)
    spans = epochs[_SECONDS].astype(float)
    table = pd.DataFrame(
        {
            "run": run,
            "batch_size": batch,
            "epoch": epochs.epoch.to_numpy(),
            "samples": _steps(epochs.samples, is_first),
            "train_seconds": _training(epochs, is_first),
            **{name.removesuffix("_seconds"): spans[name].to_numpy() for name in _SECONDS},
        }
    )
    known = table[list(TRAIN_SPANS)].fillna(0.0).sum(axis=1)
    table["other"] = np.where(
        table.train_seconds - known > 1e-9 * table.train_seconds, table.train_seconds - known, 0.0
    )
    parts = table.groupby(stage)
    frame = parts.agg(run=("run", "first"), batch_size=("batch_size", "first"), first_epoch=("epoch", "first"),
                      last_epoch=("epoch", "last"), epochs=("epoch", "size"))  # fmt: skip
    sums = parts[["samples", "train_seconds", *SPANS]].sum(min_count=1)
    unknown = table[list(SPANS)].isna().groupby(stage).any()
    sums[list(SPANS)] = sums[list(SPANS)].mask(unknown)
    frame = frame.join(sums)
    frame["stage"] = frame.groupby("run", sort=False).cumcount() + 1
    names = data.runs[["group", "arm", "seed"]]
    return frame.join(names, on="run")[STAGE_COLUMNS].reset_index(drop=True)


def _steps(cumulative: pd.Series, is_first: np.ndarray) -> np.ndarray:
    """Return what each epoch adds to a cumulative column."""
    values = cumulative.to_numpy(dtype=float)
    return np.where(is_first, values, np.diff(values, prepend=0.0))


def _training(epochs: pd.DataFrame, is_first: np.ndarray) -> np.ndarray:
    """Return each epoch's seconds of training, of logs without them from those of training and growth."""
    logged = epochs.train_seconds.to_numpy(dtype=float)
    growth = epochs.growth_seconds.fillna(0.0).to_numpy(dtype=float)
    return np.where(np.isnan(logged), _steps(epochs.elapsed_seconds, is_first) - growth, logged)
