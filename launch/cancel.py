"""Stops queued and running runs: those of a sweep, of a part of it, or a single one."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

from adabatch.errors import ConfigError
from adabatch.rundir.files import find_runs
from adabatch.rundir.journal import LAUNCH_FOLDER, Journal, Submission, sweep_folder_of
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.terminal import complain
from launch.slurm import Queue, SlurmError, call, compact_ids
from launch.slurm_throttle import share_what_ended
from launch.status import RunStatus, open_local_jobs, status_of

_IDS_PER_CALL = 200


def cancel(folder: Path) -> int:
    """Cancel the queued and running runs at or below a folder; return how many there were.

    Args:
        folder: a sweep's folder, a part of it, or a run directory.

    Raises:
        ConfigError: if it is no part of a submitted sweep, SLURM refuses, or a run shares its job with others.
    """
    sweep = folder if (folder / LAUNCH_FOLDER).is_dir() else sweep_folder_of(folder)
    runs = find_runs(folder)
    if sweep is None or not (runs or folder == sweep):
        raise ConfigError(
            f"{folder} is no part of a submitted sweep; cancel takes runs/SWEEP, a folder in it, or a run directory."
        )
    journal = Journal(sweep)
    with journal.locked(lambda: print("another submission of this sweep is in progress; waiting for it", flush=True)):
        if folder == sweep:
            return _cancel_jobs(journal, None) + stop_queues(journal)
        names = {run.relative_to(sweep).as_posix() for run in runs}
        return _cancel_jobs(journal, names) + _stop_local(journal, runs)


def _cancel_jobs(journal: Journal, names: Collection[str] | None) -> int:
    """Cancel the jobs of some runs, or all that a submission started; return how many were live."""
    submissions = {name: one for name, one in journal.latest_submissions().items() if one.job_id}
    chosen = submissions if names is None else {name: one for name, one in submissions.items() if name in names}
    job_ids = {job_id for one in chosen.values() for job_id in one.chain}
    queue = Queue.ask(job_ids)
    if job_ids and not queue.reached:
        raise SlurmError("squeue is not responding; nothing was cancelled.")
    live = sorted(job_id for job_id in job_ids if queue.is_live(job_id))
    _refuse_shared(live, submissions, chosen)
    words = compact_ids(live)
    for start in range(0, len(words), _IDS_PER_CALL):
        call(["scancel", *words[start : start + _IDS_PER_CALL]])
    stopped = [name for name, one in chosen.items() if not set(one.chain).isdisjoint(live)]
    if stopped:
        journal.record_cancellation(stopped)
    if live and names is not None:
        share_what_ended(journal)
    return len(live)


def _refuse_shared(live: Sequence[str], submissions: dict[str, Submission], chosen: Collection[str]) -> None:
    """Raise ConfigError if a job to cancel also trains runs that are not to be cancelled."""
    for name, one in submissions.items():
        shared = sorted(set(one.chain).intersection(live))
        if shared and name not in chosen:
            raise ConfigError(
                f"job {shared[0]} also trains {name}; runs that share a job (cluster.runs_per_job, cluster.block) "
                "can only be cancelled together: name a folder that holds all of them."
            )


def stop_queues(journal: Journal) -> int:
    """Ask the queues and jobs on this machine to stop; trainers save their state first. Return the runs stopped."""
    runs = find_runs(journal.sweep_folder)
    stopped = _local(status_of(runs, journal.sweep_folder))
    _record(journal, stopped)
    for process in {*journal.live_queues(), *open_local_jobs(runs)}:
        _stop(process)
    return len(stopped)


def _stop_local(journal: Journal, runs: list[Path]) -> int:
    """Stop some runs on this machine; their queue goes on with the others, and passes over those that wait."""
    stopped = _local(status_of(runs, journal.sweep_folder))
    _record(journal, stopped)
    for process in set(open_local_jobs(runs)):
        _stop(process)
    return len(stopped)


def _local(statuses: Sequence[RunStatus]) -> list[RunStatus]:
    return [status for status in statuses if status.job_id is None and status.state.is_active]


def _record(journal: Journal, stopped: Sequence[RunStatus]) -> None:
    if stopped:
        journal.record_cancellation([status.name for status in stopped])


def _stop(process: ProcessIdentity) -> None:
    """Ask a process to stop, if the record of it proves that it is one of ours."""
    assert process.pid is not None
    if not process.is_proven_alive:
        sentence = (
            f"process {process.pid} is left alone: what names it does not say when it started, so it may be another"
        )
        complain(sentence)
        return
    try:
        os.kill(process.pid, signal.SIGTERM)
    except ProcessLookupError:  # it has just ended
        pass
    except PermissionError:
        complain(f"process {process.pid} is left alone: it belongs to somebody else")
