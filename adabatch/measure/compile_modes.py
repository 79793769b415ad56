"""Chooses by measurement whether and how to compile a network: ``hardware.compile=auto``."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adabatch.config import TrainConfig
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import micro_batch_counts
from adabatch.measure.probe import Probe
from adabatch.measure.times import MicroBatchTime
from adabatch.training.compiler import shielded_compiling
from adabatch.training.engine import Engine

#: What is tried: CUDA graphs exist on a GPU alone, and a search for kernels takes longer than most runs.
_MODES: dict[str, tuple[bool | str, ...]] = {"cpu": (True,), "cuda": (True, "reduce-overhead")}
#: How far a compiled gradient may be from the uncompiled one, as a share of its norm, in float64: there rounding moves
#: that of the deepest network by less. In the run's own precision it can move it by more than all of it.
_TOLERANCE = 1e-3
#: float64 needs at most 4x the memory, so a quarter of the micro-batch is checked.
_CHECKED_SIZE, _CHECKED_SHARE = 64, 4
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
        configs: equal but for their schedules, with the micro-batch cap resolved.
        device: set up by `adabatch.training.device.make_device`.
        again: whether to measure although an earlier measurement is in the cache.
    """
    counts = [micro_batch_counts(config) for config in configs]
    size = max((size for count in counts for size in count), key=lambda size: sum(size * c[size] for c in counts))
    rows = _times(configs[0], size, device, again)
    forecasts = {}
    for name, row in rows.items():
        samples = sum(size * count for each in counts for size, count in each.items())
        compiled_shapes = sum(map(len, counts))
        setup = compiled_shapes * row.growth_seconds + len(configs) * row.first_seconds
        forecasts[name] = samples * row.seconds / size + setup
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
    small = max(2, min(_CHECKED_SIZE, size // _CHECKED_SHARE))
    # The device's own start would otherwise be charged to what is measured first.
    _gradient(_with_mode(config, False), small, device)
    rows = {}
    start_seconds = 0.0  # of the compiler, which every run has to start, and here the first mode alone
    for mode in (False, *_MODES[device.type]):
        try:
            check_seconds = _check_gradient(config, mode, small, device) if mode is not False else 0.0
            row = Probe(_with_mode(config, mode), device).measure([size]).rows[0]
            start_seconds = max(start_seconds, check_seconds - row.growth_seconds)
            rows[_name_of(mode)] = dataclasses.replace(row, first_seconds=row.first_seconds + start_seconds)
        except Exception as error:  # whatever a compiler throws, there is always the uncompiled network
            if mode is False:
                raise
            _log.warning("hardware.compile=%s is left out: %s", _name_of(mode), str(error).splitlines()[0])
    return rows


def _check_gradient(config: TrainConfig, mode: bool | str, size: int, device: torch.device) -> float:
    """Return the seconds that compiling for the check took, with the compiler's start if it is the process's first.

    Raises:
        ValueError: unless accumulated micro-batches give the compiled network the uncompiled one's gradient.
    """
    precise: Any = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, precision="fp64"))
    expected = _gradient(_with_mode(precise, False), size, device)
    started = time.perf_counter()
    found = _gradient(_with_mode(precise, mode), size, device)
    seconds = time.perf_counter() - started
    difference = float((found - expected).norm() / expected.norm())
    if not difference <= _TOLERANCE:
        raise ValueError(f"its gradient differs by {difference:.2g} of the uncompiled one's norm")
    return seconds


def _gradient(config: TrainConfig, size: int, device: torch.device) -> torch.Tensor:
    """Return the gradient, in float64, of some accumulated micro-batches that are the same for all configs."""
    engine = Engine(config, device)
    for module in engine.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a compiler draws other random numbers
    data = config.dataset
    layout = torch.channels_last if config.hardware.channels_last else torch.contiguous_format
    source = torch.Generator().manual_seed(0)
    with shielded_compiling():
        for _ in range(_CHECKED_MICRO_BATCHES):
            pixels = torch.randn((size, data.num_channels, data.image_size, data.image_size), generator=source)
            images = pixels.to(device=device, dtype=engine.dtype).contiguous(memory_format=layout)
            labels = torch.randint(0, data.num_classes, (size,), generator=source).to(device)
            loss, _ = engine.forward(images, labels)
            engine.backward(loss, _CHECKED_MICRO_BATCHES * size)
    gradients = [parameter.grad for parameter in engine.network.parameters() if parameter.grad is not None]
    return torch.cat([gradient.flatten().double() for gradient in gradients])


def _with_mode(config: TrainConfig, mode: bool | str) -> TrainConfig:
    hardware: Any = dataclasses.replace(config.hardware, compile=mode, num_nodes=1, num_devices=1)
    return dataclasses.replace(config, hardware=hardware)


def _name_of(mode: bool | str) -> str:
    return mode if isinstance(mode, str) else str(mode).lower()


def _value_of(name: str) -> bool | str:
    return {"false": False, "true": True}.get(name, name)
