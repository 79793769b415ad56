"""How far runs are, and how long those that train or wait will take: at the pace of runs, or by their forecast."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.rundir.evidence import Evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.rundir.outcome import read_summary
from adabatch.rundir.state import describe
from adabatch.rundir.states import State
from adabatch.terminal import rough_duration

#: So many finished runs of an arm tell its pace.
_MOST_RUNS = 3
#: A run that has done less than this share of its epochs has no pace of its own yet.
_LEAST_FRACTION = 0.02

#: What an estimate can rest on, in words, the surest first.
PACE, FORECAST, OTHER_CELLS = "the pace so far", "the forecast", "runs of other cells"
_BASES = (PACE, FORECAST, OTHER_CELLS)


@dataclass(frozen=True)
class RunSoFar:
    """How far one run is.

    Attributes:
        fraction: of its epochs, from 0 to 1, if it trains or waits; None if unknown.
        eta_seconds: left at its pace so far; None unless it trains.
    """

    run_dir: Path
    state: State
    fraction: float | None = None
    eta_seconds: float | None = None

    @property
    def arm_folder(self) -> Path:
        """The folder of the runs that last equally long: those of one cell, arm and swept values."""
        return self.run_dir.parent

    @property
    def cell_folder(self) -> Path:
        """The folder of the arms of one data set and network."""
        return self.run_dir.parent.parent


def run_so_far(run_dir: Path, state: State) -> RunSoFar:
    """Return how far a run is, of which the state is known."""
    found = describe(Evidence(run_dir), state, None)
    return RunSoFar(run_dir, state, found.fraction, found.eta_seconds)


@dataclass(frozen=True)
class TimeLeft:
    """How far some runs are.

    Attributes:
        seconds: until none of them waits or trains any more, if none stops; None if unknown.
        bases: what that rests on: one or more of `PACE`, `FORECAST` and `OTHER_CELLS`; none where it is unknown.
        fraction: of the work that is done, queued or under way, from 0 to 1.
    """

    num_done: int
    num_running: int
    num_waiting: int
    num_all: int
    seconds: float | None
    bases: tuple[str, ...]
    fraction: float

    @property
    def text(self) -> str:
        """One line: ``3 of 6 done, 1 running, 2 waiting; about 12 min 00 s left (by the pace so far)``."""
        counts = [(self.num_running, "running"), (self.num_waiting, "waiting")]
        others = self.num_all - self.num_done - self.num_running - self.num_waiting
        words = [f"{count:,} {word}" for count, word in [*counts, (others, "neither queued nor done")] if count]
        text = ", ".join([f"{self.num_done:,} of {self.num_all:,} done", *words])
        return f"{text}; {self.left_text}" if self.left_text else text

    @property
    def left_text(self) -> str:
        """How long the runs take: ``about 12 min 00 s left (by the pace so far)``; empty if none waits or trains."""
        if not self.num_running and not self.num_waiting:
            return ""
        if self.seconds is None:
            return "time left not known yet"
        return f"about {rough_duration(max(1.0, self.seconds))} left (by {' and '.join(self.bases)})"


def time_left(runs: Sequence[RunSoFar], among: Sequence[RunSoFar] | None = None) -> TimeLeft:
    """Return how far runs are.

    The runs that wait are taken to start as others end, in the order of their seeds, as many at a time as run now;
    where none does yet, as many as the submission lets run on one machine.

    Args:
        among: the runs whose pace tells how long these take; by default they themselves.
    """
    training = [run for run in runs if run.state is State.RUNNING]
    waiting = sorted((run for run in runs if run.state is State.PENDING), key=_by_seed)
    num_done = sum(run.state is State.DONE for run in runs)
    num_open = len(training) + len(waiting)
    work = num_done + sum(run.fraction or 0.0 for run in (*training, *waiting))
    fraction = work / max(1, num_done + num_open if num_open else len(runs))
    counts = (num_done, len(training), len(waiting), len(runs))
    expected = _expected(runs if among is None else among, {run.arm_folder for run in (*training, *waiting)})
    under_way, later = ([_left(run, expected) for run in some] for some in (training, waiting))
    found = [one for one in (*under_way, *later) if one is not None]
    if not found or len(found) < num_open:
        return TimeLeft(*counts, None, (), fraction)
    left = [one.seconds for one in found]
    slots = len(training) or _concurrent_runs(waiting[0])
    seconds = wall_seconds(left[len(training) :], slots, left[: len(training)])
    return TimeLeft(
        *counts, seconds, tuple(basis for basis in _BASES if any(one.basis == basis for one in found)), fraction
    )


def known_seconds(runs: Sequence[RunSoFar], wanted: Iterable[Path]) -> list[float] | None:
    """Return how long some runs take from start to end, by pace or forecast; None unless that is known of all.

    Args:
        runs: those whose pace may tell.
        wanted: run directories; all of them are of ``runs``.
    """
    folders = [run_dir.parent for run_dir in wanted]
    expected = _expected(runs, set(folders))
    found = [expected[folder].seconds for folder in folders if folder in expected]
    return found if len(found) == len(folders) else None


def wall_seconds(durations: Sequence[float], slots: int, under_way: Sequence[float] = ()) -> float:
    """Return when the last of some jobs ends that start in their order, each as soon as one of the slots is free.

    Args:
        under_way: what is left of the jobs that hold a slot now; at most as many as slots.
    """
    ends = [*under_way, *[0.0] * max(0, slots - len(under_way))]
    heapq.heapify(ends)
    last = max(ends, default=0.0)
    for seconds in durations:
        end = heapq.heappop(ends) + seconds
        heapq.heappush(ends, end)
        last = max(last, end)
    return last


def _by_seed(run: RunSoFar) -> tuple[int, str, Path]:
    name = run.run_dir.name
    return len(name), name, run.run_dir  # so that seed_2 comes before seed_10


@dataclass(frozen=True)
class _Estimate:
    """A time, and what it rests on."""

    seconds: float
    basis: str


def _left(run: RunSoFar, expected: Mapping[Path, _Estimate]) -> _Estimate | None:
    """Return what is left of a run: at its own pace, or of what such a run takes."""
    fraction = run.fraction or 0.0
    own = None if run.eta_seconds is None else _Estimate(run.eta_seconds, PACE)
    whole = expected.get(run.arm_folder)
    if whole is None or (own is not None and fraction >= _LEAST_FRACTION):
        return own
    return _Estimate(whole.seconds * (1.0 - fraction), whole.basis)


def _expected(runs: Sequence[RunSoFar], wanted: Iterable[Path]) -> dict[Path, _Estimate]:
    """Return by folder of an arm how long its runs take.

    That is their own pace; else their forecast; else the mean pace of the arms of their cell, or of all arms.
    """
    by_arm: dict[Path, list[RunSoFar]] = {}
    for run in runs:
        by_arm.setdefault(run.arm_folder, []).append(run)
    paces = {arm: pace for arm, members in by_arm.items() if (pace := _pace(members)) is not None}
    expected = {}
    for arm in wanted:
        members = by_arm.get(arm)
        forecast = None if arm in paces or not members else forecast_seconds(members[0].run_dir)
        of_cell = [pace for other, pace in paces.items() if other.parent == arm.parent]
        if arm in paces:
            expected[arm] = _Estimate(paces[arm], PACE)
        elif forecast is not None:
            expected[arm] = _Estimate(forecast, FORECAST)
        elif of_cell:
            expected[arm] = _Estimate(_mean(of_cell), PACE)
        elif paces:
            expected[arm] = _Estimate(_mean(list(paces.values())), OTHER_CELLS)
    return expected


def _pace(members: Sequence[RunSoFar]) -> float | None:
    """Return the mean seconds of runs that are done, else of those under way if they go on as so far."""
    done = sorted((run for run in members if run.state is State.DONE), key=_by_seed)[-_MOST_RUNS:]
    took = [seconds for seconds in (_took(run.run_dir) for run in done) if seconds is not None]
    under_way = [
        run.eta_seconds / (1.0 - run.fraction)
        for run in members
        if run.eta_seconds is not None and run.fraction is not None and _LEAST_FRACTION <= run.fraction < 1.0
    ]
    found = took or under_way
    return _mean(found) if found else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@functools.lru_cache(maxsize=100_000)
def _took(run_dir: Path) -> float | None:
    """Return the wall-clock seconds of a finished run, which do not change any more."""
    values = read_summary(RunDir(run_dir))
    seconds = values.get("wall_seconds") or values.get("elapsed_seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


@functools.lru_cache(maxsize=100_000)
def forecast_seconds(run_dir: Path) -> float | None:
    """Return how long a run takes by the forecast on record, tests included; None without one."""
    forecast = read_meta(RunDir(run_dir)).launch.forecast
    if forecast is None:
        return None
    parts = [forecast.get(f"{part}_seconds") for part in ("train", "growth", "test")]
    return float(sum(part for part in parts if isinstance(part, int | float))) or None


def _concurrent_runs(run: RunSoFar) -> int:
    return max(1, read_meta(RunDir(run.run_dir)).launch.concurrent_runs or 1)
