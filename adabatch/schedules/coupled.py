"""The open-loop family: one formula couples learning rate and batch size.

At epoch position t let C(t) be how many times its first size the batch shall have, f(t) the decay of the
fixed-batch twin's learning rate, and w(t) the warm-up. With the first batch size B0, base learning rate L and
exponent p (1 for SGD, 1/2 for Adam-like optimizers)

    batch size     B = round(B0 * C(t)), at least 1 and at most the cap or the data set
    learning rate  L * w(t) * f(t) * (B / B0)**p

The learning rate follows the batch size that is realised. So growth that a cap refuses turns into decay by the
same factor, rounding never lets the two drift apart, and the twin is the same formula with C = 1. Halves are
rounded up. AdaBatch (arXiv 1712.02029), increasing instead of decaying (arXiv 1711.00489) and Seesaw
(arXiv 2510.14717) are choices of C and f.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from abc import abstractmethod

from adabatch.progress import Progress
from adabatch.schedules.base import Decision, Schedule, Signals
from adabatch.schedules.config import RampScheduleConfig, ScheduleConfig, StepwiseScheduleConfig


class CoupledSchedule(Schedule):
    """Batch size and learning rate from a growth and a decay that depend on progress alone.

    Args:
        config: first batch size, cap, warm-up, exponent.
        learning_rate: base learning rate L, for a batch of ``config.batch_size`` before warm-up.
        num_samples: size of the training set; no batch is larger.
    """

    def __init__(self, config: ScheduleConfig, learning_rate: float, num_samples: int) -> None:
        self._config = config
        self._learning_rate = learning_rate
        self._num_samples = num_samples
        self._cap = min(num_samples, config.max_batch_size or num_samples)

    @abstractmethod
    def growth(self, progress: Progress) -> float:
        """Return C(t): the wanted batch size over the first one."""

    @abstractmethod
    def twin_decay(self, progress: Progress) -> float:
        """Return f(t): the fixed-batch twin's learning rate over the base, without warm-up."""

    @property
    def constant_within_epoch(self) -> bool:
        return True

    def decide(self, progress: Progress, signals: Signals | None = None) -> Decision:
        first = self._config.batch_size
        wanted = math.floor(first * self.growth(progress) + 0.5)
        batch_size = max(1, min(wanted, self._cap))
        coupling = (batch_size / first) ** self._config.learning_rate_exponent
        scale = self._warmup(progress) * self.twin_decay(progress) * coupling
        return Decision(batch_size, self._learning_rate * scale)

    def _warmup(self, progress: Progress) -> float:
        config = self._config
        if config.warmup_epochs == 0:
            return 1.0
        target = (config.batch_size / config.warmup_base_batch_size) ** config.learning_rate_exponent
        done = (progress.epoch - 1 + progress.samples_in_epoch / self._num_samples) / config.warmup_epochs
        return 1.0 + min(done, 1.0) * (target - 1.0)


class StepwiseSchedule(CoupledSchedule):
    """Growth by a factor at boundaries between epochs.

    Args:
        config: growth b and learning-rate factor g per boundary; the twin decays by g / b**p.
        num_epochs: a boundary after the last epoch does not exist.
    """

    def __init__(self, config: StepwiseScheduleConfig, learning_rate: float, num_samples: int, num_epochs: int) -> None:
        super().__init__(config, learning_rate, num_samples)
        self._growth = config.batch_growth
        self._decay = twin_factor(config)
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


class RampSchedule(CoupledSchedule):
    """Growth with the samples seen, from the first batch size to the final one, then constant."""

    def __init__(self, config: RampScheduleConfig, learning_rate: float, num_samples: int, num_epochs: int) -> None:
        super().__init__(config, learning_rate, num_samples)
        self._ramp = config
        self._ramp_samples = config.ramp_samples or (config.ramp_epochs or num_epochs) * num_samples
        self._total_growth = config.final_batch_size / config.batch_size
        # The learning rate goes as growth**q; what the batch does not carry of it is the twin's decay.
        grows = self._total_growth != 1
        q = math.log(config.learning_rate_decay) / math.log(self._total_growth) if grows else 0.0
        self._twin_exponent = q - config.learning_rate_exponent

    @property
    def constant_within_epoch(self) -> bool:
        return self._ramp.hold_batch_size

    def _wanted_growth(self, progress: Progress) -> float:
        samples = (progress.epoch - 1) * self._num_samples + progress.samples_in_epoch
        way = min(1.0, samples / self._ramp_samples)
        if self._ramp.shape == "cosine":
            way = (1.0 - math.cos(math.pi * way)) / 2.0
        elif self._ramp.shape == "polynomial":
            way = way**self._ramp.power
        return 1.0 + (self._total_growth - 1.0) * way

    def growth(self, progress: Progress) -> float:
        if self._ramp.hold_batch_size:
            return 1.0
        first, multiple = self._ramp.batch_size, self._ramp.batch_size_multiple
        return math.floor(first * self._wanted_growth(progress) / multiple + 0.5) * multiple / first

    def twin_decay(self, progress: Progress) -> float:
        return self._wanted_growth(progress) ** self._twin_exponent


def twin_factor(config: StepwiseScheduleConfig) -> float:
    """Return d = g / b**p, by which the fixed-batch twin's learning rate is multiplied at each boundary."""
    return config.learning_rate_decay / config.batch_growth**config.learning_rate_exponent


def twin(config: ScheduleConfig) -> ScheduleConfig:
    """Return the fixed-batch twin: the same learning rate per sample (to the power p) at every sample seen.

    The twin keeps the first batch size, the boundaries, the warm-up and the cap.

    Raises:
        TypeError: for a schedule outside the open-loop family.
    """
    if isinstance(config, StepwiseScheduleConfig):
        return dataclasses.replace(config, batch_growth=1.0, learning_rate_decay=twin_factor(config))
    if isinstance(config, RampScheduleConfig):
        return dataclasses.replace(config, hold_batch_size=True)
    raise TypeError(f"{type(config).__name__} has no fixed-batch twin")


def build_schedule(config: ScheduleConfig, learning_rate: float, num_samples: int, num_epochs: int) -> Schedule:
    """Return the schedule of a config.

    Args:
        learning_rate: ``optimizer.learning_rate``.
        num_samples: size of the training set.
        num_epochs: length of the training; the default length of a ramp.
    """
    if isinstance(config, StepwiseScheduleConfig):
        return StepwiseSchedule(config, learning_rate, num_samples, num_epochs)
    if isinstance(config, RampScheduleConfig):
        return RampSchedule(config, learning_rate, num_samples, num_epochs)
    raise TypeError(f"no schedule is known for {type(config).__name__}")
