"""Picks runs by their arm, cell, state or name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.config.keys import suggestion
from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.rundir.states import State
from launch.expand import Run
from launch.run_names import natural_order
from launch.status import RunStatus

_FARTHEST = float("inf")
_ORDERS: dict[str, Callable[[RunStatus], Any]] = {
    "name": lambda status: (),
    "state": lambda status: list(State).index(status.state),
    "arm": lambda status: status.arm or "",
    "epoch": lambda status: -(status.epoch or 0),
    "left": lambda status: _FARTHEST if status.eta_seconds is None else status.eta_seconds,
    "tries": lambda status: -status.attempts,
}


@dataclass(frozen=True)
class Shown:
    """Which runs a table shows, and in which order.

    Attributes:
        states, arms: those of the runs; empty for all.
        sort: one of `launch.arguments.SORT_KEYS`; runs that are equal in it stay in the order of their names.
    """

    states: frozenset[State] = frozenset()
    arms: tuple[str, ...] = ()
    sort: str = "name"

    def of(self, found: Mapping[Path, Sequence[RunStatus]]) -> dict[Path, list[RunStatus]]:
        """Return the shown ones by folder.

        Raises:
            ConfigError: for an arm that no run has.
        """
        known = arms_of(status.arm or "" for statuses in found.values() for status in statuses)
        for arm in self.arms:
            if arm not in known:
                arms = _without_levels(known)
                allowed = ", ".join(arms)
                raise ConfigError(f"--arm is {arm}; it must be one of {allowed}.{suggestion(arm, sorted(known))}")
        return {folder: self._of(statuses) for folder, statuses in found.items()}

    def _of(self, statuses: Sequence[RunStatus]) -> list[RunStatus]:
        chosen = [
            status
            for status in statuses
            if (not self.states or status.state in self.states)
            and (not self.arms or any(is_of_arm(status.arm or "", arm) for arm in self.arms))
        ]
        by_name = sorted(chosen, key=lambda status: natural_order(status.name))
        return sorted(by_name, key=_ORDERS[self.sort])


def states_of(text: str | None) -> frozenset[State]:
    """Return the states of a list such as ``failed,timeout``; none for None.

    Raises:
        ConfigError: for a word that is not a state.
    """
    words = [] if text is None else text.split(",")
    for word in words:
        require(word in set(State), "--state", word, "a list of " + ", ".join(State))
    return frozenset(map(State, words))


def is_of_arm(level: str, arm: str) -> bool:
    """Return whether a folder ``adaptive,optimizer.momentum=0.5`` is of an arm: its own name, or the part before."""
    return arm in (level, level.partition(",")[0])


def arms_of(levels: Iterable[str]) -> set[str]:
    """Return the names by which arms can be picked, from those of their folders."""
    return {name for level in levels for name in (level, level.partition(",")[0])}


def _without_levels(arms: Iterable[str]) -> list[str]:
    """Return the arms alone, in alphabetical order; with their swept values they can be too many to be read."""
    return sorted({arm.partition(",")[0] for arm in arms})


def pick(runs: Sequence[Run], words: Sequence[str]) -> list[Run]:
    """Return the runs that any word names: an arm, a cell, a run's name below the sweep's folder, or its directory.

    Raises:
        ConfigError: for a word that names none.
    """
    chosen: dict[Path, None] = {}
    for word in words:
        found = [run.run_dir for run in runs if _is_named(run, word)]
        if not found:
            arms, cells = arms_of(run.arm for run in runs), {run.cell for run in runs}
            named = ", ".join([*_without_levels(arms), *sorted(cells)])
            raise ConfigError(
                f"--only is {word}; it must be an arm or a cell of the sweep: {named}, or a run such as {runs[0].name}."
                f"{suggestion(word, sorted(arms | cells))}"
            )
        chosen |= dict.fromkeys(found)
    return [run for run in runs if run.run_dir in chosen]


def _is_named(run: Run, word: str) -> bool:
    name = word.rstrip("/")
    is_path = Path(name).is_absolute() or "/" in name
    return (
        name in (run.cell, run.name, f"{run.cell}/{run.arm}")
        or is_of_arm(run.arm, name)
        or (is_path and Path(name).resolve() in (run.run_dir.resolve(), *run.run_dir.resolve().parents[:2]))
    )
