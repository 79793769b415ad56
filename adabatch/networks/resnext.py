"""ResNeXt for small images: Xie et al., arXiv 1611.05431, section 5.3."""

from __future__ import annotations

from functools import partial

from torch import nn

from adabatch.networks.blocks import (
    ConvNet,
    conv3x3,
    conv_bn_relu,
    init_he_fan_out,
    residual_stages,
)
from adabatch.networks.resnet import bottleneck

_STEM_WIDTH = 64
#: Ratio of a block's output width to the stem width, in the first stage.
_WIDEN_FACTOR = 4


def _block(cardinality: int, base_width: int, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    planes = cardinality * base_width * out_channels // (_STEM_WIDTH * _WIDEN_FACTOR)
    return bottleneck(in_channels, out_channels, stride, planes, groups=cardinality)


class ResNeXt(ConvNet):
    """Three stages of ``(depth - 2) // 9`` bottlenecks whose 3x3 convolutions have ``cardinality`` groups.

    ``base_width`` is the width of a group in the first stage. ResNeXt-29, 8x64d has about 34.4 million parameters.
    """

    def __init__(self, num_channels: int, num_classes: int, depth: int, cardinality: int, base_width: int) -> None:
        widths = tuple(_STEM_WIDTH * _WIDEN_FACTOR * factor for factor in (1, 2, 4))
        features = nn.Sequential(
            conv_bn_relu(conv3x3(num_channels, _STEM_WIDTH)),
            residual_stages(_STEM_WIDTH, widths, (depth - 2) // 9, partial(_block, cardinality, base_width)),
        )
        super().__init__(features, widths[-1], num_classes)
        init_he_fan_out(self)
