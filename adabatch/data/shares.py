"""How many samples of each class a part of a data set gets; nothing here needs torch or the data."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from adabatch.errors import ConfigError


def rounded_share(num_samples: int, fraction: float) -> int:
    """Return ``fraction`` of ``num_samples``, rounded; halves are rounded up."""
    return floor(num_samples * fraction + 0.5)


def divided_counts(num_samples: int, validation: float, limit: int | None) -> tuple[int, int]:
    """Return how many of the training samples are trained on, and how many are held out.

    First the share ``validation`` is held out; of the others, at most ``limit`` are used.

    Raises:
        ConfigError: if none would be held out, or none be left.
    """
    held_out = rounded_share(num_samples, validation)
    if validation and not 0 < held_out < num_samples:
        raise ConfigError(
            f"dataset.validation is {validation}; of {num_samples} training samples, it must hold out at least one"
            " and not all."
        )
    left = num_samples - held_out
    return left if limit is None else min(limit, left), held_out


def stratified_counts(class_counts: Sequence[int], total: int) -> list[int]:
    """Divide ``total`` among classes in proportion to their sizes, by the method of largest remainders.

    Each class gets its exact share rounded down. What is left goes, one each, to the classes with the largest
    remainders; of equal ones, the first class comes first.

    Args:
        class_counts: samples of each class.
        total: at most the sum of ``class_counts``.
    """
    whole = sum(class_counts)
    if not whole:
        return [0] * len(class_counts)
    shares, remainders = zip(*(divmod(total * count, whole) for count in class_counts), strict=True)
    by_remainder = sorted(range(len(class_counts)), key=lambda label: -remainders[label])
    favoured = set(by_remainder[: total - sum(shares)])
    return [share + (label in favoured) for label, share in enumerate(shares)]
