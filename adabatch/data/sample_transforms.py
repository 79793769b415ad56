"""Random changes of single training images, where they are read one at a time."""

from __future__ import annotations

import torch
from torchvision.transforms import v2

from adabatch.data.config import DatasetConfig


def pixel_augmentation(config: DatasetConfig) -> v2.Transform | None:
    """Return the crops and the mirroring that a config asks for; None if it asks for neither."""
    size = config.sample_shape[1:]
    crop = [v2.RandomCrop(size, padding=config.crop_padding)] if config.crop_padding else []
    flip = [v2.RandomHorizontalFlip()] if config.horizontal_flip else []
    return v2.Compose([*crop, *flip]) if crop or flip else None


def transformed_pixels(pixels: torch.Tensor, transform: v2.Transform | None) -> torch.Tensor:
    """Return an image (H, W, C) after a transform of images (C, H, W)."""
    if transform is None:
        return pixels
    changed: torch.Tensor = transform(pixels.permute(2, 0, 1))
    return changed.permute(1, 2, 0)
