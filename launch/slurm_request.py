"""Requests one job array from SLURM, so that its answer is on record and nothing is submitted twice."""

from __future__ import annotations

import contextlib
import io
import pickletools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths

from adabatch.reading import Unreadable, read_bytes
from adabatch.rundir.journal import Intent, Journal
from launch.job import TrainJob
from launch.job_environment import own_environment
from launch.slurm import SlurmError, jobs_in_queue, jobs_named

if TYPE_CHECKING:
    import submitit

#: Parts of sbatch's messages when a limit on the number of jobs is reached.
_NO_ROOM = ("MaxSubmit", "temporarily unable to accept job", "Resource temporarily unavailable")
#: Parts of its messages when it did not refuse the job: the controller is busy, restarts, or the answer was lost.
_BUSY = ("contact", "timed out", "Zero Bytes", "ommunication", "onnection", "Unexpected message", "try again")
_PAUSES_SECONDS = (1.0, 4.0, 10.0)


class NoRoom(Exception):
    """A limit on the number of jobs, of a user or the cluster, is reached. The message is sbatch's."""


def request(journal: Journal, intent: Intent, executor: submitit.SlurmExecutor, jobs: Sequence[TrainJob]) -> str | None:
    """Send a recorded request, record the answer before anything else, and return the array's id.

    After every refusal the controller is asked for a job of that name: sbatch may fail although the job exists.

    Returns:
        None if the controller was busy and has no such job; the request may then be repeated.

    Raises:
        NoRoom: if a limit on the number of jobs is reached.
        SlurmError: if the request is refused for another reason, or nobody can say whether it was accepted.
    """
    try:
        # On refusal, submitit both prints and raises sbatch's message; once is enough.
        with contextlib.redirect_stderr(io.StringIO()), own_environment(), executor.batch():
            submitted = [executor.submit(job) for job in jobs]
        journal.record_acceptance(intent, [str(job.job_id) for job in submitted])
        return str(submitted[0].job_id).split("_")[0]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        try:
            found = _asked_twice(intent.job_name)
        except SlurmError as silent:
            raise SlurmError(f"sbatch refused: {reason}. Whether it has the job is not known: {silent}") from error
        if found:
            _accept(journal, intent, found[0], executor.folder)
            return found[0]
        journal.record_refusal(intent, reason)
        _remove_files(executor.folder)
        if any(word in reason for word in _NO_ROOM):
            raise NoRoom(reason) from error
        if any(word in reason for word in _BUSY):
            return None
        raise SlurmError(f"sbatch refused: {reason}.") from error


def pause_after(num_failures: int) -> bool:
    """Wait before a busy controller is asked again; return False if it was asked often enough."""
    if num_failures > len(_PAUSES_SECONDS):
        return False
    time.sleep(_PAUSES_SECONDS[num_failures - 1])
    return True


def _asked_twice(name: str) -> list[str]:
    try:
        return jobs_in_queue(name)
    except SlurmError:
        time.sleep(_PAUSES_SECONDS[0])
        return jobs_in_queue(name)


def recover_lost_answers(journal: Journal) -> None:
    """Find out about requests without a recorded answer: the caller died, or the controller did not respond.

    Raises:
        SlurmError: if SLURM cannot be asked; a run might otherwise be submitted twice.
    """
    for intent in journal.unanswered_intents():
        found = jobs_named(intent.job_name, intent.time)
        if found:
            _accept(journal, intent, found[0], journal.logs / intent.logs)
        else:
            journal.record_refusal(intent)


def _accept(journal: Journal, intent: Intent, main_id: str, logs: Path) -> None:
    """Record a job that was found by its name, and give it its task, which submitit puts in place after the answer."""
    count = len(intent.groups)
    job_ids = [main_id] if count == 1 else [f"{main_id}_{index}" for index in range(count)]
    journal.record_acceptance(intent, job_ids, recovered=True)
    texts = {path: _texts_in(path) for path in _pickles(logs)}
    for job_id, group in zip(job_ids, intent.groups, strict=True):
        runs = {str((journal.sweep_folder / name).resolve()) for name in group}
        path = next((path for path, found in texts.items() if runs <= found), None)
        target = JobPaths(logs, job_id).submitted_pickle
        if path is not None and not target.exists():
            path.rename(target)


def _pickles(logs: Path) -> list[Path]:
    """Return the tasks that no job has taken: submitit names them after the job once it knows its id."""
    return [path for path in logs.glob("*.pkl") if not path.stem.endswith(("_submitted", "_result"))]


def _texts_in(pickle: Path) -> set[str]:
    """Return the texts in a task, among them the paths of its runs.

    It is not unpickled: others may be able to write to the sweep's folder, and what is unpickled can execute code.
    """
    try:
        return {value for _, value, _ in pickletools.genops(read_bytes(pickle)) if isinstance(value, str)}
    except (OSError, Unreadable, ValueError):
        return set()


def _remove_files(logs: Path) -> None:
    """Remove what submitit wrote for a refused request; the script of an accepted one is behind a link."""
    scripts = [path for path in logs.glob(".submission_file_*.sh") if not path.is_symlink()]
    for path in [*_pickles(logs), *scripts]:
        path.unlink()
