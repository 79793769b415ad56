"""The interface between data sets and the trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ImageFormat:
    """Device, memory layout and dtype of images; ``channels_last`` stores them as (n, H, W, C)."""

    device: torch.device
    channels_last: bool
    dtype: torch.dtype


class Source(Protocol):
    """Labelled images, yielded in the requested order and micro-batches."""

    @property
    def num_samples(self) -> int:
        """The number of images."""

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images (n, C, H, W), floating-point, and labels (n,), int64, on the device, for each batch.

        Args:
            epoch: any number; with ``seed`` and the sample's index it determines how a training image is cropped and
                mirrored, independent of the batches. The trainer counts from 1.
            seed: of the run.
            batches: the sample indices of each micro-batch, int64 of shape (n,) on the CPU; n may vary.

        Raises:
            DataError: if an image cannot be read.
        """


@dataclass(frozen=True)
class Dataset:
    """Training samples, augmented if the config says so; test and validation samples, never augmented."""

    train: Source
    test: Source
    validation: Source | None = None
