"""torchvision's classification models, with fresh weights and the data set's numbers of channels and classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision import models

from adabatch.errors import ConfigError

#: What all of torchvision's classification models take.
_NUM_CHANNELS = 3


def build_from_torchvision(
    name: str, num_channels: int, num_classes: int, image_size: int, args: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build ``torchvision.models.NAME``; auxiliary heads are off, so that it returns logits (n, num_classes).

    For images of another number of channels than 3, the first convolution is replaced by one that takes them.

    Args:
        args: arguments of the model's builder besides ``weights`` and ``num_classes``.

    Raises:
        ConfigError: if the model does not accept images of this size, or these arguments.
    """
    arguments = {**_arguments(name, num_classes, image_size), **(args or {})}
    _check_arguments(name, arguments, image_size)
    model: nn.Module = models.get_model(name, **arguments)
    if num_channels != _NUM_CHANNELS:
        _replace_first_convolution(model, num_channels)
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


def _check_arguments(name: str, arguments: dict[str, Any], image_size: int) -> None:
    """Run the model on the meta device, which computes shapes only."""
    if arguments["weights"] is not None:
        raise ConfigError("network.args.weights is given; it must be left out: compared runs start with fresh weights.")
    try:
        with torch.device("meta"), torch.no_grad():
            model = models.get_model(name, **arguments).eval()
            model(torch.empty(1, _NUM_CHANNELS, image_size, image_size))
    except TypeError as error:
        raise ConfigError(
            f"network.name is torchvision.{name}, which does not take network.args ({_reason(error)})."
        ) from error
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"network.name is torchvision.{name}, which cannot take images of dataset.image_size={image_size} pixels"
            f" ({_reason(error)}); it must be a network that accepts that size."
        ) from error


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _replace_first_convolution(model: nn.Module, num_channels: int) -> None:
    """Replace the convolution that takes the images, with fresh weights of the same variance times fan-in."""
    name, old = next(
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == _NUM_CHANNELS
    )
    new = nn.Conv2d(
        num_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.normal_(0.0, float(old.weight.std()) * (_NUM_CHANNELS / num_channels) ** 0.5)
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    model.set_submodule(name, new)
