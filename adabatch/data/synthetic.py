"""Random images of any shape, each a coarse pattern of its class under noise, so labels can be learned."""

from __future__ import annotations

import torch

from adabatch.data.config import DatasetConfig
from adabatch.data.order import generator
from adabatch.data.resident import pixel_source
from adabatch.data.source import Dataset, ImageFormat, Source

_GREY = 128.0
#: Pixel values: the patterns' standard deviation, and the span of the uniform noise.
_CONTRAST = 24.0
_NOISE = 128
#: Pixels per side of a pattern before it is enlarged.
_COARSE_SIZE = 4
#: Bytes of noise drawn at a time.
_CHUNK_BYTES = 1 << 26


def load(config: DatasetConfig, image_format: ImageFormat) -> Dataset:
    """Draw the images; they depend on the sizes, not on the run's seed. See `adabatch.data.load_dataset`."""
    patterns = _patterns(config)

    def draw(num_samples: int, split: str) -> Source:
        return pixel_source(*_draw(config, patterns, num_samples, split), config, image_format, split == "train")

    # Nothing has to be left out or held out: as many are drawn as are wanted.
    validation = draw(config.num_validation_samples, "validation") if config.num_validation_samples else None
    return Dataset(draw(config.num_train_samples, "train"), draw(config.num_test_samples, "test"), validation)


def _patterns(config: DatasetConfig) -> torch.Tensor:
    """Return one image per class, uint8 of shape (num_classes, H, W, C), without noise."""
    size = config.image_size
    coarse_shape = (config.num_classes, config.num_channels, _COARSE_SIZE, _COARSE_SIZE)
    coarse = torch.randn(coarse_shape, generator=generator("synthetic patterns"))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear", align_corners=True)
    margin = _NOISE // 2
    pixels = (_GREY - margin + _CONTRAST * smooth).clamp(0, 255 - _NOISE + 1)
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _draw(
    config: DatasetConfig, patterns: torch.Tensor, num_samples: int, split: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (num_samples, H, W, C), uint8, and their labels."""
    source = generator("synthetic", split)
    labels = torch.randint(0, config.num_classes, (num_samples,), generator=source)
    images = torch.empty((num_samples, *patterns.shape[1:]), dtype=torch.uint8)
    step = max(1, _CHUNK_BYTES // patterns[0].numel())
    for start in range(0, num_samples, step):
        chunk = images[start : start + step]
        chunk.random_(0, _NOISE, generator=source).add_(patterns[labels[start : start + step]])
    return images, labels
