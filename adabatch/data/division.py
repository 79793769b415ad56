"""Which training samples are trained on, and which are held out for validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from adabatch.data.config import DatasetConfig
from adabatch.data.order import generator
from adabatch.data.shares import rounded_share, stratified_counts
from adabatch.errors import ConfigError

_Part = TypeVar("_Part")


def divided(
    labels: torch.Tensor, config: DatasetConfig, make: Callable[[torch.Tensor | None, bool], _Part]
) -> tuple[_Part, _Part | None]:
    """Return what ``make`` makes of the samples to train on and of those for validation, None if there are none.

    Both depend on the labels alone, not on the run's seed, so all runs on a data set share them. The validation samples
    do not depend on ``dataset.limit``, and a smaller limit takes some of a larger one's samples.

    Args:
        labels: of all training samples, integers of shape (N,).
        config: gives ``validation`` and ``limit``.
        make: called with indices in increasing order, or None for all samples, and with whether they are augmented.

    Raises:
        ConfigError: if the validation samples are all that a class has.
    """
    limit = len(labels) if config.limit is None else config.limit
    if not config.validation and limit >= len(labels):
        return make(None, True), None
    indices = torch.arange(len(labels))
    held_out = _stratified(indices, labels, rounded_share(len(labels), config.validation), "validation")
    is_left = torch.ones(len(labels), dtype=torch.bool)
    is_left[held_out] = False
    left = indices[is_left]
    trained = _stratified(left, labels, limit, "limit", one_of_each=True) if limit < len(left) else left
    lost = set(labels.unique().tolist()) - set(labels[left].unique().tolist())
    if lost:
        raise ConfigError(
            f"dataset.validation is {config.validation}; it must be smaller, since it holds out all samples of class "
            f"{min(lost)}."
        )
    return make(trained, True), make(held_out, False) if config.validation else None


def test_indices(labels: torch.Tensor, config: DatasetConfig) -> torch.Tensor | None:
    """Return the indices of the test samples that are used, in increasing order; None for all.

    Args:
        labels: of all test samples, integers of shape (N,).
        config: gives ``test_limit``.
    """
    if config.test_limit is None or config.test_limit >= len(labels):
        return None
    return _stratified(torch.arange(len(labels)), labels, config.test_limit, "test_limit")


def _stratified(
    indices: torch.Tensor, labels: torch.Tensor, total: int, purpose: str, *, one_of_each: bool = False
) -> torch.Tensor:
    """Return ``total`` of the indices, the same share of each class, in increasing order."""
    chosen_labels = labels[indices]
    counts = chosen_labels.bincount().tolist()
    by_class = indices[chosen_labels.argsort(stable=True)].split(counts)
    by_count = stratified_counts(counts, total, one_of_each=one_of_each)
    parts = [
        members[torch.randperm(len(members), generator=generator("subset", purpose, label))[:count]]
        for label, (members, count) in enumerate(zip(by_class, by_count, strict=True))
    ]
    return torch.cat(parts).sort().values
