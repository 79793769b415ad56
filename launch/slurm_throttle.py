"""Shares the cap on concurrent jobs among a sweep's job arrays, since SLURM knows one only within an array."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adabatch.rundir.journal import Journal
from adabatch.terminal import counted
from launch.slurm import Queue, SlurmError, call


@dataclass(frozen=True)
class Share:
    """What one array may do.

    Attributes:
        throttle: how many of its jobs may run at once; None: any number.
        after: the place of the array that must have ended before; None: it may start at once.
    """

    throttle: int | None
    after: int | None = None


def shares(sizes: Sequence[int], cap: int | None) -> list[Share]:
    """Split a cap among arrays, in their order of submission.

    As many arrays as the cap allows work at the same time; a later one follows one of these and takes over its share,
    so that a job that takes long holds up its own share only. What an array has no jobs for goes to the others.

    Args:
        sizes: of each array, the jobs that have not ended.
    """
    if cap is None:
        return [Share(None) for _ in sizes]
    num_lanes = min(cap, len(sizes))
    lanes = _fill(sizes[:num_lanes], cap)
    later = [Share(lanes[place % num_lanes], place - num_lanes) for place in range(num_lanes, len(sizes))]
    return [Share(throttle) for throttle in lanes] + later


def _fill(sizes: Sequence[int], cap: int) -> list[int]:
    """Split a cap evenly, but give no array more than it has jobs for; each gets at least one."""
    parts = [0] * len(sizes)
    for _ in range(cap):
        hungry = [place for place, part in enumerate(parts) if part < max(1, sizes[place])]
        if not hungry:
            break
        parts[min(hungry, key=lambda place: parts[place])] += 1
    return parts


def live_arrays(job_ids: Sequence[str], queue: Queue) -> dict[str, int]:
    """Return the arrays that are queued or running, oldest first, and how many of their jobs have not ended."""
    return dict(Counter(job_id.split("_")[0] for job_id in job_ids if queue.is_live(job_id)))


def share_what_ended(journal: Journal) -> list[str]:
    """Give the arrays of a sweep what ended ones leave of the cap on record; return a line for each change.

    SLURM is asked about all jobs, also those of runs that are done: such a job counts until it has ended, too. A
    submission under way shares by itself.
    """
    cap, job_ids = journal.cap, journal.accepted_job_ids()
    if cap is None or journal.unanswered_intents():
        return []
    queue = Queue.ask(job_ids, settled=job_ids)
    return rebalance(live_arrays(job_ids, queue), cap) if queue.reached else []


def rebalance(arrays: Mapping[str, int], cap: int | None, coming: Sequence[int] = ()) -> list[str]:
    """Give every array its share of the cap, where it has another one; return a line for each change.

    Args:
        arrays: of `live_arrays`.
        coming: the sizes of arrays that are about to be submitted, and get their share, too.
    """
    names = list(arrays)
    changed = []
    for name, share in zip(names, shares([*arrays.values(), *coming], cap), strict=False):
        waiting = _Waiting.of(name, names)
        if waiting is None:
            continue
        wanted = None if share.after is None else f"afterany:{names[share.after]}"
        with contextlib.suppress(SlurmError):  # it has just ended; else the next command sees to it
            if waiting.has_other_throttle(share.throttle, arrays[name]):
                call(["scontrol", "update", f"JobId={name}", f"ArrayTaskThrottle={share.throttle or 0}"])
                number = f"at most {counted(share.throttle, 'job')}" if share.throttle else "any number of jobs"
                changed.append(f"SLURM job {name}: {number} at once")
            if waiting.own_dependency != wanted:
                text = ",".join([*waiting.other_dependencies, *([wanted] if wanted else [])])
                call(["scontrol", "update", f"JobId={name}", f"Dependency={text}"])
    return changed


@dataclass(frozen=True)
class _Waiting:
    """The waiting part of an array: its throttle (None: a single job), what it waits for."""

    throttle: int | None
    own_dependency: str | None
    other_dependencies: list[str]

    def has_other_throttle(self, wanted: int | None, size: int) -> bool:
        """Return whether the array, which has so many jobs left, may run another number of them at once."""
        if self.throttle is None:
            return False
        if wanted is None:
            return 0 < self.throttle < size
        return self.throttle != wanted

    @staticmethod
    def of(name: str, ours: Sequence[str]) -> _Waiting | None:
        """Ask for an array; None if none of its jobs waits. A dependency on one of ours is not the user's."""
        try:
            lines = call(["scontrol", "--oneliner", "show", "job", name]).splitlines()
        except SlurmError:  # it has just ended
            return None
        for line in lines:
            values = dict(re.findall(r"(\w+)=(\S+)", line))
            if values.get("JobState") == "PENDING":
                throttle = values.get("ArrayTaskThrottle")
                given = re.sub(r"\([^)]*\)|_\*", "", values.get("Dependency", "")).split(",")
                parts = [part for part in given if part not in ("", "null")]
                own = [part for part in parts if part in {f"afterany:{other}" for other in ours}]
                others = [part for part in parts if part not in own]
                return _Waiting(int(throttle) if throttle else None, own[0] if own else None, others)
        return None
