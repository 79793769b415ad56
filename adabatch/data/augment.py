"""Random crops and mirroring of whole batches with one gather."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adabatch.data.order import generator


@dataclass(frozen=True)
class Augmentation:
    """How each of N samples is cropped out of its padded image, and whether it is mirrored.

    ``top`` and ``left`` are int64 of shape (N,), from 0 to twice the padding; ``is_mirrored`` is bool of shape
    (N,), None if nothing is mirrored.
    """

    top: torch.Tensor
    left: torch.Tensor
    is_mirrored: torch.Tensor | None

    def of(self, indices: torch.Tensor, device: torch.device) -> Augmentation:
        """Return the augmentation of the samples ``indices``, in that order, on a device."""
        mirrored = self.is_mirrored
        return Augmentation(
            to_device(self.top[indices], device),
            to_device(self.left[indices], device),
            None if mirrored is None else to_device(mirrored[indices], device),
        )

    def __getitem__(self, part: slice) -> Augmentation:
        mirrored = self.is_mirrored
        return Augmentation(self.top[part], self.left[part], None if mirrored is None else mirrored[part])


def draw_augmentation(
    num_samples: int, seed: int, epoch: int, crop_padding: int, horizontal_flip: bool
) -> Augmentation:
    """Draw for all samples at once, so that a sample's augmentation depends only on seed and epoch."""
    source = generator("augmentation", seed, epoch)
    offsets = torch.randint(0, 2 * crop_padding + 1, (2, num_samples), generator=source)
    mirrored = torch.randint(0, 2, (num_samples,), generator=source).bool() if horizontal_flip else None
    return Augmentation(offsets[0], offsets[1], mirrored)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to the device without waiting for the copy."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class CropGather:
    """Padded images on a device, and crops of them.

    Args:
        images: uint8 of shape (N, H, W, C) if channels_last, else (N, C, H, W); on the device.
        padding: black pixels put around each image.
        channels_last: which of the two it is; crops have the same layout.
    """

    def __init__(self, images: torch.Tensor, padding: int, channels_last: bool) -> None:
        self._first_space = 1 if channels_last else 2
        height, width = images.shape[self._first_space : self._first_space + 2]
        channel_padding = (0, 0) if channels_last else ()
        padded = torch.nn.functional.pad(images, (*channel_padding, padding, padding, padding, padding))
        # All possible crops, as a view: (N, top, left, H, W, C) or (N, top, left, C, H, W). Indexing it copies
        # whole rows of pixels.
        space = self._first_space
        windows = padded.unfold(space, height, 1).unfold(space + 1, width, 1)
        self._windows = windows.movedim(3, 5) if channels_last else windows.movedim(1, 3)

    def __call__(self, indices: torch.Tensor, augmentation: Augmentation) -> torch.Tensor:
        """Return the crops (n, ...) of the samples ``indices``; all arguments on the device."""
        crops = self._windows[indices, augmentation.top, augmentation.left]
        if augmentation.is_mirrored is None:
            return crops
        is_mirrored = augmentation.is_mirrored[:, None, None, None]
        return torch.where(is_mirrored, crops.flip(self._first_space + 1), crops)
