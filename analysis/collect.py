"""From folders of runs to frames."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adabatch.errors import ConfigError
from adabatch.files import warn_once
from adabatch.reading import printable
from adabatch.rundir.columns import COLUMNS, OfRun, columns_where, is_whole
from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import find_runs
from adabatch.rundir.state import RunState, read_state
from adabatch.rundir.states import State
from adabatch.terminal import counted
from analysis.frames import IDENTITY, RESULTS, Data, is_final, is_results_only
from analysis.load_cache import LoadCache
from analysis.run_epochs import PLACE
from analysis.run_files import RunFiles, Signature, read_runs, signature_of

_SUMMED = list(columns_where(of_run=OfRun.SUM))
_LARGEST = list(columns_where(of_run=OfRun.MAX))
_LAST = list(columns_where(of_run=OfRun.LAST))
_FINAL = {f"final_{name}": name for name in columns_where(of_run=OfRun.FINAL)}
_DONE = RunState(State.DONE)


def load(*folders: str | Path) -> Data:
    """Read all run directories at or below folders; the same one found twice is read once.

    Unfinished, failed and damaged runs are rows like all others, with state, cause and damage.

    Raises:
        ConfigError: if no folder holds a run. Where others do, one without is named in a warning.

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
        self._known: dict[Path, tuple[Signature, RunFiles]] = {}

    def load(self) -> Data:
        """Return the frames as the files are now; see `load`."""
        with _no_garbage_collection():
            found = self._find()
            for folder, paths in found.items():
                self._update(folder, paths)
            known = [self._known[path] for paths in found.values() for path in paths]
            runs = [run for _, run in known]
            return make_data(runs, _states(runs, [signature for signature, _ in known]))

    def _find(self) -> dict[Path, list[Path]]:
        """Return the run directories by folder; those found twice, or by several names, under the first one."""
        found: dict[Path, list[Path]] = {}
        problems = []
        for folder in self._folders:
            try:
                found[folder] = _find(folder)
            except ConfigError as error:
                problems.append(str(error))
        if not found:
            raise ConfigError(" ".join(problems))
        for problem in problems:
            warn_once(problem, "%s Left out.", printable(problem))
        if len(found) == 1:
            return found
        places: dict[Path, tuple[Path, Path]] = {}
        for folder, paths in found.items():
            for path in paths:
                places.setdefault(path.resolve(), (folder, path))
        return {folder: [path for own, path in places.values() if own == folder] for folder in found}

    def _update(self, folder: Path, paths: Sequence[Path]) -> None:
        """Bring what is known of a folder's runs up to date; what a process does not know yet may be in the cache."""
        is_first = not any(path in self._known for path in paths)
        cache = LoadCache(folder, len(paths)) if is_first else None
        signatures = {path: signature_of(path) for path in paths}
        if cache is not None:
            self._known |= {path: (signatures[path], run) for path, run in cache.read(signatures).items()}
        changed = [path for path in paths if path not in self._known or self._known[path][0] != signatures[path]]
        self._known |= {run.path: (signatures[run.path], run) for run in read_runs(changed)}
        if cache is not None:
            cache.write([self._known[path][1] for path in paths], signatures)


def _states(runs: Sequence[RunFiles], signatures: Sequence[Signature]) -> list[RunState]:
    """Return the state of each run, read anew; DONE is the last word on a run, and needs no other evidence."""
    is_done = [any(name == "DONE" for name, *_ in signature) for signature in signatures]
    open_runs = [run.path for run, done in zip(runs, is_done, strict=True) if not done]
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
    last = int(run.epochs.rows[PLACE["epoch"], -1]) if run.num_epochs else 0
    if found.state is State.DONE and num_epochs is not None and last != num_epochs and not damages:
        damages.append(f"epochs.csv holds {last} of {counted(num_epochs, 'epoch')} although the run is done")
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
    position = np.repeat(np.arange(len(runs)), [run.num_epochs for run in runs])
    columns: dict[str, Any] = {}
    for name in IDENTITY:
        values = pd.Series([run.values[name] for run in runs])
        columns[name] = values.astype("Int64" if name == "seed" else "category").iloc[position].array
    for name, place in PLACE.items():
        numbers = np.concatenate([run.epochs.rows[place] for run in runs])
        columns[name] = _whole(numbers) if is_whole(name) else numbers
    return _with_others(pd.DataFrame(columns, copy=False), runs)


def _whole(counts: np.ndarray) -> np.ndarray:
    """Return counts as whole numbers, unless one is blank or too large to be exact."""
    is_exact = (counts < 2**53).all()  # not so of NaN
    return counts.astype("int64") if is_exact else counts


def _with_others(epochs: pd.DataFrame, runs: Sequence[RunFiles]) -> pd.DataFrame:
    """Return the rows with the columns that only some runs have, and that this version does not know."""
    if all(run.epochs.others is None for run in runs):
        return epochs
    parts = [pd.DataFrame(index=range(run.num_epochs)) if run.epochs.others is None else run.epochs.others
             for run in runs]  # fmt: skip
    others = pd.concat(parts, ignore_index=True)
    return epochs.join(others.drop(columns=[*IDENTITY], errors="ignore"))


def _results(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return final, best, summed and largest numbers by run, indexed by run; runs without an epoch are absent."""
    own = _own_metrics(epochs)
    by_run = epochs.groupby("run", observed=True, sort=False)
    runs = epochs.run.drop_duplicates().astype(object)
    first, last = epochs.loc[runs.index], epochs.loc[~epochs.run.duplicated(keep="last")]
    best = epochs.loc[by_run.test_accuracy.idxmax()]  # the first of equal ones
    sums = _of_whole_runs(by_run, _SUMMED, "sum")
    largest = _of_whole_runs(by_run, _LARGEST, "max")
    columns = {
        "epochs": last.epoch,
        **{name: last[name] for name in _LAST},
        **{name: last[column] for name, column in _FINAL.items()},
        "best_test_accuracy": best.test_accuracy,
        "best_epoch": best.epoch,
        "first_batch_size": first.batch_size,
        "last_batch_size": last.batch_size,
        **{name: sums[name] for name in _SUMMED},
        **{name: largest[name] for name in _LARGEST},
        **{f"final_{name}": last[name] for name in own},
    }
    results = pd.DataFrame({name: column.to_numpy() for name, column in columns.items()}, index=pd.Index(runs))
    return results[[*RESULTS, *(f"final_{name}" for name in own)]]


def _of_whole_runs(by_run: Any, columns: list[str], how: str) -> pd.DataFrame:
    """Return one value a run of each column; what is blank in one epoch is unknown for the run."""
    values: pd.DataFrame = by_run[columns].agg(how)
    return values.where(by_run[columns].count().eq(by_run.size(), axis=0))


def _own_metrics(epochs: pd.DataFrame) -> list[str]:
    """Return the columns of numbers that a program recorded besides those of every run."""
    others = [str(name) for name in epochs if name not in COLUMNS and name not in IDENTITY]
    return [name for name in others if pd.api.types.is_numeric_dtype(epochs[name])]
