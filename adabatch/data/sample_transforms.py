"""Random changes of single training images, where they are read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from adabatch.data.config import DatasetConfig
from adabatch.data.loaded import seeded
from adabatch.errors import ConfigError, DataError

#: Transforms whose argument ``transforms`` is a list of transforms.
_CONTAINERS = ("Compose", "RandomApply", "RandomChoice", "RandomOrder")
_ALLOWED = "a transform of torchvision.transforms.v2, as NAME or {NAME: {ARGUMENT: VALUE}}"
#: Data sets that scale what transforms make of a file.
_SCALED = ("image_folder", "imagenet")
#: From images (C, H, W) to images, uint8.
PixelTransform = Callable[[torch.Tensor], torch.Tensor]


def pixel_augmentation(config: DatasetConfig) -> PixelTransform | None:
    """Return what a config asks for: its transforms, or crops and mirroring; None if it asks for none.

    Raises:
        ConfigError: if a transform is unknown, or cannot be applied to an image.
    """
    if config.transforms:
        return _user_transforms(config)
    size = config.sample_shape[1:]
    crop = [v2.RandomCrop(size, padding=config.crop_padding)] if config.crop_padding else []
    flip = [v2.RandomHorizontalFlip()] if config.horizontal_flip else []
    return v2.Compose([*crop, *flip]) if crop or flip else None


def transformed_pixels(pixels: torch.Tensor, transform: PixelTransform | None) -> torch.Tensor:
    """Return an image (H, W, C) after a transform of images (C, H, W).

    Raises:
        DataError: if the transform makes something of another shape or dtype of it.
    """
    if transform is None:
        return pixels
    changed = transform(pixels.permute(2, 0, 1)).permute(1, 2, 0)
    if changed.shape != pixels.shape or changed.dtype != pixels.dtype:
        raise DataError(_other_image(changed.shape, changed.dtype, pixels.shape))
    return changed


def _other_image(found: Sequence[int], dtype: torch.dtype, expected: Sequence[int]) -> str:
    return (
        f"dataset.transforms make an image of shape {tuple(found)} and {dtype} of one of {tuple(expected)} and"
        " torch.uint8; they must leave both as they are."
    )


class SquareTransform:
    """Turns a decoded file into a training image of the config's size; workers get a pickled copy.

    Transforms of the config get the whole image, and crops and mirroring its middle square.
    """

    def __init__(self, config: DatasetConfig, augment: bool) -> None:
        self._size = (config.image_size, config.image_size)
        self._augment = pixel_augmentation(config) if augment else None
        self._takes_whole = bool(config.transforms)

    def __call__(self, image: Image.Image) -> Image.Image:
        if self._augment is None:
            return self._fitted(image)
        if not self._takes_whole:
            image = self._fitted(image)
        pixels = torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1).permute(2, 0, 1)
        changed = self._augment(pixels)
        if changed.dtype != torch.uint8:
            raise DataError(f"dataset.transforms make {changed.dtype} of an image; they must leave its dtype as it is.")
        return self._fitted(v2.functional.to_pil_image(changed))

    def _fitted(self, image: Image.Image) -> Image.Image:
        return image if image.size == self._size else ImageOps.fit(image, self._size, Image.Resampling.BILINEAR)


class ArraySamples:
    """Samples of an array or tensor; see `adabatch.data.loaded.Samples`.

    Args:
        samples: (N, ...); images are uint8 (N, H, W, C).
        labels: (N,).
        read_sample: makes a tensor of one of the samples.
        transform: of images.
    """

    def __init__(
        self,
        samples: Any,
        labels: Any,
        read_sample: Callable[[Any], torch.Tensor],
        transform: PixelTransform | None,
    ) -> None:
        self._samples = samples
        self._labels = labels
        self._read_sample = read_sample
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a sample, images as (H, W, C), and its label."""
        sample = self._read_sample(self._samples[index])
        return transformed_pixels(sample, self._transform), int(self._labels[index])


def _user_transforms(config: DatasetConfig) -> PixelTransform:
    transform = v2.Compose([_built(entry) for entry in config.transforms])
    try:
        with seeded(0):
            changed = transform(torch.zeros(config.sample_shape, dtype=torch.uint8))
    except Exception as error:  # of the transforms, which check what they are given in many ways
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ConfigError(
            f"dataset.transforms is {config.transforms}; they cannot be applied to an image of shape"
            f" {config.sample_shape} ({reason})."
        ) from error
    if config.name not in _SCALED and (changed.shape != config.sample_shape or changed.dtype != torch.uint8):
        channels_last = (*changed.shape[1:], changed.shape[0])
        raise ConfigError(
            _other_image(channels_last, changed.dtype, (*config.sample_shape[1:], config.sample_shape[0]))
        )
    return transform


def _built(entry: object) -> v2.Transform:
    """Build a transform from its name or from ``{NAME: ARGUMENTS}``; nothing but transforms can be named."""
    name, given = entry, None
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, given),) = entry.items()
    made = getattr(v2, name, None) if isinstance(name, str) else None
    is_transform = isinstance(made, type) and issubclass(made, v2.Transform) and made is not v2.Transform
    if not is_transform or not isinstance(given, Mapping | None):
        raise ConfigError(f"dataset.transforms holds {entry}; it must be {_ALLOWED}.")
    arguments = dict(given or {})
    inner = arguments.get("transforms")
    if name in _CONTAINERS and isinstance(inner, Sequence):
        arguments["transforms"] = [_built(other) for other in inner]
    try:
        return made(**arguments)  # type: ignore[misc]
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"dataset.transforms holds {entry}; {name} does not accept that ({reason}).") from error
