"""AlexNet for small images, as in the reference zoo for CIFAR: five convolutions and one linear layer.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, with the stem padded by 5.
"""

from __future__ import annotations

from torch import nn

from adabatch.networks.blocks import ConvNet, MaxPoolAbove1Pixel


class AlexNet(ConvNet):
    """2,472,266 parameters with 3 channels and 10 classes. No BatchNorm: start at a learning rate of 0.01."""

    def __init__(self, num_channels: int, num_classes: int) -> None:
        features = nn.Sequential(
            nn.Conv2d(num_channels, 64, kernel_size=11, stride=4, padding=5),
            nn.ReLU(inplace=True),
            MaxPoolAbove1Pixel(2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            MaxPoolAbove1Pixel(2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            MaxPoolAbove1Pixel(2),
        )
        super().__init__(features, 256, num_classes)
