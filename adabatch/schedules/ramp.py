"""Schedules whose batch grows with the samples seen: linear, polynomial and cosine ramps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from adabatch.errors import ConfigError
from adabatch.fields import POSITIVE, at_least, count, null_or, one_of, require
from adabatch.schedules.base import MOST_BATCH, ScheduleConfig, schedule_key
from adabatch.schedules.coupled import CoupledSchedule
from adabatch.schedules.progress import Progress


@dataclass
class RampScheduleConfig(ScheduleConfig):
    """The batch size moves from ``batch_size`` to ``final_batch_size`` with the samples seen, then stays constant.

    The ramp takes ``ramp_epochs`` epochs or ``ramp_samples`` samples; with neither, the whole run.
    ``learning_rate_decay`` is the factor on the learning rate over the whole ramp.
    """

    CHANGES_WITHIN_EPOCH: ClassVar[bool] = True

    kind: str = schedule_key("ramp", doc="changes with the samples seen", allowed=one_of("ramp"))
    final_batch_size: int = schedule_key(doc="batch size at the end of the ramp", allowed=count(MOST_BATCH, "sample"))
    shape: str = schedule_key("linear", doc="shape of the ramp", allowed=one_of("linear", "polynomial", "cosine"))
    power: float = schedule_key(1.0, doc="degree of shape=polynomial", allowed=POSITIVE)
    ramp_epochs: int | None = schedule_key(
        None, doc="length of the ramp; null with ramp_samples=null: the whole run", allowed=null_or(at_least(1))
    )
    ramp_samples: int | None = schedule_key(None, doc="length of the ramp in samples", allowed=null_or(at_least(1)))
    batch_size_multiple: int = schedule_key(1, doc="batch sizes are rounded to multiples of this")
    hold_batch_size: bool = schedule_key(
        False, doc="keep the first batch size with the same learning rate per sample: the fixed-batch twin"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ramp_epochs is not None and self.ramp_samples is not None:
            raise ConfigError(
                f"schedule.ramp_epochs is {self.ramp_epochs} and schedule.ramp_samples is {self.ramp_samples}; "
                "at most one of the two may be given."
            )
        multiple = self.batch_size_multiple
        ends = f"schedule.batch_size={self.batch_size} and schedule.final_batch_size={self.final_batch_size}"
        divides = multiple >= 1 and self.batch_size % multiple == self.final_batch_size % multiple == 0
        require(divides, "schedule.batch_size_multiple", multiple, f"at least 1 and divide {ends}")
        if self.final_batch_size == self.batch_size:
            allowed = "1 where schedule.final_batch_size equals schedule.batch_size"
            decay = self.learning_rate_decay
            require(decay == 1, "schedule.learning_rate_decay", decay, allowed)

    def build(self, learning_rate: float, num_samples: int, num_epochs: int) -> RampSchedule:
        return RampSchedule(self, learning_rate, num_samples, num_epochs)

    def twin(self) -> ScheduleConfig:
        return dataclasses.replace(self, hold_batch_size=True)

    @classmethod
    def label(cls, values: Mapping[str, Any]) -> str:
        batch = values.get("batch_size")
        if values.get("hold_batch_size"):
            return f"fixed_{batch}"
        return f"{values.get('shape')}_{batch}_to_{values.get('final_batch_size')}"


class RampSchedule(CoupledSchedule):
    """Growth with the samples seen, from the first batch size to the final one, then constant."""

    def __init__(self, config: RampScheduleConfig, learning_rate: float, num_samples: int, num_epochs: int) -> None:
        super().__init__(config, learning_rate, num_samples)
        self._ramp = config
        self._ramp_samples = config.ramp_samples or (config.ramp_epochs or num_epochs) * num_samples
        self._total_growth = config.final_batch_size / config.batch_size
        # The learning rate is proportional to growth**q; the part not coupled to the batch size is the twin's decay.
        grows = self._total_growth != 1
        q = math.log(config.learning_rate_decay) / math.log(self._total_growth) if grows else 0.0
        self._twin_exponent = q - config.learning_rate_exponent

    @property
    def constant_within_epoch(self) -> bool:
        return self._ramp.hold_batch_size

    def _wanted_growth(self, progress: Progress) -> float:
        samples = (progress.epoch - 1) * self._num_samples + progress.samples_in_epoch
        fraction = min(1.0, samples / self._ramp_samples)
        if self._ramp.shape == "cosine":
            fraction = (1.0 - math.cos(math.pi * fraction)) / 2.0
        elif self._ramp.shape == "polynomial":
            fraction = fraction**self._ramp.power
        return 1.0 + (self._total_growth - 1.0) * fraction

    def growth(self, progress: Progress) -> float:
        if self._ramp.hold_batch_size:
            return 1.0
        first, multiple = self._ramp.batch_size, self._ramp.batch_size_multiple
        return math.floor(first * self._wanted_growth(progress) / multiple + 0.5) * multiple / first

    def twin_decay(self, progress: Progress) -> float:
        return self._wanted_growth(progress) ** self._twin_exponent
