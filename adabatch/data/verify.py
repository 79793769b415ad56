"""Checks of the sizes that a config declares against those that the data have."""

from __future__ import annotations

from adabatch.config import DatasetConfig
from adabatch.errors import ConfigError, DataError


def verify_sizes(config: DatasetConfig, place: str, **found: int) -> None:
    """Compare keys of ``config``, such as ``num_train_samples``, with what was found at ``place``.

    Raises:
        ConfigError: naming the first key that differs, its value, and what the data have.
    """
    for key, value in found.items():
        declared = getattr(config, key)
        if declared != value:
            raise ConfigError(f"dataset.{key} is {declared}; it must be {value}, as {place} has it.")


def verify_labels(labels: list[int], num_classes: int, place: str) -> None:
    """Raise DataError unless every label is one of the ``num_classes`` classes, which count from 0."""
    wrong = next((label for label in labels if not 0 <= label < num_classes), None)
    if wrong is not None:
        raise DataError(f"{place} is corrupt: it holds the label {wrong}, and labels go from 0 to {num_classes - 1}.")
