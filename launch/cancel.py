"""Stops the queued and running jobs of a sweep."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from adabatch.errors import ConfigError
from adabatch.rundir.files import find_runs
from adabatch.rundir.journal import Journal
from adabatch.rundir.process_identity import ProcessIdentity
from launch.slurm import Queue, SlurmError, call
from launch.status import open_local_jobs, status_of

_IDS_PER_CALL = 200


def cancel(folder: Path) -> int:
    """Cancel the queued and running jobs of the sweep in a folder; return how many there were.

    Raises:
        ConfigError: if there is no such sweep, or SLURM refuses.
    """
    journal = Journal(folder)
    if not journal.folder.is_dir():
        raise ConfigError(f"{folder} is not the folder of a submitted sweep; cancel takes runs/SWEEP.")
    with journal.locked(lambda: print("another submission of this sweep is in progress; waiting for it", flush=True)):
        return _cancel_jobs(journal) + stop_queues(journal)


def _cancel_jobs(journal: Journal) -> int:
    job_ids = {submission.job_id for submission in journal.latest_submissions().values() if submission.job_id}
    queue = Queue.ask(job_ids)
    if job_ids and not queue.reached:
        raise SlurmError("squeue is not responding; nothing was cancelled.")
    live = sorted(job_id for job_id in job_ids if queue.is_live(job_id))
    for start in range(0, len(live), _IDS_PER_CALL):
        call(["scancel", *live[start : start + _IDS_PER_CALL]])
    return len(live)


def stop_queues(journal: Journal) -> int:
    """Ask the queues and jobs on this machine to stop; trainers save their state first. Return the runs stopped."""
    runs = find_runs(journal.sweep_folder)
    statuses = status_of(runs, journal.sweep_folder)
    stopped = sum(status.job_id is None and status.state.is_active for status in statuses)
    for process in {*journal.live_queues(), *open_local_jobs(runs)}:
        _stop(process)
    return stopped


def _stop(process: ProcessIdentity) -> None:
    """Ask a process to stop, if the record of it proves that it is one of ours."""
    assert process.pid is not None
    if not process.is_proven_alive:
        sentence = (
            f"process {process.pid} is left alone: what names it does not say when it started, so it may be another"
        )
        print(sentence, file=sys.stderr)
        return
    try:
        os.kill(process.pid, signal.SIGTERM)
    except ProcessLookupError:  # it has just ended
        pass
    except PermissionError:
        print(f"process {process.pid} is left alone: it belongs to somebody else", file=sys.stderr)
