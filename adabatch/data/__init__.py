"""Data sets by name. Importing this package does not import torch; loading a data set does."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from adabatch.data.config import DatasetConfig
from adabatch.data.names import BY_PATH, DATASET_MODULES, dataset_names
from adabatch.data.source import Dataset, ImageFormat, Source

if TYPE_CHECKING:
    import torch

__all__ = ["Dataset", "DatasetConfig", "Source", "dataset_names", "load_dataset"]


def load_dataset(
    config: DatasetConfig, device: torch.device, channels_last: bool, dtype: torch.dtype | None = None
) -> Dataset:
    """Load a data set and check it against the sizes that the config declares.

    Args:
        config: which set, where it is, and how its images are augmented.
        device: of the images and labels that `Source.iterate` yields.
        channels_last: whether those images are stored in memory as (n, H, W, C).
        dtype: of the images; None for float32.

    Raises:
        ConfigError: if the data are missing or differ from the declared sizes.
        DataError: if one of the files is truncated or corrupt.
    """
    import torch

    module = importlib.import_module(DATASET_MODULES[config.name] if config.path is None else BY_PATH)
    dataset: Dataset = module.load(config, ImageFormat(device, channels_last, dtype or torch.float32))
    return dataset
