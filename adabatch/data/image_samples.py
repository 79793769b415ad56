"""Image files as samples that workers decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from adabatch.data.decoding import decode


class ImageSamples:
    """Files and their labels; see `adabatch.data.loaded.Samples`.

    Args:
        paths: of the files. They are kept in one array, a tenth of the size of a list of strings.
        labels: of the files.
        num_channels: 1 for grey pixels, 3 for RGB.
        transform: from a decoded image to one of the size that all samples have.
    """

    def __init__(
        self,
        paths: Sequence[str],
        labels: Sequence[int],
        num_channels: int,
        transform: Callable[[Image.Image], Image.Image],
    ) -> None:
        self._paths = np.array([path.encode() for path in paths])
        self._labels = np.array(labels)
        self._num_channels = num_channels
        self._transform = transform

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        """Return pixels, uint8 of shape (H, W, C), and the label.

        Raises:
            DataError: if the file cannot be decoded.
        """
        image = self._transform(decode(self._paths[index].decode(), self._num_channels))
        pixels = np.array(image).reshape(image.height, image.width, self._num_channels)
        return torch.from_numpy(pixels), int(self._labels[index])
