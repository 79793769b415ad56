"""Wide ResNet: Zagoruyko & Komodakis, arXiv 1605.07146, without dropout."""

from __future__ import annotations

from functools import partial

from torch import nn

from adabatch.networks.blocks import (
    ConvNet,
    bn_relu,
    conv3x3,
    init_he_fan_out,
    residual_stages,
)
from adabatch.networks.preresnet import pre_activated_basic_block
from adabatch.networks.resnet import PLANES


class WideResNet(ConvNet):
    """Three stages of ``(depth - 4) // 6`` pre-activated blocks, ``widen_factor`` times as wide as a ResNet's."""

    def __init__(self, num_channels: int, num_classes: int, depth: int, widen_factor: int) -> None:
        widths = tuple(planes * widen_factor for planes in PLANES)
        make = partial(pre_activated_basic_block, shared_pre=True)
        features = nn.Sequential(
            conv3x3(num_channels, PLANES[0]),
            residual_stages(PLANES[0], widths, (depth - 4) // 6, make),
            bn_relu(widths[-1]),
        )
        super().__init__(features, widths[-1], num_classes)
        init_he_fan_out(self)
        nn.init.zeros_(self.classifier.bias)
