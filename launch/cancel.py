"""Stops what is left of a sweep."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from adabatch.errors import ConfigError
from adabatch.run_dir import find_runs
from launch.bookkeeping import ATTEMPTS_FILE, LAUNCH_FOLDER, LaunchFolder, read_lines
from launch.processes import is_alive
from launch.slurm import Queue, SlurmError, call
from launch.states import SETTLED
from launch.status import latest_submissions, status_of

_IDS_PER_CALL = 200


def cancel(folder: Path) -> int:
    """Cancel the queued and running jobs of a sweep's folder; return how many there were.

    Raises:
        ConfigError: if there is no such sweep, or SLURM refuses.
    """
    if not (folder / LAUNCH_FOLDER).is_dir():
        raise ConfigError(f"{folder} is no folder of a submitted sweep; cancel takes runs/SWEEP.")
    launch = LaunchFolder(folder)
    with launch.locked(lambda: print("a submission of this sweep is at work; waiting for it", flush=True)):
        return _cancel_jobs(launch) + stop_queues(launch)


def _cancel_jobs(launch: LaunchFolder) -> int:
    job_ids = {record["job_id"] for record in latest_submissions(launch.records()).values()} - {None}
    queue = Queue.ask(job_ids)
    if job_ids and not queue.reached:
        raise SlurmError("squeue does not answer; nothing was cancelled.")
    live = sorted(job_id for job_id in job_ids if queue.is_live(job_id))
    for start in range(0, len(live), _IDS_PER_CALL):
        call(["scancel", *live[start : start + _IDS_PER_CALL]])
    return len(live)


def stop_queues(launch: LaunchFolder) -> int:
    """Ask the queues and jobs of this machine to stop; trainers save their state first."""
    runs = find_runs(launch.sweep_folder)
    stopped = sum(
        status.job_id is None and status.state in SETTLED[1:] for status in status_of(runs, launch.sweep_folder)
    )
    # A job whose queue was killed works on; it is known by its last attempt.
    attempts = [read_lines(run / ATTEMPTS_FILE)[-1:] for run in runs]
    jobs = [last for lines in attempts for last in lines if last.get("event") == "start" and last.get("job_id") is None]
    for pid in {record["pid"] for record in [*launch.queues(), *jobs] if is_alive(record)}:
        with suppress(ProcessLookupError):  # it ends by itself just now
            os.kill(pid, signal.SIGTERM)
    return stopped
