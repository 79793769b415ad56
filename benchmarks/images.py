"""The images that all arms train on. They have CIFAR's shape, so networks and augmentation are those of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adabatch.config.compose import compose
from adabatch.data import load_dataset
from adabatch.errors import ConfigError

IMAGE_SIZE = 32
NUM_CHANNELS = 3
NUM_CLASSES = 10
CROP_PADDING = 4
#: Few, because the comparison leaves testing out.
NUM_TEST_SAMPLES = 16
#: Of Fashion-MNIST's pixels; the speed does not depend on them.
MEAN, STD = 0.2860, 0.3530
_SPLIT = 1000


@dataclass(frozen=True)
class LabelledImages:
    """``pixels`` are uint8 of shape (N, 32, 32, 3), ``labels`` int64 of shape (N,); ``name`` says what they show."""

    name: str
    pixels: torch.Tensor
    labels: torch.Tensor

    def first(self, count: int) -> LabelledImages:
        """Return only the first of them."""
        return LabelledImages(self.name, self.pixels[:count], self.labels[:count])


def load_images(num_samples: int, fashion_mnist: bool = True) -> LabelledImages:
    """Return the first training images of Fashion-MNIST, with a black frame and three equal channels.

    Args:
        num_samples: at most 60,000; more are refused.
        fashion_mnist: False for random pixels. A machine without the data gets them, too.
    """
    if fashion_mnist:
        try:
            return _fashion_mnist(num_samples)
        except ConfigError:
            return _random_pixels(num_samples)
    return _random_pixels(num_samples)


def _fashion_mnist(num_samples: int) -> LabelledImages:
    # With a mean of 0 and a standard deviation of one grey level, pixels come out as they are stored.
    unchanged = (
        "dataset.crop_padding=0",
        "dataset.horizontal_flip=false",
        "dataset.mean=[0]",
        f"dataset.std=[{1 / 255}]",
    )
    config = compose(["dataset=fashion_mnist", *unchanged]).dataset
    source = load_dataset(config, torch.device("cpu"), channels_last=True).train
    if num_samples > source.num_samples:
        raise ValueError(f"{num_samples} samples were asked for; Fashion-MNIST has {source.num_samples}")
    parts = list(source.iterate(1, 0, torch.arange(num_samples).split(_SPLIT)))
    grey = torch.cat([images for images, _ in parts]).round().to(torch.uint8)
    frame = (IMAGE_SIZE - grey.shape[-1]) // 2
    framed = torch.nn.functional.pad(grey, (frame, frame, frame, frame))
    pixels = framed.permute(0, 2, 3, 1).expand(-1, -1, -1, NUM_CHANNELS).contiguous()
    return LabelledImages("Fashion-MNIST", pixels, torch.cat([labels for _, labels in parts]))


def _random_pixels(num_samples: int) -> LabelledImages:
    source = torch.Generator().manual_seed(0)
    shape = (num_samples, IMAGE_SIZE, IMAGE_SIZE, NUM_CHANNELS)
    pixels = torch.randint(0, 256, shape, generator=source, dtype=torch.uint8)
    return LabelledImages("random pixels", pixels, torch.randint(0, NUM_CLASSES, (num_samples,), generator=source))
