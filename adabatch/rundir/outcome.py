"""How a run ended: ``summary.json``, then ``DONE`` or ``FAILED``. No other module writes these files."""

from __future__ import annotations

import dataclasses
import errno
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adabatch.errors import ConfigError, RunFailure, is_out_of_memory
from adabatch.files import write_json_atomic, write_text_atomic
from adabatch.reading import Unreadable, read_mapping, read_start, reason
from adabatch.rundir.columns import (
    EPOCH_SPANS,
    EpochRow,
    OfRun,
    columns_where,
    largest_of_run,
    span_seconds,
    train_seconds,
)
from adabatch.rundir.files import RunDir
from adabatch.rundir.states import State


@dataclass
class Summary:
    """The keys of ``summary.json``; None for unknown values, such as the results of a run without a finished epoch.

    Attributes:
        state: ``done``, ``failed``, ``preempted`` or ``segment-end``.
        cause: why it ended, for people; None for a run that is done.
        ended_at: seconds since 1970, by the clock of the process that ended.
        lost_seconds: work of earlier segments that was not saved in a checkpoint.
        wall_seconds: sum of all spans.
        ledger, stages: the sample ledger by epoch and by batch size.
    """

    state: str
    cause: str | None = None
    ended_at: float | None = None
    num_epochs: int | None = None
    restarts: int | None = None
    lost_seconds: float | None = None
    max_micro_batch_size: int | None = None
    batch_norm: str | None = None
    world_size: int | None = None
    epochs: int | None = None
    updates: int | None = None
    samples: int | None = None
    samples_dropped: int | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    test_top5_accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    best_test_accuracy: float | None = None
    best_epoch: int | None = None
    train_seconds: float | None = None
    data_seconds: float | None = None
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    update_seconds: float | None = None
    growth_seconds: float | None = None
    test_seconds: float | None = None
    save_seconds: float | None = None
    setup_seconds: float | None = None
    elapsed_seconds: float | None = None
    peak_memory_bytes: int | None = None
    wall_seconds: float | None = None
    ledger: list[dict[str, int]] | None = None
    stages: list[dict[str, int]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self)


_LONGEST_LINE = 4096
SUMMARY_KEYS = frozenset(entry.name for entry in dataclasses.fields(Summary))


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    Attributes:
        cause: a name, such as ``NonFiniteLoss``.
        sentence: the message for people.
        traceback: empty if there is none.
    """

    cause: str
    sentence: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.cause}: {self.sentence}"


def describe_failure(error: Exception, *, distributed: bool = False) -> Failure:
    """Return the cause, message and traceback of an error.

    Args:
        distributed: whether a broken connection means that another rank died.
    """
    trace = "".join(traceback.format_exception(error))
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if text.startswith("CUDA out of memory"):  # torch goes on about other processes and its own settings
        text = text.partition(". ")[0]
    if isinstance(error, RunFailure | ConfigError):
        return Failure(type(error).__name__, str(error), trace)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        sentence = f"{error.filename or 'a file of the run'} could not be written: {error.strerror}"
        return Failure("DiskFull", sentence, trace)
    if is_out_of_memory(error):
        return Failure("OutOfMemory", f"{text}. Lower max_micro_batch_size, or set it to auto", trace)
    if distributed and any(word in str(error) for word in ("Connection closed", "Connection reset", "NCCL", "gloo")):
        return Failure("RankFailed", f"lost the connection to another rank ({text})", trace)
    return Failure("Exception", f"{type(error).__name__}: {text}", trace)


def results(rows: Sequence[EpochRow], seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return the part of the summary that follows from the epochs and the run's seconds by span.

    Values that were not measured are None.
    """
    last = rows[-1] if rows else None
    best = max(rows, key=lambda row: row.test_accuracy, default=None)
    finals = ("train_loss", "train_accuracy", *columns_where(of_run=OfRun.FINAL))
    training = train_seconds(seconds)
    return {
        "epochs": len(rows),
        "updates": last.updates if last else 0,
        "samples": last.samples if last else 0,
        "samples_dropped": sum(row.samples_dropped for row in rows),
        **{name: getattr(last, name) if last else None for name in finals},
        "best_test_accuracy": best.test_accuracy if best else None,
        "best_epoch": best.epoch if best else None,
        "train_seconds": training,
        **span_seconds(seconds, (*EPOCH_SPANS, "setup")),
        "elapsed_seconds": training + seconds["growth"],
        "peak_memory_bytes": largest_of_run(row.peak_memory_bytes for row in rows),
    }


def write_summary(run_dir: RunDir, state: State, cause: str | None, known: Mapping[str, Any] | None = None) -> Summary:
    """Write ``summary.json`` and return its content.

    Args:
        cause: why it ended, for people; None for a run that is done.
        known: other keys of `Summary`.
    """
    summary = Summary(**{"ended_at": time.time(), **(known or {}), "state": state.value, "cause": cause})
    write_json_atomic(run_dir.summary, summary.as_dict())
    return summary


def mark_done(run_dir: RunDir, text: str) -> None:
    """Write ``DONE``, the last file of a finished run, and remove what failed attempts left behind."""
    run_dir.failed.unlink(missing_ok=True)
    run_dir.progress.unlink(missing_ok=True)
    write_text_atomic(run_dir.done, text + "\n")


def mark_failed(run_dir: RunDir, failure: Failure) -> None:
    """Write ``FAILED``: the failure in the first line, then the traceback."""
    write_text_atomic(run_dir.failed, f"{failure}\n\n{failure.traceback}")


def clear_outcome(run_dir: RunDir) -> None:
    """Remove the outcome of an earlier attempt; called before the next one starts."""
    run_dir.failed.unlink(missing_ok=True)
    run_dir.summary.unlink(missing_ok=True)


def withdraw_failure(run_dir: RunDir) -> None:
    """Remove the failure of a rank that only lost another one to a stop."""
    run_dir.failed.unlink(missing_ok=True)
    if read_summary(run_dir).get("state") == State.FAILED.value:
        run_dir.summary.unlink(missing_ok=True)


def read_failure(run_dir: RunDir) -> str:
    """Return the first line of ``FAILED``."""
    try:
        lines = read_start(run_dir.failed, _LONGEST_LINE).splitlines()
    except (OSError, Unreadable) as error:
        return f"FAILED cannot be read: {reason(error)}"
    return (lines[0].strip() if lines else "") or "FAILED is empty"


def read_done(run_dir: RunDir) -> str:
    """Return what ``DONE`` says, on one line."""
    try:
        return read_start(run_dir.done, _LONGEST_LINE).strip()
    except (OSError, Unreadable) as error:
        return f"DONE cannot be read: {reason(error)}"


def read_summary(run_dir: RunDir) -> dict[str, Any]:
    """Return the content of ``summary.json``; empty if the file is missing or damaged."""
    return read_mapping(run_dir.summary)
