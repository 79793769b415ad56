"""torchvision's classification models, with fresh weights and the data set's number of classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision import models

from adabatch.errors import ConfigError

#: What all of torchvision's classification models take.
_NUM_CHANNELS = 3


def build_from_torchvision(name: str, num_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """Build ``torchvision.models.NAME``; auxiliary heads are off, so that it returns logits (n, num_classes).

    Raises:
        ConfigError: if the images do not have 3 channels, or have a size that the model does not accept.
    """
    if num_channels != _NUM_CHANNELS:
        raise ConfigError(
            f"network.name is torchvision.{name}, which takes images of 3 channels;"
            f" it must be one of adabatch's own networks for dataset.num_channels={num_channels}."
        )
    arguments = _arguments(name, num_classes, image_size)
    _check_image_size(name, arguments, image_size)
    model: nn.Module = models.get_model(name, **arguments)
    return model


def _arguments(name: str, num_classes: int, image_size: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    if name in ("googlenet", "inception_v3"):
        arguments |= {"aux_logits": False, "init_weights": True}
    # Transformers have one position per patch, so they are built for one image size.
    if name.startswith("vit_"):
        arguments["image_size"] = image_size
    if name == "maxvit_t":
        arguments["input_size"] = (image_size, image_size)
    return arguments


def _check_image_size(name: str, arguments: dict[str, Any], image_size: int) -> None:
    """Run the model on the meta device, which computes shapes only."""
    try:
        with torch.device("meta"), torch.no_grad():
            model = models.get_model(name, **arguments).eval()
            model(torch.empty(1, _NUM_CHANNELS, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".") or type(error).__name__
        raise ConfigError(
            f"network.name is torchvision.{name}, which cannot take images of dataset.image_size={image_size} pixels"
            f" ({reason}); it must be a network that accepts that size."
        ) from error
