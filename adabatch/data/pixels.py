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


def finished_pixels(config: DatasetConfig, image_format: ImageFormat) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from uint8 pixels (n, H, W, C) on the device to the images of `Source.iterate`."""
    normalize = PixelNormalizer(config, 255.0, image_format)
    if image_format.channels_last:
        return normalize
    return lambda pixels: normalize(pixels.permute(0, 3, 1, 2).contiguous())
