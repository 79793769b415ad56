"""A folder of runs while it is being written: what stands in it now, and how far each run has come."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adabatch.errors import ConfigError
from adabatch.reading import Unreadable, printable
from adabatch.rundir.causes import tail
from adabatch.rundir.files import RunDir
from adabatch.rundir.heartbeat import Beat, read_beat
from adabatch.rundir.states import State
from adabatch.rundir.time_left import RunSoFar, TimeLeft, run_so_far, time_left
from analysis.collect import Collector
from analysis.comparison import Comparison, compare
from analysis.frames import DAMAGED, IDENTITY, RESULTS, Data, among, is_final, shown_state, tuples
from analysis.names import plain_arm
from analysis.order import ordered_groups

_log = logging.getLogger(__name__)

#: The words of `analysis.frames.shown_state` in the order in which they want attention.
STATES = (
    *(state.value for state in State if state.is_failure),
    DAMAGED,
    *(state.value for state in State if not (state.is_failure or state.is_active or state is State.DONE)),
    State.RUNNING.value,
    State.PENDING.value,
    State.DONE.value,
)
#: A file that its run replaces or removes while it is read is there, or gone for good, the next moment.
_ATTEMPTS = 3
_WITH_BEAT = (State.RUNNING.value, State.LOST.value)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Snapshot:
    """A folder at one moment.

    Attributes:
        data: None while there is no run.
        problem: why there is no data, or why it is older than ``read_at``; a sentence.
        comparison: of the runs that were done at some earlier moment; None until there is one.
        comparison_number: how many were made until this one.
        comparing: whether a newer comparison is being made.
        comparison_problem: why there is no newer comparison.
    """

    folder: Path
    read_at: datetime
    data: Data | None
    problem: str | None = None
    comparison: Comparison | None = None
    comparison_number: int = 0
    comparing: bool = False
    comparison_problem: str | None = None


class Watcher:
    """Reads a folder whenever somebody looks, and compares its arms whenever a result has changed.

    Args:
        min_seconds: whoever looks sooner than that after another sees the same.
    """

    def __init__(self, folder: Path, min_seconds: float = 1.0) -> None:
        self.folder = folder
        self._min_seconds = min_seconds
        self._collector = Collector(folder)
        self._comparer = _Comparer()
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._snapshot: Snapshot | None = None

    def look(self) -> Snapshot:
        """Return the folder as it is now; never fails for what is, or is not, in it."""
        with self._lock:
            if self._snapshot is None or time.monotonic() - self._read_at >= self._min_seconds:
                self._snapshot = self._read(self._snapshot)
                self._read_at = time.monotonic()
            return self._snapshot

    def _read(self, before: Snapshot | None) -> Snapshot:
        now = datetime.now()
        try:
            data = self._load()
        except ConfigError as error:
            return Snapshot(self.folder, now, None, str(error))
        except Exception as error:  # one run that nobody thought of must not end the watch over all others
            _log.exception("%s cannot be read", self.folder)
            problem = f"{self.folder} cannot be read: {type(error).__name__}: {error}"
            return replace(before or Snapshot(self.folder, now, None), problem=problem)
        return Snapshot(self.folder, now, data, None, *self._comparer.latest(data))

    def _load(self) -> Data:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._collector.load()
            except OSError as error:
                _log.debug("read again: %s", error)
        return self._collector.load()


class _Comparer:
    """Compares in a thread of its own, because with a thousand runs that takes seconds."""

    #: A comparison of so few runs is worth waiting for. That of more begins after the page has had its answer, but for
    #: the first one, without which there are no tables.
    FEW_RUNS = 300
    PATIENCE_SECONDS = 0.5
    DELAY_SECONDS = 2.0

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._asked: str | None = None
        self._rest_until = -math.inf
        self._comparison: Comparison | None = None
        self._number = 0
        self._problem: str | None = None

    def latest(self, data: Data) -> tuple[Comparison | None, int, bool, str | None]:
        """Return the last comparison, its number, whether a newer one is to come, and why it could not be made."""
        key = _results_digest(data)
        if not self._busy and key != self._asked and time.monotonic() >= self._rest_until:
            self._asked = key
            is_quick = len(data.runs) <= self.FEW_RUNS
            delay = self.DELAY_SECONDS if self._number and not is_quick else 0.0
            patience = self.PATIENCE_SECONDS if is_quick else 0.0
            self._thread = threading.Thread(target=self._compare, args=(data, delay), name="compare", daemon=True)
            self._thread.start()
            self._thread.join(patience)
        is_to_come = self._busy or key != self._asked  # asked before what a thread that ends just now leaves
        return self._comparison, self._number, is_to_come, self._problem

    @property
    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _compare(self, data: Data, delay_seconds: float) -> None:
        time.sleep(delay_seconds)
        since = time.monotonic()
        try:
            comparison = compare(data)
            self._comparison, self._number, self._problem = comparison, self._number + 1, None
        except Exception as error:  # in a thread nobody else would hear of it
            _log.exception("the arms cannot be compared")
            self._problem = f"The arms cannot be compared: {type(error).__name__}: {error}"
        # As long a rest as the work took: half of one core stays free while runs end every second.
        self._rest_until = 2 * time.monotonic() - since


def _results_digest(data: Data) -> str:
    """Return what changes whenever a comparison would: the runs there are, their states, the results of done ones."""
    runs = data.runs
    shown = runs[[*IDENTITY[1:], "group", "baseline", "state", "cause", *RESULTS]].astype(object)
    # The cause of a lost run counts the seconds.
    shown.loc[~is_final(runs), list(RESULTS)] = None
    shown.loc[~(is_final(runs) | (runs.state == State.FAILED.value)), ["state", "cause"]] = None
    return digest(shown)


def progress_digest(runs: pd.DataFrame) -> str:
    """Return what changes whenever a curve of some runs would: the epochs that each has finished."""
    return digest(runs[["group", "arm", "state", "epochs", "samples", "elapsed_seconds"]].astype(object))


def digest(frame: pd.DataFrame) -> str:
    """Return a short text that is equal for equal frames."""
    return f"{int(pd.util.hash_pandas_object(frame.astype(str)).sum()):x}-{len(frame)}"


@dataclass(frozen=True)
class RunRow:
    """How far a run has come.

    Attributes:
        name: its folder, relative to the folder that is watched.
        epochs: finished ones.
        fraction: of all epochs, with the part of the current one; from 0 to 1.
        batch_size: the last one known; None before the first epoch.
        accuracy: on the test set after the last finished epoch, as a fraction; NaN before the first.
        seconds: of training and growth, as `seconds_now` knows them.
        eta_seconds: left at the mean pace so far; None unless it runs.
    """

    name: str
    group: str
    arm: str
    seed: str
    state: str
    cause: str
    epochs: int
    num_epochs: int | None
    fraction: float
    batch_size: int | None
    accuracy: float
    seconds: float
    eta_seconds: float | None

    @property
    def moves(self) -> bool:
        """Whether it changes by the second, as that of a run with a heartbeat does."""
        return self.state in _WITH_BEAT


def run_name(folder: Path, run: str) -> str:
    """Return a run's folder relative to the watched one; the last part of its name if it is that one."""
    if not Path(run).is_relative_to(folder):  # its bytes are no text, so that it has another name here
        return run
    name = Path(run).relative_to(folder).as_posix()
    return folder.resolve().name if name == "." else name


def find_run(folder: Path, data: Data, name: object) -> Path | None:
    """Return the directory of the run of that name; None if the collector knows none."""
    return next((Path(run) for run in data.runs.index if run_name(folder, run) == name), None)


def in_order_of_attention(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with failed and unfinished ones first, otherwise as they were."""
    place = {state: position for position, state in enumerate(STATES)}
    return runs.iloc[shown_state(runs).map(place).fillna(0).argsort(kind="stable")]


def in_order_of_groups(runs: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Return runs by group, those of a group by arm, otherwise as they were.

    Args:
        arms: their plain names, in their order.
    """
    places = [
        runs.arm.map(plain_arm).map({arm: place for place, arm in enumerate(arms)}),
        runs.group.map({group: place for place, group in enumerate(ordered_groups(runs.group))}),
    ]
    return runs.iloc[np.lexsort(places)]  # by the last of them first


def read_beats(runs: pd.DataFrame) -> dict[str, Beat]:
    """Return by run the heartbeat of each that runs or was lost, and has one."""
    living = runs.index[shown_state(runs).isin(_WITH_BEAT)]
    found = {str(run): read_beat(RunDir(run).progress) for run in living}
    return {run: beat for run, beat in found.items() if beat is not None}


def time_left_of(chosen: pd.DataFrame, runs: pd.DataFrame) -> TimeLeft:
    """Return how long the chosen ones of some runs will take, by what their files say now."""
    found = [(Path(run), State(state)) for run, state in zip(runs.index, runs.state, strict=True)]
    known = [run_so_far(run, state) if state.is_active else RunSoFar(run, state) for run, state in found]
    is_chosen = among(runs.index, frozenset(chosen.index))
    return time_left([run for run, own in zip(known, is_chosen, strict=True) if own], known)


def last_epochs(data: Data, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the last finished epoch of each of some runs that has one, by run."""
    epochs = data.epochs[data.epochs.run.isin(runs.index)]
    last: pd.DataFrame = epochs.drop_duplicates("run", keep="last").set_index("run")
    return last


def seconds_now(beat: Beat, last: Any) -> float:
    """Return the seconds of training and growth so far, the current epoch's by the pace of the last one.

    Args:
        last: the row of the last finished epoch. None before the first ends: all that has passed counts then.
    """
    if last is None:
        return beat.wall_seconds or 0.0
    part = min(1.0, max(0.0, (beat.epochs_done or 0.0) - float(last.epoch)))
    return float(last.elapsed_seconds) + part * float(last.train_seconds)


def run_rows(folder: Path, data: Data, runs: pd.DataFrame, beats: Mapping[str, Beat]) -> list[RunRow]:
    """Return how far some of the runs of ``data`` have come, by their epochs and heartbeats."""
    last = {str(row.Index): row for row in tuples(last_epochs(data, runs))}
    columns = ["group", "arm", "seed", "state", "cause", "epochs", "num_epochs", "elapsed_seconds"]
    found = tuples(runs.assign(state=shown_state(runs)).reindex(columns=columns))
    return [_run_row(folder, run, last.get(str(run.Index)), beats.get(str(run.Index))) for run in found]


def _run_row(folder: Path, run: Any, last: Any, beat: Beat | None) -> RunRow:
    num_epochs = None if pd.isna(run.num_epochs) else int(run.num_epochs)
    part = run.epochs / num_epochs if num_epochs else 0.0
    batch_size = (beat.batch_size if beat else None) or getattr(last, "batch_size", None)
    is_running = run.state == State.RUNNING.value
    finished = 0.0 if pd.isna(run.elapsed_seconds) else float(run.elapsed_seconds)
    return RunRow(
        name=run_name(folder, run.Index),
        group=str(run.group),
        arm=str(run.arm),
        seed="" if pd.isna(run.seed) else str(run.seed),
        state=str(run.state),
        cause="" if pd.isna(run.cause) else str(run.cause),
        epochs=int(run.epochs),
        num_epochs=num_epochs,
        fraction=min(1.0, max(part, (beat.fraction if beat else None) or 0.0)),
        batch_size=None if batch_size is None else int(batch_size),
        accuracy=float(getattr(last, "test_accuracy", math.nan)),
        seconds=seconds_now(beat, last) if beat and is_running else finished,
        eta_seconds=beat.eta_seconds if beat and is_running else None,
    )


def last_lines(run: Path, name: str, count: int) -> list[str]:
    """Return the last lines of a run's file, without blank ones; none if there is no such file."""
    try:
        lines = tail(run / name).split("\n")
    except (OSError, Unreadable) as error:
        _log.debug("%s cannot be read: %s", run / name, error)
        return []
    # What a progress bar has overwritten is not shown, nor what colours a terminal.
    plain = [_COLOURS.sub("", line.rstrip().rsplit("\r", 1)[-1]) for line in lines if line.strip()][-count:]
    return [printable(line, keep="\t") for line in plain]
