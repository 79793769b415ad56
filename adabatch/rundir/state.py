"""Reads the state of a run from its directory, with cause, epoch and time left.

Every command that shows or uses a state gets it here. launch adds what SLURM reports about the run's job.
"""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass

from adabatch.errors import EXIT_SEGMENT_END
from adabatch.reading import Unreadable, read_text
from adabatch.rundir.attempts import STOPPED_STATUSES, Attempt, StoppedBy
from adabatch.rundir.causes import failure_cause, first_error
from adabatch.rundir.columns import count_rows
from adabatch.rundir.evidence import Evidence
from adabatch.rundir.heartbeat import STALE_SECONDS, Beat
from adabatch.rundir.states import State
from adabatch.terminal import counted, rough_duration

_NUM_EPOCHS = re.compile(r"^num_epochs: (\d{1,18})$", re.MULTILINE | re.ASCII)
#: Causes in FAILED that have their own state.
_CAUSE_STATES = {"OutOfMemory": State.OUT_OF_MEMORY}


#: What a run does while its time is charged to a span; in the others it trains.
_DOING = {"setup": "setting up", "growth": "compiling", "test": "testing", "save": "saving"}


@dataclass(frozen=True)
class RunState:
    """A state and related facts.

    Attributes:
        cause: the reason, for people; None if the state needs none.
        epoch: the current one if the run is running, else the number of finished ones; None if unknown.
        eta_seconds: time left at the pace so far; None unless the run is running.
        doing: what a running run does, for people, such as ``update 120``.
        fraction: the part of its epochs that a run has done which runs or waits, from 0 to 1; None if unknown.
    """

    state: State
    cause: str | None = None
    epoch: int | None = None
    num_epochs: int | None = None
    eta_seconds: float | None = None
    doing: str | None = None
    fraction: float | None = None


def read_state(evidence: Evidence) -> RunState:
    """Return a run's state, based only on its directory and its sweep's journal."""
    state, cause = _state(evidence)
    return describe(evidence, state, cause)


def describe(evidence: Evidence, state: State, cause: str | None) -> RunState:
    """Return a state with epoch and time left."""
    beat = evidence.beat if state is State.RUNNING and not _is_earlier(evidence) else None
    summary = {} if state.is_active else evidence.summary
    num_epochs = summary.get("num_epochs") or (beat.num_epochs if beat else None) or _configured_epochs(evidence)
    epoch = beat.epoch if beat else summary.get("epochs")
    return RunState(
        state,
        cause,
        epoch if isinstance(epoch, int) else None,
        num_epochs if isinstance(num_epochs, int) else None,
        beat.eta_seconds if beat else None,
        _doing(evidence, beat) if state is State.RUNNING else None,
        beat.fraction if beat else _finished_part(evidence, state, num_epochs),
    )


def _finished_part(evidence: Evidence, state: State, num_epochs: object) -> float | None:
    """Return the part of its epochs that a run finished before it waited, or started, again."""
    if not state.is_active or not isinstance(num_epochs, int) or num_epochs < 1:
        return None
    return min(1.0, count_rows(evidence.run_dir.epochs) / num_epochs) if evidence.has(evidence.run_dir.epochs) else 0.0


def _is_earlier(evidence: Evidence) -> bool:
    """Return whether the heartbeat is that of an attempt before the last one."""
    beat, last = evidence.beat, evidence.last_attempt
    return beat is not None and last is not None and beat.time is not None and beat.time < last.started_at


def _doing(evidence: Evidence, beat: Beat | None) -> str:
    """Return what a running run does: a first epoch can be long."""
    if beat is None:
        last = evidence.last_attempt
        return f"starting for {rough_duration(max(0.0, time.time() - last.started_at))}" if last else "starting"
    if beat.span in _DOING:
        return _DOING[beat.span]
    return f"update {beat.updates:,}" if beat.updates else "first update"


def _state(evidence: Evidence) -> tuple[State, str | None]:
    """Return state and cause. A live process or queue takes precedence over traces of earlier attempts."""
    if evidence.has(evidence.run_dir.done):
        return State.DONE, None
    end = evidence.job_end
    if end is not None:
        evidence.ended_job_id = end.job_id
    if evidence.is_running:
        return State.RUNNING, None
    if evidence.was_cancelled:
        return state_of_ended(evidence)
    if evidence.waits_in_local_queue:
        return State.PENDING, None
    if end is not None:
        return end.state, end.cause
    if evidence.waits_in_batch_system:
        became = "requeued" if evidence.was_requeued else f"submitted as job {evidence.job_id}"
        return State.PENDING, f"{became}; the batch system was not asked"
    return state_of_ended(evidence)


def state_of_ended(evidence: Evidence) -> tuple[State, str | None]:
    """Return state and cause of a run that is neither running nor waiting, from its files."""
    state, cause = _end(evidence)
    if evidence.was_cancelled and state in (State.PREEMPTED, State.SEGMENT_END, State.LOST, State.MISSING):
        return State.CANCELLED, "before it started" if state is State.MISSING else cause
    return state, cause


def _end(evidence: Evidence) -> tuple[State, str | None]:
    last = evidence.last_attempt
    if last is not None and last.end is not None:
        return _attempt_end(evidence, last)
    if evidence.has_failed:
        return failure_state(evidence)
    if evidence.was_preempted:
        return State.PREEMPTED, _text(evidence.summary.get("cause"))
    if evidence.ended_a_segment:
        return State.SEGMENT_END, _text(evidence.summary.get("cause"))
    if last is not None:
        return (
            State.LOST,
            f"the job on {last.job.host} (process {last.job.pid}) is gone and did not record its end",
        )
    if evidence.last_sign is not None:
        age = evidence.seconds_since(evidence.last_sign)
        if age < -STALE_SECONDS:
            return State.LOST, f"its last sign of life is dated {-age:.0f} s ahead of the file system's clock"
        return State.LOST, f"no sign of life for {max(0.0, age):.0f} s"
    files = evidence.run_dir
    if any(evidence.has(file) for file in (files.progress, files.epochs, files.checkpoint)):
        return State.LOST, "training began and did not record its end"
    return State.MISSING, f"refused: {evidence.refusal.reason}" if evidence.refusal else None


def failure_state(evidence: Evidence) -> tuple[State, str]:
    """Return state and cause from ``FAILED``."""
    cause = failure_cause(evidence.run_dir)
    return _CAUSE_STATES.get(cause.partition(":")[0], State.FAILED), cause


def _attempt_end(evidence: Evidence, last: Attempt) -> tuple[State, str | None]:
    end = last.end
    assert end is not None
    if end.stopped_by is not None:
        # Those of an earlier job, such as the one before it in a chain, were not its own.
        of_job = [one for one in evidence.attempts if (one.job_id, one.log_id) == (last.job_id, last.log_id)]
        used_up = f", {counted(len(of_job) - 1, 'retry', 'retries')} used up" if end.gave_up else ""
        state = State.TIMEOUT if end.stopped_by == StoppedBy.TIME_LIMIT else State.PREEMPTED
        return state, f"stopped by a {end.stopped_by}{used_up}"
    if evidence.has_failed:
        return failure_state(evidence)
    if end.exit_status == EXIT_SEGMENT_END:
        return State.SEGMENT_END, _text(evidence.summary.get("cause"))
    if end.exit_status in STOPPED_STATUSES:
        return State.PREEMPTED, _text(evidence.summary.get("cause")) or "stopped by a signal"
    if end.exit_status is not None and end.exit_status < 0:
        return State.FAILED, f"the trainer was killed by {_signal_name(-end.exit_status)}"
    log = evidence.job_log
    return State.FAILED, (first_error(log) if log else None) or f"the trainer exited with {end.exit_status}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _configured_epochs(evidence: Evidence) -> int | None:
    """Return ``num_epochs`` of the saved config without parsing all of it."""
    if not evidence.has(evidence.run_dir.config):
        return None
    try:
        found = _NUM_EPOCHS.search(read_text(evidence.run_dir.config))
    except (OSError, Unreadable):
        return None
    return int(found.group(1)) if found else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
