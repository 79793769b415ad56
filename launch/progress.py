"""How far a sweep is, and how long it will take: by the pace of finished and running runs, else by the forecast."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.rundir.outcome import read_summary
from adabatch.rundir.states import State
from adabatch.terminal import duration
from launch.status import RunStatus

#: So many finished runs of an arm tell its pace.
_MOST_RUNS = 3
#: A run that has done less than this share of its epochs has no pace of its own yet.
_LEAST_FRACTION = 0.02

#: The runs that last equally long: a cell and an arm with its swept values.
_Kind = tuple[str, str]


@dataclass(frozen=True)
class SweepProgress:
    """How far the runs of a sweep are.

    Attributes:
        left_seconds: until no run waits or trains any more, if none stops; None if unknown.
        basis: what this is based on: ``pace`` of these runs, or ``forecast`` where any kind of run has no pace yet.
        fraction: of the work that is done, queued or under way, from 0 to 1.
    """

    num_done: int
    num_running: int
    num_waiting: int
    num_all: int
    left_seconds: float | None
    basis: str | None
    fraction: float

    @property
    def text(self) -> str:
        """One line: ``3 of 6 done, 1 running, 2 waiting; about 12 min left (by the pace so far)``."""
        counts = [(self.num_running, "running"), (self.num_waiting, "waiting")]
        others = self.num_all - self.num_done - self.num_running - self.num_waiting
        words = [f"{count} {word}" for count, word in [*counts, (others, "neither queued nor done")] if count]
        text = ", ".join([f"{self.num_done} of {self.num_all} done", *words])
        return f"{text}; {self.left_text}" if self.left_text else text

    @property
    def left_text(self) -> str:
        """How long the runs take: ``about 12 min left (by the pace so far)``; empty if none waits or trains."""
        if not self.num_running and not self.num_waiting:
            return ""
        if self.left_seconds is None:
            return "time left not known yet"
        basis = "by the pace so far" if self.basis == "pace" else "by the forecast"
        return f"about {duration(round(max(1.0, self.left_seconds)))} left ({basis})"


def sweep_progress(statuses: Sequence[RunStatus]) -> SweepProgress:
    """Return how far runs are.

    The runs that wait are taken to start as others end, as many at a time as run now, or as their cluster runs on one
    machine where none does yet.
    """
    running = [status for status in statuses if status.state is State.RUNNING]
    waiting = [status for status in statuses if status.state is State.PENDING]
    known = _expected(statuses, {_kind(status) for status in (*running, *waiting)})
    num_done = sum(status.state is State.DONE for status in statuses)
    left = [_left(status, known) for status in running]
    later = [_whole(status, known) for status in waiting]
    counts = (num_done, len(running), len(waiting), len(statuses))
    finite_left = [seconds for seconds in left if seconds is not None]
    finite_later = [seconds for seconds in later if seconds is not None]
    if not running and not waiting:
        return SweepProgress(*counts, None, None, num_done / max(1, len(statuses)))
    done_work = num_done + sum(status.fraction or 0.0 for status in running)
    fraction = done_work / (num_done + len(running) + len(waiting))
    if len(finite_left) + len(finite_later) < len(running) + len(waiting):
        return SweepProgress(*counts, None, None, fraction)
    slots = max(len(running), 1 if running else _concurrent_runs(waiting))
    basis = "forecast" if any(source == "forecast" for _, source in known.values()) else "pace"
    return SweepProgress(*counts, wall_seconds(finite_later, slots, finite_left), basis, fraction)


def known_seconds(statuses: Sequence[RunStatus], wanted: Sequence[RunStatus]) -> list[float] | None:
    """Return how long some runs of a sweep take, by pace or forecast; None unless that is known of all."""
    known = _expected(statuses, {_kind(status) for status in wanted})
    found = [known[_kind(status)][0] for status in wanted if _kind(status) in known]
    return found if len(found) == len(wanted) else None


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


def _kind(status: RunStatus) -> _Kind:
    arm = status.run_dir.parent
    return arm.parent.name, arm.name


def _left(status: RunStatus, known: Mapping[_Kind, tuple[float, str]]) -> float | None:
    """Return what is left of a running run: at its own pace, or of what such a run takes."""
    if status.eta_seconds is not None and (status.fraction or 0.0) >= _LEAST_FRACTION:
        return status.eta_seconds
    whole = _whole(status, known)
    return status.eta_seconds if whole is None else whole * (1.0 - (status.fraction or 0.0))


def _whole(status: RunStatus, known: Mapping[_Kind, tuple[float, str]]) -> float | None:
    found = known.get(_kind(status))
    return found[0] if found else None


def _expected(statuses: Sequence[RunStatus], wanted: set[_Kind]) -> dict[_Kind, tuple[float, str]]:
    """Return by kind how long a run takes and how that is known; of a kind without either, the mean over its cell."""
    by_kind: dict[_Kind, list[RunStatus]] = {}
    for status in statuses:
        by_kind.setdefault(_kind(status), []).append(status)
    paces = {kind: pace for kind, members in by_kind.items() if (pace := _pace(members)) is not None}
    known: dict[_Kind, tuple[float, str]] = {}
    for kind in wanted:
        alike = [pace for other, pace in paces.items() if other[0] == kind[0]]
        forecast = None if kind in paces else forecast_seconds(by_kind[kind][0].run_dir)
        if kind in paces:
            known[kind] = (paces[kind], "pace")
        elif forecast is not None:
            known[kind] = (forecast, "forecast")
        elif alike:
            known[kind] = (sum(alike) / len(alike), "pace")
    return known


def _pace(members: Sequence[RunStatus]) -> float | None:
    """Return the mean seconds of runs that are done, else of those under way if they go on as so far."""
    done = [status.run_dir for status in members if status.state is State.DONE][-_MOST_RUNS:]
    took = [seconds for seconds in map(_took, done) if seconds is not None]
    under_way = [
        status.eta_seconds / (1.0 - status.fraction)
        for status in members
        if status.eta_seconds is not None and status.fraction is not None and _LEAST_FRACTION <= status.fraction < 1.0
    ]
    found = took or under_way
    return sum(found) / len(found) if found else None


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


def _concurrent_runs(waiting: Sequence[RunStatus]) -> int:
    found = read_meta(RunDir(waiting[0].run_dir)).launch.concurrent_runs if waiting else None
    return max(1, found or 1)
