"""What became of each run: from the run directories alone, and better with SLURM's word."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.errors import ConfigError
from adabatch.run_dir import find_runs
from launch.bookkeeping import ATTEMPTS_FILE, LAUNCH_FOLDER, LaunchFolder, Record, read_lines
from launch.job import STOPPED, TIME_LIMIT
from launch.processes import is_alive
from launch.slurm import JobState, Queue
from launch.states import State

#: A heartbeat comes about every second; after so many without one, and no process or job, the run is lost.
STALE_SECONDS = 60.0
_NUM_EPOCHS = re.compile(rb"^num_epochs: (\d+)", re.MULTILINE)
_JOB_ENDS = {
    "TIMEOUT": State.TIMED_OUT,
    "DEADLINE": State.TIMED_OUT,
    "CANCELLED": State.CANCELLED,
    "NODE_FAIL": State.NODE_FAILURE,
    "BOOT_FAIL": State.NODE_FAILURE,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "PREEMPTED": State.PREEMPTED,
}
_MEMORY_WORDS = ("exceeded memory limit", "oom-kill", "oom_kill", "out-of-memory handler", "Out Of Memory")


@dataclass(frozen=True)
class RunStatus:
    """One run's state and what is known of it; None where it is not.

    Attributes:
        run_dir: its folder.
        name: the folder below the one that was asked for.
        attempts: how often a trainer was started.
        epoch: finished epochs if the run is over, else the current one.
        eta_seconds: at the pace so far.
        log: the file that tells most.
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


@dataclass
class _Evidence:
    """What a run directory holds."""

    path: Path
    files: set[str]
    attempts: list[Record]
    progress: Record
    submission: Record | None = None
    job_id: str | None = None
    job: JobState | None = None

    @property
    def starts(self) -> list[Record]:
        return [record for record in self.attempts if record.get("event") == "start"]

    @property
    def last(self) -> Record | None:
        return self.attempts[-1] if self.attempts else None

    def json(self, name: str) -> Record:
        return _read_json(self.path / name) if name in self.files else {}

    def text(self, name: str) -> str:
        if name not in self.files:
            return ""
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:  # an attempt that starts has taken it away since
            return ""


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
    """Return the states of run directories; one that does not exist yet is missing."""
    evidence = [_collect(path) for path in runs]
    submissions: dict[Path, dict[str, Record]] = {}
    for item in evidence:
        sweep = _sweep_folder(item.path)
        if sweep is not None:
            if sweep not in submissions:
                submissions[sweep] = latest_submissions(LaunchFolder(sweep).records())
            item.submission = submissions[sweep].get(item.path.relative_to(sweep).as_posix())
            item.job_id = None if item.submission is None else item.submission["job_id"]
    queue = Queue.ask({item.job_id for item in evidence if item.job_id is not None})
    return [_judge(item, queue, folder) for item in evidence]


def latest_submissions(records: list[Record]) -> dict[str, Record]:
    """Return by run the last submission: when, to which job or local queue."""
    latest: dict[str, Record] = {}
    for record in records:
        if record.get("event") == "accepted":
            for job_id, names in record["jobs"].items():
                latest.update({name: {**record, "job_id": job_id} for name in names})
        elif record.get("event") == "local_end":
            for submission in latest.values():
                submission["ended"] = submission.get("ended") or submission["logs"] == record["logs"]
        elif record.get("event") == "local":
            latest.update({name: {**record, "job_id": None} for name in record["runs"]})
    return latest


def _sweep_folder(path: Path) -> Path | None:
    return next((parent for parent in path.parents if (parent / LAUNCH_FOLDER).is_dir()), None)


def _collect(path: Path) -> _Evidence:
    try:
        files = set(os.listdir(path))
    except FileNotFoundError:
        files = set()
    attempts = read_lines(path / ATTEMPTS_FILE) if ATTEMPTS_FILE in files else []
    progress = _read_json(path / "progress.json") if "progress.json" in files else {}
    return _Evidence(path, files, attempts, progress)


def _read_json(path: Path) -> Record:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return values if isinstance(values, dict) else {}


def _judge(item: _Evidence, queue: Queue, folder: Path) -> RunStatus:
    item.job = queue.state(item.job_id) if item.job_id is not None else None
    state, cause = _state(item)
    summary = item.json("summary.json") if state not in (State.RUNNING, State.PENDING) else {}
    epoch, num_epochs = _epochs(item, summary, state)
    is_below = folder in item.path.parents
    return RunStatus(
        run_dir=item.path,
        name=item.path.relative_to(folder).as_posix() if is_below else item.path.as_posix(),
        state=state,
        cause=cause,
        attempts=len(item.starts),
        job_id=item.job_id,
        epoch=epoch,
        num_epochs=num_epochs,
        eta_seconds=_eta_seconds(item.progress) if state is State.RUNNING else None,
        log=_log(item, state),
    )


def _state(item: _Evidence) -> tuple[State, str | None]:
    """Return the state and its cause. Living evidence goes before what earlier attempts left behind."""
    if "DONE" in item.files:
        return State.DONE, None
    if item.job is not None and (item.job.waits or item.job.works):
        return (State.PENDING if item.job.waits else State.RUNNING), item.job.reason
    if _runs_here(item):
        return State.RUNNING, None
    if _waits_in_local_queue(item):
        return State.PENDING, None
    if item.job is not None and not _ended_by_itself(item):
        return _job_end(item, item.job)
    return _state_of_files(item)


def _runs_here(item: _Evidence) -> bool:
    """Return whether a local process works on the run, or its heartbeat is fresh."""
    last = item.last
    if last is not None and last.get("event") == "end":
        return False
    if last is not None and item.job_id is None and is_alive(last):
        return True
    beats = item.progress.get("time")
    fresh = isinstance(beats, int | float) and time.time() - beats <= STALE_SECONDS
    if not fresh or _is_of_ended_job(item):
        return False
    return _belongs_to_living(item) and "FAILED" not in item.files and not _is_preempted(item)


def _is_of_ended_job(item: _Evidence) -> bool:
    """Return whether the heartbeat came from the run's job, which SLURM says has ended since."""
    return item.job is not None and item.job.has_ended and item.progress.get("job_id") == item.job_id


def _belongs_to_living(item: _Evidence) -> bool:
    """Return False if the heartbeat's process was on this host and is gone."""
    import socket

    here = item.progress.get("host") == socket.gethostname()
    return not here or is_alive({"host": item.progress["host"], "pid": item.progress.get("pid")})


def _waits_in_local_queue(item: _Evidence) -> bool:
    submission = item.submission
    if submission is None or submission.get("event") != "local" or submission.get("ended") or not is_alive(submission):
        return False
    return not any(record["time"] >= submission["time"] for record in item.attempts)


def _is_preempted(item: _Evidence) -> bool:
    return item.json("summary.json").get("state") == "preempted"


def _ended_by_itself(item: _Evidence) -> bool:
    """Return whether the last attempt's end is on record, so that the run directory knows more than SLURM."""
    last = item.last
    return (
        last is not None
        and last.get("event") == "end"
        and item.job is not None
        and item.job.state in ("COMPLETED", "FAILED")
    )


def _job_end(item: _Evidence, job: JobState) -> tuple[State, str | None]:
    """Return how SLURM says that the job ended, for a run whose own record does not say it."""
    state = _JOB_ENDS.get(job.state)
    if state is not None:
        return state, f"SLURM: {job.state}" + (f" ({job.reason})" if job.reason else "")
    log = _job_log(item)
    tail = _tail(log) if log is not None else ""
    if any(word in tail for word in _MEMORY_WORDS):
        return State.OUT_OF_MEMORY, _last_line(tail, _MEMORY_WORDS)
    if job.state == "UNKNOWN":
        return _state_of_files(item)
    if "FAILED" in item.files:
        return _failed(item)
    ending = f", exit code {job.exit_code}" if job.exit_code else ""
    return State.FAILED, f"SLURM: {job.state}{ending}: {_last_line(tail) or 'the log is empty'}"


def _state_of_files(item: _Evidence) -> tuple[State, str | None]:
    last = item.last
    if last is not None and last.get("event") == "end":
        return _attempt_end(item, last)
    if "FAILED" in item.files:
        return _failed(item)
    if _is_preempted(item):
        return State.PREEMPTED, str(item.json("summary.json").get("cause") or "") or None
    if last is not None:
        return State.LOST, f"the job on {last.get('host')} (process {last.get('pid')}) is gone without a word"
    if item.progress:
        return State.LOST, f"no sign of life for {time.time() - item.progress.get('time', 0):.0f} s"
    return State.MISSING, None


def _attempt_end(item: _Evidence, last: Record) -> tuple[State, str | None]:
    stopped_by, status = last.get("stopped_by"), last.get("exit_status")
    if stopped_by is not None:
        used_up = f", {len(item.starts) - 1} retries used up" if last.get("gave_up") else ""
        state = State.TIMED_OUT if stopped_by == TIME_LIMIT else State.PREEMPTED
        return state, f"stopped by a {stopped_by}{used_up}"
    if "FAILED" in item.files:
        return _failed(item)
    if status in STOPPED:
        return State.PREEMPTED, str(item.json("summary.json").get("cause") or "stopped by a signal")
    if isinstance(status, int) and status < 0:
        return State.FAILED, f"the trainer was ended by {signal.Signals(-status).name}"
    log = _job_log(item)
    return State.FAILED, _last_line(_tail(log) if log else "") or f"the trainer exited with {status}"


def _failed(item: _Evidence) -> tuple[State, str]:
    cause = item.text("FAILED").split("\n", 1)[0].strip() or "FAILED is empty"
    return (State.OUT_OF_MEMORY if cause.startswith("OutOfMemory") else State.FAILED), cause


def _epochs(item: _Evidence, summary: Record, state: State) -> tuple[int | None, int | None]:
    num_epochs = summary.get("num_epochs") or item.progress.get("num_epochs")
    if num_epochs is None and "config.yaml" in item.files:
        match = _NUM_EPOCHS.search((item.path / "config.yaml").read_bytes())
        num_epochs = int(match.group(1)) if match else None
    epoch = item.progress.get("epoch") if state is State.RUNNING else summary.get("epochs")
    return epoch, num_epochs


def _eta_seconds(progress: Record) -> float | None:
    """Return the seconds left at the mean pace since the start of the run."""
    try:
        epochs = progress["epoch"] - 1 + progress["samples_in_epoch"] / progress["epoch_samples"]
        seconds = progress.get("wall_seconds", progress["elapsed_seconds"])
        return seconds * (progress["num_epochs"] - epochs) / epochs
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _job_log(item: _Evidence) -> Path | None:
    """Return the error log of the run's last job, on SLURM or on this machine."""
    sweep = _sweep_folder(item.path)
    job_id = item.job_id or (item.starts[-1].get("log_id") if item.starts else None)
    if sweep is None or job_id is None or item.submission is None:
        return None
    path = LaunchFolder(sweep).logs / str(item.submission["logs"]) / f"{job_id}_0_log.err"
    return path if path.exists() else None


def _log(item: _Evidence, state: State) -> Path | None:
    if state in (State.FAILED, State.OUT_OF_MEMORY) and "FAILED" in item.files:
        return item.path / "FAILED"
    return item.path / "log.txt" if "log.txt" in item.files else _job_log(item)


def _tail(path: Path, size: int = 8192) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode("utf-8", errors="replace")


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in reversed(text.splitlines()) if line.strip())


def _last_line(text: str, words: tuple[str, ...] = ("",)) -> str | None:
    return next((line for line in _lines(text) if any(word in line for word in words)), None)
