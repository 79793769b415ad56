"""Arrays of one's own: images, vectors, sequences, token ids."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms import v2

from adabatch.data import files
from adabatch.data.arrays import check_labels, facts, read_arrays
from adabatch.data.config import DatasetConfig
from adabatch.data.files import refuse_augmentation, verify_sizes
from adabatch.data.loaded import LoadedSource
from adabatch.data.pixels import finished_pixels, finished_values
from adabatch.data.resident import resident_dataset, value_dataset
from adabatch.data.sample_transforms import pixel_augmentation, transformed_pixels
from adabatch.data.source import Dataset, ImageFormat


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Read the arrays; those that are too large for the device are read sample by sample while training.

    See `adabatch.data.load_dataset`.
    """
    arrays = read_arrays(config.root)
    verify_sizes(config, str(config.root), **facts(arrays))
    check_labels(config.root, arrays, config.num_classes)
    if not arrays.are_images:
        refuse_augmentation(config)
    train, test = (arrays.x_train, arrays.y_train), (arrays.x_test, arrays.y_test)
    if arrays.x_train.nbytes + arrays.x_test.nbytes > files.MAX_RESIDENT_BYTES:
        finish = (finished_pixels if arrays.are_images else finished_values)(config, image_format)
        augment = pixel_augmentation(config) if arrays.are_images else None
        return Dataset(
            LoadedSource(_Rows(*train, augment), finish, image_format.device, config.num_workers, augment is not None),
            LoadedSource(_Rows(*test, None), finish, image_format.device, config.num_workers, False),
        )
    make = resident_dataset if arrays.are_images else value_dataset
    return make(_tensors(*train), _tensors(*test), config, image_format)


def _tensors(samples: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return as_tensor(samples), torch.from_numpy(labels)


def as_tensor(samples: np.ndarray) -> torch.Tensor:
    """Return samples as a tensor of their own: torch lacks unsigned numbers of more than 8 bits."""
    wide = samples.dtype.kind in "iu" and samples.dtype != np.uint8
    return torch.from_numpy(np.array(samples, dtype=np.int64 if wide else samples.dtype.newbyteorder("=")))


class _Rows:
    """Samples of an array; see `adabatch.data.loaded.Samples`."""

    def __init__(self, samples: np.ndarray, labels: np.ndarray, augment: v2.Transform | None) -> None:
        self._samples = samples
        self._labels = labels
        self._augment = augment

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a sample, images as (H, W, C), and its label."""
        sample = as_tensor(self._samples[index])
        return transformed_pixels(sample, self._augment), int(self._labels[index])
