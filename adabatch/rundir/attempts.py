"""``attempts.jsonl``: when a job started the trainer of a run, and how each attempt ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from adabatch.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED
from adabatch.rundir.files import RunDir
from adabatch.rundir.process_identity import ProcessIdentity
from adabatch.rundir.records import Record, append_record, read_records, record_time

#: Exit statuses of a process ended by SIGTERM or SIGHUP: a trainer that was asked to stop while it was still starting.
_ENDED_BY_SIGTERM, _ENDED_BY_SIGHUP = -15, -1
#: Exit statuses of a trainer that was asked to stop.
STOPPED_STATUSES = (EXIT_PREEMPTED, EXIT_INTERRUPTED, _ENDED_BY_SIGTERM, _ENDED_BY_SIGHUP)


class StoppedBy(StrEnum):
    """What made a job stop its trainer."""

    TIME_LIMIT = "time limit"
    PREEMPTION = "preemption"


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended.

    Attributes:
        exit_status: negative for a signal; None if unknown.
        stopped_by: see `StoppedBy`; None if the trainer was not stopped.
        gave_up: whether the job had used up its retries, so it is not requeued.
        ended_at: seconds since 1970; set when the end is recorded.
    """

    exit_status: int | None
    stopped_by: str | None
    gave_up: bool
    ended_at: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """One start of a run's trainer.

    Attributes:
        started_at: seconds since 1970.
        job_id: the batch system's id.
        log_id: the id in the names of the job's logs.
        end: None if not recorded.
    """

    started_at: float
    job: ProcessIdentity
    job_id: str | None
    log_id: str | None
    end: AttemptEnd | None = None


def record_start(
    run_dir: Path, job: ProcessIdentity, job_id: str | None, log_id: str | None, decided_at: float
) -> None:
    """Record that a job starts the trainer of a run.

    Args:
        decided_at: when the job found that the run may start, in seconds since 1970 by its own clock. A cancellation
            after it is one of this attempt.
    """
    values = {"time": decided_at, "job_id": job_id, "log_id": log_id, **job.as_dict()}
    append_record(RunDir(run_dir).attempts, {"event": "start", **values})


def record_end(run_dir: Path, end: AttemptEnd) -> None:
    """Record how the latest attempt ended."""
    values = {"exit_status": end.exit_status, "stopped_by": end.stopped_by, "gave_up": end.gave_up}
    append_record(RunDir(run_dir).attempts, {"event": "end", **values})


def record_damage(run_dir: Path, sentence: str) -> None:
    """Record that a file of the run was damaged, and what was done."""
    append_record(RunDir(run_dir).attempts, {"event": "damage", "sentence": sentence})


def read_attempts(run_dir: Path) -> list[Attempt]:
    """Return the attempts of a run, oldest first."""
    attempts: list[Attempt] = []
    for record in read_records(RunDir(run_dir).attempts):
        if record.get("event") == "start":
            attempts.append(_attempt(record))
        elif record.get("event") == "end" and attempts:
            attempts[-1] = replace(attempts[-1], end=_end(record))
    return attempts


def _attempt(record: Record) -> Attempt:
    return Attempt(
        record_time(record),
        ProcessIdentity.of(record),
        _text(record.get("job_id")),
        _text(record.get("log_id")),
    )


def _end(record: Record) -> AttemptEnd:
    status = record.get("exit_status")
    return AttemptEnd(
        status if isinstance(status, int) else None,
        _text(record.get("stopped_by")),
        record.get("gave_up") is True,
        record_time(record),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
