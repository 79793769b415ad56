"""A metric outside of adabatch."""

import torch
from torch import Tensor


class Recall:
    """The smallest recall of any class."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self.reset()

    def reset(self) -> None:
        self._hits = torch.zeros(self._num_classes)
        self._samples = torch.zeros(self._num_classes)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self._samples += torch.bincount(labels, minlength=self._num_classes)
        self._hits += torch.bincount(labels[logits.argmax(1) == labels], minlength=self._num_classes)

    def compute(self) -> float:
        return float((self._hits / self._samples).min())
