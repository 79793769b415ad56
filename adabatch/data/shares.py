"""How many samples of each class a part of a data set gets; nothing here needs torch or the data."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from adabatch.errors import ConfigError
from adabatch.terminal import counted


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
            f"dataset.validation is {validation}; of {counted(num_samples, 'training sample')}, it must hold out at "
            "least one and not all."
        )
    left = num_samples - held_out
    return left if limit is None else min(limit, left), held_out


def refuse_too_few(num_trained: int, num_classes: int, validation: float, limit: int | None) -> None:
    """Raise ConfigError if there are fewer samples to train on than classes, so that some class has none.

    Args:
        num_trained: what ``validation`` and ``limit`` leave.
    """
    if num_trained >= num_classes:
        return
    so_that = f"so that each of the {num_classes} classes has a sample to train on"
    if limit is not None and limit < num_classes:
        raise ConfigError(f"dataset.limit is {limit}; it must be null or at least {num_classes}, {so_that}.")
    raise ConfigError(
        f"dataset.validation is {validation}; it must be smaller, {so_that}: it leaves "
        f"{counted(num_trained, 'sample')}."
    )


def stratified_counts(class_counts: Sequence[int], total: int, *, one_of_each: bool = False) -> list[int]:
    """Divide ``total`` among classes in proportion to their sizes, by the method of largest remainders.

    Each class gets its exact share rounded down. What is left goes, one each, to the classes with the largest
    remainders; of equal ones, the first class comes first.

    Args:
        class_counts: samples of each class.
        total: at most the sum of ``class_counts``.
        one_of_each: give at least one to each class that has samples, where ``total`` is enough, at the cost of the
            class that gets most.
    """
    whole = sum(class_counts)
    if not whole:
        return [0] * len(class_counts)
    shares, remainders = zip(*(divmod(total * count, whole) for count in class_counts), strict=True)
    by_remainder = sorted(range(len(class_counts)), key=lambda label: -remainders[label])
    favoured = set(by_remainder[: total - sum(shares)])
    counts = [share + (label in favoured) for label, share in enumerate(shares)]
    if one_of_each and total >= sum(map(bool, class_counts)):
        for label in [label for label, count in enumerate(class_counts) if count and not counts[label]]:
            counts[counts.index(max(counts))] -= 1
            counts[label] = 1
    return counts
