"""Metrics of the user's own on the test set: a class with ``update``, ``compute`` and ``reset``, as in torchmetrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from adabatch.plugins import OwnCode, import_object, own_code
from adabatch.plugins.arguments import call_by_key
from adabatch.plugins.loading import translated
from adabatch.processes.ranks import Ranks
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
    found = import_object(str(path), key)
    if not (isinstance(found, type) and issubclass(found, Metric)):
        raise ConfigError(f"{key} is {path}; it must be a class with the methods update, compute and reset.")
    return found


class OwnMetrics:
    """The user's metrics of a run.

    The main rank has them, and shows them the whole test set; the other ranks hand over what they computed.

    Attributes:
        values: on the main rank, by name, one number an epoch; the further columns of ``epochs.csv``.
    """

    def __init__(self, config: TrainConfig, device: torch.device, ranks: Ranks | None = None) -> None:
        self._ranks = ranks or Ranks()
        self._are_wanted = bool(config.metrics)
        wanted = {"num_classes": config.dataset.num_classes}
        self._metrics = {
            name: call_by_key(_plugin(config, name, path), f"metrics.{name}", wanted)
            for name, path in (config.metrics.items() if self._ranks.is_main else ())
        }
        for metric in self._metrics.values():
            if isinstance(metric, torch.nn.Module):
                _keep_to_this_rank(metric)
                metric.to(device)
        self.values: dict[str, list[float]] = {name: [] for name in self._metrics}

    def update(self, logits: torch.Tensor, labels: torch.Tensor, sizes: Sequence[int]) -> None:
        """Show every metric consecutive batches of the test set, of which each rank computed one; all ranks call this.

        Args:
            logits: (n, num_classes), this rank's.
            labels: (n,), this rank's.
            sizes: n by rank; the last ranks may have no batch any more, and are left out.
        """
        if not self._are_wanted:
            return
        batches = _gathered(self._ranks, logits, labels, sizes)
        for name, metric in self._metrics.items():
            with translated(f"metrics.{name}, whose update"):
                for batch in batches:
                    metric.update(*batch)

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


def _keep_to_this_rank(metric: torch.nn.Module) -> None:
    """Make metrics of torchmetrics, and those inside of them, not wait in ``compute`` for ranks that have none."""
    for module in metric.modules():
        if hasattr(module, "sync_on_compute"):
            module.sync_on_compute = False  # type: ignore[assignment]  # a bool there


def _gathered(
    ranks: Ranks, logits: torch.Tensor, labels: torch.Tensor, sizes: Sequence[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the ranks' logits and labels, by rank."""
    if ranks.world_size == 1:
        return [(logits, labels)]
    missing = max(sizes) - len(labels)  # collectives take equal shapes
    all_logits = ranks.gather(torch.nn.functional.pad(logits, (0, 0, 0, missing)).contiguous())
    all_labels = ranks.gather(torch.nn.functional.pad(labels, (0, missing)).contiguous())
    return [(all_logits[rank][:size], all_labels[rank][:size]) for rank, size in enumerate(sizes)]
