"""The batch size and learning rate of runs over their epochs, such that two runs can be compared epoch by epoch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from adabatch.config import load_schedule
from adabatch.errors import ConfigError
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import FOREIGN
from adabatch.schedules.kinds import changes_within_epoch
from adabatch.schedules.trajectory import (
    EXPONENT_KEY,
    RATE_RULE,
    WARMUP_KEY,
    Trajectory,
    compare,
    planned_trajectory,
)
from analysis.frames import Data


def trajectories(data: Data) -> dict[str, Trajectory]:
    """Return the trajectory by run, of runs that were logged epoch by epoch and have finished one.

    It is what the run logged: the values of each epoch's last update. For schedules that change within epochs, where
    the last update begins depends on the batch size; so the schedule's own values at the start of each epoch are taken.
    """
    epochs = data.followed.sort_values(["run", "epoch"], kind="stable")
    if not len(epochs):
        return {}
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
        schedule = load_schedule(RunDir(run).config)
    except ConfigError:
        return logged
    return planned_trajectory(schedule, logged.num_epochs, logged.warmup_epochs, logged.exponent)


def shifted_rates(rates: np.ndarray, logged_at: str) -> np.ndarray:
    """Return the learning rate of each epoch's last update, from what was logged at another time.

    The one rate that such a log lacks, of the last or the first epoch, is taken from the epoch beside it.

    Args:
        logged_at: ``start`` of the epoch, before its schedule changed it, so that the next row has it; or ``next``,
            after the schedule's step to the next epoch, so that the row before has it.
    """
    if logged_at == "start":
        return np.append(rates[1:], rates[-1:])
    return np.append(rates[:1], rates[:-1])


#: When a log took its learning rate, by the option of import-csv that shifts it back.
_LOGGED_AT = {
    "start": "at the start of the epoch, before the schedule changed it",
    "next": "after the schedule's step to the next epoch",
}


def shift_hints(
    data: Data, known: Mapping[str, Trajectory], pairs: Sequence[Sequence[object]], refused: Sequence[Sequence[object]]
) -> dict[tuple[str, str, str], str]:
    """Return what may have gone wrong by group, arm and baseline, where every pair of a trainer is an epoch off.

    Args:
        known: trajectories by run.
        pairs: rows of `analysis.matching.Matching.pairs`.
        refused: likewise, of those that were not accepted.
    """
    foreign = data.runs[data.runs.source == FOREIGN]
    hints: dict[tuple[str, str, str], str] = {}
    for _, runs in foreign.groupby("trainer"):
        by_seed = {key: list(table.index) for key, table in runs.groupby(["group", "arm", "seed"])}
        wrong: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for group, arm, baseline, seed, key, *_ in refused:
            if key == RATE_RULE:
                both = (by_seed.get((group, name, seed), []) for name in (arm, baseline))
                wrong.setdefault((str(group), str(arm), str(baseline)), []).extend(itertools.product(*both))
        accepted = [(str(pair[4]), str(pair[5])) for pair in pairs if pair[4] in runs.index]
        tried = [*itertools.chain.from_iterable(wrong.values()), *accepted]
        logged_at = next((at for at in _LOGGED_AT if tried and _all_match(known, tried, at)), None)
        if logged_at is not None:
            sentence = (
                f"the learning rates per sample would match in every epoch if the log had taken them "
                f"{_LOGGED_AT[logged_at]}; import it with --learning-rate-at {logged_at}"
            )
            hints |= {key: sentence for key, runs_of_key in wrong.items() if runs_of_key}
    return hints


def _all_match(known: Mapping[str, Trajectory], pairs: Sequence[tuple[str, str]], logged_at: str) -> bool:
    """Return whether the runs of all pairs match if their rates are shifted."""
    for pair in pairs:
        if not (pair[0] in known and pair[1] in known):
            continue
        own, base = (
            dataclasses.replace(known[run], learning_rates=shifted_rates(known[run].learning_rates, logged_at))
            for run in pair
        )
        if any(difference.key == RATE_RULE for difference in compare(own, base)):
            return False
    return True


def growing_arms(data: Data) -> set[tuple[str, str]]:
    """Return group and arm of all arms whose batch was larger at the end of a run than at its start."""
    grown = [run for run, one in trajectories(data).items() if one.batch_sizes[-1] > one.batch_sizes[0]]
    runs = data.runs.loc[grown]
    return set(zip(runs.group, runs.arm, strict=True))
