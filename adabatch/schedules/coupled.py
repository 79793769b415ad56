"""The open-loop family: one formula couples learning rate and batch size.

At epoch position t, let C(t) be the wanted batch size over the first one, f(t) the decay of the fixed-batch twin's
learning rate, and w(t) the warm-up. With the first batch size B0, base learning rate L and exponent p (1 for SGD, 1/2
for Adam-like optimizers)

    batch size     B = round(B0 * C(t)), at least 1 and at most the cap or the data set
    learning rate  L * w(t) * f(t) * (B / B0)**p

The learning rate follows the batch size actually used. So growth prevented by a cap becomes decay by the same factor,
rounding does not make the two drift apart, and the twin is the same formula with C = 1. Halves are rounded up.
AdaBatch (arXiv 1712.02029), increasing instead of decaying (arXiv 1711.00489) and Seesaw (arXiv 2510.14717) are choices
of C and f.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from adabatch.errors import ConfigError
from adabatch.schedules.base import Decision, Schedule, ScheduleConfig, Signals
from adabatch.schedules.progress import Progress

#: As many are planned in about a minute.
_MOST_PLANNED_UPDATES = 50_000_000


class CoupledSchedule(Schedule):
    """Batch size and learning rate from a growth and a decay that depend only on progress.

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
        wanted = self.wanted_batch_size(progress)
        batch_size = self._cap if wanted >= self._cap else max(1, math.floor(wanted + 0.5))
        coupling = (batch_size / first) ** self._config.learning_rate_exponent
        try:
            learning_rate = self._learning_rate * self._warmup(progress) * self.twin_decay(progress) * coupling
        except OverflowError:
            learning_rate = math.inf
        if not 0 < learning_rate < math.inf:
            raise ConfigError(
                f"the learning rate of epoch {progress.epoch} is {learning_rate:g}; it must be a positive number: "
                "change optimizer.learning_rate, schedule.learning_rate_decay or the growth of the batch."
            )
        return Decision(batch_size, learning_rate)

    def wanted_batch_size(self, progress: Progress) -> float:
        """Return the batch size before rounding and without a cap; infinite if it is beyond the numbers."""
        try:
            return self._config.batch_size * self.growth(progress)
        except OverflowError:
            return math.inf

    def _warmup(self, progress: Progress) -> float:
        config = self._config
        if config.warmup_epochs == 0:
            return 1.0
        target = (config.batch_size / config.warmup_base_batch_size) ** config.learning_rate_exponent
        done = (progress.epoch - 1 + progress.samples_in_epoch / self._num_samples) / config.warmup_epochs
        return 1.0 + min(done, 1.0) * (target - 1.0)


def check_every_epoch(schedule: Schedule, num_epochs: int, num_samples: int) -> None:
    """Raise ConfigError unless a schedule of this family can be computed in every epoch, and planned update by update.

    Others are the user's own, and may wait for signals.
    """
    if not isinstance(schedule, CoupledSchedule):
        return
    batches = [schedule.decide(Progress(epoch=epoch)).batch_size for epoch in range(1, num_epochs + 1)]
    if not schedule.constant_within_epoch:
        num_updates = sum(num_samples / batch for batch in batches)
        if num_updates > _MOST_PLANNED_UPDATES:
            raise ConfigError(
                f"the ramp makes about {num_updates:.2g} updates; it must make at most {_MOST_PLANNED_UPDATES:,}, "
                "since each is planned."
            )
