"""DenseNet-BC for small images: Huang et al., arXiv 1608.06993."""

from __future__ import annotations

import torch
from torch import nn

from adabatch.networks.blocks import (
    AvgPoolAbove1Pixel,
    ConvNet,
    bn_relu,
    conv1x1,
    conv3x3,
    conv_bn_relu,
    init_he_fan_out,
)

_BOTTLENECK_EXPANSION = 4
_COMPRESSION = 2
_NUM_STAGES = 3


class _DenseLayer(nn.Sequential):
    """Appends ``growth_rate`` channels, computed through a 1x1 bottleneck, to its input."""

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__(
            bn_relu(in_channels),
            conv_bn_relu(conv1x1(in_channels, _BOTTLENECK_EXPANSION * growth_rate)),
            conv3x3(_BOTTLENECK_EXPANSION * growth_rate, growth_rate),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (n, C + growth_rate, h, w) of maps (n, C, h, w)."""
        return torch.cat((maps, super().forward(maps)), dim=1)


class DenseNetBC(ConvNet):
    """Three stages of ``(depth - 4) // 6`` layers; transitions halve the channels and the map's side."""

    def __init__(self, num_channels: int, num_classes: int, depth: int, growth_rate: int) -> None:
        width = 2 * growth_rate
        layers: list[nn.Module] = [conv3x3(num_channels, width)]
        for stage in range(_NUM_STAGES):
            for _ in range((depth - 4) // 6):
                layers.append(_DenseLayer(width, growth_rate))
                width += growth_rate
            layers.append(bn_relu(width))
            if stage < _NUM_STAGES - 1:
                layers += [conv1x1(width, width // _COMPRESSION), AvgPoolAbove1Pixel(2)]
                width //= _COMPRESSION
        super().__init__(nn.Sequential(*layers), width, num_classes)
        init_he_fan_out(self)
