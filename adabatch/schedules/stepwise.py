"""Schedules whose batch grows by a factor at boundaries between epochs: AdaBatch, fixed batches, Seesaw."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adabatch.errors import ConfigError
from adabatch.fields import POSITIVE, Range, at_least, null_or, one_of
from adabatch.schedules.base import ScheduleConfig, schedule_key
from adabatch.schedules.coupled import CoupledSchedule
from adabatch.schedules.progress import Progress


def _are_milestones(values: list[int]) -> bool:
    rising = all(one < two for one, two in itertools.pairwise(values))
    return rising and all(value >= 1 for value in values)


@dataclass
class StepwiseScheduleConfig(ScheduleConfig):
    """At each boundary the batch is multiplied by ``batch_growth``, the learning rate by ``learning_rate_decay``."""

    kind: str = schedule_key(
        "stepwise", doc="stepwise: changes at boundaries between epochs", allowed=one_of("stepwise")
    )
    batch_growth: float = schedule_key(
        1.0, doc="factor on the batch size at each boundary; 1 for a fixed batch", allowed=POSITIVE
    )
    every_epochs: int | None = schedule_key(
        None, doc="epochs between two boundaries; null where milestones are given", allowed=null_or(at_least(1))
    )
    milestones: list[int] | None = schedule_key(
        None,
        doc="epochs after which there is a boundary; null where every_epochs is given",
        allowed=null_or(Range("a list of increasing epoch numbers, each at least 1", _are_milestones)),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.every_epochs is None) == (self.milestones is None):
            raise ConfigError(
                f"schedule.every_epochs is {self.every_epochs} and schedule.milestones is {self.milestones}; "
                "exactly one of the two must be given, the other null."
            )

    def build(self, learning_rate: float, num_samples: int, num_epochs: int) -> StepwiseSchedule:
        return StepwiseSchedule(self, learning_rate, num_samples, num_epochs)

    @property
    def twin_factor(self) -> float:
        """The factor on the fixed-batch twin's learning rate at each boundary: d = g / b**p."""
        return self.learning_rate_decay / self.batch_growth**self.learning_rate_exponent

    def twin(self) -> ScheduleConfig:
        return dataclasses.replace(self, batch_growth=1.0, learning_rate_decay=self.twin_factor)

    @classmethod
    def label(cls, values: Mapping[str, Any]) -> str:
        batch, growth = values.get("batch_size"), values.get("batch_growth")
        if not (growth is None or isinstance(growth, int | float)):
            raise TypeError(f"schedule.batch_growth is {growth!r}; it must be a number")
        return f"fixed_{batch}" if growth in (None, 1, 1.0) else f"stepwise_{batch}_x{growth:g}"


class StepwiseSchedule(CoupledSchedule):
    """Growth by a factor at boundaries between epochs.

    Args:
        config: growth b and learning-rate factor g per boundary; the twin decays by g / b**p.
        num_epochs: there is no boundary after the last epoch.
    """

    def __init__(self, config: StepwiseScheduleConfig, learning_rate: float, num_samples: int, num_epochs: int) -> None:
        super().__init__(config, learning_rate, num_samples)
        self._growth = config.batch_growth
        self._decay = config.twin_factor
        if config.milestones is not None:
            self._boundaries = [epoch for epoch in config.milestones if epoch < num_epochs]
        else:
            every = config.every_epochs or num_epochs
            self._boundaries = list(range(every, num_epochs, every))

    def _boundaries_passed(self, progress: Progress) -> int:
        return bisect.bisect_left(self._boundaries, progress.epoch)

    def growth(self, progress: Progress) -> float:
        return self._growth ** self._boundaries_passed(progress)

    def twin_decay(self, progress: Progress) -> float:
        return self._decay ** self._boundaries_passed(progress)
