"""How batch jobs ended according to the batch system, ``<sweep>/.launch/job_ends.jsonl``: written by launch.

Whoever asks the batch system writes down what only it knows: that a job was cancelled, timed out or lost its node.
Everybody else, who reads files only, then gives the run the same state. The file is not part of the journal, because it
is written without the sweep's lock: a line lost in a race is asked for and written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.rundir.journal import LAUNCH_FOLDER
from adabatch.rundir.records import append_records, read_records, record_time
from adabatch.rundir.states import State

_FILE = "job_ends.jsonl"
#: How a job can end whose runs did not record their own end.
_ENDS = frozenset(state for state in State if state is not State.DONE and not state.may_change)


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Attributes:
        state: the state of its runs that did not record their own end.
        recorded_at: seconds since 1970, by the clock of the file system; a start of the trainer after it is not of this
            end.
    """

    job_id: str
    state: State
    cause: str | None
    recorded_at: float = 0.0


def record_job_ends(sweep_folder: Path, ends: Sequence[JobEnd]) -> None:
    """Add ends to the file.

    Raises:
        Unreadable, OSError: if it cannot be written.
    """
    records = [
        {"job_id": end.job_id, "state": end.state.value, "cause": end.cause} for end in ends if end.state in _ENDS
    ]
    if records:
        append_records(sweep_folder / LAUNCH_FOLDER / _FILE, records)


def read_job_ends(sweep_folder: Path) -> dict[str, JobEnd]:
    """Return the last recorded end by job id; damaged lines are skipped."""
    ends = {}
    for record in read_records(sweep_folder / LAUNCH_FOLDER / _FILE):
        job_id, state, cause = (record.get(name) for name in ("job_id", "state", "cause"))
        is_end = isinstance(job_id, str) and isinstance(state, str) and state in _ENDS
        if is_end and (cause is None or isinstance(cause, str)):
            ends[str(job_id)] = JobEnd(str(job_id), State(str(state)), cause, record_time(record))
    return ends
