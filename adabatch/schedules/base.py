"""What a schedule is: the one owner of batch size and learning rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from adabatch.progress import Progress


@dataclass(frozen=True, slots=True)
class Signals:
    """What a training measures that a schedule may react to; open-loop schedules ignore it.

    Attributes:
        train_loss: mean loss over the samples of the last finished epoch; None before there is one.
    """

    train_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One update's global batch size in samples, and its learning rate."""

    batch_size: int
    learning_rate: float


class Schedule(ABC):
    """Decides batch size and learning rate of every update from the progress alone (and signals, if it must)."""

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
        """Take back what `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} has no state, but was given {sorted(state)}")
