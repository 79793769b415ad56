"""Shapes of samples as config keys; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def shape_keys(shape: Sequence[int]) -> dict[str, Any]:
    """Return the keys that say what shape a sample has, from its shape.

    Only square images (C, H, W) are told by channels and image size alone. ``num_channels`` and ``image_size`` of
    samples that are no images are 1.
    """
    if len(shape) != 3:
        return {"num_channels": 1, "image_size": 1, "input_shape": list(shape)}
    channels, height, width = shape
    is_square = height == width
    return {
        "num_channels": channels,
        "image_size": min(height, width),
        "input_shape": None if is_square else list(shape),
    }
