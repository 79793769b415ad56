"""ResNet with pre-activation for small images: He et al., arXiv 1603.05027."""

from __future__ import annotations

from torch import nn

from adabatch.networks.blocks import (
    ConvNet,
    Residual,
    bn_relu,
    conv1x1,
    conv3x3,
    conv_bn_relu,
    init_he_fan_out,
    residual_stages,
)
from adabatch.networks.resnet import BOTTLENECK_DEPTH, BOTTLENECK_EXPANSION, PLANES


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    is_same = in_channels == out_channels and stride == 1
    return nn.Identity() if is_same else conv1x1(in_channels, out_channels, stride)


def pre_activated_basic_block(in_channels: int, out_channels: int, stride: int, shared_pre: bool = False) -> nn.Module:
    """Return two 3x3 convolutions, each after BatchNorm and ReLU, with a plain 1x1 shortcut if shapes differ.

    With ``shared_pre``, such a shortcut takes the first activation instead of the block's input.
    """
    residual = nn.Sequential(
        conv_bn_relu(conv3x3(in_channels, out_channels, stride)),
        conv3x3(out_channels, out_channels),
    )
    shortcut = _shortcut(in_channels, out_channels, stride)
    shared_pre = shared_pre and not isinstance(shortcut, nn.Identity)
    return Residual(residual, shortcut, pre=bn_relu(in_channels), shared_pre=shared_pre)


def _bottleneck(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    planes = out_channels // BOTTLENECK_EXPANSION
    residual = nn.Sequential(
        conv_bn_relu(conv1x1(in_channels, planes)),
        conv_bn_relu(conv3x3(planes, planes, stride)),
        conv1x1(planes, out_channels),
    )
    return Residual(residual, _shortcut(in_channels, out_channels, stride), pre=bn_relu(in_channels))


class PreResNet(ConvNet):
    """Three stages of ``(depth - 2) // 6`` blocks each, bottlenecks from depth 44 on, and a final BatchNorm."""

    def __init__(self, num_channels: int, num_classes: int, depth: int) -> None:
        is_deep = depth >= BOTTLENECK_DEPTH
        widths = tuple(planes * (BOTTLENECK_EXPANSION if is_deep else 1) for planes in PLANES)
        make = _bottleneck if is_deep else pre_activated_basic_block
        features = nn.Sequential(
            conv3x3(num_channels, PLANES[0]),
            residual_stages(PLANES[0], widths, (depth - 2) // 6, make),
            bn_relu(widths[-1]),
        )
        super().__init__(features, widths[-1], num_classes)
        init_he_fan_out(self)
