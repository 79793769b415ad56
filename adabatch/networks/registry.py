"""The names of the networks, and how to build each. Does not import torch until a network is built."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adabatch.errors import ConfigError
from adabatch.plugins import Kind, call, load

if TYPE_CHECKING:
    from torch import nn

_TORCHVISION = "torchvision."
_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class _Entry:
    """A class in a module of this package, and its arguments besides channels and classes."""

    module: str
    class_name: str
    arguments: dict[str, int | bool] = field(default_factory=dict)


_NETWORKS: dict[str, _Entry] = {
    "alexnet": _Entry("alexnet", "AlexNet"),
    **{f"vgg{depth}": _Entry("vgg", "VGG", {"depth": depth, "batch_norm": False}) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _Entry("vgg", "VGG", {"depth": depth, "batch_norm": True}) for depth in (11, 13, 16, 19)},
    **{f"resnet{depth}": _Entry("resnet", "ResNet", {"depth": depth}) for depth in (14, 20, 32, 44, 56, 110)},
    **{f"preresnet{depth}": _Entry("preresnet", "PreResNet", {"depth": depth}) for depth in (20, 110)},
    "resnext29_8x64d": _Entry("resnext", "ResNeXt", {"depth": 29, "cardinality": 8, "base_width": 64}),
    "wrn16_4": _Entry("wide_resnet", "WideResNet", {"depth": 16, "widen_factor": 4}),
    "wrn28_10": _Entry("wide_resnet", "WideResNet", {"depth": 28, "widen_factor": 10}),
    "densenet_bc_100_12": _Entry("densenet", "DenseNetBC", {"depth": 100, "growth_rate": 12}),
    "tiny_cnn": _Entry("tiny_cnn", "TinyCNN"),
}


def network_names() -> list[str]:
    """Return the names of this package's own networks; ``torchvision.NAME`` is allowed, too."""
    return list(_NETWORKS)


@functools.cache
def torchvision_names() -> tuple[str, ...]:
    """Return the classification models of the installed torchvision, sorted, each as ``torchvision.NAME``.

    Read from its source files, because importing torchvision imports torch, and names are checked for thousands of
    configs at a time.
    """
    spec = importlib.util.find_spec("torchvision")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    files = [file for folder in folders for file in (folder / "models").glob("*.py")]
    found = {name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))}
    return tuple(sorted(_TORCHVISION + name for name in found))


def check_network_name(name: str) -> None:
    """Check that `build_network` knows a name.

    Raises:
        ConfigError: if it does not; suggests the closest known name.
    """
    is_torchvision = name.startswith(_TORCHVISION)
    known = torchvision_names() if is_torchvision else tuple(_NETWORKS)
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    own = "a classification model of the installed torchvision"
    allowed = own if is_torchvision else f"one of {', '.join(known)}, or torchvision.NAME for {own}"
    raise ConfigError(f"network.name is {name}; it must be {allowed}.{hint}")


def build_by_path(
    path: str, args: Mapping[str, Any], shape: Sequence[int], num_classes: int, num_tokens: int | None = None
) -> nn.Module:
    """Build the user's own network, or one of timm or torchvision, with fresh weights from torch's global generator.

    Args:
        path: ``module:Class`` of an nn.Module, ``timm:NAME`` or ``torchvision:NAME``.
        args: arguments besides those that follow from the data: ``num_channels`` (also under the names ``in_channels``
            and ``in_chans``), ``num_classes``, ``image_size``, ``input_shape`` and ``num_tokens``.
        shape: of one sample, such as (C, H, W).
        num_classes: columns of the logits (n, num_classes) it returns.
        num_tokens: of the vocabulary, if samples are token ids.

    Raises:
        ConfigError: if there is no such network, or it does not take these arguments.
    """
    from torch import nn

    prefix, _, name = path.partition(":")
    if prefix == "timm":
        from adabatch.networks.from_timm import build_from_timm

        return build_from_timm(name, shape, num_classes, args)
    if prefix == "torchvision":
        check_network_name(_TORCHVISION + name)
        from adabatch.networks.from_torchvision import build_from_torchvision

        return build_from_torchvision(name, shape[0], num_classes, shape[-1], args)
    plugin = load(Kind.NETWORK, path, nn.Module)
    channels = dict.fromkeys(("num_channels", "in_channels", "in_chans"), shape[0])
    of_data = {
        "num_classes": num_classes,
        "image_size": shape[-1],
        "input_shape": tuple(shape),
        "num_tokens": num_tokens,
    }
    wanted = {**channels, **of_data}
    network = call(plugin, "network", args, wanted)
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"network.path is {path}, which returned a {type(network).__name__}; it must return a network."
        )
    return network


def build_network(name: str, num_channels: int, num_classes: int, image_size: int) -> nn.Module:
    """Build a network of adabatch or torchvision with fresh weights, drawn from torch's global CPU generator.

    Args:
        name: one of `network_names`, or ``torchvision.NAME``.
        num_channels: C of the images (n, C, image_size, image_size) it takes.
        num_classes: columns of the logits (n, num_classes) it returns.
        image_size: height and width in pixels.

    Raises:
        ConfigError: for an unknown name, or for images that the network does not accept.
    """
    check_network_name(name)
    if name.startswith(_TORCHVISION):
        from adabatch.networks.from_torchvision import build_from_torchvision

        return build_from_torchvision(name.removeprefix(_TORCHVISION), num_channels, num_classes, image_size)
    entry = _NETWORKS[name]
    network_class = getattr(importlib.import_module(f"adabatch.networks.{entry.module}"), entry.class_name)
    network: nn.Module = network_class(num_channels=num_channels, num_classes=num_classes, **entry.arguments)
    return network
