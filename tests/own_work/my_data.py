"""A data set outside of adabatch."""

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Stripes(Dataset[tuple[Tensor, int]]):
    """Images of 8 x 8 pixels with a bright column, whose place is the class, under noise."""

    def __init__(self, train: bool, num_classes: int = 4, noise: float = 0.5) -> None:
        self._num_samples = 240 if train else 80
        self._num_classes = num_classes
        self._noise = noise
        self._offset = 0 if train else 1000

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        label = index % self._num_classes
        image = self._noise * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(self._offset + index))
        image[:, :, 2 * label] += 1.0
        return image, label
