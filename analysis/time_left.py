"""How long the runs that are running or queued will take: at the pace of those before them, or by the forecast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adabatch.rundir.heartbeat import Beat
from adabatch.rundir.states import State
from analysis.frames import is_final
from analysis.names import plain_arm


@dataclass(frozen=True)
class TimeLeft:
    """An estimate.

    Attributes:
        seconds: until the last of the runs ends, if as many as now run at a time.
        num_at_once: how many that is.
        basis: what the estimate rests on, in words.
    """

    seconds: float
    num_at_once: int
    basis: str


def time_left(runs: pd.DataFrame, beats: Mapping[str, Beat]) -> TimeLeft | None:
    """Return how long the running and pending ones of some runs will take; None if there are none, or nothing is known.

    A run takes as long as the mean of the done runs of its arm in its group, at least as long as its own pace says; if
    there are none, as its forecast predicts; if it has none, as the runs of its arm in other groups, or as all runs.
    """
    active = runs[runs.state.isin([State.RUNNING.value, State.PENDING.value]) & runs.damage.isna()]
    if not len(active):
        return None
    wall = _wall_seconds(runs, beats)
    forecast = pd.to_numeric(active.reindex(columns=["forecast_seconds"]).forecast_seconds, errors="coerce")
    near = wall.groupby([runs.group, runs.arm]).transform("mean")[active.index]
    far = wall.groupby(runs.arm.map(plain_arm)).transform("mean")[active.index]
    total = near.fillna(forecast).fillna(far).fillna(wall.mean())
    if total.isna().any():
        return None
    left = total * (1 - _fractions(active, beats))
    for run, beat in beats.items():
        if run in left.index and beat.eta_seconds is not None:
            left[run] = beat.eta_seconds
    num_at_once = max(1, int((active.state == State.RUNNING.value).sum()))
    by_forecast = (near.isna() & forecast.notna() & ~active.index.isin(list(beats))).to_numpy()
    return TimeLeft(max(left.sum() / num_at_once, left.max()), num_at_once, _basis(by_forecast))


def _wall_seconds(runs: pd.DataFrame, beats: Mapping[str, Beat]) -> pd.Series:
    """Return what each run takes from start to end: done ones did, running ones will at their pace; else NaN."""
    known = runs.reindex(columns=["wall_seconds", "elapsed_seconds"]).apply(pd.to_numeric, errors="coerce")
    seconds = known.wall_seconds.fillna(known.elapsed_seconds).astype(float).where(is_final(runs))
    for run, beat in beats.items():
        if run in seconds.index and beat.eta_seconds is not None and beat.wall_seconds is not None:
            seconds[run] = beat.wall_seconds + beat.eta_seconds
    return seconds


def _fractions(runs: pd.DataFrame, beats: Mapping[str, Beat]) -> np.ndarray:
    finished = (pd.to_numeric(runs.epochs) / pd.to_numeric(runs.num_epochs)).fillna(0.0)
    beaten = (beats[run].fraction if run in beats else None for run in runs.index)
    parts = [max(part, other or 0.0) for part, other in zip(finished, beaten, strict=True)]
    return np.array([0.0 if math.isnan(part) else min(1.0, part) for part in parts])


def _basis(by_forecast: np.ndarray) -> str:
    if by_forecast.all():
        return "by the forecast"
    return "at the pace so far" + (", and by the forecast where no run has ended" if by_forecast.any() else "")
