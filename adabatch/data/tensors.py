"""Arrays of one's own: images, vectors, sequences, token ids."""

from __future__ import annotations

import numpy as np
import torch

from adabatch.data import files
from adabatch.data.arrays import check_labels, facts, read_arrays
from adabatch.data.config import DatasetConfig
from adabatch.data.division import divided, test_indices
from adabatch.data.files import refuse_augmentation, verify_sizes
from adabatch.data.loaded import LoadedSource, chosen
from adabatch.data.pixels import finished_pixels, finished_values
from adabatch.data.resident import resident_dataset, value_dataset
from adabatch.data.sample_transforms import ArraySamples, pixel_augmentation
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
        return _loaded(train, test, arrays.are_images, config, image_format)
    make = resident_dataset if arrays.are_images else value_dataset
    return make(_tensors(*train), _tensors(*test), config, image_format)


def _loaded(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    are_images: bool,
    config: DatasetConfig,
    image_format: ImageFormat,
) -> Dataset:
    """Return a data set of which samples are read while training."""
    finish = (finished_pixels if are_images else finished_values)(config, image_format)

    def make(split: tuple[np.ndarray, np.ndarray], indices: torch.Tensor | None, augment: bool) -> LoadedSource:
        transform = pixel_augmentation(config) if augment and are_images else None
        rows = chosen(ArraySamples(*split, as_tensor, transform), indices)
        return LoadedSource(rows, finish, image_format.device, config.num_workers, is_random=transform is not None)

    trained, validation = divided(torch.from_numpy(train[1]), config, lambda *part: make(train, *part))
    return Dataset(trained, make(test, test_indices(torch.from_numpy(test[1]), config), False), validation)


def _tensors(samples: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return as_tensor(samples), torch.from_numpy(labels)


def as_tensor(samples: np.ndarray) -> torch.Tensor:
    """Return samples as a tensor of their own: torch lacks unsigned numbers of more than 8 bits."""
    wide = samples.dtype.kind in "iu" and samples.dtype != np.uint8
    return torch.from_numpy(np.array(samples, dtype=np.int64 if wide else samples.dtype.newbyteorder("=")))
