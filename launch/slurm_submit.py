"""Submits runs to SLURM as job arrays, with submitit."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import CommandFunction

from adabatch.config import TrainConfig
from adabatch.errors import EXIT_DONE, ConfigError
from adabatch.files import SOURCE_DIR
from adabatch.processes.children import safe_python
from adabatch.rundir.journal import Intent, Journal
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion, Run
from launch.job import TrainJob
from launch.setup_guard import guarded
from launch.slurm import Queue, SlurmError, call, jobs_named

_ALL_AT_ONCE = 100_000
#: SLURM may send the signal this much earlier than requested.
_EARLY_SECONDS = 65
_POLL_SECONDS = 2.0
#: Parts of sbatch's messages if it did not refuse the job, but lost contact with the controller.
_LOST_CONTACT_MESSAGES = ("contact", "timed out", "Zero Bytes", "Communication", "connection", "Connection")
#: In a log, the start of the messages of submitit and srun after the command's own output.
_AFTER_OWN_OUTPUT = "submitit ERROR"


@dataclass(frozen=True)
class Submission:
    """What the job arrays of one call of ``submit`` share.

    Attributes:
        logs: folder of the jobs' logs; a new one each time, since job ids can be reused.
        token: part of the jobs' names, used to find a submission if the answer was lost.
        environment: variables set for the trainers.
    """

    expansion: Expansion
    journal: Journal
    cluster: ClusterConfig
    logs: Path
    token: str
    environment: Mapping[str, str]


def require_programs() -> None:
    """Raise SlurmError unless SLURM's programs are installed."""
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise SlurmError(f"{program} is missing; cluster.kind=slurm needs a machine that can submit SLURM jobs.")


def max_array_size() -> int:
    """Return how many jobs the cluster accepts in one array; 1 if it accepts no arrays."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", call(["scontrol", "show", "config"]), re.MULTILINE)
    return max(1, int(match.group(1))) if match else 1


def check_shape(cluster: ClusterConfig, config: TrainConfig) -> None:
    """Raise ConfigError if a run's ranks do not fit the cluster's settings."""
    if cluster.runs_per_job > 1 and config.hardware.world_size > 1:
        raise ConfigError(f"cluster.runs_per_job is {cluster.runs_per_job}; it must be 1 for runs with several ranks.")
    gpus = cluster.num_gpus
    if gpus and cluster.runs_per_job > 1 and cluster.runs_per_job % gpus:
        raise ConfigError(
            f"cluster.runs_per_job is {cluster.runs_per_job}; it must be 1 or a multiple of "
            f"cluster.gpus_per_node={gpus}, so that all runs share the GPUs evenly."
        )
    if config.hardware.device == "cuda" and gpus is not None and gpus < config.hardware.num_devices:
        raise ConfigError(
            f"cluster.gpus_per_node is {gpus}; it must be at least hardware.num_devices={config.hardware.num_devices}."
        )


def submit_to_slurm(submission: Submission, groups: Sequence[Sequence[Run]]) -> int:
    """Submit the runs of each group as one job, in as few arrays as the cluster allows; return the exit status.

    Raises:
        SlurmError: if a request is refused; earlier accepted ones are recorded.
    """
    largest = max_array_size()
    chunks: list[list[Sequence[Run]]] = []
    for _, alike in itertools.groupby(sorted(groups, key=_shape), key=_shape):
        jobs = list(alike)
        chunks += [jobs[start : start + largest] for start in range(0, len(jobs), largest)]
    capped = submission.cluster.max_concurrent_jobs is not None
    # The cap applies within one array; arrays wait for each other, so that it applies to the sweep.
    before = _queued_jobs(submission.journal) if capped else []
    accepted = 0
    for number, chunk in enumerate(chunks):
        try:
            job_id = _submit_array(submission, f"{submission.token}{number:02d}", chunk, before)
        except SlurmError as error:
            raise SlurmError(
                f"{error} {accepted} of {len(groups)} jobs were accepted before; "
                "repeating the command submits the others."
            ) from error
        accepted += len(chunk)
        before = [job_id] if capped else []
        print(f"SLURM job {job_id}: {len(chunk)} jobs", flush=True)
    print(f"see: python -m launch status {submission.expansion.folder}", flush=True)
    return EXIT_DONE


def _shape(group: Sequence[Run]) -> tuple[int, int, str]:
    hardware = group[0].config.hardware
    return hardware.num_nodes, hardware.num_devices, hardware.device


def _queued_jobs(journal: Journal) -> list[str]:
    """Return the jobs of earlier submissions that are still queued or running."""
    job_ids = journal.accepted_job_ids()
    queue = Queue.ask(job_ids)
    return sorted({job_id.split("_")[0] for job_id in job_ids if queue.is_live(job_id)})


def _submit_array(submission: Submission, token: str, chunk: Sequence[Sequence[Run]], after: Sequence[str]) -> str:
    """Submit one array, record the cluster's answer before anything else, and return the job's id."""
    journal = submission.journal
    name = f"{submission.expansion.sweep.name}-{token}"
    intent = journal.record_intent(token, name, [[run.name for run in group] for group in chunk], submission.logs.name)
    executor = _executor(submission.cluster, chunk[0][0].config, submission.logs, name)
    if after:
        executor.update_parameters(slurm_dependency="afterany:" + ":".join(after))
    limit = 60.0 * (submission.cluster.limit_minutes or 0) - submission.cluster.signal_delay_s - _EARLY_SECONDS
    jobs = [
        TrainJob(
            [str(run.run_dir.resolve()) for run in group],
            submission.cluster.max_retries,
            max(0.0, limit),
            submission.environment,
        )
        for group in chunk
    ]
    try:
        # On refusal, submitit both prints and raises sbatch's message; once is enough.
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            submitted = [executor.submit(job) for job in jobs]
        journal.record_acceptance(intent, [str(job.job_id) for job in submitted])
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        reason = " ".join(str(error).split())
        # If the answer was lost, the job may still exist.
        if not any(word in reason for word in _LOST_CONTACT_MESSAGES):
            journal.record_refusal(intent, reason)
            raise SlurmError(f"sbatch refused: {reason.rstrip('.')}.") from error
        if not _recover(journal, intent):
            raise SlurmError(f"sbatch refused: {reason.rstrip('.')}.") from error
    return journal.accepted_job_ids(token)[0].split("_")[0]


def recover_lost_answers(journal: Journal) -> None:
    """Find out about requests without a recorded answer: the caller died, or the controller did not respond.

    Raises:
        SlurmError: if SLURM cannot be asked; a run might otherwise be submitted twice.
    """
    for intent in journal.unanswered_intents():
        _recover(journal, intent)


def _recover(journal: Journal, intent: Intent) -> bool:
    """Look for a requested job by its name, and record whether it was accepted.

    Raises:
        SlurmError: if SLURM does not respond; then nothing is recorded, and the next submission asks again.
    """
    found = jobs_named(intent.job_name, intent.time)
    if not found:
        journal.record_refusal(intent)
        return False
    count = len(intent.groups)
    job_ids = [found[0]] if count == 1 else [f"{found[0]}_{index}" for index in range(count)]
    journal.record_acceptance(intent, job_ids, recovered=True)
    return True


def _executor(cluster: ClusterConfig, config: TrainConfig, logs: Path, name: str) -> submitit.AutoExecutor:
    """Return submitit's executor for jobs of a config's shape."""
    hardware = config.hardware
    gpus = cluster.num_gpus
    if gpus is None:
        gpus = hardware.num_devices if hardware.device == "cuda" else 0
    # Since SLURM 22.05, srun does not inherit the job's cpus-per-task.
    srun_args = ["--kill-on-bad-exit=1"] + (
        [f"--cpus-per-task={cluster.cpus_per_task}"] if cluster.cpus_per_task else []
    )
    parameters: dict[str, Any] = {
        "name": name,
        "timeout_min": cluster.limit_minutes,
        "nodes": hardware.num_nodes,
        "tasks_per_node": hardware.num_devices,
        "cpus_per_task": cluster.cpus_per_task,
        "gpus_per_node": gpus or None,
        "mem_gb": cluster.memory_gb,
        "slurm_partition": cluster.partition,
        "slurm_account": cluster.account,
        "slurm_qos": cluster.qos,
        "slurm_constraint": cluster.constraint,
        "slurm_signal_delay_s": cluster.signal_delay_s,
        "slurm_array_parallelism": cluster.max_concurrent_jobs or _ALL_AT_ONCE,
        "slurm_setup": [
            *guarded(cluster.setup),
            f"export PYTHONPATH={shlex.quote(str(SOURCE_DIR))}${{PYTHONPATH:+:$PYTHONPATH}}",
        ],
        "slurm_srun_args": srun_args,
        "slurm_additional_parameters": {"requeue": True},
    }
    # The jobs count their retries themselves: submitit does not count preemptions.
    executor = submitit.AutoExecutor(
        folder=logs, cluster="slurm", slurm_max_num_timeout=10**6, slurm_python=safe_python(cluster.python)
    )
    executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
    return executor


def run_command_on_slurm(arguments: Sequence[str], config: TrainConfig, cluster: ClusterConfig, logs: Path) -> str:
    """Run Python with ``arguments`` as a single-task job, wait for it, and return its error output or how it ended.

    If the waiting is interrupted, by Ctrl-C or an error, the job is cancelled.

    Raises:
        SlurmError: if a program is missing, or the job is refused.
    """
    require_programs()
    alone = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, num_nodes=1, num_devices=1))
    executor = _executor(cluster, alone, logs, "adabatch-measure")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            job = executor.submit(CommandFunction([cluster.python or sys.executable, *arguments]))
    except (FailedJobError, FailedSubmissionError) as error:
        raise SlurmError(f"sbatch refused: {' '.join(str(error).split()).rstrip('.')}.") from error
    job_id = str(job.job_id)
    try:
        print(f"waiting for SLURM job {job_id}", file=sys.stderr, flush=True)
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
            print(f"squeue is not responding; still waiting for SLURM job {job_id}", file=sys.stderr, flush=True)
        time.sleep(_POLL_SECONDS)


def _cancel(job_id: str) -> None:
    try:
        call(["scancel", job_id])
    except SlurmError as error:
        print(f"{str(error).rstrip('.')}; SLURM job {job_id} may still be in the queue", file=sys.stderr, flush=True)
