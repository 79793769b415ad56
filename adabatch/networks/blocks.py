"""Building blocks shared by several families of networks.

All work in either memory format; none reshapes a feature map, so channels_last is preserved from the image to the
pooled features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias, for use with BatchNorm."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a padded 3x3 convolution without bias, for use with BatchNorm."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, groups=groups, bias=False)


def bn_relu(num_channels: int) -> nn.Sequential:
    """Return BatchNorm and ReLU, the pre-activation of a convolution."""
    return nn.Sequential(nn.BatchNorm2d(num_channels), nn.ReLU(inplace=True))


def conv_bn_relu(convolution: nn.Conv2d) -> nn.Sequential:
    """Return the convolution followed by BatchNorm and ReLU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


class MaxPoolAbove1Pixel(nn.MaxPool2d):
    """Max-pooling that leaves a map of 1 pixel unchanged, so a network for 32 pixels also accepts 8."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the pooled maps (n, C, h, w)."""
        return maps if min(maps.shape[2:]) == 1 else super().forward(maps)


class AvgPoolAbove1Pixel(nn.AvgPool2d):
    """Average-pooling that leaves a map of 1 pixel unchanged."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the pooled maps (n, C, h, w)."""
        return maps if min(maps.shape[2:]) == 1 else super().forward(maps)


class ConvNet(nn.Module):
    """Feature maps, global average pooling, and one linear layer: images (n, C, s, s) to logits.

    Args:
        features: images to maps (n, num_features, h, w).
        num_features: channels of those maps.
        num_classes: columns of the logits (n, num_classes).
    """

    def __init__(self, features: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, num_classes) of images (n, C, s, s)."""
        logits: torch.Tensor = self.classifier(self.pool(self.features(images)).flatten(1))
        return logits


class Residual(nn.Module):
    """A residual block: ``activation(residual(pre(x)) + shortcut(x or pre(x)))``.

    Args:
        residual: the branch with the weights.
        shortcut: the other branch, ``nn.Identity()`` if shapes match.
        pre: applied before the residual branch (pre-activation), or identity.
        post: applied to the sum, or identity.
        shared_pre: the shortcut takes ``pre(x)`` too, rather than ``x``.
    """

    def __init__(
        self,
        residual: nn.Module,
        shortcut: nn.Module,
        pre: nn.Module | None = None,
        post: nn.Module | None = None,
        shared_pre: bool = False,
    ) -> None:
        super().__init__()
        self.pre = pre or nn.Identity()
        self.residual = residual
        self.shortcut = shortcut
        self.post = post or nn.Identity()
        self.shared_pre = shared_pre

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (n, C_out, h, w) of maps (n, C_in, h or 2h, w or 2w)."""
        activated = self.pre(maps)
        shortcut = self.shortcut(activated if self.shared_pre else maps)
        output: torch.Tensor = self.post(self.residual(activated) + shortcut)
        return output


#: Makes the residual block for (in_channels, out_channels, stride).
BlockMaker = Callable[[int, int, int], nn.Module]


def residual_stages(
    in_channels: int, widths: tuple[int, ...], blocks_per_stage: int, make: BlockMaker
) -> nn.Sequential:
    """Return stages of residual blocks with the given output widths; each stage but the first halves the map."""
    blocks: list[nn.Module] = []
    for number, width in enumerate(widths):
        for position in range(blocks_per_stage):
            blocks.append(make(in_channels, width, 2 if number > 0 and position == 0 else 1))
            in_channels = width
    return nn.Sequential(*blocks)


def init_he_fan_out(network: nn.Module) -> None:
    """Draw the convolutions' weights from He's normal distribution over the fan-out and zero their biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # torch's fan-out, k * k * out_channels also with groups, is that of the reference zoo.
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
