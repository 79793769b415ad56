"""Folders of images of any layout of splits: small ones are decoded once, large ones by workers while training."""

from __future__ import annotations

import numpy as np
import torch

from adabatch.data.config import DatasetConfig
from adabatch.data.decoding import decode_square
from adabatch.data.division import divided, test_indices
from adabatch.data.files import fits_on_device, verify_sizes
from adabatch.data.image_files import ImageFiles, check_channels, digest_of, list_images
from adabatch.data.image_samples import ImageSamples
from adabatch.data.loaded import LoadedSource
from adabatch.data.pixels import finished_pixels
from adabatch.data.resident import ResidentSource
from adabatch.data.sample_transforms import SquareTransform
from adabatch.data.source import Dataset, ImageFormat, Source

_WHITE = 255.0


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Decode the images, or list those that workers will decode. See `adabatch.data.load_dataset`.

    Either way an image is the middle square of its file, scaled to the image size; training images are then cropped
    and mirrored at random, if the config says so.
    """
    check_channels(config.num_channels)
    train, test = list_images(config.root, config.test_fraction)
    verify_sizes(
        config,
        str(config.root),
        num_train_samples=len(train.names),
        num_test_samples=len(test.names),
        num_classes=len(train.classes),
        digest=digest_of(train, test),
    )
    is_resident = fits_on_device(config)

    def make(indices: torch.Tensor | None, augment: bool) -> Source:
        used = train if indices is None else train.taken(indices.tolist())
        return _source(used, config, image_format, augment, is_resident)

    trained, validation = divided(torch.tensor(train.labels), config, make)
    tested = test_indices(torch.tensor(test.labels), config)
    if tested is not None:
        test = test.taken(tested.tolist())
    return Dataset(trained, _source(test, config, image_format, False, is_resident), validation)


def _decoded(files: ImageFiles, config: DatasetConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (N, H, W, C), uint8, and labels (N,)."""
    size = config.image_size
    images = np.empty((len(files.names), size, size, config.num_channels), dtype=np.uint8)
    for place, name in enumerate(files.names):
        images[place] = decode_square(files.folder / name, config.num_channels, size)
    return torch.from_numpy(images), torch.tensor(files.labels)


def _source(
    files: ImageFiles, config: DatasetConfig, image_format: ImageFormat, augment: bool, is_resident: bool
) -> Source:
    if is_resident and not (augment and config.transforms):
        return ResidentSource(*_decoded(files, config), config, image_format, _WHITE, augment)
    paths = [str(files.folder / name) for name in files.names]
    samples = ImageSamples(paths, files.labels, config.num_channels, SquareTransform(config, augment))
    finish = finished_pixels(config, image_format)
    return LoadedSource(samples, finish, image_format.device, config.num_workers, is_random=augment)
