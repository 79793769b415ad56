"""What a schedule will do: the updates of an epoch, and the whole training as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adabatch.errors import ConfigError
from adabatch.schedules.base import Schedule, Signals
from adabatch.schedules.progress import Progress


@dataclass(frozen=True, slots=True)
class PlannedUpdate:
    """One update: the samples [start, start + num_samples) of the epoch's order, and the decision behind it.

    ``num_samples`` is less than ``batch_size`` only in an epoch's last, partial batch.
    """

    start: int
    num_samples: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """One epoch in numbers. Batch size and learning rate are those of its last update."""

    epoch: int
    batch_size: int
    learning_rate: float
    num_updates: int
    num_samples: int
    samples_dropped: int


def plan_updates(
    schedule: Schedule,
    progress: Progress,
    num_samples: int,
    partial_batch: str,
    signals: Signals | None = None,
) -> Iterator[PlannedUpdate]:
    """Yield the updates from ``progress`` to the end of its epoch.

    Args:
        num_samples: size of the training set.
        partial_batch: ``keep`` ends the epoch with a smaller update, ``drop`` leaves those samples out.
    """
    while progress.samples_in_epoch < num_samples:
        decision = schedule.decide(progress, signals)
        count = min(decision.batch_size, num_samples - progress.samples_in_epoch)
        if count < decision.batch_size and partial_batch == "drop":
            return
        yield PlannedUpdate(progress.samples_in_epoch, count, decision.batch_size, decision.learning_rate)
        progress = progress.after_update(count)


def tabulate(schedule: Schedule, num_epochs: int, num_samples: int, partial_batch: str) -> list[EpochPlan]:
    """Return one row per epoch of an open-loop schedule."""
    return [_epoch_plan(schedule, epoch, num_samples, partial_batch) for epoch in range(1, num_epochs + 1)]


class _WatchedSignals(Signals):
    """Signals that note whether anybody reads one."""

    __slots__ = ("is_read",)

    def __getattribute__(self, name: str) -> Any:
        if name in Signals.__dataclass_fields__:
            object.__setattr__(self, "is_read", True)
        return super().__getattribute__(name)


def listens_to_signals(schedule: Schedule, num_epochs: int) -> bool:
    """Return whether a schedule reads signals, which only training measures: a plan can then show only its start.

    Args:
        schedule: a fresh one, whose state is of no use afterwards.
    """
    # The values do not matter, but are such as a training could measure.
    signals = _WatchedSignals(train_loss=1.0, validation_loss=1.0, validation_accuracy=0.5)
    object.__setattr__(signals, "is_read", False)
    for epoch in range(1, num_epochs + 1):
        try:
            schedule.decide(Progress(epoch=epoch), signals)
        except ConfigError:  # of the user's own code, which is tried out elsewhere
            break
        if signals.is_read:
            break
    return bool(signals.is_read)


def _epoch_plan(schedule: Schedule, epoch: int, num_samples: int, partial_batch: str) -> EpochPlan:
    start = Progress(epoch=epoch)
    if schedule.constant_within_epoch:
        batch_size = schedule.decide(start).batch_size
        partial = num_samples % batch_size
        dropped = partial if partial_batch == "drop" else 0
        num_updates = num_samples // batch_size + (1 if partial and not dropped else 0)
        last_start = (num_updates - 1) * batch_size
    else:
        updates = list(plan_updates(schedule, start, num_samples, partial_batch))
        dropped = num_samples - sum(update.num_samples for update in updates)
        num_updates = len(updates)
        last_start = updates[-1].start
    last = schedule.decide(Progress(epoch=epoch, samples_in_epoch=last_start))
    return EpochPlan(epoch, last.batch_size, last.learning_rate, num_updates, num_samples - dropped, dropped)
