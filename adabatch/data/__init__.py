"""Data sets by name. Importing this package does not import torch; loading a data set does."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from adabatch.data.config import DatasetConfig
from adabatch.data.names import DATASET_MODULES, dataset_names
from adabatch.data.source import Dataset, ImageFormat, Source

if TYPE_CHECKING:
    import torch

__all__ = ["Dataset", "DatasetConfig", "Source", "dataset_names", "load_dataset"]


def load_dataset(
    config: DatasetConfig, device: torch.device, channels_last: bool, dtype: torch.dtype | None = None
) -> Dataset:
    """Load a data set and check it against the sizes that the config declares.

    Args:
        config: which set, where it lies, and how its images are changed for training.
        device: where the images and labels of `Source.iterate` will be.
        channels_last: whether those images lie in memory as (n, H, W, C).
        dtype: of the images; None for float32.

    Raises:
        ConfigError: if the data are missing or differ from the declared sizes.
        DataError: if a file of them is truncated or corrupt.
    """
    import torch

    module = importlib.import_module(DATASET_MODULES[config.name])
    dataset: Dataset = module.load(config, ImageFormat(device, channels_last, dtype or torch.float32))
    return dataset
