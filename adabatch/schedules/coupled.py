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

from adabatch.schedules.base import Decision, Schedule, ScheduleConfig, Signals
from adabatch.schedules.progress import Progress


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
