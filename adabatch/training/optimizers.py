"""The optimizer of a run: adabatch's choice of torch's, or any other by its import path."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from adabatch.config import OptimizerConfig
from adabatch.errors import ConfigError
from adabatch.plugins import Kind, call, load

#: Needs sparse gradients, which no network here has.
_REFUSED = (torch.optim.SparseAdam,)
#: Keys of the config under the names that torch's optimizers have for them; passed on if they are not at their default.
_TORCH_NAMES = {"weight_decay": "weight_decay", "momentum": "momentum", "nesterov": "nesterov"}


def build_optimizer(config: OptimizerConfig, parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer; its learning rate is set by the schedule before every update.

    Raises:
        ConfigError: if the optimizer of ``config.path`` is none, needs a closure, or does not take its arguments.
    """
    if config.path is not None:
        return _build_by_path(config, config.path, list(parameters))
    if config.kind == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
            fused=True,
        )
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _build_by_path(config: OptimizerConfig, path: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    plugin = load(Kind.OPTIMIZER, path, torch.optim.Optimizer)
    if plugin in _REFUSED:
        raise ConfigError(f"optimizer.path is {path}, which needs sparse gradients; it must be one for dense ones.")
    _check_step(plugin, path)
    first = next(iter(inspect.signature(plugin).parameters), "params")
    optimizer = call(plugin, "optimizer", {**config.args, **_given(config, plugin, path)}, {
        first: parameters, "lr": config.learning_rate, "learning_rate": config.learning_rate,
    })  # fmt: skip
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ConfigError(
            f"optimizer.path is {path}, which returned a {type(optimizer).__name__}; it must return an optimizer."
        )
    _check_step(type(optimizer), path)
    if not all("lr" in group for group in optimizer.param_groups):
        raise ConfigError(f"optimizer.path is {path}; its parameter groups must have the key lr, which schedules set.")
    return optimizer


def _given(config: OptimizerConfig, plugin: Any, path: str) -> dict[str, Any]:
    """Return the keys of the config, other than ``args``, that were set."""
    defaults = OptimizerConfig(kind="sgd", learning_rate=1.0)
    known = inspect.signature(plugin).parameters
    given = {}
    for key in ("weight_decay", "momentum", "nesterov", "beta1", "beta2", "epsilon"):
        value, name = getattr(config, key), _TORCH_NAMES.get(key)
        if value == getattr(defaults, key):
            continue
        if name is None or name not in known:
            raise ConfigError(
                f"optimizer.{key} is {value}, but {path} does not take it; give its arguments as optimizer.args.NAME."
            )
        given[name] = value
    return given


def _check_step(optimizer: Any, path: str) -> None:
    """Refuse an optimizer whose step evaluates the loss several times, such as LBFGS."""
    step = getattr(optimizer, "step", None)
    if step is None:
        return
    needed = [
        name
        for name, entry in inspect.signature(step).parameters.items()
        if name != "self"
        and entry.default is inspect.Parameter.empty
        and entry.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if needed:
        raise ConfigError(
            f"optimizer.path is {path}, whose step needs a {needed[0]}; it must be one that steps without arguments."
        )
