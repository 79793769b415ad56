"""Batch size and learning rate over the epochs of a run, such that two runs can be compared epoch by epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adabatch.config import load_config
from adabatch.errors import ConfigError
from adabatch.progress import Progress
from adabatch.run_dir import RunDir
from adabatch.schedules import build_schedule
from analysis.frames import Data

Course = np.ndarray


def courses(data: Data) -> dict[str, Course]:
    """Return by run an array of batch size and learning rate, one row a finished epoch from the first on.

    They are those that the run logged: of each epoch's last update. Under a ramp they change within an epoch, and
    where an epoch's last update begins depends on the batch size; so the ramp's own at the start of each epoch are
    taken instead, which two ramps share.
    """
    epochs = data.epochs.sort_values(["run", "epoch"], kind="stable")
    values = epochs[["batch_size", "learning_rate"]].to_numpy(dtype=float)
    starts = np.flatnonzero(~epochs.run.duplicated().to_numpy())
    logged = dict(zip(epochs.run.iloc[starts].astype(str), np.split(values, starts[1:]), strict=True))
    if "schedule.kind" in data.runs:
        for run in data.runs.index[data.runs["schedule.kind"] == "ramp"]:
            if str(run) in logged:
                logged[str(run)] = _planned(Path(str(run)), logged[str(run)])
    return logged


def _planned(run: Path, logged: Course) -> Course:
    """Return what the run's schedule decides at the start of each logged epoch; what it logged if that is unknown."""
    try:
        config = load_config(RunDir(run).config)
    except ConfigError:
        return logged
    schedule = build_schedule(
        config.schedule, config.optimizer.learning_rate, config.dataset.num_train_samples, config.num_epochs
    )
    decisions = [schedule.decide(Progress(epoch=epoch)) for epoch in range(1, len(logged) + 1)]
    return np.array([[decision.batch_size, decision.learning_rate] for decision in decisions])


def growing_arms(data: Data) -> set[tuple[str, str]]:
    """Return group and arm of all arms whose batch was larger at the end of a run than at its start."""
    grown = [run for run, course in courses(data).items() if course[-1, 0] > course[0, 0]]
    runs = data.runs.loc[grown]
    return set(zip(runs.group, runs.arm, strict=True))
