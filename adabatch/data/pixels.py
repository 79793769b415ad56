"""Converts stored pixels to network inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from adabatch.data.config import DatasetConfig
from adabatch.data.source import ImageFormat


class PixelNormalizer:
    """Turns uint8 pixels into ``(pixel / white - mean) / std``.

    Args:
        config: gives mean and std, one number each or one per channel.
        white: the pixel value that corresponds to 1.0.
        image_format: of the result; the pixels are on its device, as (n, H, W, C) if channels_last, else (n, C, H, W).
    """

    def __init__(self, config: DatasetConfig, white: float, image_format: ImageFormat) -> None:
        device, dtype = image_format.device, image_format.dtype
        self._channels_last = image_format.channels_last
        self._dtype = dtype
        shape = (1, 1, 1, -1) if self._channels_last else (1, -1, 1, 1)
        mean = torch.tensor(config.mean, dtype=torch.float64).view(shape)
        std = torch.tensor(config.std, dtype=torch.float64).view(shape)
        # (pixel / white - mean) / std as one multiplication and one addition.
        self._scale = (1.0 / (white * std)).to(device=device, dtype=dtype)
        self._shift = (-mean / std).to(device=device, dtype=dtype)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return images (n, C, H, W) in the memory format of the pixels."""
        images = pixels.to(self._dtype).mul_(self._scale).add_(self._shift)
        return images.permute(0, 3, 1, 2) if self._channels_last else images


def finished_pixels(
    config: DatasetConfig, image_format: ImageFormat, white: float = 255.0
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from uint8 pixels (n, H, W, C) on the device to the images of `Source.iterate`."""
    normalize = PixelNormalizer(config, white, image_format)
    if image_format.channels_last:
        return normalize
    return lambda pixels: normalize(pixels.permute(0, 3, 1, 2).contiguous())


def finished_values(config: DatasetConfig, image_format: ImageFormat) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from samples (n, ...) on the device, floating-point or whole numbers, to those of `Source`.

    Whole numbers stay what they are, as int64. Others are normalized if mean and std are not 0 and 1; mean and std of
    each channel need samples (n, C, ...).
    """
    if config.num_tokens is not None:
        return lambda samples: samples.to(torch.int64)
    dtype, device = image_format.dtype, image_format.device
    is_image = len(config.sample_shape) == 3
    layout = torch.channels_last if image_format.channels_last and is_image else torch.contiguous_format
    shape = (1, -1, *(1 for _ in config.sample_shape[1:]))
    mean, std = (torch.tensor(values, dtype=dtype, device=device).view(shape) for values in (config.mean, config.std))
    is_plain = set(config.mean) == {0.0} and set(config.std) == {1.0}

    def finish(samples: torch.Tensor) -> torch.Tensor:
        converted = samples.to(dtype)
        return (converted if is_plain else (converted - mean) / std).contiguous(memory_format=layout)

    return finish
