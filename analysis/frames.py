"""The two frames that every table and figure is a function of: one row a run, one row a run and epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from adabatch.rundir.columns import OfRun, columns_where
from adabatch.rundir.states import State
from adabatch.terminal import counted

#: What identifies a run; the first columns of both frames.
IDENTITY = ("run", "sweep", "cell", "arm", "seed")
#: Columns of ``runs`` that follow from its epochs.
RESULTS = (
    "epochs",
    *columns_where(of_run=OfRun.LAST),
    *(f"final_{name}" for name in columns_where(of_run=OfRun.FINAL)),
    "best_test_accuracy",
    "best_epoch",
    "first_batch_size",
    "last_batch_size",
    *columns_where(of_run=OfRun.SUM),
    *columns_where(of_run=OfRun.MAX),
)
#: Shown instead of a state for a run whose files cannot be used.
DAMAGED = "damaged"
_FAILED = (State.FAILED.value, State.OUT_OF_MEMORY.value, State.TIMEOUT.value)


def is_final(runs: pd.DataFrame) -> pd.Series:
    """Return which runs have final numbers: those that are done and whose files are sound."""
    return (runs.state == State.DONE.value) & runs.damage.isna()


def is_results_only(runs: pd.DataFrame) -> pd.Series:
    """Return of which runs only the end is known: imported ones, whose single epoch is the last."""
    return runs.results_only.eq(True)


def shown_state(runs: pd.DataFrame) -> pd.Series:
    """Return the word that people see for each run: its state, or ``damaged`` where its files cannot be used."""
    return runs.state.where(runs.damage.isna(), DAMAGED)


def has_failed(state: object, damage: object = None) -> bool:
    """Return whether a run ended by a failure of its own, which is an outcome of its arm.

    A run that was preempted, cancelled or lost, or whose node failed, is missing data instead.
    """
    return state in _FAILED and (damage is None or damage != damage)


def among(names: Iterable[object], wanted: Iterable[object]) -> np.ndarray:
    """Return which names are among some; isin of pandas converts all of those, each time that it is asked."""
    known = wanted if isinstance(wanted, frozenset) else frozenset(wanted)
    return np.fromiter((name in known for name in names), dtype=bool)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as plain mappings from column to value."""
    # Some times as fast as DataFrame.to_dict.
    names = [str(name) for name in frame]
    return [dict(zip(names, row, strict=True)) for row in zip(*(frame[name].tolist() for name in frame), strict=True)]


def tuples(frame: pd.DataFrame) -> list[Any]:
    """Return the rows of a frame as tuples whose fields have the columns' names; ``Index`` is the row's label."""
    return list(frame.itertuples())


@dataclass(frozen=True)
class Data:
    """Runs and their epochs.

    Attributes:
        runs: one row a run, indexed by ``run`` (its folder). Who: ``sweep``, ``cell`` (data set and network),
            ``group`` (cell and every other swept value), ``arm``, ``baseline`` (the arm to compare with), ``seed``.
            How it went: ``state``, ``cause``, ``damage`` (what is wrong with its files). What came out: the columns of
            `RESULTS`; final and best values are NaN unless the run is done and its files are sound, seconds and counts
            are those of the epochs that finished. What it was: each key of its config (``schedule.batch_size``) and of
            its origin (``device_model``, ``git_sha``, ...).
            ``forecast_seconds`` is what ``launch submit --forecast`` predicted for ``elapsed_seconds``, with CUDA
            graphs or without, as ``forecast_uses_graphs`` says, and ``forecast_counterpart_seconds`` the other way.
            ``forecast_fixed_seconds``, ``forecast_seconds_per_sample`` and ``forecast_update_seconds`` are the line of
            that forecast (`adabatch.measure.forecast.Forecast`), ``forecast_counterpart_...`` those of the other.
            Of a metric that a program recorded besides, ``f1``, there is ``final_f1``.
        epochs: the columns of ``epochs.csv`` after `IDENTITY`, sorted by run and epoch.

    Example:
        >>> data = analysis.load("runs/demo")
        >>> data.runs.groupby("arm").final_test_accuracy.mean()
    """

    runs: pd.DataFrame
    epochs: pd.DataFrame

    @property
    def done(self) -> pd.DataFrame:
        """The runs whose numbers are final."""
        return self.runs[is_final(self.runs)]

    @property
    def followed(self) -> pd.DataFrame:
        """The epochs of the runs that were logged epoch by epoch: what curves and times to a target are made of."""
        return self.epochs[~self.epochs.run.isin(self.runs.index[is_results_only(self.runs)])]

    @property
    def unfinished(self) -> pd.DataFrame:
        """Every other run, with its state and cause."""
        return self.runs.loc[~is_final(self.runs), ["cell", "arm", "seed", "state", "cause", "epochs", "num_epochs"]]

    def select(self, **values: object) -> Data:
        """Return the runs whose columns have the given values, such as ``network="resnet20"``, ``arm=["a", "b"]``."""
        runs = self.runs
        for column, wanted in values.items():
            allowed = wanted if isinstance(wanted, (list, tuple, set)) else [wanted]
            runs = runs[runs[column].isin(allowed)]
        return Data(runs, self.epochs[self.epochs.run.isin(runs.index)])

    def select_runs(self, names: Collection[str]) -> Data:
        """Return the runs of these names, which are their folders."""
        runs = self.runs[self.runs.index.isin(list(names))]
        return Data(runs, self.epochs[self.epochs.run.isin(runs.index)])

    def _repr_html_(self) -> str:
        counts = ", ".join(f"{count:,} {state}" for state, count in self.runs.state.value_counts().items())
        shown = self.runs.reindex(columns=["cell", "arm", "seed", "state", "final_test_accuracy", "elapsed_seconds"])
        text = f"{counted(len(self.runs), 'run')} ({counts}), {counted(len(self.epochs), 'epoch')}"
        return f"<p>{text}</p>{shown.to_html(max_rows=20)}"
