"""timm's models, with fresh weights and the data set's number of channels and classes."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from adabatch.errors import ConfigError, is_out_of_memory

#: Arguments of ``timm.create_model`` that a config does not set, and why.
_REFUSED = {
    "pretrained": "compared runs start with fresh weights",
    "checkpoint_path": "compared runs start with fresh weights",
    "in_chans": "it follows from the data set",
    "num_classes": "it follows from the data set",
}


def build_from_timm(name: str, shape: Sequence[int], num_classes: int, args: Mapping[str, Any]) -> nn.Module:
    """Build timm's model of a name; one that is made for images of one size is made for those of the data set.

    Args:
        shape: of one image, (C, H, W).
        args: arguments of ``timm.create_model`` besides ``in_chans``, ``num_classes`` and ``pretrained``.

    Raises:
        ConfigError: if timm is not installed, has no such model, or refuses the arguments.
    """
    timm = _timm(name)
    _check_name(timm, name)
    for key, reason in _REFUSED.items():
        if args.get(key):
            raise ConfigError(f"network.args.{key} is {args[key]}; it must be left out: {reason}.")
    arguments = {**_size_arguments(timm, name, shape), **args}
    try:
        model: nn.Module = timm.create_model(name, in_chans=shape[0], num_classes=num_classes, **arguments)
    except Exception as error:  # its models check their arguments in many ways, or not at all
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise ConfigError(
            f"network.path is timm:{name}; timm cannot build it with network.args={arguments} ({reason})."
        ) from error
    return model


def _timm(name: str) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise ConfigError(
            f"network.path is timm:{name}, but timm is not installed; install it with pip install timm."
        ) from error


def _check_name(timm: Any, name: str) -> None:
    known = timm.list_models()
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean timm:{close[0]}?" if close else ""
    raise ConfigError(
        f"network.path is timm:{name}; it must be one of the {len(known)} models of timm.list_models().{hint}"
    )


def _size_arguments(timm: Any, name: str, shape: Sequence[int]) -> dict[str, Any]:
    """Return ``img_size`` for the models that need it: transformers have one position for each patch."""
    defaults = timm.get_pretrained_cfg(name)
    if len(shape) != 3 or defaults is None or not defaults.fixed_input_size:
        return {}
    return {"img_size": tuple(shape[1:])}
