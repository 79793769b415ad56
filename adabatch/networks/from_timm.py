"""timm's models, with fresh weights and the data set's number of channels and classes."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from adabatch.errors import ConfigError


def build_from_timm(name: str, shape: Sequence[int], num_classes: int, args: Mapping[str, Any]) -> nn.Module:
    """Build timm's model of a name.

    Args:
        shape: of one image, (C, H, W).
        args: arguments of ``timm.create_model`` besides ``in_chans``, ``num_classes`` and ``pretrained``.

    Raises:
        ConfigError: if timm is not installed, has no such model, or refuses the arguments.
    """
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise ConfigError(
            f"network.path is timm:{name}, but timm is not installed; install it with pip install timm."
        ) from error
    known = timm.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean timm:{close[0]}?" if close else ""
        raise ConfigError(
            f"network.path is timm:{name}; it must be one of the {len(known)} models of timm.list_models().{hint}"
        )
    if args.get("pretrained"):
        raise ConfigError(
            "network.args.pretrained is true; it must be left out: compared runs start with fresh weights."
        )
    try:
        model: nn.Module = timm.create_model(name, in_chans=shape[0], num_classes=num_classes, **args)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ConfigError(
            f"network.path is timm:{name}; timm cannot build it with network.args={args} ({reason})."
        ) from error
    return model
