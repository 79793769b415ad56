"""Data sets small enough to be kept on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from adabatch.data.augment import Augmentation, CropGather, draw_augmentation, to_device
from adabatch.data.config import DatasetConfig
from adabatch.data.division import divided, test_indices
from adabatch.data.loaded import LoadedSource
from adabatch.data.pixels import PixelNormalizer, finished_pixels, finished_values
from adabatch.data.sample_transforms import ArraySamples, pixel_augmentation
from adabatch.data.source import Dataset, ImageFormat, Source

#: Samples prepared at a time: small micro-batches share the call overhead, and larger chunks would leave CPU caches.
_CHUNK_SIZE = {"cpu": 1024, "cuda": 8192}
#: Cap on the pixel values of a chunk, on every device.
_CHUNK_VALUES = 1 << 26


class ResidentSource:
    """Images and labels on the device, as uint8, padded if they are cropped; see `Source`.

    Args:
        images: uint8 of shape (N, H, W, C).
        labels: integers of shape (N,).
        config: gives mean, std, and with ``augment`` the padding and mirroring.
        image_format: of the images that `iterate` yields; the stored images are on its device.
        white: the pixel value that corresponds to 1.0, before the mean is subtracted.
        augment: whether images are cropped and mirrored at random.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        config: DatasetConfig,
        image_format: ImageFormat,
        white: float,
        augment: bool,
    ) -> None:
        device = image_format.device
        self._device = device
        self._normalize = PixelNormalizer(config, white, image_format)
        self._padding = config.crop_padding if augment else 0
        self._flip = config.horizontal_flip and augment
        stored = images if image_format.channels_last else images.permute(0, 3, 1, 2)
        stored = stored.to(device).contiguous()
        self._gather: Callable[..., torch.Tensor] = stored.__getitem__
        if self._padding or self._flip:  # then only the padded images are kept
            self._gather = CropGather(stored, self._padding, image_format.channels_last)
        values = stored[0].numel()
        self._chunk_size = min(_CHUNK_SIZE[device.type], max(1, _CHUNK_VALUES // values))
        self._labels = labels.to(device=device, dtype=torch.int64)

    @property
    def num_samples(self) -> int:
        """The number of images."""
        return len(self._labels)

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images and labels for each batch of indices; see `Source.iterate`."""
        if not batches:
            return
        on_host = torch.cat(tuple(batches))
        indices = to_device(on_host, self._device)
        augmentation = self._draw(epoch, seed, on_host)
        start = 0
        for group in _grouped([len(batch) for batch in batches], self._chunk_size):
            part = slice(start, start + sum(group))
            start = part.stop
            chosen = indices[part]
            pixels = self._gather(chosen) if augmentation is None else self._gather(chosen, augmentation[part])
            yield from zip(self._normalize(pixels).split(group), self._labels[chosen].split(group), strict=True)

    def _draw(self, epoch: int, seed: int, on_host: torch.Tensor) -> Augmentation | None:
        if not (self._padding or self._flip):
            return None
        drawn = draw_augmentation(self.num_samples, seed, epoch, self._padding, self._flip)
        return drawn.of(on_host, self._device)


class ResidentValues:
    """Samples of any shape on the device, as the network gets them; see `Source`.

    Args:
        samples: (N, ...), floating-point or whole numbers.
        labels: integers of shape (N,).
        config: gives mean and std.
        image_format: of the samples that `iterate` yields.
    """

    def __init__(
        self, samples: torch.Tensor, labels: torch.Tensor, config: DatasetConfig, image_format: ImageFormat
    ) -> None:
        self._device = image_format.device
        finish = finished_values(config, image_format)
        self._samples = finish(samples.to(self._device))
        is_image = len(config.sample_shape) == 3 and config.num_tokens is None
        channels_last = image_format.channels_last and is_image
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._labels = labels.to(device=self._device, dtype=torch.int64)

    @property
    def num_samples(self) -> int:
        """The number of samples."""
        return len(self._labels)

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield samples and labels for each batch of indices; see `Source.iterate`."""
        if not batches:
            return
        sizes = [len(batch) for batch in batches]
        for chosen in to_device(torch.cat(tuple(batches)), self._device).split(sizes):
            yield self._samples[chosen].contiguous(memory_format=self._layout), self._labels[chosen]


def value_dataset(
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    config: DatasetConfig,
    image_format: ImageFormat,
) -> Dataset:
    """Return a data set made of two pairs of samples (N, ...), floating-point or whole numbers, and labels (N,)."""
    trained, validation = divided(
        train[1], config, lambda indices, _: ResidentValues(*taken(train, indices), config, image_format)
    )
    tested = taken(test, test_indices(test[1], config))
    return Dataset(trained, ResidentValues(*tested, config, image_format), validation)


def taken(
    samples: tuple[torch.Tensor, torch.Tensor], indices: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the samples at ``indices`` and their labels; all of them for None."""
    return samples if indices is None else (samples[0][indices], samples[1][indices])


def pixel_source(
    images: torch.Tensor,
    labels: torch.Tensor,
    config: DatasetConfig,
    image_format: ImageFormat,
    augment: bool,
    white: float = 255.0,
) -> Source:
    """Return images (N, H, W, C), uint8, as a source: on the device, or changed one by one if there are transforms."""
    if not (augment and config.transforms):
        return ResidentSource(images, labels, config, image_format, white, augment)
    samples = ArraySamples(images, labels, torch.clone, pixel_augmentation(config))
    finish = finished_pixels(config, image_format, white)
    return LoadedSource(samples, finish, image_format.device, config.num_workers, is_random=True)


def resident_dataset(
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    config: DatasetConfig,
    image_format: ImageFormat,
    white: float = 255.0,
) -> Dataset:
    """Return a data set made of two pairs of images (N, H, W, C), uint8, and labels (N,)."""

    def make(indices: torch.Tensor | None, augment: bool) -> Source:
        return pixel_source(*taken(train, indices), config, image_format, augment, white)

    trained, validation = divided(train[1], config, make)
    tested = taken(test, test_indices(test[1], config))
    return Dataset(trained, ResidentSource(*tested, config, image_format, white, augment=False), validation)


def _grouped(sizes: Sequence[int], chunk_size: int) -> Iterator[list[int]]:
    """Yield consecutive sizes in groups of at most ``chunk_size`` in sum; a larger size forms its own group."""
    group: list[int] = []
    total = 0
    for size in sizes:
        if group and total + size > chunk_size:
            yield group
            group, total = [], 0
        group.append(size)
        total += size
    yield group
