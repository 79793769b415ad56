"""Mean and standard deviation of pixels, without torch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

#: Of how many training images the pixels are read.
NUM_IMAGES = 2048
#: Digits that are kept: fewer than two decoders of JPEG could differ in.
_NUM_DIGITS = 4


def mean_and_std(images: Iterable[np.ndarray]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, of pixels between 0 and 1.

    Where all pixels are equal, the standard deviation is given as 1, which nothing is divided by.

    Args:
        images: at least one, uint8 of shape (H, W, C).
    """
    sums = squares = np.zeros(1)
    num_pixels = 0
    for image in images:
        pixels = image / 255.0
        sums = sums + pixels.sum((0, 1))
        squares = squares + (pixels**2).sum((0, 1))
        num_pixels += image.shape[0] * image.shape[1]
    mean = sums / num_pixels
    std = np.sqrt(np.maximum(0.0, squares / num_pixels - mean**2)).round(_NUM_DIGITS)
    return mean.round(_NUM_DIGITS).tolist(), np.where(std > 0, std, 1.0).tolist()
