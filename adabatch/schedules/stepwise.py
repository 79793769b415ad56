"""Schedules that change at boundaries between epochs: AdaBatch, fixed batches, Seesaw, explicit stages."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adabatch.errors import ConfigError
from adabatch.fields import POSITIVE, Range, at_least, null_or, one_of, require
from adabatch.schedules.base import ScheduleConfig, schedule_key
from adabatch.schedules.coupled import CoupledSchedule
from adabatch.schedules.progress import Progress


def _are_milestones(values: list[int]) -> bool:
    rising = all(one < two for one, two in itertools.pairwise(values))
    return rising and all(value >= 1 for value in values)


def _are_counts(values: Sequence[object]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 1 for value in values)


def _are_factors(values: Sequence[float]) -> bool:
    return all(POSITIVE.allows(value) for value in values)


@dataclass
class StepwiseScheduleConfig(ScheduleConfig):
    """At each boundary the batch is multiplied by ``batch_growth``, the learning rate by ``learning_rate_decay``.

    Where the factors are not the same at all boundaries, ``batch_sizes`` names the batch of each stage, and
    ``learning_rate_decays`` the factor on the learning rate at each boundary.
    """

    kind: str = schedule_key("stepwise", doc="changes at boundaries between epochs", allowed=one_of("stepwise"))
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
    batch_sizes: list[int] | None = schedule_key(
        None,
        doc="batch size of each stage, one more than milestones; null: batch_growth at each boundary",
        allowed=null_or(Range("a list of whole numbers, each at least 1", _are_counts)),
        hash_rule=3,
    )
    learning_rate_decays: list[float] | None = schedule_key(
        None,
        doc="factor on the learning rate at each of the milestones; null: learning_rate_decay at each boundary",
        allowed=null_or(Range("a list of positive numbers", _are_factors)),
        hash_rule=3,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.every_epochs is None) == (self.milestones is None):
            raise ConfigError(
                f"schedule.every_epochs is {self.every_epochs} and schedule.milestones is {self.milestones}; "
                "exactly one of the two must be given, the other null."
            )
        if self.batch_sizes is not None:
            self._check_one_of_each("batch_sizes", self.batch_sizes, len(self.milestones or []) + 1, "stage")
            self._check_alone("batch_growth", "batch_sizes")
            first = f"{self.batch_sizes[0]}, the first of schedule.batch_sizes"
            require(self.batch_size == self.batch_sizes[0], "schedule.batch_size", self.batch_size, first)
        if self.learning_rate_decays is not None:
            decays = self.learning_rate_decays
            self._check_one_of_each("learning_rate_decays", decays, len(self.milestones or []), "milestone")
            self._check_alone("learning_rate_decay", "learning_rate_decays")

    def _check_one_of_each(self, name: str, values: Sequence[float], count: int, what: str) -> None:
        if self.milestones is None:
            raise ConfigError(f"schedule.milestones is null; it must be a list where schedule.{name} is given.")
        allowed = f"a list of {count}, one for each {what} of schedule.milestones={self.milestones}"
        require(len(values) == count, f"schedule.{name}", values, allowed)

    def _check_alone(self, name: str, instead: str) -> None:
        value = getattr(self, name)
        require(value == 1, f"schedule.{name}", value, f"1 where schedule.{instead} is given")

    def build(self, learning_rate: float, num_samples: int, num_epochs: int) -> StepwiseSchedule:
        return StepwiseSchedule(self, learning_rate, num_samples, num_epochs)

    @property
    def wants_growth(self) -> bool:
        """Whether the batch size is to change at any boundary."""
        return self.batch_growth != 1 or len(set(self.batch_sizes or [])) > 1

    def wanted_growth(self, boundaries: int) -> float:
        """Return the wanted batch size over the first one, after some boundaries."""
        if self.batch_sizes is None:
            return self.batch_growth**boundaries
        return self.batch_sizes[boundaries] / self.batch_sizes[0]

    def twin_decay(self, boundaries: int) -> float:
        """Return the fixed-batch twin's learning rate over the base, after some boundaries.

        A boundary with growth b and factor g on the learning rate multiplies it by g / b**p.
        """
        if self._has_equal_boundaries:
            return self._twin_factor**boundaries
        return math.prod(self._twin_factors[:boundaries])

    @property
    def _has_equal_boundaries(self) -> bool:
        return self.batch_sizes is None and self.learning_rate_decays is None

    @property
    def _twin_factor(self) -> float:
        return self.learning_rate_decay / self.batch_growth**self.learning_rate_exponent

    @functools.cached_property
    def _twin_factors(self) -> list[float]:
        """The twin's factor at each milestone."""
        count = len(self.milestones or [])
        growths = [two / one for one, two in itertools.pairwise(self.batch_sizes or [])] or [self.batch_growth] * count
        decays = self.learning_rate_decays or [self.learning_rate_decay] * count
        return [decay / b**self.learning_rate_exponent for decay, b in zip(decays, growths, strict=True)]

    def twin(self) -> StepwiseScheduleConfig:
        if self._has_equal_boundaries:
            return dataclasses.replace(self, batch_growth=1.0, learning_rate_decay=self._twin_factor)
        return dataclasses.replace(
            self,
            batch_growth=1.0,
            batch_sizes=None,
            learning_rate_decay=1.0,
            learning_rate_decays=list(self._twin_factors),
        )

    @classmethod
    def label(cls, values: Mapping[str, Any]) -> str:
        batch, growth, sizes = (values.get(name) for name in ("batch_size", "batch_growth", "batch_sizes"))
        if isinstance(sizes, list):
            return "_".join(map(str, ["stages", *sizes]))
        if not (growth is None or isinstance(growth, int | float)):
            raise TypeError(f"schedule.batch_growth is {growth!r}; it must be a number")
        return f"fixed_{batch}" if growth in (None, 1, 1.0) else f"stepwise_{batch}_x{growth:g}"


class StepwiseSchedule(CoupledSchedule):
    """Growth at boundaries between epochs.

    Args:
        config: growth and learning-rate factor of the boundaries.
        num_epochs: there is no boundary after the last epoch.
    """

    def __init__(self, config: StepwiseScheduleConfig, learning_rate: float, num_samples: int, num_epochs: int) -> None:
        super().__init__(config, learning_rate, num_samples)
        self._stepwise = config
        if config.milestones is not None:
            self._boundaries = [epoch for epoch in config.milestones if epoch < num_epochs]
        else:
            every = config.every_epochs or num_epochs
            self._boundaries = list(range(every, num_epochs, every))

    def _boundaries_passed(self, progress: Progress) -> int:
        return bisect.bisect_left(self._boundaries, progress.epoch)

    def growth(self, progress: Progress) -> float:
        return self._stepwise.wanted_growth(self._boundaries_passed(progress))

    def twin_decay(self, progress: Progress) -> float:
        return self._stepwise.twin_decay(self._boundaries_passed(progress))
