"""ResNet for small images: He et al., arXiv 1512.03385, section 4.2, with 1x1 convolutions as shortcuts."""

from __future__ import annotations

from torch import nn

from adabatch.networks.blocks import (
    ConvNet,
    Residual,
    conv1x1,
    conv3x3,
    conv_bn_relu,
    init_he_fan_out,
    residual_stages,
)

#: From this depth on, the reference zoo builds bottlenecks; its ResNet-110 then has 164 layers.
BOTTLENECK_DEPTH = 44
BOTTLENECK_EXPANSION = 4
PLANES = (16, 32, 64)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


def _basic_block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    residual = nn.Sequential(
        conv_bn_relu(conv3x3(in_channels, out_channels, stride)),
        conv3x3(out_channels, out_channels),
        nn.BatchNorm2d(out_channels),
    )
    return Residual(residual, _shortcut(in_channels, out_channels, stride), post=nn.ReLU(inplace=True))


def _bottleneck(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    return bottleneck(in_channels, out_channels, stride, out_channels // BOTTLENECK_EXPANSION, groups=1)


def bottleneck(in_channels: int, out_channels: int, stride: int, planes: int, groups: int) -> nn.Module:
    """Return a bottleneck of 1x1, 3x3 (``planes`` wide, with stride and groups) and 1x1 convolutions."""
    residual = nn.Sequential(
        conv_bn_relu(conv1x1(in_channels, planes)),
        conv_bn_relu(conv3x3(planes, planes, stride, groups)),
        conv1x1(planes, out_channels),
        nn.BatchNorm2d(out_channels),
    )
    return Residual(residual, _shortcut(in_channels, out_channels, stride), post=nn.ReLU(inplace=True))


class ResNet(ConvNet):
    """Three stages of ``(depth - 2) // 6`` blocks each; 272,474 parameters at depth 20, 3 channels, 10 classes."""

    def __init__(self, num_channels: int, num_classes: int, depth: int) -> None:
        is_deep = depth >= BOTTLENECK_DEPTH
        widths = tuple(planes * (BOTTLENECK_EXPANSION if is_deep else 1) for planes in PLANES)
        make = _bottleneck if is_deep else _basic_block
        features = nn.Sequential(
            conv_bn_relu(conv3x3(num_channels, PLANES[0])),
            residual_stages(PLANES[0], widths, (depth - 2) // 6, make),
        )
        super().__init__(features, widths[-1], num_classes)
        init_he_fan_out(self)
