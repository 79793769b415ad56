"""Batch size and learning rate over the epochs of a run, and the rule by which the arms of a comparison match.

Two arms match if their learning rate / batch size**p is proportional in every epoch after both warm-ups. If both start
with the same batch size, the factor must be 1; otherwise any constant factor is allowed and reported: a large fixed
batch may start at the unscaled, the root-scaled or the linearly scaled learning rate. Lint applies the rule to plans,
the tables to recorded epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from adabatch.fields import Difference
from adabatch.schedules.base import Schedule
from adabatch.schedules.progress import Progress

#: The name of the rule, used like a config key.
RATE_RULE = "learning_rate_per_sample"
WARMUP_KEY = "schedule.warmup_epochs"
EXPONENT_KEY = "schedule.learning_rate_exponent"
#: Relative; other trainers' logs are rounded to four digits.
TOLERANCE = 1e-3


def rate_per_sample(learning_rate: Any, batch_size: Any, exponent: Any) -> Any:
    """Return the learning rate per sample, learning rate / batch size**exponent, of numbers, arrays or columns."""
    return learning_rate / batch_size**exponent


@dataclass(frozen=True)
class Trajectory:
    """A run's batch size and learning rate by epoch.

    Attributes:
        batch_sizes: in samples, one per epoch, starting with the first.
        learning_rates: one per epoch; NaN where it was not logged.
        warmup_epochs: how many of the epochs are warm-up.
        exponent: p, by which the learning rate follows the batch size.
    """

    batch_sizes: np.ndarray
    learning_rates: np.ndarray
    warmup_epochs: int = 0
    exponent: float = 1.0

    @property
    def num_epochs(self) -> int:
        """The number of epochs."""
        return len(self.batch_sizes)

    @property
    def first_batch_size(self) -> int:
        """The batch size in the first epoch."""
        return int(self.batch_sizes[0])

    @property
    def varies(self) -> bool:
        """Whether the batch size ever changes."""
        return bool((self.batch_sizes != self.batch_sizes[0]).any())

    @property
    def grows(self) -> bool:
        """Whether the batch is ever larger than at the start."""
        return bool(self.batch_sizes.max() > self.batch_sizes[0])

    def rates_per_sample(self, exponent: float | None = None) -> np.ndarray:
        """Return the learning rate per sample by epoch, with the trajectory's own exponent by default."""
        power = self.exponent if exponent is None else exponent
        return np.asarray(rate_per_sample(self.learning_rates, self.batch_sizes.astype(float), power))

    def boundaries(self, exponent: float) -> list[int]:
        """Return the epochs, after the warm-up, at whose end the learning rate per sample changes."""
        rates = self.rates_per_sample(exponent)
        changed = np.flatnonzero(~_equal(rates[1:], rates[:-1])) + 1
        return [int(epoch) for epoch in changed if epoch > self.warmup_epochs]


def planned_trajectory(
    schedule: Schedule, num_epochs: int, warmup_epochs: int = 0, exponent: float = 1.0
) -> Trajectory:
    """Return what an open-loop schedule decides at the start of each epoch."""
    decisions = [schedule.decide(Progress(epoch=epoch)) for epoch in range(1, num_epochs + 1)]
    return Trajectory(
        np.array([decision.batch_size for decision in decisions]),
        np.array([decision.learning_rate for decision in decisions]),
        warmup_epochs,
        exponent,
    )


def compare(own: Trajectory, base: Trajectory) -> Iterator[Difference]:
    """Yield the differences that rule out comparing an arm with its baseline; nothing if they match."""
    if own.warmup_epochs != base.warmup_epochs:
        yield Difference(WARMUP_KEY, own.warmup_epochs, base.warmup_epochs)
    if own.varies and base.varies and own.exponent != base.exponent:  # p matters only if the batch size varies
        yield Difference(EXPONENT_KEY, own.exponent, base.exponent)
    start, mine, theirs = _rates_after_warmup(own, base)
    if np.isnan(mine).all() and np.isnan(theirs).all():
        return
    if np.isnan(mine).any() or np.isnan(theirs).any():
        value, other = ("unknown" if np.isnan(rates).any() else "known" for rates in (mine, theirs))
        yield Difference(RATE_RULE, value, other)
        return
    factors = mine / theirs
    expected = 1.0 if own.first_batch_size == base.first_batch_size else factors[0]
    wrong = np.flatnonzero(~_equal(factors, expected))
    if len(wrong):
        index = int(wrong[0])
        epoch = f"in epoch {start + index + 1}"
        yield Difference(RATE_RULE, f"{mine[index]:.4g} {epoch}", f"{theirs[index]:.4g} {epoch}")


def constant_factor(own: Trajectory, base: Trajectory) -> float:
    """Return the constant factor between the learning rates per sample of matching arms; 1 within the tolerance."""
    _, mine, theirs = _rates_after_warmup(own, base)
    if not len(mine) or np.isnan(mine[0]) or np.isnan(theirs[0]) or _equal(mine[0], theirs[0]):
        return 1.0
    return float(mine[0] / theirs[0])


def factor_sentence(factor: float, own_batch_size: int, base_batch_size: int) -> str:
    """Describe the constant factor between two arms."""
    return (
        f"with first batches of {own_batch_size:,} and {base_batch_size:,} samples its learning rate per sample is "
        f"{factor:.4g} times the baseline's throughout"
    )


def _rates_after_warmup(own: Trajectory, base: Trajectory) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the first compared epoch (from 0) and both learning rates per sample in the shared epochs after warm-up.

    The exponent is that of the arm whose batch size varies.
    """
    exponent = (base if base.varies and not own.varies else own).exponent
    start = max(own.warmup_epochs, base.warmup_epochs)
    shared = slice(start, min(own.num_epochs, base.num_epochs))
    return start, own.rates_per_sample(exponent)[shared], base.rates_per_sample(exponent)[shared]


def _equal(one: np.ndarray | float, two: np.ndarray | float) -> np.ndarray:
    return np.asarray(np.abs(np.asarray(one) - two) <= TOLERANCE * np.maximum(np.abs(one), np.abs(two)))


def boundaries_sentence(own: Trajectory, base: Trajectory) -> str | None:
    """Return a sentence if the learning rates per sample change after different epochs; None if they do not."""
    exponent = (own if own.grows or not base.grows else base).exponent
    shared = min(own.num_epochs, base.num_epochs)
    mine, theirs = ([epoch for epoch in one.boundaries(exponent) if epoch < shared] for one in (own, base))
    if mine == theirs:
        return None
    return f"The learning rate per sample changes after epochs {_listed(mine)}; the baseline's after {_listed(theirs)}."


def _listed(epochs: list[int]) -> str:
    if not epochs:
        return "none"
    return ", ".join(map(str, epochs)) if len(epochs) <= 6 else f"{epochs[0]}, {epochs[1]}, ... {epochs[-1]}"
