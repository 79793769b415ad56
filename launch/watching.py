"""Reads the status of runs again and again, gently on SLURM, until nothing changes any more by itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from adabatch.rundir.journal import LAUNCH_FOLDER, Journal
from launch.arguments import EVERY_SECONDS
from launch.slurm import ASK_EVERY_SECONDS, Slurm
from launch.slurm_throttle import share_what_ended
from launch.status import RunStatus, ignore, read_all

#: SLURM is asked after twice as long each time that nothing has changed, or that it is silent, up to this long.
_SLURM_MOST_SECONDS = 60.0


def watch(
    folders: Sequence[Path], seconds: float = EVERY_SECONDS, on_problem: Callable[[str], None] = ignore
) -> Iterator[dict[Path, list[RunStatus]]]:
    """Yield the status of the runs by folder, the last time once none is waiting, running or unknown.

    Args:
        seconds: between two readings.
        on_problem: called with a sentence about each folder without runs, the first time.

    Raises:
        ConfigError: if no folder has runs.
    """
    least = max(ASK_EVERY_SECONDS, seconds)
    slurm = Slurm(least)
    before: list[RunStatus] = []
    while True:
        asked_at = slurm.asked_at
        found = read_all(folders, slurm, on_problem)
        on_problem = ignore
        yield found
        statuses = list(itertools.chain(*found.values()))
        if not any(status.state.may_change for status in statuses):
            return
        if slurm.asked_at != asked_at:
            keep_to_caps(folders, slurm)
            longer = min(_SLURM_MOST_SECONDS, 2 * slurm.every_seconds)
            slurm.every_seconds = longer if slurm.is_silent or _states(statuses) == _states(before) else least
            before = statuses
        time.sleep(max(0.2, seconds))


def keep_to_caps(folders: Sequence[Path], slurm: Slurm) -> None:
    """Give the arrays of each whole sweep among some folders what ended ones leave of ``cluster.max_concurrent_jobs``.

    Args:
        slurm: it was asked about these folders. Unless it knows a job that has not ended, there is nothing to give.
    """
    if any(state.waits or state.works for state in slurm.last_answer.states.values()):
        for folder in folders:
            if (folder / LAUNCH_FOLDER).is_dir():
                share_what_ended(Journal(folder))


def _states(statuses: list[RunStatus]) -> list[tuple[str, str]]:
    return [(status.name, status.state.value) for status in statuses]
