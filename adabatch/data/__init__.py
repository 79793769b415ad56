"""Data sets by name. Importing this package does not import torch; loading a data set does."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from adabatch.checks import require_choice
from adabatch.data.source import Dataset, ImageFormat, Source

if TYPE_CHECKING:
    import torch

    from adabatch.config import DatasetConfig

__all__ = ["Dataset", "Source", "check_dataset_name", "dataset_names", "load_dataset"]

#: Each name's module of this package; its ``load(config, ImageFormat)`` does the work of `load_dataset`.
_MODULES = {
    "cifar10": "cifar",
    "cifar100": "cifar",
    "digits": "digits",
    "fashion_mnist": "fashion_mnist",
    "imagenet": "imagenet",
    "synthetic": "synthetic",
}


def dataset_names() -> list[str]:
    """Return the names that `load_dataset` knows."""
    return list(_MODULES)


def check_dataset_name(name: str) -> None:
    """Raise ConfigError unless `load_dataset` knows the name."""
    require_choice("dataset.name", name, dataset_names())


def load_dataset(
    config: DatasetConfig, device: torch.device, channels_last: bool, dtype: torch.dtype | None = None
) -> Dataset:
    """Load a data set and check it against the sizes that the config declares.

    Args:
        config: which set, where it lies, and how its images are changed for training.
        device: where the images and labels of `Source.iterate` shall be.
        channels_last: whether those images shall lie in memory as (n, H, W, C).
        dtype: of the images; None for float32.

    Raises:
        ConfigError: if the data are missing or differ from the declared sizes.
        DataError: if a file of them is truncated or corrupt.
    """
    import torch

    check_dataset_name(config.name)
    module = importlib.import_module(f"adabatch.data.{_MODULES[config.name]}")
    dataset: Dataset = module.load(config, ImageFormat(device, channels_last, dtype or torch.float32))
    return dataset
