"""Metrics of the user's own on the test set: a class with ``update``, ``compute`` and ``reset``, as in torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from adabatch.plugins import OwnCode, import_object, own_code
from adabatch.plugins.arguments import call_by_key
from adabatch.plugins.loading import translated
from adabatch.rundir.columns import COLUMNS


@runtime_checkable
class Metric(Protocol):
    """What a metric has; the ones of torchmetrics are such classes."""

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Take logits (n, num_classes) and labels (n,) of some test samples."""

    def compute(self) -> Any:
        """Return the value over all samples since the last reset: a number, or a tensor that holds one."""

    def reset(self) -> None:
        """Forget all samples."""


def metric_codes(config: TrainConfig) -> dict[str, OwnCode]:
    """Import the metrics of a config, and return where their code comes from, by ``metrics.NAME``.

    Raises:
        ConfigError: if one cannot be found, is no metric, or cannot be used in this run.
    """
    return {f"metrics.{name}": own_code(_plugin(config, name, path)) for name, path in config.metrics.items()}


def _plugin(config: TrainConfig, name: str, path: object) -> type[Metric]:
    key = f"metrics.{name}"
    if not name.isidentifier() or name in COLUMNS:
        raise ConfigError(f"{key} is given; a metric's name must consist of letters, digits and _, and be no column.")
    if config.hardware.world_size > 1:
        raise ConfigError(f"{key} is {path}; it must be left out where a run has several ranks.")
    found = import_object(str(path), key)
    if not (isinstance(found, type) and issubclass(found, Metric)):
        raise ConfigError(f"{key} is {path}; it must be a class with the methods update, compute and reset.")
    return found


class OwnMetrics:
    """The user's metrics of a run.

    Attributes:
        values: by name, one number an epoch; the further columns of ``epochs.csv``.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        wanted = {"num_classes": config.dataset.num_classes}
        self._metrics = {
            name: call_by_key(_plugin(config, name, path), f"metrics.{name}", wanted)
            for name, path in config.metrics.items()
        }
        for metric in self._metrics.values():
            if isinstance(metric, torch.nn.Module):
                metric.to(device)
        self.values: dict[str, list[float]] = {name: [] for name in self._metrics}

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Show one batch of the test set to every metric."""
        for name, metric in self._metrics.items():
            with translated(f"metrics.{name}, whose update"):
                metric.update(logits, labels)

    def close_epoch(self) -> None:
        """Append each metric's value to ``values``, and reset it.

        Raises:
            ConfigError: if a value is no number.
        """
        for name, metric in self._metrics.items():
            with translated(f"metrics.{name}, whose compute"):
                value = metric.compute()
                metric.reset()
            try:
                number = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ConfigError(f"metrics.{name} computes {value!r}; it must be one number.") from error
            self.values[name].append(number if math.isfinite(number) else math.nan)

    def load(self, values: Mapping[str, list[float]], num_epochs: int) -> None:
        """Restore the values of the epochs before a resume; what a checkpoint lacks is unknown."""
        self.values = {name: list(values.get(name, [math.nan] * num_epochs)) for name in self._metrics}
