"""From folders of runs to frames."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adabatch.errors import ConfigError
from adabatch.rundir.columns import COLUMNS, OfRun, columns_where
from adabatch.rundir.files import find_runs
from adabatch.rundir.state import RunState, collect_evidence, read_state
from adabatch.rundir.states import State
from analysis.frames import IDENTITY, RESULTS, Data, is_final, is_results_only
from analysis.run_files import RunFiles, read_run

#: The files whose change makes a run directory worth reading again; its state is read anew until it is done.
_WATCHED = ("config.yaml", "meta.json", "epochs.csv", "summary.json", "DONE")
_SUMMED = list(columns_where(of_run=OfRun.SUM))
_LAST = list(columns_where(of_run=OfRun.LAST))
_FINAL = {f"final_{name}": name for name in columns_where(of_run=OfRun.FINAL)}
_DONE = RunState(State.DONE)
_Signature = tuple[tuple[str, int, int], ...]


def load(*folders: str | Path) -> Data:
    """Read all run directories at or below folders; the same one found twice is read once.

    Unfinished, failed and damaged runs are rows like all others, with state, cause and damage.

    Raises:
        ConfigError: if a folder does not exist or holds no run.

    Example:
        >>> data = analysis.load("runs/paper_cifar10", "runs/paper_cifar100")
        >>> data.runs.state.value_counts()
    """
    return Collector(*folders).load()


class Collector:
    """Reads folders again and again, and of them only the runs whose files changed since.

    Example:
        >>> collector = analysis.Collector("runs/demo")
        >>> data = collector.load()  # and again while runs go on
    """

    def __init__(self, *folders: str | Path) -> None:
        self._folders = [Path(folder) for folder in folders]
        if not folders:
            raise ConfigError("No folder is given; it must be one or more folders with runs.")
        self._known: dict[Path, tuple[_Signature, RunFiles]] = {}

    def load(self) -> Data:
        """Return the frames as the files are now; see `load`."""
        paths = [path for folder in self._folders for path in _find(folder)]
        places: dict[Path, Path] = {}
        for path in paths:
            places.setdefault(path.resolve(), path)
        with _no_garbage_collection():
            runs = [self._read(path) for path in places.values()]
            return make_data(runs, _states(runs))

    def _read(self, path: Path) -> RunFiles:
        signature = _signature(path)
        known = self._known.get(path)
        if known is None or known[0] != signature:
            known = self._known[path] = (signature, read_run(path))
        return known[1]


def _states(runs: Sequence[RunFiles]) -> list[RunState]:
    """Return the state of each run; DONE is the last word on a run, and needs no other evidence."""
    open_runs = [run.path for run in runs if not (run.path / "DONE").exists()]
    states = dict(zip(open_runs, map(read_state, collect_evidence(open_runs)), strict=True))
    return [states.get(run.path, _DONE) for run in runs]


def _find(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; it must be a folder with runs.")
    found = find_runs(folder)
    if not found:
        raise ConfigError(f"{folder} holds no run; a run directory is known by its config.yaml.")
    return found


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector, which would traverse all that was read again and again, and free nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _signature(path: Path) -> _Signature:
    """Return by file when it changed and its size; a file may vanish while we look."""
    found = []
    for name in _WATCHED:
        with contextlib.suppress(FileNotFoundError):
            stat = os.stat(path / name)
            found.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def make_data(runs: Sequence[RunFiles], states: Sequence[RunState]) -> Data:
    """Make the frames of runs that were read, with their states."""
    rows = [_row(run, state) for run, state in zip(runs, states, strict=True)]
    _separate_baselines(rows)
    table = pd.DataFrame(rows).set_index("run", drop=False)
    table.index.name = None
    epochs = _epochs(runs)
    table = table.join(_results(epochs))
    table["epochs"] = table.epochs.fillna(0).astype("int64")
    own = [f"final_{name}" for name in _own_metrics(epochs)]
    table.loc[~is_final(table), [*_FINAL, *own, "best_test_accuracy", "best_epoch"]] = float("nan")
    table.loc[is_results_only(table), ["best_test_accuracy", "best_epoch"]] = float("nan")
    table["seed"] = table.seed.astype("Int64")
    front = [*IDENTITY, "group", "baseline", "dataset", "network", "state", "cause", "damage", *RESULTS]
    return Data(table[[*front, *(name for name in table if name not in front)]].drop(columns="run"), epochs)


def _row(run: RunFiles, found: RunState) -> dict[str, Any]:
    """Return the run's row of ``runs`` without what follows from the epochs."""
    damages = list(run.damages)
    num_epochs = run.values.get("num_epochs")
    last = int(run.epochs.epoch.iloc[-1]) if len(run.epochs) else 0
    if found.state is State.DONE and num_epochs is not None and last != num_epochs and not damages:
        damages.append(f"epochs.csv holds {last} of {num_epochs} epochs although the run is done")
    damage = "; ".join(damages) or None
    cause = f"damaged: {damage}" if damage else found.cause
    return {**run.values, "state": found.state.value, "cause": cause, "damage": damage}


def _separate_baselines(rows: Sequence[dict[str, Any]]) -> None:
    """Put sweeps that declare different baselines for one group into groups of their own; each keeps its baseline."""
    declared: dict[str, set[str]] = {}
    for row in rows:
        if row["baseline"] is not None:
            declared.setdefault(row["group"], set()).add(row["baseline"])
    for row in rows:
        if len(declared.get(row["group"], ())) > 1:
            row["group"] = f"{row['group']} sweep={row['sweep']}"


def _epochs(runs: Sequence[RunFiles]) -> pd.DataFrame:
    """Return the rows of all runs behind their identity, whose columns are categories to save memory."""
    counts = [len(run.epochs) for run in runs]
    filled = [run.epochs for run in runs if len(run.epochs)]
    rows = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(COLUMNS), dtype="float64")
    position = pd.Series(range(len(runs))).repeat(counts).to_numpy()
    for place, name in enumerate(IDENTITY):
        values = pd.Series([run.values[name] for run in runs])
        column = values.astype("Int64" if name == "seed" else "category").iloc[position]
        rows.insert(place, name, column.reset_index(drop=True))
    return rows


def _results(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return final, best and summed numbers by run, indexed by run; runs without an epoch are absent."""
    own = _own_metrics(epochs)
    by_run = epochs.groupby("run", observed=True, sort=False)
    # A span that is blank in one epoch is unknown for the run.
    sums = by_run[_SUMMED].sum().where(by_run[_SUMMED].count().eq(by_run.size(), axis=0))
    last = by_run[["epoch", *_LAST, *_FINAL.values(), *own]].tail(1).set_index(epochs.run.loc[by_run.tail(1).index])
    best = epochs.sort_values(["test_accuracy", "epoch"], ascending=[False, True]).drop_duplicates("run")
    best = best.set_index("run")[["test_accuracy", "epoch"]]
    results = pd.DataFrame(
        {
            "epochs": last.epoch,
            **{name: last[name] for name in _LAST},
            **{name: last[column] for name, column in _FINAL.items()},
            **{name: sums[name] for name in _SUMMED},
            **{f"final_{name}": last[name] for name in own},
        }
    )
    results["first_batch_size"] = by_run.batch_size.first()
    results["last_batch_size"] = by_run.batch_size.last()
    results["best_test_accuracy"] = best.test_accuracy
    results["best_epoch"] = best.epoch
    results.index = results.index.astype(object)
    return results[[*RESULTS, *(f"final_{name}" for name in own)]]


def _own_metrics(epochs: pd.DataFrame) -> list[str]:
    """Return the columns of numbers that a program recorded besides those of every run."""
    others = [str(name) for name in epochs if name not in COLUMNS and name not in IDENTITY]
    return [name for name in others if pd.api.types.is_numeric_dtype(epochs[name])]
