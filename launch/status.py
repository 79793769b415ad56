"""The states of a sweep's runs: from `adabatch.rundir.state`, plus what SLURM reports about their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.rundir.attempts import read_attempts
from adabatch.rundir.files import find_runs
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.rundir.state import (
    Evidence,
    collect_evidence,
    describe,
    failure_state,
    last_line,
    read_state,
    state_of_ended,
)
from adabatch.rundir.states import State
from launch.slurm import JobState, Queue

_JOB_ENDS = {
    "TIMEOUT": State.TIMEOUT,
    "DEADLINE": State.TIMEOUT,
    "CANCELLED": State.CANCELLED,
    "NODE_FAIL": State.NODE_FAILURE,
    "BOOT_FAIL": State.NODE_FAILURE,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "PREEMPTED": State.PREEMPTED,
}
_MEMORY_MESSAGES = ("exceeded memory limit", "oom-kill", "oom_kill", "out-of-memory handler", "Out Of Memory")
#: The states whose runs a submission may start, as given to ``--retry``. A run in state unknown may be running.
RETRY_STATES = tuple(state for state in State if state not in (State.DONE, State.PENDING, State.RUNNING, State.UNKNOWN))


@dataclass(frozen=True)
class RunStatus:
    """One run's state and related facts; None if unknown.

    Attributes:
        run_dir: its folder.
        name: its path below the requested folder.
        attempts: how often a job started its trainer.
        epoch: the current one if the run is running, else the number of finished ones.
        eta_seconds: at the pace so far.
        log: the most informative log file.
    """

    run_dir: Path
    name: str
    state: State
    cause: str | None
    attempts: int
    job_id: str | None
    epoch: int | None
    num_epochs: int | None
    eta_seconds: float | None
    log: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        paths = {"run_dir": str(self.run_dir), "log": None if self.log is None else str(self.log)}
        return {**self.__dict__, "state": self.state.value, **paths}


def states_to_submit(retry: Sequence[str] | None) -> set[State]:
    """Return the states whose runs a submission starts: ``missing`` and those of ``--retry`` (default: all).

    Raises:
        ConfigError: for a word that is not a state to retry.
    """
    if retry is None:
        return set(RETRY_STATES)
    for word in retry:
        require(word in RETRY_STATES, "--retry", word, "a list of " + ", ".join(RETRY_STATES))
    return {State.MISSING, *(State(word) for word in retry)}


def read_status(folder: Path) -> list[RunStatus]:
    """Return the state of every run at or below a folder.

    Raises:
        ConfigError: if there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; it must be a sweep's folder or a run directory.")
    runs = find_runs(folder)
    if not runs:
        raise ConfigError(f"{folder} holds no run; it must be a sweep's folder or a run directory.")
    return status_of(runs, folder)


def status_of(runs: list[Path], folder: Path) -> list[RunStatus]:
    """Return the states of run directories; one that does not exist is ``missing``."""
    evidence = collect_evidence(runs)
    queue = Queue.ask({item.job_id for item in evidence if item.job_id is not None})
    return [_status(item, queue, folder) for item in evidence]


def _status(item: Evidence, queue: Queue, folder: Path) -> RunStatus:
    path = item.run_dir.path
    job = queue.state(item.job_id) if item.job_id is not None else None
    found = read_state(item) if job is None else describe(item, *_state_with_job(item, job))
    return RunStatus(
        run_dir=path,
        name=path.relative_to(folder).as_posix() if folder in path.parents else path.as_posix(),
        state=found.state,
        cause=found.cause,
        attempts=len(item.attempts),
        job_id=item.job_id,
        epoch=found.epoch,
        num_epochs=found.num_epochs,
        eta_seconds=found.eta_seconds,
        log=_log(item, found.state),
    )


def _state_with_job(item: Evidence, job: JobState) -> tuple[State, str | None]:
    """Return state and cause of a run that was submitted as a SLURM job."""
    if item.has(item.run_dir.done):
        return State.DONE, None
    if job.waits or job.works:
        return (State.PENDING if job.waits else State.RUNNING), job.reason
    if job.has_ended:
        item.ended_job_id = item.job_id
    if item.is_running:
        return State.RUNNING, None
    last = item.last_attempt
    recorded_its_end = last is not None and last.end is not None and job.state in ("COMPLETED", "FAILED")
    return state_of_ended(item) if recorded_its_end else _job_end(item, job)


def _job_end(item: Evidence, job: JobState) -> tuple[State, str | None]:
    """Return state and cause according to SLURM, for a run that did not record how it ended."""
    state = _JOB_ENDS.get(job.state)
    if state is not None:
        return state, f"SLURM: {job.state}" + (f" ({job.reason})" if job.reason else "")
    log = item.job_log
    memory_line = last_line(log, _MEMORY_MESSAGES) if log is not None else None
    if memory_line is not None:
        return State.OUT_OF_MEMORY, memory_line
    if job.state == "UNKNOWN":
        return state_of_ended(item)
    if item.has(item.run_dir.failed):
        return failure_state(item)
    ending = f", exit code {job.exit_code}" if job.exit_code else ""
    last_output = (last_line(log) if log is not None else None) or "the log is empty"
    return State.FAILED, f"SLURM: {job.state}{ending}: {last_output}"


def _log(item: Evidence, state: State) -> Path | None:
    files = item.run_dir
    if state in (State.FAILED, State.OUT_OF_MEMORY) and item.has(files.failed):
        return files.failed
    return files.log if item.has(files.log) else item.job_log


def open_local_jobs(runs: Sequence[Path]) -> list[ProcessIdentity]:
    """Return the live jobs on this host that train some runs, including jobs of a killed queue."""
    lasts = [attempts[-1] for attempts in map(read_attempts, runs) if attempts]
    return [last.job for last in lasts if last.end is None and last.job_id is None and last.job.is_alive]
