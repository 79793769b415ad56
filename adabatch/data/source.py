"""What a data set is to the trainer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ImageFormat:
    """Where and how images are handed out: ``channels_last`` lays them in memory as (n, H, W, C)."""

    device: torch.device
    channels_last: bool
    dtype: torch.dtype


class Source(Protocol):
    """Labelled images, handed out in the order and in the micro-batches that are asked for."""

    @property
    def num_samples(self) -> int:
        """The images there are."""

    def iterate(
        self, epoch: int, seed: int, batches: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield images (n, C, H, W), floating-point, and labels (n,), int64, on the device, for each batch.

        Args:
            epoch: any number; with ``seed`` and the sample's index it fixes how a training image is cropped and
                mirrored, whatever the batches and their order. The trainer counts from 1.
            seed: of the run.
            batches: the sample indices, int64 of shape (n,) on the CPU, of each micro-batch; n may differ.

        Raises:
            DataError: if an image cannot be read.
        """


@dataclass(frozen=True)
class Dataset:
    """Training images, changed at random where the config says so, and test images, never changed."""

    train: Source
    test: Source
