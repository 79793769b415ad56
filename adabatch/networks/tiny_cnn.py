"""A network small enough to train dozens of times on a laptop's CPU, with BatchNorm like the large ones."""

from __future__ import annotations

from torch import nn

from adabatch.networks.blocks import (
    ConvNet,
    MaxPoolAbove1Pixel,
    conv3x3,
    conv_bn_relu,
    init_he_fan_out,
)


class TinyCNN(ConvNet):
    """Three convolutions, 14,458 parameters with 1 channel and 10 classes; designed for 8 x 8 digits."""

    def __init__(self, num_channels: int, num_classes: int) -> None:
        features = nn.Sequential(
            conv_bn_relu(conv3x3(num_channels, 16)),
            conv_bn_relu(conv3x3(16, 32)),
            MaxPoolAbove1Pixel(2),
            conv_bn_relu(conv3x3(32, 32)),
        )
        super().__init__(features, 32, num_classes)
        init_he_fan_out(self)
