"""What a job does: it trains one run, or several at once or in turn, each in its own process.

The job itself does little: it starts ``python -m adabatch.resume RUN_DIR``, forwards signals, and records when each
attempt started and how it ended. After a time limit or preemption a run resumes exactly: submitit calls
`TrainJob.checkpoint`, which signals the trainer to save its state; then the job is requeued.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from submitit.helpers import DelayedSubmission

from adabatch.errors import EXIT_DONE, EXIT_SEGMENT_END, ConfigError
from adabatch.files import SOURCE_DIR
from adabatch.plugins.code import frozen_folder
from adabatch.processes.children import child_environment, module_command, signal_on_parent_death
from adabatch.processes.signals import is_under_nohup
from adabatch.rundir.attempts import STOPPED_STATUSES, AttemptEnd, StoppedBy, record_end, record_start
from adabatch.rundir.evidence import collect_evidence
from adabatch.rundir.files import RunDir
from adabatch.rundir.process_identity import this_process
from adabatch.rundir.provenance import batch_job_id
from adabatch.terminal import counted

_POLL_SECONDS = 0.02
_SIGNAL_AGAIN_SECONDS = 2.0
_LOCK_PATIENCE_SECONDS = 60.0


class RunsFailed(Exception):
    """At least one run of a job failed; the batch system then lists the job as failed."""


class RetriesUsedUp(Exception):
    """The job was stopped once more than ``cluster.max_retries`` allows."""


class TrainJob:
    """The callable that submitit runs on the node.

    Args:
        run_dirs: prepared run directories; several of them run concurrently, or one after another.
        max_retries: how often the job may be requeued.
        time_limit_seconds: a stop after this long counts as a time limit, an earlier one as a preemption; None: all
            stops are preemptions.
        environment: variables set for the trainers.
        in_turn: whether several runs run one after another.
        num_ranks: of a job of a chain, how many ranks it has: it trains as long as the run is trained by so many.
        code: the frozen copy of this package that the job must have imported; None: whatever it found.
    """

    def __init__(
        self,
        run_dirs: Sequence[str],
        max_retries: int,
        time_limit_seconds: float | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        in_turn: bool = False,
        num_ranks: int | None = None,
        code: str | None = None,
    ) -> None:
        self._run_dirs = list(run_dirs)
        #: Each run's index among the job's initial runs, so that after a requeue the remaining runs keep their GPU.
        self._places = {run_dir: place for place, run_dir in enumerate(run_dirs)}
        self._max_retries = max_retries
        self._time_limit_seconds = time_limit_seconds
        self._environment = dict(environment or {})
        self._in_turn = in_turn
        self._num_ranks = num_ranks
        self._code = code
        self._requeues = 0
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._recorded: set[str] = set()
        self._started = 0.0
        self._is_stopping = False
        self._is_starting = False
        self._signal_waits = False

    def __getstate__(self) -> dict[str, Any]:
        anew = {
            "_children": {},
            "_recorded": set(),
            "_is_stopping": False,
            "_is_starting": False,
            "_signal_waits": False,
        }
        return {**self.__dict__, **anew}

    def __call__(self) -> dict[str, int]:
        """Train; return the exit status by run directory.

        Raises:
            RunsFailed: if a run failed. Preempted runs have saved their state and do not count as failed, unless the
                job is one of a chain, whose next one must not begin then.
        """
        self._started = time.monotonic()
        self._check_code()
        for number in (signal.SIGTERM, signal.SIGINT, *(() if is_under_nohup() else (signal.SIGHUP,))):
            signal.signal(number, self._forward_stop)
        statuses: dict[str, int] = {}
        for together in [[run_dir] for run_dir in self._run_dirs] if self._in_turn else [self._run_dirs]:
            for run_dir in together:
                self._start(run_dir)
            statuses |= self._wait()
            if self._is_stopping:
                if not all(map(self._was_cancelled, together)):
                    break
                self._is_stopping = False  # the stop was meant for this run; the next one has its turn
        stopped = STOPPED_STATUSES if self._num_ranks is None else ()
        failed = [
            f"{run_dir} ({status})"
            for run_dir, status in statuses.items()
            if status not in (EXIT_DONE, EXIT_SEGMENT_END, *stopped)
        ]
        if failed:
            raise RunsFailed("failed, with exit status: " + ", ".join(failed))
        return statuses

    def _was_cancelled(self, run_dir: str) -> bool:
        """Return whether somebody cancelled one of the job's runs; on SLURM the whole job is."""
        if _on_slurm():
            return False
        (evidence,) = collect_evidence([Path(run_dir)])
        return evidence.was_cancelled

    def _check_code(self) -> None:
        """Raise ConfigError unless this job imported the code of its submission, unchanged."""
        if self._code is None:
            return
        if Path(self._code).resolve() != SOURCE_DIR:
            raise ConfigError(f"adabatch was imported from {SOURCE_DIR}; this job must import it from {self._code}.")
        frozen_folder(SOURCE_DIR)

    def checkpoint(self) -> DelayedSubmission:
        """Make the trainers save their state and stop; return the remaining work, which submitit requeues.

        Raises:
            RetriesUsedUp: if no retries are left.
        """
        limit = self._time_limit_seconds
        timed_out = limit is not None and time.monotonic() - self._started >= limit
        cause = StoppedBy.TIME_LIMIT if timed_out else StoppedBy.PREEMPTION
        sent_at = -_SIGNAL_AGAIN_SECONDS
        while any(_exit_status(child) is None for child in self._children.values()):
            if time.monotonic() - sent_at >= _SIGNAL_AGAIN_SECONDS:
                sent_at = time.monotonic()
                self._send(signal.SIGUSR2, self._children)
            time.sleep(_POLL_SECONDS)
        statuses = {run_dir: _exit_status(child) for run_dir, child in self._children.items()}
        # Including runs not yet started when the stop came.
        left = [
            run_dir for run_dir in self._run_dirs if run_dir not in statuses or statuses[run_dir] in STOPPED_STATUSES
        ]
        gives_up = bool(left) and self._requeues >= self._max_retries
        for run_dir, status in statuses.items():
            self._record_end(run_dir, status, cause if run_dir in left else None, gives_up and run_dir in left)
        if gives_up:
            retries = counted(self._requeues, "retry", "retries")
            raise RetriesUsedUp(f"stopped by a {cause} after {retries}; cluster.max_retries allows no more")
        self._run_dirs = left
        self._requeues += 1
        return DelayedSubmission(self)

    __submitit_checkpoint__ = checkpoint

    @property
    def _ranks_words(self) -> list[str]:
        return [] if self._num_ranks is None else ["--num-ranks", str(self._num_ranks)]

    def _gpu_of(self, run_dir: str) -> dict[str, str]:
        """Return the variable that distributes runs sharing a SLURM job over its GPUs."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        shares = _on_slurm() and len(self._places) > 1 and len(visible) > 1
        return {"CUDA_VISIBLE_DEVICES": visible[self._places[run_dir] % len(visible)]} if shares else {}

    def _start(self, run_dir: str) -> None:
        """Start a run's trainer, unless the run was cancelled."""
        if _is_main_rank():
            RunDir(run_dir).wait_until_free(_LOCK_PATIENCE_SECONDS)
        decided_at = time.time()
        if self._was_cancelled(run_dir):
            return
        self._is_starting = True
        if _is_main_rank():
            record_start(Path(run_dir), this_process(), *_job_ids(), decided_at)
        self._children[run_dir] = subprocess.Popen(
            module_command("adabatch.resume", run_dir, *self._ranks_words),
            env={**_trainer_environment(), **self._environment, **self._gpu_of(run_dir)},
            stdin=subprocess.DEVNULL,
            # Detached from the terminal's Ctrl-C; within a SLURM job the trainers stay in the job's process group.
            start_new_session=not _on_slurm(),
            preexec_fn=_child_preparation(),
        )
        self._is_starting = False
        # Whoever cancelled the run before its start was on record sent no signal.
        if self._signal_waits or self._is_stopping or self._was_cancelled(run_dir):
            self._signal_waits = False
            self._stop_children()

    def _wait(self) -> dict[str, int]:
        statuses: dict[str, int] = {}
        while len(statuses) < len(self._children):
            time.sleep(_POLL_SECONDS)
            for run_dir, child in self._children.items():
                status = _exit_status(child)
                if status is not None and run_dir not in statuses:
                    statuses[run_dir] = status
                    self._record_end(run_dir, status, None, False)
        return statuses

    def _record_end(self, run_dir: str, status: int | None, cause: str | None, gave_up: bool) -> None:
        if _is_main_rank() and run_dir not in self._recorded:
            self._recorded.add(run_dir)
            record_end(Path(run_dir), AttemptEnd(status, cause, gave_up))

    def _forward_stop(self, number: int, frame: FrameType | None) -> None:
        if self._is_starting:  # the child that the signal may be meant for is not there yet
            self._signal_waits = True
        else:
            self._stop_children()

    def _stop_children(self) -> None:
        """Stop the runs that were cancelled, or all where none was: then the job itself is to stop."""
        live = [run_dir for run_dir, child in self._children.items() if _exit_status(child) is None]
        cancelled = list(filter(self._was_cancelled, live))
        self._is_stopping = not cancelled or len(cancelled) == len(live)
        self._send(signal.SIGTERM, cancelled or live)

    def _send(self, number: signal.Signals, run_dirs: Iterable[str]) -> None:
        for child in (self._children[run_dir] for run_dir in run_dirs):
            if _exit_status(child) is None:
                os.kill(child.pid, number)


def _exit_status(child: subprocess.Popen[bytes]) -> int | None:
    """Return a child's exit status, negative for a signal, or None while it runs.

    The status is read without reaping the child, since signal handlers that interrupt this function also call it.
    """
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _child_preparation() -> Callable[[], None]:
    """Return a ``preexec_fn`` for trainers, so that signals before it can handle them do not end it."""
    # If the job is killed, its trainer also saves its state and ends.
    follow = signal_on_parent_death(signal.SIGTERM)

    def prepare_child() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        follow()

    return prepare_child


def _on_slurm() -> bool:
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def _trainer_environment() -> dict[str, str]:
    """Return the environment of a trainer; a local job within a SLURM allocation is not one of its ranks."""
    kept = {key: value for key, value in os.environ.items() if _on_slurm() or not key.startswith("SLURM_")}
    return child_environment(kept)


def _is_main_rank() -> bool:
    return not _on_slurm() or os.environ.get("SLURM_PROCID", "0") == "0"


def _job_ids() -> tuple[str | None, str | None]:
    """Return SLURM's id of this job, and the id in submitit's log names."""
    if not _on_slurm():
        return None, os.environ.get("SUBMITIT_LOCAL_JOB_ID")
    job_id = batch_job_id()
    return job_id, job_id
