"""A network that no CUDA graph can hold."""

from __future__ import annotations

import torch
from torch import nn


class LooksAtValues(nn.Module):
    """Decides on the host by a value that lies on the device, as networks with early exits do."""

    def __init__(self, num_channels: int, num_classes: int) -> None:
        super().__init__()
        self._features = nn.Conv2d(num_channels, 8, kernel_size=3, padding=1)
        self._classifier = nn.Linear(8, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, num_classes) of images (n, num_channels, H, W)."""
        features = self._features(images).relu().mean(dim=(2, 3))
        if features.mean().item() > 1.0:
            features = features / 2
        logits: torch.Tensor = self._classifier(features)
        return logits
