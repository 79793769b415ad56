"""Runs one command as a SLURM job and waits for it, for measurements on a node."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import CommandFunction

from adabatch.config import TrainConfig
from adabatch.terminal import complain
from launch.cluster_config import ClusterConfig
from launch.job_environment import own_environment
from launch.slurm import Queue, SlurmError, call, require_programs
from launch.slurm_options import option_name
from launch.slurm_script import executor_of

_POLL_SECONDS = 2.0
#: Options of ``cluster.sbatch`` for the runs' jobs; a measurement that somebody waits for would wait with them.
_DELAYING = ("hold", "begin", "dependency", "deadline")
#: In a log, the start of the messages of submitit and srun after the command's own output.
_AFTER_OWN_OUTPUT = "submitit ERROR"


def run_command_on_slurm(arguments: Sequence[str], config: TrainConfig, cluster: ClusterConfig, logs: Path) -> str:
    """Run Python with ``arguments`` as a job, wait for it, and return its error output or how it ended.

    Every rank of the config runs it. If the waiting is interrupted, by Ctrl-C or an error, the job is cancelled.

    Raises:
        SlurmError: if a program is missing, or the job is refused.
    """
    require_programs()
    at_once = {key: value for key, value in cluster.sbatch.items() if option_name(key) not in _DELAYING}
    executor = executor_of(dataclasses.replace(cluster, sbatch=at_once), config, logs, "adabatch-measure")
    try:
        with contextlib.redirect_stderr(io.StringIO()), own_environment():
            job = executor.submit(CommandFunction([cluster.python or sys.executable, *arguments]))
    except (FailedJobError, FailedSubmissionError) as error:
        raise SlurmError(f"sbatch refused: {' '.join(str(error).split()).rstrip('.')}.") from error
    job_id = str(job.job_id)
    try:
        complain(f"waiting for SLURM job {job_id}")
        state = _wait_for_end(job_id)
    except BaseException:
        _cancel(job_id)
        raise
    log = (job.stderr() or "").strip()
    own_output = log.partition(_AFTER_OWN_OUTPUT)[0].strip()
    return own_output or log or f"SLURM job {job_id} ended as {state} without output"


def _wait_for_end(job_id: str) -> str:
    """Wait until a job has ended and return its state; if the controller does not respond, ask again."""
    was_reported = False
    while True:
        queue = Queue.ask({job_id})
        if queue.reached and not queue.is_live(job_id):
            return queue.state(job_id).state
        if not (queue.reached or was_reported):
            was_reported = True
            complain(f"squeue is not responding; still waiting for SLURM job {job_id}")
        time.sleep(_POLL_SECONDS)


def _cancel(job_id: str) -> None:
    try:
        call(["scancel", job_id])
    except SlurmError as error:
        complain(f"{str(error).rstrip('.')}; SLURM job {job_id} may still be in the queue")
