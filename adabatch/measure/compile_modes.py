"""Chooses by measurement whether to compile a network and to use CUDA graphs: ``hardware.compile=auto``."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from adabatch.config import TrainConfig
from adabatch.measure.cache import cache_key, measured_once
from adabatch.measure.forecast import micro_batch_counts
from adabatch.measure.probe import Probe, random_samples
from adabatch.measure.times import MicroBatchTime
from adabatch.training.compiler import shielded_compiling
from adabatch.training.cuda_graphs import why_no_graphs
from adabatch.training.engine import Engine, memory_layout

#: How far a compiled gradient may be from the uncompiled one, relative to its norm, in float64, where rounding changes
#: the deepest network's gradient by less. In the run's own precision, rounding can change it by more than its norm.
_TOLERANCE = 1e-3
#: float64 needs at most 4x the memory, so a quarter of the micro-batch is checked.
_CHECKED_SIZE, _CHECKED_SHARE = 64, 4
_CHECKED_MICRO_BATCHES = 4
_log = logging.getLogger(__name__)


class _Variant(NamedTuple):
    """A way to compute; ``compile`` without max-autotune, whose kernel search takes longer than most runs."""

    compile: bool
    cuda_graphs: bool

    @property
    def name(self) -> str:
        return " with ".join(["compiled" if self.compile else "eager", *(["graphs"] if self.cuda_graphs else [])])


#: What every other way is compared to, and what remains if none of them works.
_PLAIN = _Variant(compile=False, cuda_graphs=False)


@dataclass(frozen=True)
class CompileChoice:
    """The chosen way to compute, and why.

    Attributes:
        compile, cuda_graphs: values for the config's keys.
        reason: one sentence for people.
        forecast_seconds: of all requested runs, including compiling, by way; without ways that failed or gave a
            different gradient.
    """

    compile: bool
    cuda_graphs: bool
    reason: str
    forecast_seconds: dict[str, float]


def choose_compile(configs: Sequence[TrainConfig], device: torch.device, *, again: bool = False) -> CompileChoice:
    """Time the micro-batch size with most samples in each possible way, and choose the fastest one for the runs.

    Args:
        configs: equal except for their schedules, with the micro-batch cap resolved.
        device: set up by `adabatch.training.device.make_device`.
        again: measure even if the cache has an earlier measurement.
    """
    counts = [micro_batch_counts(config) for config in configs]
    size = max((size for count in counts for size in count), key=lambda size: sum(size * c[size] for c in counts))
    rows = _times(configs[0], size, device, again)
    forecasts = {}
    for variant, row in rows.items():
        samples = sum(size * count for each in counts for size, count in each.items())
        compiled_shapes = sum(map(len, counts))
        setup = compiled_shapes * row.growth_seconds + len(configs) * row.first_seconds
        forecasts[variant] = samples * row.seconds / size + setup
    best = min(forecasts, key=lambda variant: forecasts[variant])
    by_name = {variant.name: seconds for variant, seconds in forecasts.items()}
    listed = ", ".join(f"{seconds:.3g} s {name}" for name, seconds in by_name.items())
    return CompileChoice(best.compile, best.cuda_graphs, f"the runs would take {listed}", by_name)


def _variants(config: TrainConfig, device: torch.device) -> list[_Variant]:
    """Return the ways to compute that the config leaves open; without graphs where they are not possible."""
    wanted = config.hardware.cuda_graphs
    possible = why_no_graphs(config, device, config.hardware.world_size) is None
    graphs = [True] if possible and wanted is True else [False, True] if possible else [False]
    variants = [_Variant(compile=False, cuda_graphs=used) for used in graphs]
    return [*variants, _Variant(compile=True, cuda_graphs=graphs[-1])]


def _times(config: TrainConfig, size: int, device: torch.device, again: bool) -> dict[_Variant, MicroBatchTime]:
    """Return the times of one size by the way to compute, from the cache if possible."""
    variants = _variants(config, device)
    return measured_once(
        cache_key(config, device, modes_at=size),
        lambda: _measure_variants(config, variants, size, device),
        lambda rows: {variant.name: dataclasses.asdict(row) for variant, row in rows.items()},
        lambda kept: {one: MicroBatchTime(**kept[one.name]) for one in variants if one.name in kept},
        again=again,
    )


def _measure_variants(
    config: TrainConfig, variants: Sequence[_Variant], size: int, device: torch.device
) -> dict[_Variant, MicroBatchTime]:
    small = max(2, min(_CHECKED_SIZE, size // _CHECKED_SHARE))
    # Otherwise starting the device would be charged to the first measurement.
    _gradient(_by(_PLAIN, config), small, device)
    rows = {}
    start_seconds = 0.0  # of the compiler's startup, which every run pays, but here only the first that compiles
    for variant in variants:
        try:
            check_seconds = 0.0 if variant == _PLAIN else _check_gradient(config, variant, small, device)
            measurement = Probe(_by(variant, config), device).measure([size])
            if measurement.uses_graphs != variant.cuda_graphs:
                continue  # the network cannot be recorded; the log says why
            row = measurement.rows[0]
            if variant.compile:
                start_seconds = max(start_seconds, check_seconds - row.growth_seconds)
                row = dataclasses.replace(row, first_seconds=row.first_seconds + start_seconds)
            rows[variant] = row
        except Exception as error:  # on any compiler error, the uncompiled network remains
            if not variant.compile and not variant.cuda_graphs:
                raise
            _log.warning("%s is left out: %s", variant.name, str(error).splitlines()[0])
    return rows or {_PLAIN: Probe(_by(_PLAIN, config), device).measure([size]).rows[0]}


def _check_gradient(config: TrainConfig, variant: _Variant, size: int, device: torch.device) -> float:
    """Return the seconds of compiling for the check, including the compiler's startup if it is the process's first use.

    Raises:
        ValueError: if accumulated micro-batches give another gradient than without compiling and graphs.
    """
    precise: Any = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, precision="fp64"))
    expected = _gradient(_by(_PLAIN, precise), size, device)
    started = time.perf_counter()
    found = _gradient(_by(variant, precise), size, device)
    seconds = time.perf_counter() - started
    difference = float((found - expected).norm() / expected.norm())
    if not difference <= _TOLERANCE:
        raise ValueError(f"its gradient differs by {difference:.2g} of the plain one's norm")
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
            _add_gradient(engine, samples, labels, _CHECKED_MICRO_BATCHES * size)
    gradients = [parameter.grad for parameter in engine.network.parameters() if parameter.grad is not None]
    return torch.cat([gradient.flatten().double() for gradient in gradients])


def _add_gradient(engine: Engine, samples: torch.Tensor, labels: torch.Tensor, update_samples: int) -> None:
    """Add a micro-batch's gradient, by a graph if the engine uses them."""
    graphs = engine.graphs
    if graphs is None:
        loss, _ = engine.forward(samples, labels)
        engine.backward(loss, update_samples)
        return
    shape = graphs.shape(len(labels), is_whole_update=False)
    if not graphs.knows(shape):
        engine.warm_up(samples, labels)
        graphs.record(shape, samples, labels)
    graphs.replay(shape, samples, labels, 1 / update_samples)


def _by(variant: _Variant, config: TrainConfig) -> TrainConfig:
    """Return the config with a way to compute, for one process."""
    hardware: Any = dataclasses.replace(config.hardware.with_ranks(1), **variant._asdict())
    return dataclasses.replace(config, hardware=hardware)
