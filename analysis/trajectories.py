"""The batch size and learning rate of runs over their epochs, such that two runs can be compared epoch by epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from adabatch.config import load_config
from adabatch.errors import ConfigError
from adabatch.rundir.files import RunDir
from adabatch.schedules.kinds import changes_within_epoch
from adabatch.schedules.trajectory import EXPONENT_KEY, WARMUP_KEY, Trajectory, planned_trajectory
from analysis.frames import Data


def trajectories(data: Data) -> dict[str, Trajectory]:
    """Return the trajectory by run, of runs with a finished epoch.

    It is what the run logged: the values of each epoch's last update. For schedules that change within epochs, where
    the last update begins depends on the batch size; so the schedule's own values at the start of each epoch are taken.
    """
    epochs = data.epochs.sort_values(["run", "epoch"], kind="stable")
    values = epochs[["batch_size", "learning_rate"]].to_numpy(dtype=float)
    starts = np.flatnonzero(~epochs.run.duplicated().to_numpy())
    logged = zip(epochs.run.iloc[starts].astype(str), np.split(values, starts[1:]), strict=True)
    warmups, exponents = _numbers(data.runs, WARMUP_KEY, 0), _numbers(data.runs, EXPONENT_KEY, 1)
    found = {run: Trajectory(rows[:, 0], rows[:, 1], int(warmups[run]), exponents[run]) for run, rows in logged}
    kinds = data.runs["schedule.kind"] if "schedule.kind" in data.runs else pd.Series(dtype=object)
    for run in kinds.index[[changes_within_epoch(kind) for kind in kinds]]:
        if str(run) in found:
            found[str(run)] = _planned(Path(str(run)), found[str(run)])
    return found


def _numbers(runs: pd.DataFrame, key: str, otherwise: float) -> dict[str, float]:
    """Return a column of numbers by run; ``otherwise`` where it is unknown."""
    column = runs[key] if key in runs else pd.Series(otherwise, index=runs.index)
    numbers = pd.to_numeric(column, errors="coerce").fillna(otherwise)
    return {str(run): float(value) for run, value in numbers.items()}


def _planned(run: Path, logged: Trajectory) -> Trajectory:
    """Return what the run's schedule decides at the start of each logged epoch; what it logged if that is unknown."""
    try:
        schedule = load_config(RunDir(run).config).build_schedule()
    except ConfigError:
        return logged
    return planned_trajectory(schedule, logged.num_epochs, logged.warmup_epochs, logged.exponent)


def growing_arms(data: Data) -> set[tuple[str, str]]:
    """Return group and arm of all arms whose batch was larger at the end of a run than at its start."""
    grown = [run for run, one in trajectories(data).items() if one.batch_sizes[-1] > one.batch_sizes[0]]
    runs = data.runs.loc[grown]
    return set(zip(runs.group, runs.arm, strict=True))
