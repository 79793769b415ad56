"""VGG for small images: Simonyan & Zisserman, arXiv 1409.1556, with one linear layer, as in the reference zoo."""

from __future__ import annotations

from torch import nn

from adabatch.networks.blocks import ConvNet, MaxPoolAbove1Pixel, init_he_fan_out

_WIDTHS = (64, 128, 256, 512, 512)
#: Convolutions before each of the five max-pools.
_CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(ConvNet):
    """``depth`` counts the convolutions and three linear layers, of which this network keeps one.

    20,040,522 parameters at depth 19 with BatchNorm, 3 channels and 10 classes.
    """

    def __init__(self, num_channels: int, num_classes: int, depth: int, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for width, convolutions in zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True):
            for _ in range(convolutions):
                layers.append(nn.Conv2d(num_channels, width, kernel_size=3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                num_channels = width
            layers.append(MaxPoolAbove1Pixel(2))
        super().__init__(nn.Sequential(*layers), _WIDTHS[-1], num_classes)
        init_he_fan_out(self)
        nn.init.normal_(self.classifier.weight, 0.0, 0.01)
        nn.init.zeros_(self.classifier.bias)
