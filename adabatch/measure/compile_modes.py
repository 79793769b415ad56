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
from adabatch.measure.probe import Probe, random_samples
from adabatch.measure.times import MicroBatchTime
from adabatch.training.compiler import shielded_compiling
from adabatch.training.engine import Engine, memory_layout

#: Modes to try. CUDA graphs need a GPU; max-autotune is left out, since its kernel search takes longer than most runs.
_MODES: dict[str, tuple[bool | str, ...]] = {"cpu": (True,), "cuda": (True, "reduce-overhead")}
#: How far a compiled gradient may be from the uncompiled one, relative to its norm, in float64, where rounding changes
#: the deepest network's gradient by less. In the run's own precision, rounding can change it by more than its norm.
_TOLERANCE = 1e-3
#: float64 needs at most 4x the memory, so a quarter of the micro-batch is checked.
_CHECKED_SIZE, _CHECKED_SHARE = 64, 4
#: A CUDA graph runs once uncaptured, is then recorded, and only then replayed.
_CHECKED_MICRO_BATCHES = 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompileChoice:
    """The chosen mode, and why.

    Attributes:
        mode: a value of ``hardware.compile``, never ``auto``.
        reason: one sentence for people.
        forecast_seconds: of all requested runs, including compiling, by mode; without modes that failed or gave a
            different gradient.
    """

    mode: bool | str
    reason: str
    forecast_seconds: dict[str, float]


def choose_compile(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> CompileChoice:
    """Time the micro-batch size with most samples, uncompiled and compiled, and choose the fastest mode for the runs.

    Args:
        configs: equal except for their schedules, with the micro-batch cap resolved.
        device: set up by `adabatch.training.device.make_device`.
        again: measure even if the cache has an earlier measurement.
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
    listed = ", ".join(f"{seconds:.3g} s with {name}" for name, seconds in forecasts.items())
    return CompileChoice(_value_of(best), f"the runs would take {listed}", forecasts)


def _times(config: TrainConfig, size: int, device: torch.device, again: bool) -> dict[str, MicroBatchTime]:
    """Return the times of one size by mode name, from the cache if possible."""
    return measured_once(
        cache_key(config, device, modes_at=size),
        lambda: _measure_modes(config, size, device),
        lambda rows: {name: dataclasses.asdict(row) for name, row in rows.items()},
        lambda kept: {name: MicroBatchTime(**row) for name, row in kept.items()},
        again=again,
    )


def _measure_modes(config: TrainConfig, size: int, device: torch.device) -> dict[str, MicroBatchTime]:
    small = max(2, min(_CHECKED_SIZE, size // _CHECKED_SHARE))
    # Otherwise starting the device would be charged to the first measurement.
    _gradient(_with_mode(config, False), small, device)
    rows = {}
    start_seconds = 0.0  # of the compiler's startup, which every run pays, but here only the first mode
    for mode in (False, *_MODES[device.type]):
        try:
            check_seconds = _check_gradient(config, mode, small, device) if mode is not False else 0.0
            row = Probe(_with_mode(config, mode), device).measure([size]).rows[0]
            start_seconds = max(start_seconds, check_seconds - row.growth_seconds)
            rows[_name_of(mode)] = dataclasses.replace(row, first_seconds=row.first_seconds + start_seconds)
        except Exception as error:  # on any compiler error, the uncompiled network remains
            if mode is False:
                raise
            _log.warning("hardware.compile=%s is left out: %s", _name_of(mode), str(error).splitlines()[0])
    return rows


def _check_gradient(config: TrainConfig, mode: bool | str, size: int, device: torch.device) -> float:
    """Return the seconds of compiling for the check, including the compiler's startup if it is the process's first use.

    Raises:
        ValueError: if accumulated micro-batches give the compiled network a different gradient.
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
    """Return the gradient, in float64, of accumulated micro-batches that are the same for all configs."""
    engine = Engine(config, device)
    for module in engine.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a compiled network draws other random numbers
    data = config.dataset
    layout = memory_layout(config)
    source = torch.Generator().manual_seed(0)
    with shielded_compiling():
        for _ in range(_CHECKED_MICRO_BATCHES):
            samples = random_samples(data, size, source).to(device)
            if samples.is_floating_point():
                samples = samples.to(engine.dtype).contiguous(memory_format=layout)
            labels = torch.randint(0, data.num_classes, (size,), generator=source).to(device)
            loss, _ = engine.forward(samples, labels)
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
