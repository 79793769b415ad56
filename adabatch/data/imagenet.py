"""Folders of JPEGs laid out like ImageNet: ``root/train/CLASS/*`` and ``root/val/CLASS/*``, decoded by workers."""

from __future__ import annotations

from pathlib import Path

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from adabatch.data.config import DatasetConfig
from adabatch.data.division import divided, test_indices
from adabatch.data.files import locate, search_folders, verify_sizes
from adabatch.data.image_samples import ImageSamples
from adabatch.data.loaded import LoadedSource, chosen
from adabatch.data.pixels import finished_pixels
from adabatch.data.sample_transforms import SquareTransform
from adabatch.data.source import Dataset, ImageFormat
from adabatch.errors import ConfigError

_FOLDER = "imagenet"
#: Test images are scaled to this times the crop's side, as is usual since Krizhevsky et al. 2012.
_TEST_SCALE = 256 / 224
_NUM_CHANNELS = 3


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """List the files; they are read while training. See `adabatch.data.load_dataset`."""
    if config.crop_padding:
        raise ConfigError(
            f"dataset.crop_padding is {config.crop_padding}; it must be 0 for imagenet: its crops are random anyway."
        )
    roots = search_folders(config)
    if config.root is None:
        roots = [root / _FOLDER for root in roots]
    remedy = "set dataset.root to a folder that holds train/CLASS/*.JPEG and val/CLASS/*.JPEG"
    root = locate(config, roots, lambda folder: (folder / "train").is_dir() and (folder / "val").is_dir(), remedy)
    train, test = _list_folder(root / "train"), _list_folder(root / "val")
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))[0]
        raise ConfigError(
            f"dataset.root is {root}; train/ and val/ must hold the same classes, but only one has {odd}."
        )
    verify_sizes(
        config,
        str(root),
        num_train_samples=len(train.samples),
        num_test_samples=len(test.samples),
        num_channels=_NUM_CHANNELS,
        num_classes=len(train.classes),
    )
    trained, validation = divided(
        torch.tensor(train.targets),
        config,
        lambda indices, augment: _source(train, config, image_format, augment, indices),
    )
    tested = test_indices(torch.tensor(test.targets), config)
    return Dataset(trained, _source(test, config, image_format, False, tested), validation)


def _source(
    folder: ImageFolder,
    config: DatasetConfig,
    image_format: ImageFormat,
    augment: bool,
    indices: torch.Tensor | None = None,
) -> LoadedSource:
    """Return the images of a split.

    Args:
        augment: random resized crops, mirrored if the config says so; otherwise the centre crop.
        indices: of the images that are used; None for all.
    """
    paths = [path for path, _ in folder.samples]
    transform = SquareTransform(config, augment) if augment and config.transforms else _transform(config, augment)
    samples = ImageSamples(paths, folder.targets, _NUM_CHANNELS, transform)
    finish = finished_pixels(config, image_format)
    return LoadedSource(chosen(samples, indices), finish, image_format.device, config.num_workers, is_random=augment)


def _list_folder(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"{folder} must hold a folder of images for each class ({reason}).") from error


def _transform(config: DatasetConfig, augment: bool) -> v2.Transform:
    size = config.image_size
    if not augment:
        return v2.Compose([v2.Resize(round(size * _TEST_SCALE)), v2.CenterCrop(size)])
    flip = [v2.RandomHorizontalFlip()] if config.horizontal_flip else []
    return v2.Compose([v2.RandomResizedCrop(size), *flip])
