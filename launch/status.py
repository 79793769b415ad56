"""The states of a sweep's runs: from `adabatch.rundir.state`, plus what SLURM reports about their jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.reading import Unreadable
from adabatch.rundir.attempts import read_attempts
from adabatch.rundir.causes import first_error, last_line
from adabatch.rundir.evidence import Evidence, collect_evidence
from adabatch.rundir.files import find_runs
from adabatch.rundir.job_ends import JobEnd, record_job_ends
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.rundir.state import describe, failure_state, read_state, state_of_ended
from adabatch.rundir.states import RETRY_STATES, State
from adabatch.rundir.time_left import RunSoFar, TimeLeft, time_left
from launch.slurm import JobState, Queue, Slurm

_JOB_ENDS = {
    "TIMEOUT": State.TIMEOUT,
    "DEADLINE": State.TIMEOUT,
    "CANCELLED": State.CANCELLED,
    "NODE_FAIL": State.NODE_FAILURE,
    "BOOT_FAIL": State.NODE_FAILURE,
    "LAUNCH_FAILED": State.NODE_FAILURE,
    "RECONFIG_FAIL": State.NODE_FAILURE,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "PREEMPTED": State.PREEMPTED,
}
_MEMORY_MESSAGES = ("exceeded memory limit", "oom-kill", "oom_kill", "out-of-memory handler", "Out Of Memory")
#: The exit code of a job whose log could not be opened on its node.
_NO_LOG = "0:53"


@dataclass(frozen=True)
class RunStatus:
    """One run's state and related facts; None if unknown.

    Attributes:
        run_dir: its folder.
        name: its path below the requested folder.
        arm: name of the arm's folder in a sweep.
        attempts: how often a job started its trainer.
        epoch: the current one if the run is running, else the number of finished ones.
        eta_seconds: at the pace so far.
        log: the most informative log file.
        doing: what a running run does, such as ``update 120``.
        fraction: the part of its epochs that a run has done which runs or waits, from 0 to 1.
    """

    run_dir: Path
    name: str
    arm: str | None
    state: State
    cause: str | None
    attempts: int
    job_id: str | None
    epoch: int | None
    num_epochs: int | None
    eta_seconds: float | None
    log: Path | None
    doing: str | None = None
    fraction: float | None = None

    @property
    def so_far(self) -> RunSoFar:
        """What an estimate of the time left needs of it."""
        return RunSoFar(self.run_dir, self.state, self.fraction, self.eta_seconds)

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


def read_status(folder: Path, slurm: Slurm | None = None) -> list[RunStatus]:
    """Return the state of every run at or below a folder.

    Raises:
        ConfigError: if there is no such folder, or no run in it.
    """
    return status_of(_runs_in(folder), folder, slurm)


def ignore(sentence: str) -> None:
    """Tell nobody."""


def read_all(
    folders: Sequence[Path], slurm: Slurm | None = None, on_problem: Callable[[str], None] = ignore
) -> dict[Path, list[RunStatus]]:
    """Return the states of the runs at or below each folder.

    Args:
        on_problem: called with a sentence about each folder without runs, which is left out.

    Raises:
        ConfigError: if no folder has runs.
    """
    runs: dict[Path, list[Path]] = {}
    problems = []
    for folder in folders:
        try:
            runs[folder] = _runs_in(folder)
        except ConfigError as error:
            problems.append(str(error))
    if not runs:
        raise ConfigError(" ".join(problems))
    for problem in problems:
        on_problem(problem)
    statuses = iter(_statuses([(path, folder) for folder, found in runs.items() for path in found], slurm or Slurm()))
    return {folder: list(itertools.islice(statuses, len(found))) for folder, found in runs.items()}


def _runs_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; it must be a sweep's folder or a run directory.")
    runs = find_runs(folder)
    if not runs:
        raise ConfigError(f"{folder} holds no run; it must be a sweep's folder or a run directory.")
    return runs


def status_of(runs: list[Path], folder: Path, slurm: Slurm | None = None) -> list[RunStatus]:
    """Return the states of run directories; one that does not exist is ``missing``.

    What SLURM says about ended jobs is written down for those who read files only.
    """
    return _statuses([(path, folder) for path in runs], slurm or Slurm())


def _statuses(runs: Sequence[tuple[Path, Path]], slurm: Slurm) -> list[RunStatus]:
    """Return the states of run directories, each given with the folder below which it is named."""
    evidence = collect_evidence([path for path, _ in runs])
    on_slurm = [item for item in evidence if item.job_id is not None and not item.has(item.run_dir.done)]
    settled = {item.job_id for item in on_slurm if item.job_id is not None and item.job_end is not None}
    queue = slurm.ask({item.job_id for item in on_slurm if item.job_id is not None}, settled)
    statuses, learnt = [], []
    for item, (_, folder) in zip(evidence, runs, strict=True):
        state, cause = _state_of(item, queue, slurm)
        statuses.append(_status(item, state, cause, folder))
        if item.job_id is not None and item.ended_job_id == item.job_id and item.job_end is None:
            learnt.append((item, JobEnd(item.job_id, state, cause)))
    _write_down(learnt)
    return statuses


def _write_down(learnt: Sequence[tuple[Evidence, JobEnd]]) -> None:
    by_sweep: dict[Path, dict[str, JobEnd]] = {}
    for item, end in learnt:
        if item.sweep_folder is not None and end.state not in (State.DONE, State.RUNNING):
            by_sweep.setdefault(item.sweep_folder, {})[end.job_id] = end
    for sweep, ends in by_sweep.items():
        with suppress(OSError, Unreadable):  # somebody else's folder, or a full disk: the next one asks SLURM again
            record_job_ends(sweep, list(ends.values()))


def _state_of(item: Evidence, queue: Queue | None, slurm: Slurm) -> tuple[State, str | None]:
    if queue is None or item.job_id is None or item.has(item.run_dir.done):
        found = read_state(item)
        return found.state, found.cause
    if queue.reached:
        return _state_with_job(item, queue.state(item.job_id))
    return _state_in_silence(item, slurm)


def _status(item: Evidence, state: State, cause: str | None, folder: Path) -> RunStatus:
    path = item.run_dir.path
    found = describe(item, state, cause)
    return RunStatus(
        run_dir=path,
        name=path.relative_to(folder).as_posix() if folder in path.parents else path.as_posix(),
        arm=path.parent.name if item.sweep_folder is not None else None,
        state=found.state,
        cause=found.cause,
        attempts=len(item.attempts),
        job_id=item.job_id,
        epoch=found.epoch,
        num_epochs=found.num_epochs,
        eta_seconds=found.eta_seconds,
        log=_log(item, found.state),
        doing=found.doing,
        fraction=found.fraction,
    )


def _state_with_job(item: Evidence, job: JobState) -> tuple[State, str | None]:
    """Return state and cause of a run that was submitted as a SLURM job."""
    if job.waits or job.works:
        return (State.PENDING if job.waits else State.RUNNING), job.reason
    if job.is_forgotten and item.is_running:  # asked of another cluster
        return State.RUNNING, None
    if job.has_ended:
        item.ended_job_id = item.job_id
    elif item.job_end is not None:
        found = read_state(item)
        return found.state, found.cause
    if item.is_running:
        return State.RUNNING, None
    last = item.last_attempt
    recorded_its_end = last is not None and last.end is not None and job.state in ("COMPLETED", "FAILED")
    if recorded_its_end and not item.waits_in_batch_system:
        return state_of_ended(item)
    return _job_end(item, job)


def _state_in_silence(item: Evidence, slurm: Slurm) -> tuple[State, str | None]:
    """Return state and cause of a run whose job SLURM does not tell about: from its files where they are sure."""
    found = read_state(item)
    last = item.last_attempt
    has_ended = last is not None and last.end is not None and not item.waits_in_batch_system
    is_sure = has_ended or item.has_failed or item.was_cancelled or item.job_end is not None
    if is_sure or found.state is State.RUNNING:
        return found.state, found.cause
    return State.UNKNOWN, slurm.silence_text


def _job_end(item: Evidence, job: JobState) -> tuple[State, str | None]:
    """Return state and cause according to SLURM, for a run that did not record how it ended."""
    state = _JOB_ENDS.get(job.state)
    if state is not None:
        return state, f"SLURM: {job.state}" + (f" ({job.reason})" if job.reason else "")
    log = item.job_log
    memory_line = last_line(log, _MEMORY_MESSAGES) if log is not None else None
    if memory_line is not None:
        return State.OUT_OF_MEMORY, memory_line
    if job.is_forgotten or not job.has_ended:
        state, cause = state_of_ended(item)
        if item.waits_in_batch_system and state is State.MISSING:
            return state, f"SLURM no longer knows job {item.job_id}, which never started"
        return state, cause
    if item.has_failed:
        return failure_state(item)
    ending = f", exit code {job.exit_code}" if job.exit_code else ""
    return State.FAILED, f"SLURM: {job.state}{ending}: {_last_words(item, job)}"


def _last_words(item: Evidence, job: JobState) -> str:
    """Return what a job's log says about its failure, or why it says nothing."""
    log = item.job_log
    error = first_error(log) if log is not None else None
    if error is not None:
        return error
    if job.exit_code == _NO_LOG:
        return f"the node could not write the job's log; it probably does not see {item.run_dir.path}"
    return "there is no log" if log is None else "the log is empty; cluster.setup may have ended the job"


def _log(item: Evidence, state: State) -> Path | None:
    files = item.run_dir
    if state in (State.FAILED, State.OUT_OF_MEMORY) and item.has(files.failed):
        return files.failed
    return files.log if item.has(files.log) else item.job_log


def time_left_of(statuses: Sequence[RunStatus]) -> TimeLeft:
    """Return how far runs are, and how long they take until none waits or trains any more."""
    return time_left([status.so_far for status in statuses])


def open_local_jobs(runs: Sequence[Path]) -> list[ProcessIdentity]:
    """Return the live jobs on this host that train some runs, including jobs of a killed queue."""
    lasts = [attempts[-1] for attempts in map(read_attempts, runs) if attempts]
    return [last.job for last in lasts if last.end is None and last.job_id is None and last.job.is_alive]
