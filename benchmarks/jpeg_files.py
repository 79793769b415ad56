"""Made-up photographs in ImageNet's layout: ``python -m benchmarks.jpeg_files ROOT TRAIN VAL CLASSES``.

Smooth random colours with some noise. They have as many pixels and bytes as ImageNet's, so decoding costs the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

#: Width and height in pixels; each file has one of these sizes.
SIZES = ((500, 375), (500, 375), (375, 500), (500, 333))
_QUALITY = 90
_GREY = 118.0
#: Cells across the image and the standard deviation of their colours, from large shapes to fine texture.
_SCALES = ((4, 60.0), (12, 30.0), (40, 14.0), (120, 8.0))
#: Smallest and largest standard deviation of the noise. With them, files have 80 to 130 kB.
_NOISE = (15.0, 23.0)


def write_jpegs(root: Path, num_train: int, num_val: int, num_classes: int, seed: int = 0) -> None:
    """Write ``root/train/CLASS/*.JPEG`` and ``root/val/CLASS/*.JPEG``; classes take turns."""
    random = np.random.default_rng(seed)
    for split, count in (("train", num_train), ("val", num_val)):
        folders = [root / split / f"class_{number:03d}" for number in range(num_classes)]
        for folder in folders:
            folder.mkdir(parents=True)
        for number in range(count):
            width, height = SIZES[random.integers(len(SIZES))]
            path = folders[number % num_classes] / f"{number:06d}.JPEG"
            Image.fromarray(_pixels(random, width, height)).save(path, quality=_QUALITY)


def _pixels(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return one image, uint8 of shape (height, width, 3)."""
    pixels = np.full((height, width, 3), _GREY, dtype=np.float32)
    for cells, deviation in _SCALES:
        coarse = random.normal(0.0, deviation, (max(2, cells * height // width), cells, 3)).astype(np.float32)
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel])
            pixels[..., channel] += np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
    pixels += random.normal(0.0, random.uniform(*_NOISE), (height, width, 1)).astype(np.float32)
    return pixels.clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    write_jpegs(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
