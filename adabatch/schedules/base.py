"""The interface of schedules, which own batch size and learning rate, and the config keys that all of them have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from adabatch.fields import POSITIVE, JudgedBy, KeyGroup, at_least, between, count, key, null_or, require
from adabatch.schedules.progress import Progress

#: More epochs, or more samples in a batch, are a mistake.
MOST_EPOCHS = 100_000
MOST_BATCH = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Signals:
    """Measurements that a schedule may react to; open-loop schedules ignore them. None of them is of the test set.

    Attributes:
        train_loss: mean loss over the samples of the last finished epoch; None before that.
        validation_loss, validation_accuracy: of the validation samples after that epoch; None without any.
    """

    train_loss: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One update's global batch size in samples, and its learning rate."""

    batch_size: int
    learning_rate: float


class Schedule(ABC):
    """Decides batch size and learning rate of every update from progress, and optionally from signals."""

    @property
    @abstractmethod
    def constant_within_epoch(self) -> bool:
        """Whether the batch size changes between epochs only."""

    @abstractmethod
    def decide(self, progress: Progress, signals: Signals | None = None) -> Decision:
        """Return the batch size and the learning rate of the update that follows ``progress``."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold; a schedule that is a function of progress has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} has no state, but was given {sorted(state)}")


def schedule_key(default: Any = MISSING, **facts: Any) -> Any:
    """Return a dataclass field for a schedule key: arms may differ in it as long as their trajectories match."""
    return key(default, judged_by=JudgedBy.TRAJECTORY, shapes_micro_batch=False, **facts)


@dataclass
class ScheduleConfig(KeyGroup):
    """The keys of every schedule: first batch size, cap, warm-up, and the coupling of learning rate and batch size.

    Each kind of schedule is a subclass in its own file, listed in `adabatch.schedules.kinds`.
    """

    PREFIX: ClassVar[str] = "schedule."
    #: Whether batch size or learning rate also change within epochs. What such a schedule logs at the end of an epoch
    #: depends on where the last update starts, so two of them are compared by their plans.
    CHANGES_WITHIN_EPOCH: ClassVar[bool] = False

    kind: str = schedule_key(doc="the kind of schedule; set by the option, not by hand")
    batch_size: int = schedule_key(
        doc="samples of the first updates, over all devices", allowed=count(MOST_BATCH, "sample")
    )
    max_batch_size: int | None = schedule_key(None, doc="cap; growth beyond it becomes learning-rate decay; null: none")
    learning_rate_decay: float = schedule_key(
        1.0, doc="factor on the learning rate at each boundary, or over the whole ramp", allowed=POSITIVE
    )
    learning_rate_exponent: float = schedule_key(
        1.0,
        doc="p: a batch n times as large gets n**p times the learning rate; 1 for SGD, 0.5 for Adam-like",
        allowed=between(0, 1),
    )
    warmup_epochs: int = schedule_key(
        0,
        doc="epochs in which the learning rate rises to base * (batch_size / warmup_base_batch_size)**p",
        allowed=count(MOST_EPOCHS, least=0),
    )
    warmup_base_batch_size: int = schedule_key(
        128,
        doc="batch size that optimizer.learning_rate is meant for, if there is a warm-up",
        allowed=count(MOST_BATCH),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = null_or(at_least(self.batch_size))
        require(
            allowed.allows(self.max_batch_size),
            "schedule.max_batch_size",
            self.max_batch_size,
            f"null or at least schedule.batch_size={self.batch_size}",
        )

    def build(self, learning_rate: float, num_samples: int, num_epochs: int) -> Schedule:
        """Return the schedule.

        Args:
            learning_rate: ``optimizer.learning_rate``.
            num_samples: size of the training set; no batch is larger.
            num_epochs: length of the training.
        """
        raise TypeError(f"no schedule is known for {type(self).__name__}")

    def twin(self) -> ScheduleConfig:
        """Return the fixed-batch twin: the same learning rate per sample (to the power p) at every sample seen.

        The twin keeps the first batch size, the boundaries, the warm-up and the cap.

        Raises:
            TypeError: for a schedule outside the open-loop family.
        """
        raise TypeError(f"{type(self).__name__} has no fixed-batch twin")

    @classmethod
    def label(cls, values: Mapping[str, Any]) -> str:
        """Return a short name, such as ``fixed_128``, for a schedule with these values by key."""
        return f"{values.get('kind')}_{values.get('batch_size')}"
