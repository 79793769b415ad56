"""What a run directory, and the journal of its sweep, say about a run, before anything is concluded from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from adabatch.errors import EXIT_SEGMENT_END
from adabatch.rundir.attempts import Attempt, read_attempts
from adabatch.rundir.clock import file_system_now
from adabatch.rundir.files import RunDir
from adabatch.rundir.heartbeat import STALE_SECONDS, Beat, read_beat
from adabatch.rundir.job_ends import JobEnd, read_job_ends
from adabatch.rundir.journal import Journal, Refusal, Submission, sweep_folder_of
from adabatch.rundir.outcome import read_summary
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.rundir.states import State

#: States of a summary written at the end of a run.
_ENDED = (State.DONE.value, State.FAILED.value, State.PREEMPTED.value, State.SEGMENT_END.value)


@dataclass(frozen=True)
class Launched:
    """What a sweep's journal says about a run.

    Attributes:
        sweep_folder: the folder of the sweep.
        submission: the last one that was accepted.
        logs: the folder with the logs of its jobs.
        job_ends: how jobs of the sweep ended according to the batch system, by id, of those that anybody asked for.
        refusal: why the last request was refused, if it was.
        cancelled_at: when the run was last cancelled, in seconds since 1970 by the clock of the file system; 0 if
            never.
    """

    sweep_folder: Path | None = None
    submission: Submission | None = None
    logs: Path | None = None
    job_ends: Mapping[str, JobEnd] = field(default_factory=dict)
    refusal: Refusal | None = None
    cancelled_at: float = 0.0


class Evidence:
    """What a run directory, and the journal of its sweep, say about a run. Files are read on demand.

    Args:
        path: the run directory; it need not exist.
        launched: what the journal says.

    Attributes:
        ended_job_id: a job that has ended according to the batch system, so its heartbeat no longer counts.
    """

    def __init__(self, path: Path, launched: Launched | None = None) -> None:
        self.run_dir = RunDir(path)
        self._launched = launched or Launched()
        self.sweep_folder = self._launched.sweep_folder
        self.submission = self._launched.submission
        self.ended_job_id: str | None = None

    @cached_property
    def files(self) -> frozenset[str]:
        """The names of the existing files."""
        try:
            return frozenset(os.listdir(self.run_dir.path))
        except OSError:
            return frozenset()

    def has(self, file: Path) -> bool:
        """Return whether one of the directory's files exists."""
        return file.name in self.files

    @cached_property
    def attempts(self) -> list[Attempt]:
        """The trainer starts by jobs, oldest first."""
        return read_attempts(self.run_dir.path) if self.has(self.run_dir.attempts) else []

    @property
    def last_attempt(self) -> Attempt | None:
        """The latest start."""
        return self.attempts[-1] if self.attempts else None

    @cached_property
    def beat(self) -> Beat | None:
        """The heartbeat."""
        return read_beat(self.run_dir.progress) if self.has(self.run_dir.progress) else None

    @cached_property
    def _last_summary(self) -> dict[str, Any]:
        return read_summary(self.run_dir) if self.has(self.run_dir.summary) else {}

    @property
    def summary(self) -> dict[str, Any]:
        """The summary of the last attempt; empty while there is only that of an earlier one."""
        return {} if self._precedes_last_start(self.run_dir.summary) else self._last_summary

    @property
    def has_failed(self) -> bool:
        """Whether ``FAILED`` is of the last attempt."""
        return self.has(self.run_dir.failed) and not self._precedes_last_start(self.run_dir.failed)

    def _precedes_last_start(self, file: Path) -> bool:
        """Whether a file is older than the last start; both are dated by the clock of the file system."""
        last = self.last_attempt
        return last is not None and 0 < self._written_at(file) < last.started_at

    @property
    def was_preempted(self) -> bool:
        """Whether a signal stopped the run and its state was saved."""
        return self.summary.get("state") == State.PREEMPTED.value

    @property
    def ended_a_segment(self) -> bool:
        """Whether the run saved its state at a boundary, for another number of ranks to go on."""
        return self.summary.get("state") == State.SEGMENT_END.value

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody cancelled the run, and it was neither submitted nor started since."""
        at = self._launched.cancelled_at
        last = self.last_attempt
        newest = max(self.submission.time if self.submission else 0.0, last.started_at if last else 0.0)
        return at > newest

    @property
    def refusal(self) -> Refusal | None:
        """Why the run's last request was refused, unless it was accepted since."""
        return self._launched.refusal

    @property
    def job_end(self) -> JobEnd | None:
        """How the job of the last submission ended, as somebody learnt from the batch system after its last start."""
        end, last = self._launched.job_ends.get(self.job_id or ""), self.last_attempt
        is_old = end is None or self.submission is None or end.recorded_at < self.submission.time
        return None if is_old or (end and last and end.recorded_at < last.started_at) else end

    @property
    def job_id(self) -> str | None:
        """The batch job of the last submission; in a chain the one that trains or comes next."""
        chain, last = self.submission.chain if self.submission else (), self.last_attempt
        if last is None or last.job_id not in chain:
            return self.submission.job_id if self.submission else None
        place = chain.index(last.job_id) + self._has_ended_segment(last)
        return chain[min(place, len(chain) - 1)]

    @staticmethod
    def _has_ended_segment(attempt: Attempt) -> bool:
        return attempt.end is not None and attempt.end.exit_status == EXIT_SEGMENT_END

    @property
    def waits_in_local_queue(self) -> bool:
        """Whether a live queue on this machine has yet to start the run."""
        return self._is_waiting and self.submission is not None and self.submission.waits_in_queue

    @property
    def waits_in_batch_system(self) -> bool:
        """Whether a batch system accepted the run and has yet to start it, for the first time or again."""
        return self.job_id is not None and (self._is_waiting or self.was_requeued)

    @property
    def was_requeued(self) -> bool:
        """Whether the last attempt was stopped by its job, which the batch system starts again."""
        last = self.last_attempt
        end = last.end if last is not None else None
        return end is not None and end.stopped_by is not None and not end.gave_up

    @property
    def _is_waiting(self) -> bool:
        last = self.last_attempt
        if last is None or self.submission is None:
            return self.submission is not None
        awaits_next_job = self._has_ended_segment(last) and last.job_id in self.submission.chain[:-1]
        return awaits_next_job or last.started_at < self.submission.time

    @cached_property
    def job_log(self) -> Path | None:
        """The error log of the run's last job."""
        last = self.last_attempt
        job_id = self.job_id or (last.log_id if last else None)
        if self._launched.logs is None or job_id is None:
            return None
        path = self._launched.logs / f"{job_id}_0_log.err"
        return path if path.exists() else None

    @property
    def is_running(self) -> bool:
        """Whether a process on this host trains the run, or its last sign of life is recent and no end was recorded."""
        last = self.last_attempt
        if last is not None and last.end is None and self.job_id is None and last.job.is_alive:
            return True
        return any(map(self._is_of_now, self._signs))

    def _is_of_now(self, sign: _SignOfLife) -> bool:
        if abs(self.seconds_since(sign)) > STALE_SECONDS or self._has_ended_since(sign):
            return False
        if sign.job_id is not None and sign.job_id == self.ended_job_id:
            return False
        return sign.process.is_alive or not sign.process.is_of_this_host

    @cached_property
    def _signs(self) -> list[_SignOfLife]:
        """The signs of life: a heartbeat, and the start of an attempt without a recorded end."""
        signs = []
        if self.beat is not None and self.beat.time is not None:
            signs.append(_SignOfLife(self.beat.time, self.run_dir.progress, self.beat.process, self.beat.job_id))
        last = self.last_attempt
        if last is not None and last.end is None:
            signs.append(_SignOfLife(last.started_at, self.run_dir.attempts, last.job, last.job_id))
        return signs

    @property
    def last_sign(self) -> _SignOfLife | None:
        """The last sign of life."""
        return min(self._signs, key=self.seconds_since, default=None)

    def seconds_since(self, sign: _SignOfLife) -> float:
        """Return the age of a sign of life by the clock of the file system.

        One that is dated ahead of it, by a machine whose clock is wrong, is as old as its file.
        """
        age = self._now - sign.time
        return age if age >= -STALE_SECONDS else self._now - self._written_at(sign.file)

    @cached_property
    def _now(self) -> float:
        return file_system_now(self.run_dir.path)

    def _has_ended_since(self, sign: _SignOfLife) -> bool:
        """Whether an end was recorded after a sign of life."""
        last = self.last_attempt
        if last is not None and last.end is not None and sign.time <= last.end.ended_at:
            return True
        ends = [self.run_dir.failed] if self.has(self.run_dir.failed) else []
        ends += [self.run_dir.summary] if self._last_summary.get("state") in _ENDED else []
        # The heartbeat's file is dated by the same clock as the others, whatever the clock of its writer.
        since = self._written_at(sign.file) if sign.file == self.run_dir.progress else sign.time
        return any(since <= self._written_at(file) for file in ends)

    def _written_at(self, file: Path) -> float:
        try:
            return os.lstat(file).st_mtime if self.has(file) else 0.0
        except OSError:
            return 0.0


@dataclass(frozen=True)
class _SignOfLife:
    """When a process of a run was known to be alive.

    Attributes:
        time: seconds since 1970, by the clock of the file system.
        file: the one that says so.
    """

    time: float
    file: Path
    process: ProcessIdentity
    job_id: str | None


def collect_evidence(runs: list[Path]) -> list[Evidence]:
    """Return the evidence of run directories; the journal of a sweep is read once."""
    sweeps: dict[Path, _Sweep] = {}
    found = []
    for path in runs:
        folder = sweep_folder_of(path)
        if folder is not None and folder not in sweeps:
            sweeps[folder] = _Sweep(folder)
        launched = sweeps[folder].launched(path.relative_to(folder).as_posix()) if folder is not None else None
        found.append(Evidence(path, launched))
    return found


class _Sweep:
    """The journal of a sweep, and the ends of its jobs, read once."""

    def __init__(self, folder: Path) -> None:
        journal = Journal(folder)
        self._folder = folder
        self._logs = journal.logs
        self._submissions = journal.latest_submissions()
        self._refusals = journal.refusals()
        self._cancellations = journal.cancellations()
        self._job_ends = read_job_ends(folder)

    def launched(self, name: str) -> Launched:
        """Return what is known of a run, by its path below the sweep's folder."""
        submission = self._submissions.get(name)
        return Launched(
            self._folder,
            submission,
            self._logs / submission.logs if submission else None,
            self._job_ends,
            self._refusals.get(name),
            self._cancellations.get(name, 0.0),
        )
