"""Chooses by measurement whether and how to compile a network: ``hardware.compile=auto``."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adabatch.config import TrainConfig
from adabatch.learner import Learner
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import micro_batch_counts
from adabatch.measure.probe import Probe
from adabatch.measure.times import MicroBatchTime

#: What is tried: CUDA graphs exist on a GPU alone, and a search for kernels takes longer than most runs.
_MODES: dict[str, tuple[bool | str, ...]] = {"cpu": (True,), "cuda": (True, "reduce-overhead")}
#: How far from the exact gradient, as a share of its norm, a compiled network's may be: so many times as far as the
#: uncompiled one's, and a little. Rounding alone turns ReLUs over, by which deep networks move a tenth and more.
_ROUNDING_FACTOR, _ROUNDING_SHARE = 3.0, 1e-6
#: So small that the exact gradient, in twice the bytes, fits where the micro-batch does.
_CHECKED_SIZE = 64
#: A CUDA graph is run once as it is, recorded, and only then replayed.
_CHECKED_MICRO_BATCHES = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompileChoice:
    """What was chosen, and why.

    Attributes:
        mode: a value of ``hardware.compile``, never ``auto``.
        reason: one sentence for people.
        forecast_seconds: by mode, of all the runs that were asked for, compiling included; a mode that failed, or
            whose gradient was another, is not there.
    """

    mode: bool | str
    reason: str
    forecast_seconds: dict[str, float]


def choose_compile(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> CompileChoice:
    """Time the micro-batch that holds most samples, uncompiled and compiled, and choose what ends the runs first.

    Args:
        configs: equal but for their schedules, with a settled micro-batch cap.
        device: set up by `adabatch.session.make_device`.
        again: whether to measure although an earlier measurement is in the cache.
    """
    counts = [micro_batch_counts(config) for config in configs]
    size = max((size for count in counts for size in count), key=lambda size: sum(size * c[size] for c in counts))
    rows = _times(configs[0], size, device, again)
    forecasts = {}
    for name, row in rows.items():
        samples = sum(size * count for each in counts for size, count in each.items())
        compiled_shapes = sum(map(len, counts))
        forecasts[name] = samples * row.seconds / size + compiled_shapes * row.growth_seconds
    best = min(forecasts, key=lambda name: forecasts[name])
    told = ", ".join(f"{seconds:.3g} s with {name}" for name, seconds in forecasts.items())
    return CompileChoice(_value_of(best), f"the runs would take {told}", forecasts)


def _times(config: TrainConfig, size: int, device: torch.device, again: bool) -> dict[str, MicroBatchTime]:
    """Return the times of one size by the mode's name, from the cache if it has them."""
    return measured_once(
        cache_key(config, device, modes_at=size),
        lambda: _measure_modes(config, size, device),
        lambda rows: {name: dataclasses.asdict(row) for name, row in rows.items()},
        lambda kept: {name: MicroBatchTime(**row) for name, row in kept.items()},
        again=again,
    )


def _measure_modes(config: TrainConfig, size: int, device: torch.device) -> dict[str, MicroBatchTime]:
    size_checked = min(size, _CHECKED_SIZE)
    # Also the first work on the device, whose start would otherwise be charged to what is measured first.
    exact = _gradient(_with_precision(config, "fp64"), size_checked, device)
    rounded = _gradient(_with_mode(config, False), size_checked, device)
    rows = {}
    for mode in (False, *_MODES[device.type]):
        trial = _with_mode(config, mode)
        try:
            if mode is not False:
                _require_right_gradient(_gradient(trial, size_checked, device), rounded, exact)
            rows[_name_of(mode)] = Probe(trial, device).measure([size]).rows[0]
        except Exception as error:  # whatever a compiler throws, there is always the uncompiled network
            if mode is False:
                raise
            _log.warning("hardware.compile=%s is left out: %s", _name_of(mode), str(error).splitlines()[0])
    return rows


def _require_right_gradient(compiled: torch.Tensor, uncompiled: torch.Tensor, exact: torch.Tensor) -> None:
    """Raise ValueError unless a compiled network's gradient is about as near to the exact one as the uncompiled's."""
    off, rounding = (float((one - exact).norm() / exact.norm()) for one in (compiled, uncompiled))
    if not off <= _ROUNDING_FACTOR * rounding + _ROUNDING_SHARE:
        raise ValueError(f"its gradient is off by {off:.2g} of its norm, the uncompiled one by {rounding:.2g}")


def _gradient(config: TrainConfig, size: int, device: torch.device) -> torch.Tensor:
    """Return the gradient, in float64, of some accumulated micro-batches that are the same for all configs."""
    learner = Learner(config, device)
    for module in learner.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a compiler draws other random numbers
    data = config.dataset
    layout = torch.channels_last if config.hardware.channels_last else torch.contiguous_format
    source = torch.Generator().manual_seed(0)
    for _ in range(_CHECKED_MICRO_BATCHES):
        pixels = torch.randn((size, data.num_channels, data.image_size, data.image_size), generator=source)
        images = pixels.to(device=device, dtype=learner.dtype).contiguous(memory_format=layout)
        labels = torch.randint(0, data.num_classes, (size,), generator=source).to(device)
        loss, _ = learner.forward(images, labels)
        learner.backward(loss, _CHECKED_MICRO_BATCHES * size)
    gradients = [parameter.grad for parameter in learner.network.parameters() if parameter.grad is not None]
    return torch.cat([gradient.flatten().double() for gradient in gradients])


def _with_precision(config: TrainConfig, precision: str) -> TrainConfig:
    hardware: Any = dataclasses.replace(config.hardware, precision=precision)
    return _with_mode(dataclasses.replace(config, hardware=hardware), False)


def _with_mode(config: TrainConfig, mode: bool | str) -> TrainConfig:
    hardware: Any = dataclasses.replace(config.hardware, compile=mode, num_nodes=1, num_devices=1)
    return dataclasses.replace(config, hardware=hardware)


def _name_of(mode: bool | str) -> str:
    return mode if isinstance(mode, str) else str(mode).lower()


def _value_of(name: str) -> bool | str:
    return {"false": False, "true": True}.get(name, name)
